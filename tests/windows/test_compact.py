"""Compact rows against the sums that they were made of."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from window_histories import SECOND, START, Row, samples_of

from tocsin.windows.compact import Marks, compacted, restored, rows_of, widened
from tocsin.windows.exact import moments_of, variance_of
from tocsin.windows.reach import Sliding
from tocsin.windows.sums import FloatSums, _merged_pairs

values = st.one_of(
    st.floats(-1e15, 1e15).filter(lambda x: x == 0 or abs(x) > 1e-12),
    st.floats(0.7, 0.9),
    st.sampled_from([0.1, 1e12, 1e12 + 1, -3.0, 0.0]),
)
groups = st.lists(
    st.lists(st.tuples(values, st.sampled_from([1.0, 1.0, 3.7])), min_size=1, max_size=8), min_size=1, max_size=5
)


@settings(max_examples=200)
@given(groups, st.integers(1, 9))
@example([[(0.1, 1.0)] * 3], 1)
@example([[(1e12, 1.0), (1e12 + 1, 1.0), (1e12, 1.0)]], 3)
def test_a_compact_row_keeps_sums_to_76_digits_and_spreads_to_a_doubles(
    held: list[list[tuple[float, float]]], gap: int
) -> None:
    place = np.repeat(np.arange(len(held)), [len(rows) for rows in held])
    count = np.bincount(place)
    flat = np.array([row for rows in held for row in rows])
    high, low = moments_of(place, count, flat[:, 0], flat[:, 1])
    slots = np.arange(len(held), dtype=np.int32) * gap
    compact = compacted((slots, (count, high, low)))
    assert len(compact[1]) == 6
    found, (counts, back, back_low) = widened(compact)
    assert found.tolist() == slots.tolist()
    assert counts.tolist() == count.tolist()
    spreads = np.sqrt(variance_of(back, back_low))
    for i, rows in enumerate(held):
        weight = sum(Fraction(weight) for _, weight in rows)
        total = sum(Fraction(value) * Fraction(weight) for value, weight in rows)
        size = sum(abs(Fraction(value)) * Fraction(weight) for value, weight in rows)
        assert abs(Fraction(back[i, 0]) + Fraction(back_low[i, 0]) - weight) <= weight / 2**76
        assert abs(Fraction(back[i, 1]) + Fraction(back_low[i, 1]) - total) <= size / 2**75
        mean = total / weight
        variance = sum((Fraction(value) - mean) ** 2 * Fraction(part) for value, part in rows) / weight
        largest = max(abs(value) for value, _ in rows)
        assert math.isclose(spreads[i], math.sqrt(variance), rel_tol=1e-12, abs_tol=1e-14 * largest)


chunk_rows = st.lists(st.tuples(st.integers(0, 3), values), min_size=1, max_size=6)


@settings(max_examples=150)
@given(st.lists(chunk_rows, min_size=3, max_size=3), st.lists(st.booleans(), min_size=4, max_size=4))
def test_compact_and_wide_rows_are_merged_in_any_grouping(
    parts: list[list[tuple[int, float]]], rest: list[bool]
) -> None:
    chunks = []
    for rows, rests in zip(parts, rest, strict=False):
        wide = FloatSums._reduced(samples_of([Row(slot, 1, value) for slot, value in sorted(rows)]))
        chunks.append(compacted(wide) if rests else wide)
    first, second, third = chunks
    pair = _merged_pairs([second, first])
    every = [row for rows in parts for row in rows]
    for merged in (_merged_pairs(chunks), _merged_pairs([third, compacted(pair) if rest[3] else pair])):
        slots, (count, high, low) = merged
        assert slots.tolist() == sorted({slot for slot, _ in every})
        for i, slot in enumerate(slots.tolist()):
            own = [Fraction(value) for at, value in every if at == slot]
            assert (count[i], high[i, 0] + low[i, 0]) == (len(own), len(own))
            size = sum(map(abs, own))
            assert abs(Fraction(high[i, 1]) + Fraction(low[i, 1]) - sum(own)) <= size / 2**74
            squares = sum(value * value for value in own)
            assert abs(Fraction(high[i, 2]) + Fraction(low[i, 2]) - squares) <= squares / 2**50


@settings(max_examples=100)
@given(groups, st.integers(1, 90))
def test_what_is_kept_and_restored_is_the_same_to_the_bit(held: list[list[tuple[float, float]]], gap: int) -> None:
    place = np.repeat(np.arange(len(held)), [len(rows) for rows in held])
    flat = np.array([row for rows in held for row in rows])
    count = np.bincount(place)
    slots = np.arange(len(held), dtype=np.int32) * gap
    compact = compacted((slots, (count, *moments_of(place, count, flat[:, 0], flat[:, 1]))))
    again = restored(*rows_of(compact))
    first, second = widened(compact), widened(again)
    for left, right in zip((first[0], *first[1]), (second[0], *second[1]), strict=True):
        np.testing.assert_array_equal(left, right)
    wanted = np.zeros(int(slots[-1]) + 1, np.bool_)
    wanted[slots[::2]] = True
    some = widened(compact, wanted)
    assert some[0].tolist() == slots[::2].tolist()
    np.testing.assert_array_equal(some[1][1], first[1][1][::2])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e200, -1e150])
def test_a_row_whose_square_has_no_room_stays_as_it_is(value: float) -> None:
    place, count = np.zeros(2, np.intp), np.array([2])
    with np.errstate(all="ignore"):
        wide = np.zeros(1, np.int32), (count, *moments_of(place, count, np.array([value, 1.0]), None))
    assert compacted(wide) is wide


def test_a_value_beyond_all_bounds_leaves_a_compact_window_as_if_it_had_not_been() -> None:
    window = FloatSums(Sliding(640 * SECOND, panes=64, compact=True))
    slot = np.array([0])
    for i in range(200):
        now = START + i * 5 * SECOND
        window.expire(now)
        window.add(samples_of([Row(0, now, math.inf if i == 3 else 0.5 + i % 2)]))
    assert window.sum(slot)[0] == window.count(slot)[0]
    assert window.stddev(slot)[0] == pytest.approx(0.5, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 90]))
def test_a_total_is_the_sum_of_what_its_panes_hold(seed: int, offset: int) -> None:
    random = np.random.default_rng(seed)
    window = FloatSums(Sliding(640 * SECOND, offset * SECOND, panes=64, compact=True))
    now = START
    for _ in range(60):
        now += int(random.integers(0, 40 * SECOND))
        while (due := window.panes.next_change) is not None and due <= now:
            window.expire(due)
        window.expire(now)
        times = np.sort(now - random.integers(0, 30 * SECOND, 5))
        powers = random.uniform(-3, 3, 5)
        window.add(
            samples_of(
                [Row(int(time) % 3, int(time), 10.0**power) for time, power in zip(times, powers.tolist(), strict=True)]
            )
        )
    held = [chunk for pane in window.panes.chunks.values() for chunk in pane]
    assert any(len(columns) > 3 for _, columns in held)
    slots, (_, high, low) = _merged_pairs(held)
    totals = window._totals
    kept, kept_low = totals["high"][slots], totals["low"][slots]
    # Each pair to its last digits: a square is a million at most.
    assert np.abs((kept - high) + (kept_low - low)).max() <= 1e-23


@given(st.sets(st.integers(0, 300), min_size=1))
def test_marks_are_the_slots(slots: set[int]) -> None:
    rising = np.array(sorted(slots), np.int32)
    marks = Marks(rising)
    assert len(marks) == len(slots)
    assert marks.slots().tolist() == sorted(slots)
    assert marks.nbytes <= 38


def test_slots_that_do_not_rise_are_kept_as_they_are() -> None:
    high, low = np.ones((2, 3)), np.zeros((2, 2))
    chunk = restored(np.array([3, 1], np.int32), np.array([1, 1]), high, low)
    assert widened(chunk)[0].tolist() == [3, 1]
