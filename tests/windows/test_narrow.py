"""Narrow columns hold what they were made of, and panes at rest give what fresh ones do."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.windows.extremes import Extremes
from tocsin.windows.narrow import distinct, narrowed
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

SECOND = 1_000_000_000
integers = st.one_of(st.integers(-300, 300), st.integers(-(2**40), 2**40), st.integers(-(2**63), 2**63 - 1))
floats = st.one_of(st.floats(), st.integers(-5, 2**33).map(float))


@given(st.lists(integers, max_size=20))
def test_narrowed_integers_are_equal_and_no_larger(values: list[int]) -> None:
    column = np.array(values, np.int64)
    narrow = narrowed(column)
    assert narrow.tolist() == values
    assert np.concatenate([narrow, column], dtype=np.int64).tolist() == values * 2
    assert narrow.itemsize <= column.itemsize


@given(st.lists(floats, max_size=20))
def test_narrowed_floats_are_equal(values: list[float]) -> None:
    column = np.array(values, np.float64)
    np.testing.assert_array_equal(narrowed(column).astype(np.float64), column)


def test_small_numbers_take_a_byte_and_equal_ones_nothing() -> None:
    assert narrowed(np.array([0, 255])).dtype == np.uint8
    assert narrowed(np.array([-1, 127])).dtype == np.int8
    assert narrowed(np.array([0, 2**32 - 1])).dtype == np.uint32
    assert narrowed(np.array([1.0, 2.0])).dtype == np.uint32
    assert narrowed(np.array([1.0, 2.5])).dtype == np.float64
    assert narrowed(np.full(1000, 7)).strides == (0,)


@given(st.lists(st.one_of(st.integers(0, 20), st.integers(0, 2**31 - 1)), max_size=50))
def test_distinct_is_what_sorting_finds(values: list[int]) -> None:
    column = np.array(values, np.int32)
    found, place = distinct(column)
    wanted, wanted_place = np.unique(column, return_inverse=True)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(place, wanted_place)


@pytest.mark.parametrize("window", [IntegerSums, FloatSums, Sketches, lambda ns: Extremes(ns, largest=True)])
def test_what_was_added_in_many_small_batches_leaves_nothing_behind(
    window: Callable[[int], IntegerSums | FloatSums | Sketches | Extremes],
) -> None:
    held = window(60 * SECOND)
    held.resize(64)
    random = np.random.default_rng(7)
    alive: list[tuple[int, int]] = []
    slots = np.arange(64)
    for step in range(900):  # three minutes, in batches of 20 of which some are 12 seconds old
        now = 10**18 + step * SECOND // 5
        held.expire(now)
        times = np.sort(now - random.integers(0, 12 * SECOND, 20) * random.integers(0, 2, 20))
        chosen = random.integers(0, 64, 20).astype(np.int32)
        held.add(Samples(chosen, times, random.integers(1, 2**34, 20)))
        oldest = held.panes.late_before(now)
        alive = [each for each in alive if each[0] >= oldest]
        alive += list(zip(times.tolist(), chosen.tolist(), strict=True))
        if step % 100 == 99:
            counts = np.bincount([slot for _, slot in alive], minlength=64)
            np.testing.assert_array_equal(held.samples(slots), counts)
    at_rest = [chunks for pane, chunks in held.panes.chunks.items() if pane < max(held.panes.chunks) - 30]
    assert isinstance(held, FloatSums) or all(len(chunks) == 1 for chunks in at_rest)
    held.expire(10**18 + 3600 * SECOND)
    assert held.samples(slots).tolist() == [0] * 64
