"""Windows of invertible aggregates: a running total per group; a pane is added on arrival and subtracted on expiry.

Two kinds: integers (money in nano-USD, nanoseconds, tokens, outcomes), exact by nature, and floats, kept from drifting
by `tocsin.windows.exact`. Both give sums, means, counts and rates; the float kind also standard deviations and weighted
(sampling-adjusted) samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.compact import Wide, compacted, restored, rows_of, widened
from tocsin.windows.exact import add_pairs, moments_of, running_pairs, variance_of, weighted_powers
from tocsin.windows.groups import grown
from tocsin.windows.narrow import distinct
from tocsin.windows.panes import Layout, Panes, merge_tail, panes_over, parts_of, runs_of
from tocsin.windows.reach import Reach

__all__ = ["FloatSums", "IntegerSums", "Samples"]

_TRUSTED_DROP = 1e3
"""By how much a sum of squares may shrink before it is added up anew: what a pair of doubles keeps after that is still
right to 1e-28."""

Slots = NDArray[np.int32]
Array = NDArray[Any]
_Chunk = tuple[Slots, tuple[Array, ...]]
"""[k] distinct or repeated slots, and their columns."""
_Window = int | Reach | Panes[_Chunk]
"""A sliding window's length in nanoseconds, another reach, or the panes themselves."""


@dataclass(slots=True)
class Samples:
    """Rows of a batch on their way into windows; ordered by time."""

    slots: Slots
    times: NDArray[np.int64]
    """[n] event times."""
    values: Array
    """[n] int64 or float64, in the raw unit of the metric."""
    counts: NDArray[np.int64] | None = None
    """[n] how many samples a row is: 0 for usage records, whose call is another row; None: 1 each."""
    unpriced: NDArray[np.bool_] | None = None
    """[n] rows whose value is unknown: they are no samples of the sum, and make it a lower bound."""
    weights: NDArray[np.float64] | None = None
    """[n] how many spans a row stands for (head sampling)."""
    reduced: Any = field(default=None, repr=False, compare=False)
    """What the first window of floats made of all rows, for others of the same samples; nobody changes it."""
    effect: Any = field(default=None, repr=False, compare=False)
    """What they can do to a window's values, for whoever asks next."""
    joined: Any = field(default=None, repr=False, compare=False)
    """The samples before these and these, and all of them as one; for others that were given the same."""

    def part(self, rows: slice | NDArray[Any]) -> "Samples":
        """Return some of the rows."""
        return Samples(
            self.slots[rows],
            self.times[rows],
            self.values[rows],
            None if self.counts is None else self.counts[rows],
            None if self.unpriced is None else self.unpriced[rows],
            None if self.weights is None else self.weights[rows],
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.slots)


_ONES, _ZEROS = np.ones(1024, np.int64), np.zeros(1024, np.int64)
_ONES.flags.writeable = _ZEROS.flags.writeable = False


def _constant(longer: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return [size] the one number that an array is full of; chunks of small batches share it."""
    return longer[:size] if size <= len(longer) else np.full(size, longer[0])


class _Sums:
    """What both kinds share: panes of (slots, columns) chunks, and totals with one array per column."""

    def __init__(self, window: _Window, layout: Mapping[str, tuple[type, tuple[int, ...]]], chunks: Layout) -> None:
        self.panes = panes_over(window)
        self.capacity = 16
        self._totals: dict[str, Array] = {
            name: np.zeros((self.capacity, *shape), dtype) for name, (dtype, shape) in layout.items()
        }
        self._chunks = chunks

    def freeze(self, used: int) -> Frozen:
        """Return the state of the first `used` slots, all that were ever given out."""
        totals = {name: total[:used].copy() for name, total in self._totals.items()}
        panes = self.panes.freeze(self._chunks, self._columns_of)

        def state() -> State:
            return {"totals": {name: packed(total) for name, total in totals.items()}, "panes": panes()}

        return state

    def thaw(self, section: Section, used: int) -> None:
        """Take the state of `used` slots."""
        totals = section.part("totals")
        for name, total in self._totals.items():
            total[:used] = totals.array(name, total.dtype, used, shape=total.shape[1:])
        self.panes.thaw(section.part("panes"), self._chunks, used, self._chunk_of)

    @staticmethod
    def _columns_of(chunk: _Chunk) -> tuple[Array, ...]:
        return (chunk[0], *chunk[1])

    @staticmethod
    def _chunk_of(columns: list[Array]) -> _Chunk:
        return columns[0], tuple(columns[1:])

    def resize(self, capacity: int) -> None:
        """Make room for more slots."""
        self._totals = {name: grown(total, capacity, 0) for name, total in self._totals.items()}
        self.capacity = capacity

    def reset(self, slots: Array) -> None:
        """Set slots back to nothing, for reuse."""
        for total in self._totals.values():
            total[slots] = 0

    def seconds(self) -> float:
        """Return the window's length; of the calendar the present period's."""
        return self.panes.window_ns / 1e9

    def _emptied(self) -> list[Slots]:
        """Set everything back to nothing and return the slots that had samples."""
        used = np.zeros(self.capacity, np.bool_)
        for total in self._totals.values():
            used |= total.reshape(self.capacity, -1).any(axis=1)
        slots = used.nonzero()[0].astype(np.int32)
        self.reset(slots)
        return [slots] if len(slots) else []


def _ratio(totals: Array, counts: Array) -> NDArray[np.float64]:
    """Return [n] totals by counts, NaN where there is nothing to count."""
    empty = counts == 0
    if not empty.any():
        return totals / counts
    return np.where(empty, np.nan, totals / np.where(empty, 1, counts))


class IntegerSums(_Sums):
    """Exact sums of int64 values; what is not known (unpriced) is counted beside them."""

    def __init__(self, window: _Window) -> None:
        columns = dict.fromkeys(("count", "total", "unpriced"), (np.int64, ()))
        super().__init__(window, columns, {"slots": (np.int32, ()), **columns})

    def add(self, samples: Samples) -> None:
        """Count samples, ordered by time; late ones must not be among them. `expire` must have been told the time."""
        counts, unpriced = self._columns(samples)
        columns = counts, samples.values, unpriced
        if self.panes.waits:
            rows = self.panes.counted(samples.times)
            self._fold(np.add, [(samples.slots[rows], tuple(column[rows] for column in columns))])
        else:
            np.add.at(self._totals["count"], samples.slots, counts)
            np.add.at(self._totals["total"], samples.slots, samples.values)
            if samples.unpriced is not None:
                np.add.at(self._totals["unpriced"], samples.slots, unpriced)
        for pane, part in parts_of(samples.times, self.panes.width_ns) if len(samples) else ():
            if part is None:
                self.panes.add(pane, (samples.slots, columns), _merged)
            else:
                self.panes.add(pane, (samples.slots[part], tuple(column[part] for column in columns)), _merged)

    @staticmethod
    def _columns(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ones = _constant(_ONES, len(samples)) if samples.counts is None else samples.counts
        if samples.unpriced is None:
            return ones, _constant(_ZEROS, len(samples))
        return ones * ~samples.unpriced, samples.unpriced.astype(np.int64)

    def expire(self, now: int) -> list[Slots]:
        """Move on to event time `now`; return the slots of what came into the window and of what left it."""
        if self.panes.begins_anew(now):
            return self._emptied()
        entered, gone = self.panes.move_to(now)
        touched = self._fold(np.add, entered) if entered else []
        return touched + self._fold(np.subtract, gone) if gone else touched

    def _fold(self, ufunc: np.ufunc, chunks: list[_Chunk]) -> list[Slots]:
        touched = []
        for slots, (counts, values, unpriced) in chunks:
            ufunc.at(self._totals["count"], slots, counts.astype(np.int64, copy=False))
            ufunc.at(self._totals["total"], slots, values.astype(np.int64, copy=False))
            if unpriced.any():
                ufunc.at(self._totals["unpriced"], slots, unpriced.astype(np.int64, copy=False))
            touched.append(slots)
        return touched

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window, unpriced ones included."""
        return self._totals["count"][slots] + self._totals["unpriced"][slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples whose value is not known."""
        return self._totals["unpriced"][slots]

    def highest(self, slots: Array) -> int:
        """Return the largest sum of some slots, in raw units."""
        return int(self._totals["total"][slots].max())

    def highest_count(self, slots: Array) -> int:
        """Return the largest number of samples of some slots."""
        return int(self.samples(slots).max())

    def sum(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] sums in raw units."""
        return self._totals["total"][slots].astype(np.float64)

    def count(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] samples, for the aggregate `count`."""
        return self.samples(slots).astype(np.float64)

    def valued(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] samples with a value: what a mean is of."""
        return self._totals["count"][slots].astype(np.float64)

    def mean(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] means of the samples with a value; NaN where there are none."""
        return _ratio(self._totals["total"][slots], self._totals["count"][slots])

    def after_each(self, slot: int, samples: Samples) -> "IntegerSums":
        """Return a window whose slot i is `slot` as it was after i + 1 of these samples, the last ones added to it."""
        past = IntegerSums(self.panes)
        counts, unpriced = self._columns(samples)
        for name, column in (("count", counts), ("total", samples.values), ("unpriced", unpriced)):
            past._totals[name] = self._totals[name][slot] - column.sum() + np.cumsum(column)  # its own class
        return past


def _merged(chunks: list[_Chunk]) -> _Chunk:
    slots, place = distinct(np.concatenate([slots for slots, _ in chunks]))
    columns = []
    for i in range(len(chunks[0][1])):
        values = np.concatenate([columns[i] for _, columns in chunks], dtype=np.int64)
        total = np.zeros(len(slots), np.int64)
        np.add.at(total, place, values)
        columns.append(total)
    return slots.astype(np.int32), tuple(columns)


class FloatSums(_Sums):
    """Sums of float64 values and of their squares, without drift; samples may be weighted.

    Totals are [slots, 3] pairs (`tocsin.windows.exact`) of weight, value * weight and value ** 2 * weight. Where the
    reach says so, ended panes are kept as `tocsin.windows.compact` has them.
    """

    def __init__(self, window: _Window) -> None:
        pair = (np.float64, (3,))
        columns = {"count": (np.int64, ()), "high": pair, "low": pair}
        super().__init__(window, {**columns, "peak": (np.float64, ())}, {"slots": (np.int32, ()), **columns})
        if self.panes.reach.compact:
            self.panes.rests = True
            self._chunks = {**self._chunks, "compact": (np.bool_, ())}

    def add(self, samples: Samples) -> None:
        """Count samples, ordered by time; late ones must not be among them. `expire` must have been told the time."""
        with np.errstate(over="ignore", invalid="ignore"):
            for pane, rows in runs_of(samples.times // self.panes.width_ns):
                whole = rows.stop - rows.start == len(samples)
                # What is added is what will be subtracted, to the bit: a pane's own sum.
                slots, columns = chunk = self._whole(samples) if whole else self._reduced(samples.part(rows))
                if pane < self.panes.counts_below:
                    self._apply(slots, *columns)
                merge_tail(self.panes.append(pane, chunk), _merged_pairs)

    @classmethod
    def _whole(cls, samples: Samples) -> Wide:
        found: Wide | None = samples.reduced
        if found is None:
            found = samples.reduced = cls._reduced(samples)
        return found

    @staticmethod
    def _reduced(samples: Samples) -> Wide:
        slots, place = np.unique(samples.slots, return_inverse=True)
        count = np.bincount(place, minlength=len(slots))
        return slots.astype(np.int32), (count, *moments_of(place, count, samples.values, samples.weights))

    def _apply(self, slots: Slots, count: Array, high: Array, low: Array) -> None:
        totals = self._totals
        totals["count"][slots] += count
        totals["high"][slots], totals["low"][slots] = add_pairs(totals["high"][slots], totals["low"][slots], high, low)

    def expire(self, now: int) -> list[Slots]:
        """Move on to event time `now`; return the slots of what came into the window and of what left it."""
        if self.panes.begins_anew(now):
            return self._emptied()
        entered, gone = self.panes.move_to(now)
        with np.errstate(over="ignore", invalid="ignore"):
            taken_in, left = [_wide(chunk) for chunk in entered], [_wide(chunk) for chunk in gone]
            for slots, columns in taken_in:
                self._apply(slots, *columns)
            if left:
                self._take_back(left)
            if self.panes.rests:
                self._lay_to_rest(now)
        return [slots for slots, _ in (*taken_in, *left)]

    def _lay_to_rest(self, now: int) -> None:
        for chunks, counts in self.panes.resting(now):
            slots, (count, high, low) = merged = _merged_pairs(chunks)
            chunks[:] = [compacted(merged)]
            if counts:
                # What will be taken back is what is kept, so that the total goes on being the sum of its panes.
                _, (_, kept, kept_low) = _wide(chunks[0])
                self._apply(slots, np.zeros_like(count), *add_pairs(kept, kept_low, -high, -low))

    @staticmethod
    def _columns_of(chunk: _Chunk) -> tuple[Array, ...]:
        if not _is_compact(chunk):
            return (chunk[0], *chunk[1], np.zeros(len(chunk[0]), np.bool_))
        slots, count, high, rests = rows_of(chunk)
        low = np.zeros(high.shape)
        low[:, :2] = rests
        return slots, count, high, low, np.ones(len(slots), np.bool_)

    @staticmethod
    def _chunk_of(columns: list[Array]) -> _Chunk:
        slots, count, high, low = columns[:4]
        if len(columns) > 4 and columns[4][0]:
            return restored(slots, count, high, low[:, :2])
        return slots, (count, high, low)

    def _take_back(self, gone: list[Wide]) -> None:
        totals = self._totals
        doubtful = []
        for slots, (count, high, low) in gone:
            totals["peak"][slots] = np.maximum(totals["peak"][slots], totals["high"][slots, 2])
            self._apply(slots, -count, -high, -low)
            kept = totals["high"][slots, 2] * _TRUSTED_DROP >= totals["peak"][slots]
            if not kept.all():  # NaN, which an infinite value leaves behind, is not kept either
                doubtful.append(slots[~kept])
        every = np.concatenate([slots for slots, _ in gone])
        self.reset(every[totals["count"][every] == 0])
        if doubtful:
            self._add_up_anew(np.unique(np.concatenate(doubtful)))

    def _add_up_anew(self, slots: Slots) -> None:
        slots = slots[self._totals["count"][slots] > 0]
        if not len(slots):
            return
        self.reset(slots)
        wanted = np.zeros(self.capacity, np.bool_)
        wanted[slots] = True
        for chunks in self.panes.chunks.values():
            for chunk in chunks:
                held, columns = _wide(chunk, wanted)
                if len(held):
                    self._apply(held, *columns)
        self._totals["peak"][slots] = self._totals["high"][slots, 2]

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return self._totals["count"][slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] zeros: a sample here always has a value."""
        return np.zeros(len(slots), np.int64)

    def sum(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] (weighted) sums in raw units."""
        return self._totals["high"][slots, 1]

    def count(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] how many spans the samples stand for."""
        return self._totals["high"][slots, 0]

    def valued(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] how many spans a mean is of."""
        return self.count(slots)

    def mean(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] means; NaN where there are no samples."""
        return _ratio(self.sum(slots), self.count(slots))

    def squares(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] (weighted) sums of squares in raw units."""
        return self._totals["high"][slots, 2]

    def stddev(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] population standard deviations; NaN where there are no samples."""
        spread = np.sqrt(variance_of(self._totals["high"][slots], self._totals["low"][slots]))
        spread[self._totals["count"][slots] == 0] = np.nan
        return spread

    def after_each(self, slot: int, samples: Samples) -> "FloatSums":
        """Return a window whose slot i is `slot` as it was after i + 1 of these samples, the last ones added to it."""
        past, totals, weights = FloatSums(self.panes), self._totals, samples.weights
        high, low = totals["high"][slot], totals["low"][slot]
        with np.errstate(over="ignore", invalid="ignore"):
            for _, rows in runs_of(samples.times // self.panes.width_ns):  # as they were added, so to the bit
                _, (_, value, rest) = self._reduced(samples.part(rows))
                high, low = add_pairs(high, low, -value[0], -rest[0])
            here, here_low = running_pairs(*weighted_powers(samples.values, weights))
            if totals["count"][slot] > len(samples):
                here, here_low = add_pairs(here, here_low, high, low)
        here[-1], here_low[-1] = totals["high"][slot], totals["low"][slot]
        counts = totals["count"][slot] - np.arange(len(samples) - 1, -1, -1)
        past._totals = {"count": counts, "high": here, "low": here_low}  # its own class
        return past


def _is_compact(chunk: _Chunk) -> bool:
    return len(chunk[1]) > 3


def _wide(chunk: _Chunk, wanted: NDArray[np.bool_] | None = None) -> Wide:
    """Return a chunk as it is added up; with `wanted` ([slots]) only the rows of some slots."""
    if _is_compact(chunk):
        return widened(chunk, wanted)
    slots, (count, high, low) = chunk
    count = count.astype(np.int64, copy=False)
    if wanted is None:
        return slots, (count, high, low)
    rows = wanted[slots]
    return slots[rows], (count[rows], high[rows], low[rows])


def _merged_pairs(chunks: list[_Chunk]) -> Wide:
    wide = [_wide(chunk) for chunk in chunks]
    slots, place = distinct(np.concatenate([slots for slots, _ in wide]))
    count = np.zeros(len(slots), np.int64)
    high, low = np.zeros((len(slots), 3)), np.zeros((len(slots), 3))
    begin = 0
    for held, (counts, value, rest) in wide:
        here = place[begin : begin + len(held)]
        begin += len(held)
        count[here] += counts
        high[here], low[here] = add_pairs(high[here], low[here], value, rest)
    return slots.astype(np.int32), (count, high, low)
