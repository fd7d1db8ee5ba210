"""Percentiles against sorted lists: within one percent of the value at every rank."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_histories import SECOND, Listed, Row, arrivals, samples_of, stretched

from tocsin.windows import sketches
from tocsin.windows.sketches import ACCURACY, Sketches, bucket_of, value_of

WINDOW = 10 * SECOND
SLOTS = np.arange(3)
RANKS = (0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)

values = st.one_of(
    st.floats(1e-9, 1e300),
    st.floats(-1e300, -1e-9),
    st.sampled_from([0.0, -0.0, 1e-9, -1e-9, 1e-12, 1.0, -1.0]),
    st.floats(0.9, 1.1),
)


def rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), values)


def is_within(found: float, wanted: float) -> bool:
    if abs(wanted) < 1e-9:
        return found == 0.0
    return abs(found - wanted) <= ACCURACY * abs(wanted) * (1 + 1e-9)


def assert_quantiles(window: Sketches, slot: int, held: list[float]) -> None:
    place = np.array([slot])
    assert window.samples(place).tolist() == [len(held)]
    assert window.unpriced(place).tolist() == [0]
    if not held:
        assert math.isnan(window.quantile(place, 0.5)[0])
        assert math.isnan(window.at_most(place)[0])
        return
    ordered = sorted(held)
    for rank in RANKS:
        found = float(window.quantile(place, rank)[0])
        assert is_within(found, ordered[int(rank * (len(ordered) - 1))])
        assert found <= window.at_most(place)[0]


@given(st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=30))
def test_a_bucket_is_within_a_percent_of_what_is_in_it_and_keeps_the_order(numbers: list[float]) -> None:
    ordered = np.sort(np.array(numbers))
    buckets = bucket_of(ordered)
    assert (np.diff(buckets) >= 0).all()
    for value, found in zip(ordered.tolist(), value_of(buckets).tolist(), strict=True):
        assert is_within(found, value)


def test_infinite_values_have_the_outermost_buckets() -> None:
    buckets = bucket_of(np.array([-math.inf, -1e300, 1e300, math.inf]))
    assert (np.diff(buckets) > 0).all()
    assert np.isfinite(value_of(buckets)).all()


@settings(max_examples=60)
@given(arrivals(rows))
def test_every_percentile_is_within_a_percent_over_the_whole_window(batches: list[list[Row]]) -> None:
    window = Sketches(WINDOW)
    listed = Listed(window)
    for batch in batches:
        listed.feed(batch)
        for slot in range(3):
            assert_quantiles(window, slot, listed.values(slot))
    listed.pass_to(listed.now + 2 * WINDOW)
    for slot in range(3):
        assert_quantiles(window, slot, [])


@settings(max_examples=60)
@given(arrivals(rows), st.lists(st.integers(1, 50), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_neither_batches_nor_order_change_a_percentile(
    batches: list[list[Row]], sizes: list[int], random: object
) -> None:
    every = [row for batch in batches for row in batch]
    newest = max(row.time for row in every)
    live = [row for row in every if row.time > newest - WINDOW]
    shuffled = live.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    found = []
    for order in ([live], stretched([live], sizes), stretched([shuffled], sizes)):
        window = Sketches(WINDOW)
        for batch in order:
            window.add(samples_of(sorted(batch, key=lambda row: row.time)))
        window.expire(newest + WINDOW // 2)
        found.append([window.quantile(SLOTS, rank).tolist() for rank in RANKS])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@settings(max_examples=60)
@given(arrivals(rows))
def test_after_each_is_what_one_by_one_would_have_given(batches: list[list[Row]]) -> None:
    window = Sketches(WINDOW)
    listed = Listed(window)
    for batch in batches:
        added = listed.feed(batch)
        for slot in {row.slot for row in added}:
            own, every = [row for row in added if row.slot == slot], listed.values(slot)
            course = window.after_each(slot, samples_of(own))
            places = np.arange(len(own))
            alone = Sketches(WINDOW)
            counts, wanted = [], []
            for i in range(len(own)):
                so_far = every[: len(every) - len(own) + i + 1]
                alone = Sketches(WINDOW)
                alone.add(samples_of([Row(0, 1, value) for value in so_far]))
                counts.append(len(so_far))
                wanted.append(float(alone.quantile(np.array([0]), 0.9)[0]))
            assert course.samples(places).tolist() == counts
            assert course.quantile(places, 0.9).tolist() == wanted
            assert wanted[-1] == window.quantile(np.array([slot]), 0.9)[0]


def test_counters_that_nothing_uses_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketches, "_TIDY_AT", 64)
    window = Sketches(WINDOW)
    listed = Listed(window)
    rng = np.random.default_rng(5)
    most = 0
    for i in range(120):
        scale = 1.5**i  # so that each batch needs buckets of its own
        listed.feed([Row(int(rng.integers(0, 3)), listed.now + SECOND, scale * rng.uniform(1, 4)) for _ in range(20)])
        most = max(most, len(window._index))
        for slot in range(3):
            assert_quantiles(window, slot, listed.values(slot))
    assert most < 4 * 20 * 11 + 64 + 20  # a quarter in use at least


def test_a_window_of_many_small_batches_keeps_few_chunks() -> None:
    window = Sketches(WINDOW)
    listed = Listed(window)
    rng = np.random.default_rng(5)
    for _ in range(500):
        listed.feed([Row(int(rng.integers(0, 3)), listed.now, rng.lognormal())])
    assert all(len(chunks) < 32 for chunks in window.panes.chunks.values())
    for slot in range(3):
        assert_quantiles(window, slot, listed.values(slot))
    listed.pass_to(listed.now + 2 * WINDOW)
    assert window.samples(SLOTS).tolist() == [0, 0, 0]


def test_a_slot_is_used_again_and_there_is_room_for_more() -> None:
    window = Sketches(WINDOW)
    window.add(samples_of([Row(15, SECOND, 5.0)]))
    window.resize(64)
    window.expire(80 * SECOND)
    window.reset(np.array([15]))
    window.add(samples_of([Row(15, 90 * SECOND, 7.0), Row(63, 90 * SECOND, 9.0)]))
    assert_quantiles(window, 15, [7.0])
    assert_quantiles(window, 63, [9.0])
    assert_quantiles(window, 0, [])
