"""A bulk hash index: uint64 keys to small integers, looked up by the batch instead of by the key.

Two of them with one contract: `NumpyIndex` here, and the native one of `native/src/index.rs` where it was built, which
is about ten times as fast. `KeyIndex` is whichever is there; tests/windows/test_index.py holds them to each other.

Open addressing with linear probing on numpy arrays: one probe round is a handful of array operations whatever the
number of keys, and at a load of at most one half a few rounds are enough. Keys are mixed first (the finalizer of
MurmurHash3, Appleby 2011), so ids that are not random (a counter, a time) do not cluster.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section

try:
    from tocsin._native import KeyTable
except ImportError:  # built without cargo: tocsin.decode says so once
    KeyTable = None  # type: ignore[assignment,misc]  # the absence of the class

__all__ = ["KeyIndex", "NativeIndex", "NumpyIndex", "Secret", "keys_of_texts", "mix", "thawed_index"]

_EMPTY = np.uint64(0)
_MULTIPLIER_1 = np.uint64(0xFF51AFD7ED558CCD)
_MULTIPLIER_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_TEXTS_AT_ONCE = 1024


class Secret:
    """What nobody outside knows, so that nobody can choose ids of which two have one key.

    A new one is the process's own, drawn by the interpreter. It belongs to the keys that were made with it: where they
    are kept, it is kept beside them.
    """

    __slots__ = ("_coefficients", "value")

    def __init__(self) -> None:
        self.keep(hash("what Python's own dictionaries keep from those who choose keys") & 0xFFFF_FFFF_FFFF_FFFF)

    def keep(self, value: int) -> None:
        """Take the 64 bits that other keys were made with."""
        self.value = np.uint64(value)
        self._coefficients = np.zeros(0, np.uint64)

    def coefficients(self, size: int) -> NDArray[np.uint64]:
        """Return [size or more] odd numbers that follow from the secret."""
        if len(self._coefficients) < size:
            size = 1 << max(size - 1, 127).bit_length()
            self._coefficients = _finalized(_finalized(np.arange(1, size + 1, dtype=np.uint64)) ^ self.value) | _ONE
        return self._coefficients


_ONE = np.uint64(1)
_OF_THE_PROCESS = Secret()


def mix(high: NDArray[np.uint64], low: NDArray[np.uint64], secret: Secret = _OF_THE_PROCESS) -> NDArray[np.uint64]:
    """Return [n] well-spread keys of pairs of 64-bit numbers; never 0, which marks an empty place."""
    key = _finalized(_finalized(low ^ secret.value) + high)
    key[key == _EMPTY] = 1
    return key


def keys_of_texts(texts: Sequence[str], secret: Secret) -> NDArray[np.uint64]:
    """Return [n] keys of texts, as `mix` makes them of numbers.

    The characters are summed up, each times a secret number of its place: of two texts nobody can tell whether they
    have one sum (Carter, Wegman, "Universal classes of hash functions", JCSS 18, 1979).
    """
    parts = [texts[at : at + _TEXTS_AT_ONCE] for at in range(0, len(texts), _TEXTS_AT_ONCE)]
    sums = [_sums_of(part, secret) for part in parts]
    whole = np.concatenate(sums) if sums else np.zeros(0, np.uint64)
    lengths = np.fromiter(map(len, texts), np.uint64, len(texts))
    return mix(lengths, whole, secret)


def _sums_of(texts: Sequence[str], secret: Secret) -> NDArray[np.uint64]:
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths)
    begins = ends - lengths
    places = np.arange(len(characters)) - np.repeat(begins, lengths)
    running = np.zeros(len(characters) + 1, np.uint64)
    coefficients = secret.coefficients(int(lengths.max(initial=0)))
    np.cumsum(characters.astype(np.uint64) * coefficients[places], out=running[1:])
    return running[ends] - running[begins]


def _finalized(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return [n] numbers with every bit depending on every bit; `key` is changed in place."""
    key ^= key >> _SHIFT
    key *= _MULTIPLIER_1
    key ^= key >> _SHIFT
    key *= _MULTIPLIER_2
    key ^= key >> _SHIFT
    return key


class NumpyIndex:
    """Mixed keys (see `mix`) to rows 0, 1, 2 … in order of insertion."""

    def __init__(self, capacity: int = 1024) -> None:
        self.rows = 0
        """How many rows were given out."""
        self._held = 0
        self._allocate(1 << max(capacity - 1, 1).bit_length())

    def _allocate(self, places: int) -> None:
        self._keys = np.zeros(places, np.uint64)
        self._values = np.full(places, -1, np.int32)  # a key without a row yet is none to `freeze`
        self._mask = np.uint64(places - 1)

    def __len__(self) -> int:
        """Return the number of keys."""
        return self._held

    def keys(self) -> NDArray[np.uint64]:
        """Return all keys, in no order."""
        return self._keys[self._keys != _EMPTY]

    def freeze(self) -> Callable[[], NDArray[np.uint64]]:
        """Return what gives [rows] the key of each row given out up to now, also after more were inserted.

        Not after `renumber`, and where every row has a key.
        """
        rows, keys, values = self.rows, self._keys, self._values

        def in_order() -> NDArray[np.uint64]:
            out = np.zeros(rows, np.uint64)
            held = np.flatnonzero((values >= 0) & (values < rows))
            out[values[held]] = keys[held]
            return out

        return in_order

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return [n] the row of each key, -1 where it is not there."""
        place = (keys & self._mask).view(np.int64)
        there = self._keys[place]
        found = there == keys
        result = np.where(found, self._values[place], np.int32(-1))
        going = np.flatnonzero(~found & (there != _EMPTY))
        while len(going):
            place = ((place if len(place) == len(going) else place[going]) + 1) & np.int64(self._mask)
            wanted = keys[going]
            there = self._keys[place]
            found = there == wanted
            result[going[found]] = self._values[place[found]]
            on = np.flatnonzero(~found & (there != _EMPTY))
            going, place = going[on], place[on]
        return result

    def find_or_insert(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return [n] the row of each key, and whether it was given now; of equal new keys the first is the new one."""
        count = len(keys)
        if (self._held + count) * 2 > len(self._keys):
            self._grow(self._held + count)
        result = np.empty(count, np.int32)
        fresh = np.zeros(count, np.bool_)
        taken = np.empty(count, np.int64)
        # While it lasts a new key has a row of its own, past those given out, by which it knows its place again.
        candidate = np.arange(self.rows, self.rows + count, dtype=np.int32)
        # Backwards: of several writes to one place the last, so the first key, stays.
        going = np.arange(count - 1, -1, -1)
        wanted = keys[::-1]
        place = (wanted & self._mask).view(np.int64)
        while len(going):
            empty = self._keys[place] == _EMPTY
            if empty.any():
                self._keys[place[empty]] = wanted[empty]
                won = empty & (self._keys[place] == wanted)
                self._values[place[won]] = candidate[going[won]]
                owner = won & (self._values[place] == candidate[going])
                fresh[going[owner]] = True
                taken[going[owner]] = place[owner]
            found = self._keys[place] == wanted
            result[going[found]] = self._values[place[found]]
            on = np.flatnonzero(~found)
            going, wanted, place = going[on], wanted[on], (place[on] + 1) & np.int64(self._mask)
        self._close_ranks(result, fresh, taken)
        return result, fresh

    def _close_ranks(self, result: NDArray[np.int32], fresh: NDArray[np.bool_], taken: NDArray[np.int64]) -> None:
        """Give the new keys the rows that follow the last one, without the gaps that known keys left."""
        new = int(np.count_nonzero(fresh))
        if new and new < len(fresh):
            final = np.cumsum(fresh, dtype=np.int32) + np.int32(self.rows - 1)
            self._values[taken[fresh]] = final[fresh]
            later = result >= self.rows
            result[later] = final[result[later] - self.rows]
        self.rows += new
        self._held += new

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Give every key the row `moved[its row]` ([rows]), forgetting those where it is -1; rows go on after it."""
        held = np.flatnonzero(self._keys != _EMPTY)
        values = moved[self._values[held]]
        staying = values >= 0
        self._refill(self._keys[held][staying], values[staying], len(self._keys))
        self.rows = int(values.max(initial=-1)) + 1

    def _grow(self, wanted: int) -> None:
        held = np.flatnonzero(self._keys != _EMPTY)
        places = len(self._keys)
        while places < wanted * 3:
            places *= 2
        self._refill(self._keys[held], self._values[held], places)

    def _refill(self, keys: NDArray[np.uint64], values: NDArray[np.int32], places: int) -> None:
        self._allocate(places)
        self._held = len(keys)
        place = (keys & self._mask).view(np.int64)
        while len(keys):
            empty = self._keys[place] == _EMPTY
            self._keys[place[empty]] = keys[empty]
            won = self._keys[place] == keys
            self._values[place[won]] = values[won]
            on = np.flatnonzero(~won)
            keys, values, place = keys[on], values[on], (place[on] + 1) & np.int64(self._mask)


class NativeIndex:
    """The same in Rust: one pass over the keys without intermediate arrays."""

    def __init__(self, capacity: int = 1024) -> None:  # it grows by itself
        self._table = KeyTable()

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._table)

    @property
    def rows(self) -> int:
        """How many rows were given out."""
        return self._table.rows

    def keys(self) -> NDArray[np.uint64]:
        """Return all keys, in no order."""
        out = np.empty(len(self._table), np.uint64)
        self._table.keys(out)
        return out

    def freeze(self) -> Callable[[], NDArray[np.uint64]]:
        """Return what gives [rows] the key of each row given out up to now, also after more were inserted.

        Not after `renumber`, and where every row has a key.
        """
        table, rows = self._table, self._table.rows

        def in_order() -> NDArray[np.uint64]:
            out = np.empty(rows, np.uint64)
            table.keys_by_row(out)
            return out

        return in_order

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return [n] the row of each key, -1 where it is not there."""
        out = np.empty(len(keys), np.int32)
        self._table.find(np.ascontiguousarray(keys), out)
        return out

    def find_or_insert(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return [n] the row of each key, and whether it was given now; of equal new keys the first is the new one."""
        out = np.empty(len(keys), np.int32)
        fresh = np.empty(len(keys), np.uint8)
        self._table.find_or_insert(np.ascontiguousarray(keys), out, fresh)
        return out, fresh.view(np.bool_)

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Give every key the row `moved[its row]` ([rows]), forgetting those where it is -1; rows go on after it."""
        self._table.renumber(np.ascontiguousarray(moved))


KeyIndex = NumpyIndex if TYPE_CHECKING or KeyTable is None else NativeIndex


def thawed_index(section: Section, name: str, size: int | None = None) -> NumpyIndex | NativeIndex:
    """Return a KeyIndex with the keys that its `freeze` gave ([rows])."""
    keys = section.array(name, np.uint64)
    index = KeyIndex(max(1024, 2 * len(keys)))
    if size is not None and len(keys) != size:
        raise section.unfit(f"has {len(keys)} {name!r} where {size} are due")
    if (keys == _EMPTY).any():
        raise section.unfit(f"has {name!r} without a value")
    _, fresh = index.find_or_insert(keys)
    if not fresh.all():
        raise section.unfit(f"has {name!r} twice")
    return index
