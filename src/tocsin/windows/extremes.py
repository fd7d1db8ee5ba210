"""Windows of aggregates that cannot be subtracted: minimum, maximum and the last value.

On expiry only the groups whose total could have come from the leaving pane are merged again from the panes that stay.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.groups import grown
from tocsin.windows.narrow import distinct
from tocsin.windows.panes import Layout, Panes, runs_of
from tocsin.windows.sums import Samples

__all__ = ["Extremes", "LastValues"]

Slots = NDArray[np.int32]
Array = NDArray[Any]
_Chunk = tuple[Slots, NDArray[np.int64], NDArray[np.float64]]
"""Slots, their samples, their extreme."""
_COUNTED: Layout = {"slots": (np.int32, ()), "count": (np.int64, ())}
_EXTREMES: Layout = {**_COUNTED, "extreme": (np.float64, ())}


class Extremes:
    """The largest (or smallest) value per group."""

    def __init__(self, window_ns: int, *, largest: bool) -> None:
        self.panes: Panes[_Chunk] = Panes(window_ns)
        self.capacity = 16
        self.largest = largest
        self._identity = -np.inf if largest else np.inf
        self._merge = np.maximum if largest else np.minimum
        self._count = np.zeros(self.capacity, np.int64)
        self._extreme = np.full(self.capacity, self._identity)

    def resize(self, capacity: int) -> None:
        """Make room for more slots."""
        self._count = grown(self._count, capacity, 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._extreme = grown(self._extreme, capacity, self._identity)
        self.capacity = capacity

    def reset(self, slots: NDArray[np.int64]) -> None:
        """Set slots back to nothing, for reuse."""
        self._count[slots] = 0
        self._extreme[slots] = self._identity

    def add(self, samples: Samples) -> None:
        """Count samples; those of panes that have left must not be among them."""
        values = samples.values.astype(np.float64)
        np.add.at(self._count, samples.slots, 1)
        self._merge.at(self._extreme, samples.slots, values)
        for pane, rows in runs_of(samples.times // self.panes.width_ns):
            slots, place = np.unique(samples.slots[rows], return_inverse=True)
            extreme = np.full(len(slots), self._identity)
            self._merge.at(extreme, place, values[rows])
            counts = np.bincount(place, minlength=len(slots)).astype(np.int64)
            self.panes.add(pane, (slots.astype(np.int32), counts, extreme), self._merged)

    def _merged(self, chunks: list[_Chunk]) -> _Chunk:
        held, samples, extremes = (np.concatenate(column) for column in zip(*chunks, strict=True))
        slots, place = distinct(held)
        extreme = np.full(len(slots), self._identity)
        self._merge.at(extreme, place, extremes.astype(np.float64, copy=False))
        return slots, _sums_by(place, samples, len(slots)), extreme

    def expire(self, now: int) -> list[Slots]:
        """Take back the panes that left at event time `now`; return the slots concerned."""
        gone = self.panes.expire(now)
        doubtful = []
        for slots, counts, extreme in gone:
            self._count[slots] -= counts
            doubtful.append(slots[extreme == self._extreme[slots]])
        if doubtful:
            self._remerge(np.unique(np.concatenate(doubtful)))
        return [slots for slots, _, _ in gone]

    def _remerge(self, slots: Array) -> None:
        self._extreme[slots] = self._identity
        doubted = np.zeros(self.capacity, np.bool_)
        doubted[slots[self._count[slots] > 0]] = True
        if not doubted.any():
            return
        for chunks in self.panes.chunks.values():
            for held, _, extreme in chunks:
                rows = doubted[held]
                self._merge.at(self._extreme, held[rows], extreme[rows].astype(np.float64, copy=False))

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return self._count[slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] zeros: a sample here always has a value."""
        return np.zeros(len(slots), np.int64)

    def freeze(self, used: int) -> Frozen:
        """Return the state of the first `used` slots, all that were ever given out."""
        count, extreme = self._count[:used].copy(), self._extreme[:used].copy()
        panes = self.panes.freeze(_EXTREMES, lambda chunk: chunk)

        def state() -> State:
            return {"count": packed(count), "extreme": extreme, "panes": panes()}

        return state

    def thaw(self, section: Section, used: int) -> None:
        """Take the state of `used` slots."""
        self._count[:used] = section.array("count", np.int64, used)
        self._extreme[:used] = section.array("extreme", np.float64, used)
        self.panes.thaw(section.part("panes"), _EXTREMES, used, lambda columns: (columns[0], columns[1], columns[2]))

    def highest(self, slots: Array) -> float:
        """Return the largest extreme of some slots that have samples, in raw units."""
        return float(np.fmax.reduce(self._extreme[slots]))

    def extreme(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] extremes in raw units; NaN where there are no samples."""
        return np.where(self._count[slots] > 0, self._extreme[slots], np.nan)

    def followed(self, before: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return [n] the extreme after each of a slot's next values; `before` is what it was, NaN without samples."""
        run: NDArray[np.float64] = self._merge.accumulate(values)
        return run if np.isnan(before) else self._merge(run, before)


class LastValues:
    """The value with the greatest event time per group; of equal times the one that arrived last."""

    def __init__(self, window_ns: int) -> None:
        self.panes: Panes[tuple[Slots, NDArray[np.int64]]] = Panes(window_ns)
        self.capacity = 16
        self._count = np.zeros(self.capacity, np.int64)
        self._time = np.zeros(self.capacity, np.int64)
        self._value = np.full(self.capacity, np.nan)

    def resize(self, capacity: int) -> None:
        """Make room for more slots."""
        self._count = grown(self._count, capacity, 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._time = grown(self._time, capacity, 0)  # type: ignore[assignment]  # as above
        self._value = grown(self._value, capacity, np.nan)
        self.capacity = capacity

    def reset(self, slots: NDArray[np.int64]) -> None:
        """Set slots back to nothing, for reuse."""
        self._count[slots] = 0
        self._time[slots] = 0
        self._value[slots] = np.nan

    def add(self, samples: Samples) -> None:
        """Count samples, ordered by time; those of panes that have left must not be among them."""
        newer = samples.times >= self._time[samples.slots]
        self._value[samples.slots[newer]] = samples.values[newer]
        self._time[samples.slots[newer]] = samples.times[newer]
        np.add.at(self._count, samples.slots, 1)
        for pane, rows in runs_of(samples.times // self.panes.width_ns):
            slots, counts = np.unique(samples.slots[rows], return_counts=True)
            self.panes.add(pane, (slots.astype(np.int32), counts.astype(np.int64)), self._merged)

    @staticmethod
    def _merged(chunks: list[tuple[Slots, NDArray[np.int64]]]) -> tuple[Slots, NDArray[np.int64]]:
        held, samples = (np.concatenate(column) for column in zip(*chunks, strict=True))
        slots, place = distinct(held)
        return slots, _sums_by(place, samples, len(slots))

    def expire(self, now: int) -> list[Slots]:
        """Take back the panes that left at event time `now`; return the slots concerned."""
        gone = self.panes.expire(now)
        for slots, counts in gone:
            self._count[slots] -= counts
            self.reset(slots[self._count[slots] == 0].astype(np.int64))
        return [slots for slots, _ in gone]

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return self._count[slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] zeros: a sample here always has a value."""
        return np.zeros(len(slots), np.int64)

    def freeze(self, used: int) -> Frozen:
        """Return the state of the first `used` slots, all that were ever given out."""
        held = {
            "count": self._count[:used].copy(),
            "time": self._time[:used].copy(),
            "value": self._value[:used].copy(),
        }
        panes = self.panes.freeze(_COUNTED, lambda chunk: chunk)

        def state() -> State:
            return {name: packed(column) for name, column in held.items()} | {"panes": panes()}

        return state

    def thaw(self, section: Section, used: int) -> None:
        """Take the state of `used` slots."""
        self._count[:used] = section.array("count", np.int64, used)
        self._time[:used] = section.array("time", np.int64, used)
        self._value[:used] = section.array("value", np.float64, used)
        self.panes.thaw(section.part("panes"), _COUNTED, used, lambda columns: (columns[0], columns[1]))

    def last(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] last values in raw units; NaN where there are no samples."""
        return self._value[slots]

    def times(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] event times of the last values; 0 where there are no samples."""
        return self._time[slots]


def _sums_by(place: NDArray[np.intp], numbers: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    total = np.zeros(size, np.int64)
    np.add.at(total, place, numbers.astype(np.int64, copy=False))
    return total
