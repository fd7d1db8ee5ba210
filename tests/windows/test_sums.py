"""Windows of sums against the list of the samples in their panes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_histories import SECOND, Listed, Row, arrivals, samples_of, stretched

from tocsin.windows.sums import FloatSums, IntegerSums

WINDOW = 10 * SECOND
SLOTS = np.arange(3)

magnitudes = st.one_of(st.floats(1e-6, 1e15), st.sampled_from([1e-6, 1.0, 0.1, 1e15, 123456789.123]))
moderate = st.one_of(st.floats(-1e4, 1e4).filter(lambda x: x == 0 or abs(x) > 1e-3), st.just(0.0))
weights = st.sampled_from([1.0, 2.0, 3.7, 128.0, 2.0**20])


def float_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), magnitudes)


def moderate_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), moderate, st.sampled_from([1.0, 2.0, 3.7]))


def weighted_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), magnitudes, weights)


def integer_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    priced = st.builds(Row, st.just(slot), st.just(time), st.integers(0, 10**13), st.just(1.0), st.integers(0, 1))
    unpriced = st.builds(Row, st.just(slot), st.just(time), st.just(0), unpriced=st.just(True))
    return st.one_of(priced, priced, unpriced)


def spread_of(rows: list[Row]) -> float:
    total = sum(Fraction(row.weight) for row in rows)
    mean = sum(Fraction(row.value) * Fraction(row.weight) for row in rows) / total
    return math.sqrt(sum((Fraction(row.value) - mean) ** 2 * Fraction(row.weight) for row in rows) / total)


def assert_integers(window: IntegerSums, slot: int, rows: list[Row], at: int | None = None) -> None:
    place = np.array([slot if at is None else at])
    known = [row for row in rows if not row.unpriced]
    total, count = sum(int(row.value) for row in known), sum(row.count for row in known)
    missing = sum(row.unpriced for row in rows)
    assert window.sum(place).tolist() == [float(total)]
    assert window.samples(place).tolist() == [count + missing]
    assert window.count(place).tolist() == [float(count + missing)]
    assert window.unpriced(place).tolist() == [missing]
    mean = float(window.mean(place)[0])
    assert math.isclose(mean, total / count, rel_tol=1e-15) if count else math.isnan(mean)


def assert_floats(
    window: FloatSums, slot: int, rows: list[Row], at: int | None = None, taken_back: float = 0.0
) -> None:
    place = np.array([slot if at is None else at])
    assert window.samples(place).tolist() == [len(rows)]
    assert window.unpriced(place).tolist() == [0]
    if not rows:
        assert window.sum(place).tolist() == [0.0]
        assert window.count(place).tolist() == [0.0]
        assert np.isnan([window.mean(place)[0], window.stddev(place)[0]]).all()
        return
    weight = math.fsum(row.weight for row in rows)
    total = math.fsum(row.value * row.weight for row in rows)
    size = math.fsum(abs(row.value * row.weight) for row in rows)
    largest = max(taken_back, *(abs(row.value) for row in rows))
    assert math.isclose(float(window.count(place)[0]), weight, rel_tol=1e-12)
    assert math.isclose(float(window.sum(place)[0]), total, rel_tol=1e-12, abs_tol=1e-12 * size)
    assert math.isclose(float(window.mean(place)[0]), total / weight, rel_tol=1e-12, abs_tol=1e-12 * size / weight)
    found = float(window.stddev(place)[0])
    assert math.isclose(found, spread_of(rows), rel_tol=1e-9, abs_tol=1e-14 * largest)


@settings(max_examples=60)
@given(arrivals(integer_rows))
def test_integer_sums_are_exact(batches: list[list[Row]]) -> None:
    window = IntegerSums(WINDOW)
    listed = Listed(window, dtype=np.int64)
    for batch in batches:
        listed.feed(batch)
        for slot in range(3):
            assert_integers(window, slot, listed.of(slot))
    listed.pass_to(listed.now + WINDOW + SECOND)
    for slot in range(3):
        assert_integers(window, slot, [])


@settings(max_examples=60)
@given(arrivals(float_rows))
def test_float_sums_are_right_to_the_ninth_digit_whatever_the_magnitudes(batches: list[list[Row]]) -> None:
    window = FloatSums(WINDOW)
    listed = Listed(window)
    for batch in batches:
        listed.feed(batch)
        for slot in range(3):
            assert_floats(window, slot, listed.of(slot))


@settings(max_examples=60)
@given(arrivals(weighted_rows))
def test_weighted_sums_are_right_to_the_ninth_digit(batches: list[list[Row]]) -> None:
    window = FloatSums(WINDOW)
    listed = Listed(window)
    for batch in batches:
        listed.feed(batch)
        for slot in range(3):
            assert_floats(window, slot, listed.of(slot))


@settings(max_examples=60)
@given(arrivals(integer_rows))
def test_after_each_is_what_one_by_one_would_have_given_of_integers(batches: list[list[Row]]) -> None:
    window = IntegerSums(WINDOW)
    listed = Listed(window, dtype=np.int64)
    for batch in batches:
        before = {slot: listed.of(slot) for slot in range(3)}
        added = listed.feed(batch)
        for slot, earlier in before.items():
            own = [row for row in added if row.slot == slot]
            if not own:
                continue
            held = [row for row in earlier if row in listed.rows]
            past = window.after_each(slot, samples_of(own, np.int64))
            for i in range(len(own)):
                assert_integers(past, slot, held + own[: i + 1], at=i)


@settings(max_examples=60)
@given(arrivals(moderate_rows))
def test_after_each_is_what_one_by_one_would_have_given_of_floats(batches: list[list[Row]]) -> None:
    window = FloatSums(WINDOW)
    listed = Listed(window)
    for batch in batches:
        added = listed.feed(batch)
        for slot in {row.slot for row in added}:
            own = [row for row in added if row.slot == slot]
            every = listed.of(slot)
            past = window.after_each(slot, samples_of(own))
            for i in range(len(own)):
                largest = max(abs(row.value) for row in own)
                assert_floats(past, slot, every[: len(every) - len(own) + i + 1], at=i, taken_back=largest)
            assert past.sum(np.array([len(own) - 1])) == window.sum(np.array([slot]))


@settings(max_examples=60)
@given(arrivals(float_rows), st.lists(st.integers(1, 50), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_neither_batches_nor_order_change_a_total(batches: list[list[Row]], sizes: list[int], random: object) -> None:
    rows = [row for batch in batches for row in batch]
    newest = max(row.time for row in rows)
    rows = [row for row in rows if row.time > newest - WINDOW]
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    totals = []
    for order in (stretched([rows], [len(rows)]), stretched([rows], sizes), stretched([shuffled], sizes)):
        window = FloatSums(WINDOW)
        for batch in order:
            window.add(samples_of(sorted(batch, key=lambda row: row.time)))
        totals.append([window.sum(SLOTS), window.samples(SLOTS), window.stddev(SLOTS)])
    for other in totals[1:]:
        np.testing.assert_allclose(other[0], totals[0][0], rtol=1e-12)
        np.testing.assert_array_equal(other[1], totals[0][1])
        np.testing.assert_allclose(other[2], totals[0][2], rtol=1e-9, atol=10)


@pytest.mark.parametrize("kind", [IntegerSums, FloatSums])
def test_a_window_of_many_small_batches_keeps_few_chunks(kind: type[IntegerSums] | type[FloatSums]) -> None:
    window = kind(WINDOW)
    rng = np.random.default_rng(7)
    dtype = np.int64 if kind is IntegerSums else np.float64
    listed = Listed(window, dtype=dtype)
    for i in range(600):
        listed.feed([Row(int(rng.integers(0, 3)), listed.now + i % 2, int(rng.integers(0, 1000)))])
    for slot in range(3):
        assert window.sum(np.array([slot])).tolist() == [float(sum(listed.values(slot)))]
    assert all(len(chunks) < 32 for chunks in window.panes.chunks.values())
    listed.pass_to(listed.now + 2 * WINDOW)
    assert window.samples(SLOTS).tolist() == [0, 0, 0]
    assert window.sum(SLOTS).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300])
def test_a_value_beyond_all_bounds_is_gone_when_it_leaves(value: float) -> None:
    window = FloatSums(WINDOW)
    listed = Listed(window)
    listed.feed([Row(0, listed.now, value), Row(1, listed.now, 2.0)])
    listed.feed([Row(0, listed.now + 5 * SECOND, 3.0), Row(0, listed.now + 5 * SECOND, 4.0)])
    window.stddev(SLOTS)
    listed.pass_to(listed.now + 6 * SECOND)
    assert_floats(window, 0, listed.of(0))
    assert listed.values(0) == [3.0, 4.0]


@pytest.mark.parametrize("kind", [IntegerSums, FloatSums])
def test_a_slot_is_used_again_and_there_is_room_for_more(kind: type[IntegerSums] | type[FloatSums]) -> None:
    window = kind(WINDOW)
    dtype = np.int64 if kind is IntegerSums else np.float64
    window.add(samples_of([Row(15, SECOND, 5)], dtype))
    window.resize(64)
    window.add(samples_of([Row(15, SECOND, 2), Row(63, SECOND, 1)], dtype))
    assert window.sum(np.array([15, 63])).tolist() == [7.0, 1.0]
    window.expire(100 * SECOND)
    window.reset(np.array([15]))
    window.add(samples_of([Row(15, 100 * SECOND, 9)], dtype))
    assert window.sum(np.array([15])).tolist() == [9.0]
    assert window.seconds() == 10.0


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_drifts_over_thousands_of_panes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    window = FloatSums(SECOND)
    listed = Listed(window)
    for _ in range(2000):
        listed.feed([Row(0, listed.now + SECOND // 9, float(10 ** rng.uniform(-6, 9)))])
    assert_floats(window, 0, listed.of(0))
