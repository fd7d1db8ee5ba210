"""Minimum, maximum and last value against the list of the samples in the panes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_histories import SECOND, Listed, Row, arrivals, samples_of

from tocsin.windows.extremes import Extremes, LastValues

WINDOW = 10 * SECOND
SLOTS = np.arange(3)
values = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e300, 1e300), st.sampled_from([math.inf, -math.inf]))


def rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), values)


def same(found: float, wanted: float | None) -> bool:
    return math.isnan(found) if wanted is None else found == wanted


@settings(max_examples=60)
@given(arrivals(rows), st.booleans())
def test_the_extreme_is_that_of_the_samples_in_the_window(batches: list[list[Row]], largest: bool) -> None:
    window = Extremes(WINDOW, largest=largest)
    listed = Listed(window)
    best = max if largest else min
    for batch in batches:
        listed.feed(batch)
        for slot in range(3):
            held = listed.values(slot)
            assert same(window.extreme(np.array([slot]))[0], best(held) if held else None)
            assert window.samples(np.array([slot])).tolist() == [len(held)]
    listed.pass_to(listed.now + 2 * WINDOW)
    assert np.isnan(window.extreme(SLOTS)).all()
    assert window.unpriced(SLOTS).tolist() == [0, 0, 0]


@settings(max_examples=60)
@given(arrivals(rows))
def test_the_last_value_is_the_latest_and_of_equal_times_the_newest_arrival(batches: list[list[Row]]) -> None:
    window = LastValues(WINDOW)
    listed = Listed(window)
    for batch in batches:
        listed.feed(batch)
        for slot in range(3):
            held = listed.of(slot)
            last = max(enumerate(held), key=lambda item: (item[1].time, item[0]), default=(0, None))[1]
            assert same(window.last(np.array([slot]))[0], None if last is None else last.value)
            assert window.samples(np.array([slot])).tolist() == [len(held)]
    listed.pass_to(listed.now + 2 * WINDOW)
    assert np.isnan(window.last(SLOTS)).all()
    assert window.unpriced(SLOTS).tolist() == [0, 0, 0]


def a_maximum() -> Extremes:
    return Extremes(WINDOW, largest=True)


def a_last_value() -> LastValues:
    return LastValues(WINDOW)


@pytest.mark.parametrize("make", [a_maximum, a_last_value])
def test_a_window_of_many_small_batches_keeps_few_chunks(make: type[Extremes] | type[LastValues]) -> None:
    window = make()  # type: ignore[call-arg]  # a function without arguments
    listed = Listed(window)
    rng = np.random.default_rng(3)
    for i in range(900):
        listed.feed([Row(int(rng.integers(0, 3)), listed.now + (i % 40 == 0) * SECOND, float(rng.integers(0, 9)))])
        if i % 100 == 99:
            assert window.samples(SLOTS).tolist() == [len(listed.of(slot)) for slot in range(3)]
            if isinstance(window, Extremes):
                assert window.extreme(SLOTS).tolist() == [max(listed.values(slot)) for slot in range(3)]
    assert all(len(chunks) < 32 for chunks in window.panes.chunks.values())


def test_a_slot_is_used_again_and_there_is_room_for_more() -> None:
    largest, last = Extremes(WINDOW, largest=True), LastValues(WINDOW)
    first, second = [Row(15, SECOND, 5.0)], [Row(15, 90 * SECOND, -1.0), Row(63, 90 * SECOND, 2.0)]
    for window in (largest, last):
        window.add(samples_of(first))
        window.resize(64)
        window.expire(80 * SECOND)
        window.reset(np.array([15]))
        window.add(samples_of(second))
        assert window.samples(np.array([15, 63, 0])).tolist() == [1, 1, 0]
    assert largest.extreme(np.array([15, 63])).tolist() == [-1.0, 2.0]
    assert last.last(np.array([15, 63])).tolist() == [-1.0, 2.0]
