"""Sums of the heaviest keys over windows, against a list of all rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import EPOCH, SECOND

from tocsin.model.sections import Section
from tocsin.windows import heaviest
from tocsin.windows.heaviest import COARSE_NS, FINE_NS, FINE_WINDOW_NS, LONGEST_NS, Heaviest, Standing
from tocsin.windows.texts import Texts

WINDOWS = (60 * SECOND, FINE_WINDOW_NS, LONGEST_NS)
LABELS = ("a", "b")


@dataclass(frozen=True)
class Row:
    time: int
    key: int
    """1 and up; 0: the row lacks the label."""
    measures: tuple[int, int]


@pytest.fixture
def few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("KEPT", 3), ("_MOST", 8), ("_MOST_CHUNKS", 3)):
        monkeypatch.setattr(heaviest, name, most)


amounts = st.integers(0, 1000) | st.integers(0, 10**6) | st.just(10**11)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, list[Row]]]:
    """Batches, each with the event time at which it is counted; some rows are late, some by hours."""
    now = EPOCH + draw(st.integers(0, 20 * SECOND))
    batches = []
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.sampled_from((0, SECOND // 3, SECOND, 7 * SECOND, 100 * SECOND, 2000 * SECOND)))
        age = st.integers(0, SECOND) | st.integers(0, 400 * SECOND) | st.integers(0, 2 * LONGEST_NS)
        rows = draw(st.lists(st.builds(Row, age.map(now.__sub__), st.integers(0, 12), st.tuples(amounts, amounts))))
        batches.append((now, rows))
    return batches


def counted(batches: Sequence[tuple[int, list[Row]]]) -> Heaviest:
    windows = Heaviest(LABELS, 2)
    for now, rows in batches:
        windows.move(now)
        if rows:
            times = np.array([row.time for row in rows], np.int64)
            codes = np.array([row.key for row in rows], np.int32)
            measures = tuple(np.array([row.measures[i] for row in rows], np.int64) for i in range(2))
            windows.add(times, measures)
            some = codes.nonzero()[0]
            if len(some):
                windows.add_keys("a", times[some], codes[some], tuple(column[some] for column in measures))
    return windows


def within(batches: Sequence[tuple[int, list[Row]]], window_ns: int) -> list[Row]:
    now = batches[-1][0]
    width = FINE_NS if window_ns <= FINE_WINDOW_NS else COARSE_NS
    return [row for _, rows in batches for row in rows if row.time // width >= (now - window_ns) // width]


def sums_by_key(rows: Sequence[Row], measure: int) -> Counter[int]:
    sums: Counter[int] = Counter()
    for row in rows:
        sums[row.key] += row.measures[measure]
    return sums


def of(standing: Standing, measure: int) -> dict[int, int]:
    return dict(zip(standing.codes.tolist(), standing.sums[measure].tolist(), strict=True))


@given(histories())
def test_with_few_keys_all_is_as_the_rows_say(batches: list[tuple[int, list[Row]]]) -> None:
    windows, now = counted(batches), batches[-1][0]
    for window_ns in WINDOWS:
        rows = within(batches, window_ns)
        assert windows.totals(now, window_ns) == tuple(sum(row.measures[i] for row in rows) for i in range(2))
        standing = windows.standing("a", now, window_ns)
        assert standing.most_more == (0, 0)
        for measure in range(2):
            expected = sums_by_key([row for row in rows if row.key], measure)
            assert of(standing, measure) == dict(expected)
            assert standing.labelled[measure] == sum(expected.values())
        assert not len(windows.standing("b", now, window_ns).codes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("few_are_kept")
@given(batches=histories())
def test_with_many_keys_no_sum_is_further_from_the_rows_than_it_says(batches: list[tuple[int, list[Row]]]) -> None:
    windows, now = counted(batches), batches[-1][0]
    for window_ns in WINDOWS:
        rows = within(batches, window_ns)
        assert windows.totals(now, window_ns) == tuple(sum(row.measures[i] for row in rows) for i in range(2))
        standing = windows.standing("a", now, window_ns)
        for measure in range(2):
            expected = sums_by_key([row for row in rows if row.key], measure)
            found = of(standing, measure)
            assert standing.labelled[measure] == sum(expected.values())
            for key, total in expected.items():
                assert found.get(key, 0) <= total <= found.get(key, 0) + standing.most_more[measure]
            assert found.keys() <= expected.keys()


@pytest.mark.usefixtures("few_are_kept")
def test_what_is_heavy_in_a_crowd_is_exact_and_first() -> None:
    windows = Heaviest(LABELS, 2)
    for second in range(900):
        windows.move(EPOCH + second * SECOND)
        times = np.full(101, EPOCH + second * SECOND)
        codes = np.append(np.arange(100) + 100 * second + 2, 1)  # hundred new keys a second, and one that stays
        amounts = np.append(np.ones(100, np.int64), 50)
        windows.add(times, (amounts, amounts))
        windows.add_keys("a", times, codes, (amounts, amounts))
    now = EPOCH + 899 * SECOND
    for window_ns, seconds in ((60 * SECOND, 61), (FINE_WINDOW_NS, 301), (LONGEST_NS, 900)):
        standing = windows.standing("a", now, window_ns)
        assert of(standing, 0)[1] == 50 * seconds
        assert standing.labelled == windows.totals(now, window_ns) == (150 * seconds, 150 * seconds)
        # A key that was put together in a pane may have been so once for each time that the pane was cut.
        assert standing.most_more[0] < 0.05 * standing.labelled[0]


def test_absurd_amounts_overflow_nothing() -> None:
    windows = Heaviest(("a",), 2)
    windows.move(EPOCH)
    times, million_dollars = np.full(20_000, EPOCH), np.full(20_000, 10**15)
    windows.add(times, (million_dollars, million_dollars))
    windows.add_keys("a", times, np.ones(20_000, np.int64), (million_dollars, million_dollars))
    assert windows.totals(EPOCH, LONGEST_NS) == (20_000 * 10**15, 20_000 * 10**15)
    assert of(windows.standing("a", EPOCH, LONGEST_NS), 0)[1] == 2**52


def test_memory_is_bounded_whatever_keys_come() -> None:
    windows = Heaviest(("a",), 2)
    number = 1
    for second in range(0, 4000, 2):
        windows.move(EPOCH + second * SECOND)
        rows = 3 * heaviest.KEPT
        times = np.full(rows, EPOCH + second * SECOND)
        codes, ones = np.arange(number, number + rows), np.ones(rows, np.int64)
        windows.add_keys("a", times, codes, (ones, ones))
        number += rows
    used = np.zeros(number, np.bool_)
    windows.mark(used)
    fine, coarse = FINE_WINDOW_NS // FINE_NS, LONGEST_NS // COARSE_NS
    assert np.count_nonzero(used) <= (fine + COARSE_NS // FINE_NS) * 4 * heaviest.KEPT + coarse * heaviest.KEPT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("few_are_kept")
@given(batches=histories())
def test_a_state_gives_the_same_windows(batches: list[tuple[int, list[Row]]]) -> None:
    windows, now = counted(batches), batches[-1][0]
    texts, others = Texts(), Texts()
    numbers = texts.codes([f"key {number}" for number in range(1, 14)])
    assert numbers[:-1].tolist() == list(range(1, 14))
    others.codes(["something else"])
    thawed = Heaviest(LABELS, 2)
    thawed.thaw(Section(windows.freeze(texts)(), "state"), others)
    for each in (windows, thawed):
        each.move(now + 40 * SECOND)  # what is at rest goes on to be put together
    for window_ns in WINDOWS:
        assert thawed.totals(now, window_ns) == windows.totals(now, window_ns)
        before, after = (each.standing("a", now + 40 * SECOND, window_ns) for each in (windows, thawed))
        assert (after.labelled, after.most_more) == (before.labelled, before.most_more)
        assert {others.text(code): total for code, total in of(after, 0).items()} == {
            texts.text(code): total for code, total in of(before, 0).items()
        }
