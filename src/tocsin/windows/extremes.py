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
from tocsin.windows.panes import Layout, Panes, panes_over, runs_of
from tocsin.windows.reach import Reach
from tocsin.windows.sums import Samples

__all__ = ["Extremes", "LastValues"]

Slots = NDArray[np.int32]
Array = NDArray[Any]
_Chunk = tuple[Slots, NDArray[np.int64], NDArray[np.float64]]
"""Slots, their samples, their extreme."""
_Counted = tuple[Slots, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Distinct slots, their samples; of a pane that waits also time and value of the last, else two empty arrays."""
_COUNTED: Layout = {"slots": (np.int32, ()), "count": (np.int64, ())}
_WAITING: Layout = {**_COUNTED, "time": (np.int64, ()), "value": (np.float64, ())}
_NO_TIMES, _NO_VALUES = np.zeros(0, np.int64), np.zeros(0)
_NEVER = np.iinfo(np.int64).min
_EXTREMES: Layout = {**_COUNTED, "extreme": (np.float64, ())}


class Extremes:
    """The largest (or smallest) value per group."""

    def __init__(self, window: int | Reach | Panes[_Chunk], *, largest: bool) -> None:
        self.panes = panes_over(window)
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
        """Count samples, ordered by time; late ones must not be among them. `expire` must have been told the time."""
        values = samples.values.astype(np.float64)
        counted = self.panes.counted(samples.times)
        np.add.at(self._count, samples.slots[counted], 1)
        self._merge.at(self._extreme, samples.slots[counted], values[counted])
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
        """Move on to event time `now`; return the slots of what came into the window and of what left it."""
        if self.panes.begins_anew(now):
            return self._emptied()
        entered, gone = self.panes.move_to(now)
        for slots, counts, extreme in entered:
            self._count[slots] += counts.astype(np.int64, copy=False)
            self._extreme[slots] = self._merge(self._extreme[slots], extreme)
        doubtful = []
        for slots, counts, extreme in gone:
            self._count[slots] -= counts
            doubtful.append(slots[extreme == self._extreme[slots]])
        if doubtful:
            self._remerge(np.unique(np.concatenate(doubtful)))
        return [slots for slots, _, _ in (*entered, *gone)]

    def _emptied(self) -> list[Slots]:
        slots = self._count.nonzero()[0]
        self.reset(slots)
        return [slots.astype(np.int32)] if len(slots) else []

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

    def __init__(self, window: int | Reach | Panes[_Counted]) -> None:
        self.panes = panes_over(window)
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
        """Count samples, ordered by time; late ones must not be among them. `expire` must have been told the time."""
        counted = samples.part(self.panes.counted(samples.times)) if self.panes.waits else samples
        self._follow(counted.slots, counted.times, counted.values)
        np.add.at(self._count, counted.slots, 1)
        for pane, run in runs_of(samples.times // self.panes.width_ns):
            if pane < self.panes.counts_below:
                slots, counts = np.unique(samples.slots[run], return_counts=True)
                chunk = (slots.astype(np.int32), counts.astype(np.int64), _NO_TIMES, _NO_VALUES)
            else:
                ones = np.ones(run.stop - run.start, np.int64)
                values = samples.values[run].astype(np.float64)
                chunk = self._merged([(samples.slots[run], ones, samples.times[run], values)])
            self.panes.add(pane, chunk, self._merged)

    def _follow(self, slots: Slots, times: NDArray[np.int64], values: Array) -> None:
        """Take values, ordered by time of equal slots, that are not older than what is known."""
        newer = times >= self._time[slots]
        self._value[slots[newer]] = values[newer]
        self._time[slots[newer]] = times[newer]

    @staticmethod
    def _merged(chunks: list[_Counted]) -> _Counted:
        held, samples, times, values = (np.concatenate(column) for column in zip(*chunks, strict=True))
        slots, place = distinct(held)
        counts = _sums_by(place, samples, len(slots))
        if len(times) < len(held):  # some were counted on arrival
            return slots, counts, _NO_TIMES, _NO_VALUES
        order = np.lexsort((times, place))  # stable: of equal times the last arrival stays last
        last = order[np.cumsum(np.bincount(place, minlength=len(slots))) - 1]
        return slots, counts, times[last].astype(np.int64), values[last].astype(np.float64)

    def expire(self, now: int) -> list[Slots]:
        """Move on to event time `now`; return the slots of what came into the window and of what left it."""
        if self.panes.begins_anew(now):
            return self._emptied()
        entered, gone = self.panes.move_to(now)
        for slots, counts, times, values in entered:
            self._count[slots] += counts.astype(np.int64, copy=False)
            self._follow(slots, times.astype(np.int64, copy=False), values)
        for slots, counts, _, _ in gone:
            self._count[slots] -= counts
            self.reset(slots[self._count[slots] == 0].astype(np.int64))
        return [chunk[0] for chunk in (*entered, *gone)]

    def _emptied(self) -> list[Slots]:
        slots = self._count.nonzero()[0]
        self.reset(slots)
        return [slots.astype(np.int32)] if len(slots) else []

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
        panes = self.panes.freeze(_WAITING if self.panes.waits else _COUNTED, _columns_of)

        def state() -> State:
            return {name: packed(column) for name, column in held.items()} | {"panes": panes()}

        return state

    def thaw(self, section: Section, used: int) -> None:
        """Take the state of `used` slots."""
        self._count[:used] = section.array("count", np.int64, used)
        self._time[:used] = section.array("time", np.int64, used)
        self._value[:used] = section.array("value", np.float64, used)
        self.panes.thaw(section.part("panes"), _WAITING if self.panes.waits else _COUNTED, used, _counted_of)

    def last(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] last values in raw units; NaN where there are no samples."""
        return self._value[slots]

    def times(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] event times of the last values; 0 where there are no samples."""
        return self._time[slots]


def _columns_of(chunk: _Counted) -> tuple[Array, ...]:
    slots, counts, times, _ = chunk
    if len(times):
        return chunk
    return slots, counts, np.full(len(slots), _NEVER), np.full(len(slots), np.nan)


def _counted_of(columns: list[Array]) -> _Counted:
    if len(columns) > len(_COUNTED) and columns[2][0] != _NEVER:
        return columns[0], columns[1], columns[2], columns[3]
    return columns[0], columns[1], _NO_TIMES, _NO_VALUES


def _sums_by(place: NDArray[np.intp], numbers: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    total = np.zeros(size, np.int64)
    np.add.at(total, place, numbers.astype(np.int64, copy=False))
    return total
