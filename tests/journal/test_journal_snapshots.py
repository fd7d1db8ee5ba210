"""Snapshots: every state comes back as it was, every damage is told, and a full disk costs only the snapshot."""

import errno
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import SnapshotError
from tocsin.journal.snapshots import KEPT, SnapshotFile, Snapshots
from tocsin.journal.tree import Arrays, plain, restored
from tocsin.model.state import State

_DTYPES = ["u1", "<i2", ">i4", "<u8", "<i8", "<f4", "<f8", "?", "<c16", "<U3", "S4", "<M8[ns]"]
_TEXTS = st.text(st.characters(), max_size=6)


def _array(
    dtype: str, shape: tuple[int, ...], seed: int, strided: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    kind = np.dtype(dtype)
    size = math.prod(shape)
    rng = np.random.default_rng(seed)
    if kind.kind in "US":
        made = np.array([f"{number}é"[:3].encode("ascii", "replace").decode() for number in range(size)], kind)
    elif kind.kind == "b":
        made = rng.random(size) < 0.5
    else:
        made = np.frombuffer(rng.bytes(size * kind.itemsize), kind)
    made = made.reshape(shape)
    return made.T if strided else made


_ARRAYS = st.builds(
    _array,
    st.sampled_from(_DTYPES),
    st.sampled_from([(), (0,), (1,), (5,), (0, 4), (3, 2), (2, 1, 3)]),
    st.integers(0, 99),
    st.booleans(),
)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), _TEXTS, st.sampled_from(["$", ""])
)


def _long(items: st.SearchStrategy[State]) -> st.SearchStrategy[State]:
    return st.lists(items, min_size=64, max_size=70)


def _states() -> st.SearchStrategy[State]:
    leaves = st.one_of(_SCALARS, _ARRAYS, _long(st.floats()), _long(_TEXTS), st.lists(st.integers(-5, 5), max_size=4))
    keys = st.one_of(_TEXTS.filter(_is_utf8), st.just("$"))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=6,
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _given(state: State) -> State:
    return state


def assert_same_state(found: State, expected: State) -> None:
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype.newbyteorder("<")
        assert found.tobytes() == expected.astype(found.dtype).tobytes()
    elif isinstance(expected, Mapping):
        assert isinstance(found, Mapping)
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same_state(found[key], value)
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for left, right in zip(found, expected, strict=True):
            assert_same_state(left, right)
    elif isinstance(expected, float):
        assert isinstance(found, float)
        assert repr(found) == repr(expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


def kept(directory: Path, state: Mapping[str, State], position: int = 7) -> SnapshotFile:
    snapshots = Snapshots(directory)
    assert snapshots.write(position, {name: partial(_given, part) for name, part in state.items()})
    return next(file for file in snapshots if file.position == position)


@settings(deadline=None)
@given(_states())
def test_a_state_comes_back_as_it_was(state: State) -> None:
    text, arrays = plain(state)
    left: Arrays = arrays[::-1]
    assert_same_state(restored(text, lambda _, __: left.pop().copy()), state)
    assert not left


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["engine", "rules", "é"]), _states(), max_size=3))
def test_a_snapshot_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, state: dict[str, State]) -> None:
    found = kept(tmp_path_factory.mktemp("kept"), state).read()
    assert_same_state(found, state)


def test_arrays_may_be_written_to_and_are_their_own(tmp_path: Path) -> None:
    found = kept(tmp_path, {"a": {"x": np.arange(3), "y": np.arange(4)}}).read()["a"]
    assert isinstance(found, Mapping)
    for array in found.values():
        assert isinstance(array, np.ndarray)
        assert array.flags.writeable
        assert array.base is None


SMALL: Mapping[str, State] = {
    "engine": {"names": ["a"] * 70, "sums": np.arange(4), "limit": math.inf, "on": True},
    "rules": "[]",
}


def test_a_snapshot_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    file = kept(tmp_path, SMALL)
    whole = file.path.read_bytes()
    assert_same_state(file.read(), SMALL)
    for end in range(len(whole)):
        file.path.write_bytes(whole[:end])
        with pytest.raises(SnapshotError):
            file.read()
    file.path.write_bytes(whole + b"\0")
    with pytest.raises(SnapshotError, match="does not end"):
        file.read()


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_is_told_wherever_it_is(tmp_path: Path, flip: int) -> None:
    file = kept(tmp_path, SMALL)
    whole = file.path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        file.path.write_bytes(damaged)
        with pytest.raises(SnapshotError):
            file.read()


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    file = kept(tmp_path, SMALL)
    whole = bytearray(file.path.read_bytes())
    whole[7] = 2
    file.path.write_bytes(whole)
    with pytest.raises(SnapshotError, match="version 2, and this program reads 1"):
        file.read()


def test_a_snapshot_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    file = kept(tmp_path, SMALL)
    other = file.path.rename(tmp_path / f"snapshot-{8:020}")
    with pytest.raises(SnapshotError, match="position 7"):
        SnapshotFile(other, 8).read()


def test_the_newest_come_first_and_two_stay(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    for position in (3, 20, 100):
        assert snapshots.write(position, {})
    assert snapshots.prune() == [100, 20]
    assert [file.position for file in snapshots] == [100, 20]
    assert len(list(tmp_path.iterdir())) == KEPT


def test_nobody_else_may_read_a_snapshot(tmp_path: Path) -> None:
    assert kept(tmp_path, SMALL).path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_process_left_unfinished_is_no_snapshot_and_goes(tmp_path: Path) -> None:
    (tmp_path / f"snapshot-{9:020}.tmp").write_bytes(b"half")
    snapshots = Snapshots(tmp_path)
    assert list(snapshots) == []
    snapshots.clean()
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_can_not_be_kept_costs_only_the_snapshot(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    assert snapshots.write(1, {"good": lambda: 1})
    assert not snapshots.write(2, {"bad": lambda: {"x": np.array([object()])}})
    assert not snapshots.write(3, {"bad": lambda: 1 << 70})
    assert [file.position for file in snapshots] == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_one_section_is_in_memory_at_a_time(tmp_path: Path) -> None:
    alive = 0

    class Counted(dict[str, State]):
        def __init__(self) -> None:
            nonlocal alive
            assert alive == 0
            alive += 1
            super().__init__(x=1)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    assert Snapshots(tmp_path).write(1, dict.fromkeys(("a", "b", "c"), Counted))
    assert alive == 0


def test_a_disk_that_fails_at_the_end_leaves_the_snapshot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = Snapshots(tmp_path)
    assert snapshots.write(1, {"a": lambda: 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert not snapshots.write(2, {"a": lambda: 1})
    monkeypatch.undo()
    assert [file.position for file in snapshots] == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_snapshot_is_not_one_of_the_two_that_stay(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path)
    for position in (1, 2):
        assert kept.write(position, {"part": lambda: {"a": 1}})
    newest = kept.listed()[0]
    data = bytearray(newest.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.path.write_bytes(data)
    with pytest.raises(SnapshotError):
        newest.read()
    assert kept.write(3, {"part": lambda: {"a": 3}})
    assert kept.prune() == [3, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"snapshot-{1:020}", f"snapshot-{3:020}"]
