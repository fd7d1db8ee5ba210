"""The hash indexes against a dict, and against each other."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.windows.index import KeyIndex, NativeIndex, NumpyIndex, mix

AnyIndex = NumpyIndex | NativeIndex
needs_native = pytest.mark.skipif(KeyIndex is NumpyIndex, reason="built without cargo")
KINDS = [pytest.param(NumpyIndex, id="numpy"), pytest.param(NativeIndex, id="native", marks=needs_native)]

# Few low bits, so that probes collide and wrap around the end of the table.
keys = st.one_of(
    st.integers(1, 40),
    st.integers(1, 40).map(lambda high: (high << 40) | 1023),
    st.integers(1, 2**64 - 1),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.lists(keys, max_size=40)),
        st.tuples(st.just("find"), st.lists(keys, max_size=20)),
        st.tuples(st.just("renumber"), st.lists(st.integers(0, 6), max_size=6)),
    ),
    max_size=12,
)


def array(values: list[int]) -> NDArray[np.uint64]:
    return np.array(values, np.uint64)


class Model:
    """What an index must do, with a dict."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.rows = 0

    def insert(self, wanted: list[int]) -> tuple[list[int], list[bool]]:
        rows, fresh = [], []
        for key in wanted:
            fresh.append(key not in self.held)
            if key not in self.held:
                self.held[key] = self.rows
                self.rows += 1
            rows.append(self.held[key])
        return rows, fresh

    def renumber(self, dropped: set[int]) -> NDArray[np.int32]:
        moved = np.full(self.rows, -1, np.int32)
        kept = [row for row in range(self.rows) if row not in dropped]
        moved[kept] = np.arange(len(kept))
        self.held = {key: int(moved[row]) for key, row in self.held.items() if moved[row] >= 0}
        self.rows = max(self.held.values(), default=-1) + 1
        return moved


@pytest.mark.parametrize("kind", KINDS)
@given(course=steps)
def test_an_index_does_what_a_dict_does(kind: Callable[[], AnyIndex], course: list[tuple[str, list[int]]]) -> None:
    index, model = kind(), Model()
    for name, argument in course:
        match name:
            case "insert":
                rows, fresh = index.find_or_insert(array(argument))
                assert (rows.tolist(), fresh.tolist()) == model.insert(argument)
                assert rows.dtype == np.int32
                assert fresh.dtype == np.bool_
            case "find":
                assert index.find(array(argument)).tolist() == [model.held.get(key, -1) for key in argument]
            case _:
                index.renumber(model.renumber(set(argument)))
        assert index.rows == model.rows
        assert len(index) == len(model.held)
        assert sorted(index.keys().tolist()) == sorted(model.held)
        every = list(model.held)
        assert index.find(array(every)).tolist() == list(model.held.values())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_an_index_grows_and_keeps_what_it_holds(kind: Callable[[], AnyIndex], seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, model = kind(), Model()
    for size in (1, 700, 3000, 9000):
        wanted = mix(np.zeros(size, np.uint64), rng.integers(0, 6000, size).astype(np.uint64))
        rows, fresh = index.find_or_insert(wanted)
        assert (rows.tolist(), fresh.tolist()) == model.insert(wanted.tolist())
    assert index.find(array(list(model.held))).tolist() == list(model.held.values())
    index.renumber(model.renumber(set(range(0, model.rows, 2))))
    again = mix(np.zeros(50, np.uint64), np.arange(50, dtype=np.uint64))
    rows, fresh = index.find_or_insert(again)
    assert (rows.tolist(), fresh.tolist()) == model.insert(again.tolist())


@pytest.mark.parametrize("capacity", [1, 2, 3, 1000, 1024])
def test_any_capacity_does(capacity: int) -> None:
    index = NumpyIndex(capacity)
    rows, _ = index.find_or_insert(array([5, 6, 7]))
    assert index.find(array([7, 6, 5])).tolist() == rows[::-1].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_are_not_contiguous_do(kind: Callable[[], AnyIndex]) -> None:
    index = kind()
    every = array([1, 2, 3, 4, 5, 6])
    assert index.find_or_insert(every[::2])[0].tolist() == [0, 1, 2]
    assert index.find(every[::-1]).tolist() == [-1, 2, -1, 1, -1, 0]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1, max_size=50, unique=True))
def test_mixed_keys_are_never_zero_and_pairs_keep_theirs(pairs: list[tuple[int, int]]) -> None:
    high, low = (array(list(column)) for column in zip(*pairs, strict=True))
    mixed = mix(high, low)
    assert (mixed != 0).all()
    assert mixed.tolist() == [int(mix(high[i : i + 1], low[i : i + 1])[0]) for i in range(len(pairs))]


def test_keys_of_a_counter_are_spread() -> None:
    mixed = mix(np.zeros(4096, np.uint64), np.arange(4096, dtype=np.uint64))
    low_bits = np.bincount((mixed & np.uint64(63)).astype(np.int64), minlength=64)
    assert len(np.unique(mixed)) == 4096
    assert low_bits.min() > 25
    assert low_bits.max() < 110
