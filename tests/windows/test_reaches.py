"""Which panes are in a window when: examples that one can follow, and what waits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sketches import assert_quantiles
from window_histories import SECOND, Row, samples_of

from tocsin.errors import SnapshotError
from tocsin.model.sections import Section
from tocsin.windows import sketches
from tocsin.windows.buckets import Buckets
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.panes import Panes
from tocsin.windows.reach import ALWAYS, Reach, Sliding, baseline
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums

HOUR = 3600 * SECOND
NOON = 1_700_006_400 * SECOND // HOUR * HOUR
SLOT = np.array([0])


def feed(window: IntegerSums | FloatSums | Extremes | LastValues | Sketches, now: int, *times: int) -> None:
    """Add a sample of each time, worth its place."""
    window.expire(now)
    rows = sorted((Row(0, time, place) for place, time in enumerate(times, 1)), key=lambda row: row.time)
    window.add(samples_of(rows, np.int64 if isinstance(window, IntegerSums) else np.float64))


def test_a_sample_counts_once_it_is_as_old_as_the_offset_and_leaves_a_window_later() -> None:
    window = IntegerSums(Sliding(60 * SECOND, 20 * SECOND))  # panes of a second
    feed(window, NOON, NOON)
    assert window.sum(SLOT)[0] == 0
    assert window.panes.next_change == NOON + 20 * SECOND
    assert window.expire(NOON + 20 * SECOND - 1) == []
    assert [slots.tolist() for slots in window.expire(NOON + 20 * SECOND)] == [[0]]
    assert window.sum(SLOT)[0] == 1
    leaves = NOON + 81 * SECOND - 1
    assert window.panes.next_change == leaves
    assert window.expire(leaves - 1) == []
    assert [slots.tolist() for slots in window.expire(leaves)] == [[0]]
    assert window.sum(SLOT)[0] == 0
    assert window.panes.next_change is None


def test_a_late_sample_counts_at_once_where_its_pane_is_in_the_window() -> None:
    window = IntegerSums(Sliding(10 * SECOND, 20 * SECOND))
    feed(window, NOON, NOON - 25 * SECOND, NOON - 15 * SECOND)
    assert window.sum(SLOT)[0] == 1
    assert window.panes.is_late(np.array([NOON - 31 * SECOND]), NOON).tolist() == [True]
    window.expire(NOON + 5 * SECOND)
    assert window.sum(SLOT)[0] == 3


def test_what_came_in_and_left_while_nobody_looked_was_never_there() -> None:
    window = FloatSums(Sliding(10 * SECOND, 20 * SECOND))
    feed(window, NOON, NOON)
    assert window.expire(NOON + HOUR) == []
    assert window.samples(SLOT).tolist() == [0]
    assert window.panes.next_change is None


def test_a_bucket_counts_when_it_is_over_and_not_before() -> None:
    window = IntegerSums(Buckets(HOUR, HOUR))
    feed(window, NOON + 1, NOON, NOON + 1)
    assert window.sum(SLOT)[0] == 0
    assert window.panes.next_change == NOON + HOUR
    window.expire(NOON + HOUR)
    assert (window.sum(SLOT)[0], window.samples(SLOT)[0]) == (3, 2)
    feed(window, NOON + HOUR, NOON + HOUR)  # the end is the next one's begin
    assert window.sum(SLOT)[0] == 3
    assert window.panes.is_late(np.array([NOON + HOUR - 1, NOON + HOUR]), NOON + HOUR).tolist() == [True, False]
    window.expire(NOON + 2 * HOUR)
    assert window.sum(SLOT)[0] == 1
    window.expire(NOON + 3 * HOUR)  # an empty bucket is a value too
    assert (window.sum(SLOT)[0], math.isnan(window.mean(SLOT)[0])) == (0, True)


def test_a_day_that_ends_where_the_bucket_begins_is_exact_at_both_ends() -> None:
    window = IntegerSums(Buckets(HOUR, 24 * HOUR, HOUR))
    end = NOON + 48 * HOUR
    times = [end - 25 * HOUR - 1, end - 25 * HOUR, end - HOUR - 1, end - HOUR]
    window.expire(NOON)
    feed(window, end - 1, *times)
    window.expire(end)
    assert window.sum(SLOT)[0] == 2 + 3
    window.expire(end + HOUR)
    assert window.sum(SLOT)[0] == 3 + 4


def test_a_sample_that_is_late_for_one_end_counts_at_the_next() -> None:
    window = IntegerSums(Buckets(HOUR, 3 * HOUR))
    feed(window, NOON + 1, NOON - HOUR)
    assert window.sum(SLOT)[0] == 0
    assert window.panes.next_change == NOON + HOUR
    window.expire(NOON + HOUR)
    assert window.sum(SLOT)[0] == 1


@given(st.integers(1, 50), st.integers(1, 200), st.integers(0, 100), st.integers(0, 10**6))
def test_a_bucket_window_has_exactly_its_panes(interval: int, window: int, offset: int, now: int) -> None:
    reach = Buckets(interval, window, offset)
    end = now // interval * interval
    assert reach.first(now) * reach.width_ns == end - offset - window
    assert (reach.last(now) + 1) * reach.width_ns == end - offset
    for pane in (reach.first(now), reach.last(now)):
        enters, leaves = reach.enters(pane, -(10**9)), reach.leaves(pane)
        assert reach.last(enters - 1) < pane <= reach.last(enters)
        assert reach.first(leaves - 1) <= pane < reach.first(leaves)


def test_a_baseline_has_64_panes_and_keeps_them_compact() -> None:
    reach = baseline(7 * 24 * HOUR, 24 * HOUR)
    assert reach.window_ns // reach.width_ns == 64
    assert reach.compact
    assert reach.counts_below(NOON) < ALWAYS


@pytest.mark.parametrize("reach", [Sliding(10 * HOUR, 20 * HOUR), Buckets(24 * HOUR, 24 * HOUR), baseline(HOUR, HOUR)])
@pytest.mark.parametrize("kind", [IntegerSums, FloatSums, LastValues, Sketches])
def test_what_waits_is_merged_like_what_counts(
    reach: Reach, kind: type[IntegerSums] | type[FloatSums] | type[LastValues] | type[Sketches]
) -> None:
    window = kind(reach)
    for i in range(2000):
        feed(window, NOON + i * SECOND // 100, NOON + i * SECOND // 100, NOON + i * SECOND // 100)
    chunks = [chunk for pane in window.panes.waiting.values() for chunk in pane]
    assert len(chunks) < 32 * len(window.panes.waiting)
    assert sum(len(chunk[0]) for chunk in chunks) < 64 * len(window.panes.waiting)


def test_counters_of_samples_that_wait_are_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketches, "_TIDY_AT", 4)
    monkeypatch.setattr(sketches, "_TIDY_EVERY", 1)
    window = Sketches(Sliding(10 * SECOND, 20 * SECOND))
    for i in range(40):
        window.expire(NOON + i * SECOND)
        window.add(samples_of([Row(0, NOON + i * SECOND, 1.5**i), Row(1, NOON + i * SECOND, 1.5**i)]))
        # A pane comes in with its first instant, and leaves with its last: the eleventh second.
        due = range(max(0, i - 30), max(0, i - 19))
        width = window.panes.width_ns
        held = [j for j in due if (NOON + j * SECOND) // width * width + width - 1 > NOON + (i - 30) * SECOND]
        assert_quantiles(window, 0, [1.5**j for j in held])
    window.expire(NOON + 400 * SECOND)
    assert len(window._index) < 40


held_rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=6)


@given(st.lists(held_rows, min_size=3, max_size=3))
def test_last_values_that_wait_are_merged_in_any_grouping(parts: list[list[tuple[int, int, int]]]) -> None:
    chunks = []
    for rows in parts:
        slots, times, values = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        ones = np.ones(len(rows), np.int64)
        chunks.append(LastValues._merged([(slots.astype(np.int32), ones, times, values.astype(np.float64))]))
    first, second, third = chunks
    merged = LastValues._merged
    together = merged(chunks)
    for other in (merged([merged([first, second]), third]), merged([first, merged([second, third])])):
        for left, right in zip(together, other, strict=True):
            np.testing.assert_array_equal(left, right)
    flat = [row for rows in parts for row in rows]
    for slot, count, time, value in zip(*(column.tolist() for column in together), strict=True):
        own = [row for row in flat if row[0] == slot]
        assert (count, time) == (len(own), max(row[1] for row in own))
        assert value == [row[2] for row in own if row[1] == time][-1]


@pytest.mark.parametrize("missing", ["moved", "waiting"])
def test_a_state_without_what_waits_is_refused(missing: str) -> None:
    panes: Panes[tuple[object, ...]] = Panes(Sliding(10 * SECOND, SECOND))
    window = IntegerSums(Sliding(10 * SECOND, SECOND))
    feed(window, NOON, NOON)
    state = dict(window.panes.freeze(window._chunks, window._columns_of)())  # type: ignore[arg-type]  # a mapping
    del state[missing]
    with pytest.raises(SnapshotError, match=missing):
        panes.thaw(Section(state, "panes"), window._chunks, 1, tuple)
