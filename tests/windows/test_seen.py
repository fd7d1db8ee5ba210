"""Deduplication against a dict of last deliveries."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.windows.index import mix
from tocsin.windows.seen import SeenKeys

WINDOW = 1000
batches = st.lists(
    st.tuples(st.integers(0, 450), st.lists(st.integers(1, 12), min_size=1, max_size=8)), min_size=1, max_size=25
)


def keys_of(numbers: list[int]) -> NDArray[np.uint64]:
    return mix(np.zeros(len(numbers), np.uint64), np.array(numbers, np.uint64))


@given(batches, st.integers(0, 10**18))
def test_a_span_counts_once_within_the_window_and_again_long_after(
    course: list[tuple[int, list[int]]], start: int
) -> None:
    seen = SeenKeys(WINDOW)
    last: dict[int, int] = {}
    now = start
    for passed, numbers in course:
        now += passed
        fresh = seen.add(keys_of(numbers), now).tolist()
        for place, number in enumerate(numbers):
            if number in numbers[:place]:
                assert not fresh[place], "of equal ones the first is new"
            elif number not in last:
                assert fresh[place]
            elif now - last[number] <= WINDOW:
                assert not fresh[place], "delivered twice within the window"
            elif now - last[number] > WINDOW * 6 // 5:
                assert fresh[place], "forgotten a generation after the window"
        last |= dict.fromkeys(numbers, now)


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_frozen_generations_know_exactly_their_keys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = SeenKeys(WINDOW)
    sizes = rng.choice([0, 1, 3, 500, 2000], 6)
    generations = [mix(np.zeros(n, np.uint64), rng.integers(0, 2**63, n).astype(np.uint64)) for n in sizes]
    for i, generation in enumerate(generations):
        assert seen.add(generation, i * WINDOW // 5).all()
    now = 5 * WINDOW // 5
    assert len(seen) == sum(sizes)
    for generation in generations:
        assert not seen.add(generation, now).any()
    assert seen.add(mix(np.ones(2000, np.uint64), rng.integers(0, 2**63, 2000).astype(np.uint64)), now).all()


def test_a_long_silence_leaves_nothing_behind() -> None:
    seen = SeenKeys(WINDOW)
    seen.add(keys_of([1, 2, 3]), 0)
    assert seen.add(keys_of([1]), 10**15).all()
    assert len(seen) == 1


def test_memory_is_that_of_the_window() -> None:
    seen = SeenKeys(WINDOW)
    for now in range(0, 20_000, 10):
        seen.add(keys_of([now + 1]), now)
    assert len(seen) <= (WINDOW * 6 // 5) // 10


def test_a_window_of_nothing_still_drops_repeats_of_one_instant() -> None:
    seen = SeenKeys(0)
    assert seen.add(keys_of([1, 1]), 5).tolist() == [True, False]
