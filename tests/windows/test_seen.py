"""Deduplication against a dict of last deliveries."""

import numpy as np
import pytest
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


def test_many_keys_make_short_generations_and_are_known_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.windows.seen._ROWS", 50)
    rng, seen, last = np.random.default_rng(3), SeenKeys(WINDOW), dict[int, int]()
    for now in range(0, 5 * WINDOW, 7):
        numbers = rng.integers(1, 4000, 20)
        fresh = seen.add(keys_of(numbers.tolist()), now)
        for number, is_fresh in zip(numbers.tolist(), fresh.tolist(), strict=True):
            if now - last.get(number, -WINDOW) <= WINDOW and number in last:
                assert not is_fresh
            elif now - last.get(number, -2 * WINDOW) > WINDOW * 6 // 5:
                assert is_fresh
            last[number] = now
    assert 10 <= len(seen._frozen) <= 30


@given(st.sets(st.integers(1, 2**17), min_size=2, max_size=60), st.integers(0, 2**16 - 1), st.sampled_from([0, 16, 46]))
def test_keys_that_differ_in_a_few_bits_are_told_apart(numbers: set[int], first: int, shift: int) -> None:
    keys = np.array([first << 48 ^ number << shift for number in numbers], np.uint64)
    keys = keys[keys != 0]
    seen = SeenKeys(WINDOW)
    assert seen.add(keys, 0).all()
    seen.add(keys_of([1]), WINDOW // 2)  # the first ones are a generation of their own now
    others = np.setdiff1d(np.array([first << 48 ^ number << shift for number in range(1, 200)], np.uint64), keys)
    assert not seen.add(keys, WINDOW // 2).any()
    assert seen.add(others, WINDOW // 2).all()
    np.testing.assert_array_equal(seen._frozen[0].keys(), np.sort(keys))


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
