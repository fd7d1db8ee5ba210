"""Groups: the distinct values of a grouping, each with a slot number that the windows over it use as an index.

Slots are reused: a group whose samples have all left every window is forgotten, so memory follows the groups that are
active. Past the limit new groups share one overflow slot, which says so in its key.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["OVERFLOW", "Groups", "Key", "grown"]

Key = tuple[str, ...]
OVERFLOW = "(overflow)"
"""Stands for every group past the limit."""

_NEVER = np.iinfo(np.int64).min


def grown(array: NDArray[np.generic], size: int, fill: object) -> NDArray[np.generic]:
    """Return a copy of `array` with room for `size` slots, the new ones set to `fill`."""
    larger = np.full((size, *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger


class Groups:
    """Keys to slots for one grouping; `labels` wide. A grouping without labels has the one slot 0."""

    def __init__(self, width: int, limit: int) -> None:
        self.width = width
        self.limit = limit
        self.capacity = 16
        self.overflowed = 0
        """Samples that went to the overflow group."""
        self.keys: list[Key | None] = [None] * self.capacity
        self.last_time = np.full(self.capacity, _NEVER, np.int64)
        """[capacity] event time of the newest sample."""
        self._slots: dict[Key | str, int] = {}
        self._free: list[int] = []
        self._next = 0

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
            slots = [self._create((values[i],)) if slot is None else slot for i, slot in enumerate(slots)]
        return np.array([*slots, -1], np.int32)

    def _create(self, key: Key) -> int:
        name = key[0] if self.width == 1 else key
        if len(self._slots) >= self.limit and self.width:
            key = (OVERFLOW,) * self.width
            name = key[0] if self.width == 1 else key
            known = self._slots.get(name)
            if known is not None:
                self.overflowed += 1
                return known
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._next
            self._next += 1
            if slot >= self.capacity:
                self._grow()
        self._slots[name] = slot
        self.keys[slot] = key
        self.last_time[slot] = _NEVER
        return slot

    def _grow(self) -> None:
        self.keys.extend([None] * self.capacity)
        self.capacity *= 2
        self.last_time = grown(self.last_time, self.capacity, _NEVER)  # type: ignore[assignment]  # grown keeps the dtype

    def seen(self, slots: NDArray[np.int32], times: NDArray[np.int64]) -> None:
        """Note samples of these slots at these times."""
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
            self.keys[slot] = None
            self.last_time[slot] = _NEVER
            self._free.append(slot)
        return np.array(idle, np.int64)
