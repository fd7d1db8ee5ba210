"""Groups: the distinct values of a grouping, each with a slot number that the windows over it use as an index.

Slots are reused: a group whose samples have all left every window is forgotten, so memory follows the groups that are
active. Past the limit new groups share one overflow slot, which says so in its key.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import TextColumn
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.remembered import UNKNOWN, Remembered

__all__ = ["OVERFLOW", "Groups", "Key", "grown"]

Key = tuple[str, ...]
OVERFLOW = "(overflow)"
"""Stands for every group past the limit."""

_NEVER = np.iinfo(np.int64).min
_LARGE = 1 << 12
_SPARSE = 16
"""A table of combinations is made where it has so many times more places than there are rows, at the most."""


def grown(array: NDArray[np.generic], size: int, fill: object) -> NDArray[np.generic]:
    """Return a copy of `array` with room for `size` slots, the new ones set to `fill`."""
    # Zeros come from the system untouched; filling would make every page of the larger array real at once.
    shape = (size, *array.shape[1:])
    if array.dtype == object and fill is None:
        larger = np.empty(shape, object)  # of objects an empty array is one of None
    else:
        is_zero = array.dtype != object and fill == 0
        larger = np.zeros(shape, array.dtype) if is_zero else np.full(shape, fill, array.dtype)
    larger[: len(array)] = array
    return larger


def _combined(columns: Sequence[TextColumn]) -> tuple[NDArray[np.integer], int]:
    """Return [n] one number for the codes of each row, -1 where one of them is -1, and how many numbers there are."""
    if len(columns) == 1:
        return columns[0].code, len(columns[0].values)
    combined = np.zeros(len(columns[0].code), np.int64)
    known = np.ones(len(combined), np.bool_)
    size = 1
    for column in columns:
        combined = combined * len(column.values) + column.code
        known &= column.code >= 0
        size *= len(column.values)
    return np.where(known, combined, -1), size


def _keys_of(lists: Sequence[Sequence[str]], combined: NDArray[np.integer]) -> Iterable[Key]:
    """Return the keys that the numbers of `_combined` stand for."""
    columns = []
    for values in reversed(lists):
        columns.append([values[code] for code in (combined % len(values)).tolist()])
        combined = combined // len(values)
    return zip(*reversed(columns), strict=True)


class Groups:
    """Keys to slots for one grouping; `labels` wide. A grouping without labels has the one slot 0."""

    def __init__(self, width: int, limit: int) -> None:
        self.width = width
        self.limit = limit
        self.reserved: frozenset[str] = frozenset()
        """First labels that rules name: others do not crowd them out, up to as many again as the limit."""
        self.capacity = 16
        self.overflowed = 0
        """Samples that went to the overflow group."""
        self.keys: list[Key | None] = [None] * self.capacity
        self.last_time = np.full(self.capacity, _NEVER, np.int64)
        """[capacity] event time of the newest sample."""
        self._slots: dict[Key | str, int] = {}
        self._overflow: int | None = None
        self._free: list[int] = []
        """A heap: which slot a group gets must not hang on when others were forgotten."""
        self._next = 0
        self._remembered = Remembered()

    def __len__(self) -> int:
        """Return how many groups are known."""
        return len(self._slots)

    def slot(self, key: Key) -> int:
        """Return the slot of a key, a new one where it is not known."""
        name = key[0] if self.width == 1 else key
        slot = self._slots.get(name)
        return self._create(key) if slot is None else slot

    def find(self, key: Key) -> int | None:
        """Return the slot of a known key."""
        return self._slots.get(key[0] if self.width == 1 else key)

    def slots_of_texts(self, values: Sequence[str]) -> NDArray[np.int32]:
        """Return [len(values) + 1] the slot of each single-label key; the last is -1, so that code -1 finds it."""
        get = self._slots.get
        slots = [get(value) for value in values]
        if None in slots:
            # Looked up again, because a new value may stand there twice.
            slots = [self.slot((values[i],)) if slot is None else slot for i, slot in enumerate(slots)]
        return np.array([*slots, -1], np.int32)

    def slots_of_keys(self, keys: Iterable[Key]) -> NDArray[np.int32]:
        """Return [n] the slot of each key of several labels."""
        slot = self.slot
        return np.array([slot(key) for key in keys], np.int32)

    def slots_of(self, columns: Sequence[TextColumn]) -> NDArray[np.int32]:
        """Return [n] the slot of each row's key, -1 where a label is absent; `columns` are one for each label."""
        lists = tuple(column.values for column in columns)
        code, size = _combined(columns)
        rows = len(code)
        if len(columns) > 1 and size > max(_LARGE, _SPARSE * rows) and not self._remembered.holds("", lists):
            slots = np.full(rows, -1, np.int32)
            here = (code >= 0).nonzero()[0]
            distinct, place = np.unique(code[here], return_inverse=True)
            slots[here] = self.slots_of_keys(_keys_of(lists, distinct))[place]
            return slots
        get = self._slots.get
        slots = self._remembered.of(
            "",
            lists,
            code,
            size,
            absent=-1,
            known=(lambda: [get(value, UNKNOWN) for value in lists[0]]) if len(lists) == 1 and size <= rows else None,
            found=lambda codes: self.slots_of_keys(_keys_of(lists, codes)),
        )
        if self._overflow is not None:  # its keys may get slots of their own later
            self._remembered.forget([self._overflow], self._next)
        return slots

    def _create(self, key: Key) -> int:
        known = len(self._slots) - (self._overflow is not None)
        if not self.width or known < self.limit or (key[0] in self.reserved and known < 2 * self.limit):
            return self._take(key)
        if self._overflow is None:
            key = (OVERFLOW,) * self.width
            slot = self.find(key)
            self._overflow = self._take(key) if slot is None else slot
        return self._overflow

    def _take(self, key: Key) -> int:
        if self._free:
            slot = heapq.heappop(self._free)
        else:
            slot = self._next
            self._next += 1
            if slot >= self.capacity:
                self._grow()
        self._slots[key[0] if self.width == 1 else key] = slot
        self.keys[slot] = key
        self.last_time[slot] = _NEVER
        return slot

    def _grow(self) -> None:
        self.keys.extend([None] * self.capacity)
        self.capacity *= 2
        self.last_time = grown(self.last_time, self.capacity, _NEVER)  # type: ignore[assignment]  # grown keeps the dtype

    def seen(self, slots: NDArray[np.int32], times: NDArray[np.int64]) -> None:
        """Note samples of these slots at these times."""
        if self._overflow is not None:
            self.overflowed += int(np.count_nonzero(slots == self._overflow))
        np.maximum.at(self.last_time, slots, times)

    def sweep(self, before: int, spared: Callable[[int], bool]) -> NDArray[np.int64]:
        """Forget groups without a sample since event time `before`, unless `spared`; return their slots."""
        idle = [
            slot
            for slot in np.flatnonzero(self.last_time[: self._next] < before).tolist()
            if self.keys[slot] is not None and not spared(slot)
        ]
        for slot in idle:
            key = self.keys[slot]
            if key is not None:
                del self._slots[key[0] if self.width == 1 else key]
            if slot == self._overflow:
                self._overflow = None
            self.keys[slot] = None
            self.last_time[slot] = _NEVER
            heapq.heappush(self._free, slot)
        if idle:
            self._remembered.forget(idle, self._next)
        return np.array(idle, np.int64)

    @property
    def used(self) -> int:
        """How many slots were ever given out; they are the first ones."""
        return self._next

    def freeze(self) -> Frozen:
        """Return the groups' state."""
        keys, times, free = self.keys[: self._next], self.last_time[: self._next].copy(), self._free.copy()
        overflowed, overflow = self.overflowed, self._overflow

        def state() -> State:
            return {
                "used": len(keys),
                "texts": [text for key in keys if key is not None for text in key],
                "last_time": packed(times),
                "free": np.array(free, np.int64),
                "overflow": overflow,
                "overflowed": overflowed,
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take the groups of a state."""
        self._remembered.clear()
        self._next = section.integer("used", most=1 << 31)
        while self.capacity < self._next:
            self._grow()
        self.last_time[: self._next] = section.array("last_time", np.int64, self._next)
        free = section.array("free", np.int64, least=0, below=self._next)
        taken = np.ones(self._next, np.bool_)
        taken[free] = False
        slots = taken.nonzero()[0].tolist()
        if len(slots) + len(free) != self._next:
            raise section.unfit("has a free slot twice")
        self._free = free.tolist()
        heapq.heapify(self._free)
        texts = section.texts("texts", len(slots) * self.width)
        keys: list[Key] = list(zip(*[iter(texts)] * self.width, strict=True)) if self.width else [()] * len(slots)
        for slot, key in zip(slots, keys, strict=True):
            self.keys[slot] = key
        self._slots = dict(zip(texts if self.width == 1 else keys, slots, strict=True))
        if len(self._slots) != len(slots):
            raise section.unfit("has a group twice")
        self._overflow = section.optional("overflow")
        if self._overflow is not None and self._overflow not in self._slots.values():
            raise section.unfit("has an overflow group that is no group")
        self.overflowed = section.integer("overflowed")
