"""Windows of invertible aggregates: a running total per group; a pane is added on arrival and subtracted on expiry.

Two kinds: integers (money in nano-USD, nanoseconds, tokens, outcomes), exact by nature, and floats, exact to 1e-25 by
`tocsin.windows.exact`. Both give sums, means, counts and rates; the float kind also standard deviations and weighted
(sampling-adjusted) samples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.windows.exact import add_pairs, square_pairs, variance_of
from tocsin.windows.groups import grown
from tocsin.windows.panes import Panes, runs_of

__all__ = ["FloatSums", "IntegerSums", "Samples"]

_MERGE_AT = 32
"""Chunks of one pane before they are merged into one: what a small batch costs against what a pane weighs."""

Slots = NDArray[np.int32]
Array = NDArray[Any]


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


class _Sums:
    """What both kinds share: panes of (slots, columns) chunks, and totals with one array per column."""

    def __init__(self, window_ns: int, fills: dict[str, np.dtype[Any]]) -> None:
        self.panes: Panes[tuple[Slots, tuple[Array, ...]]] = Panes(window_ns)
        self.capacity = 16
        self._fills = fills
        self._totals = {name: np.zeros(self.capacity, dtype) for name, dtype in fills.items()}

    def resize(self, capacity: int) -> None:
        """Make room for more slots."""
        self._totals = {name: grown(total, capacity, 0) for name, total in self._totals.items()}
        self.capacity = capacity

    def reset(self, slots: NDArray[np.int64]) -> None:
        """Set slots back to nothing, for reuse."""
        for total in self._totals.values():
            total[slots] = 0

    def _store(self, samples: Samples, columns: tuple[Array, ...]) -> None:
        for pane, rows in runs_of(samples.times // self.panes.width_ns):
            chunks = self.panes.append(pane, (samples.slots[rows], tuple(column[rows] for column in columns)))
            if len(chunks) >= _MERGE_AT:
                chunks[:] = [_merged(chunks)]

    def seconds(self) -> float:
        """Return the window's length."""
        return self.panes.window_ns / 1e9


def _merged(chunks: list[tuple[Slots, tuple[Array, ...]]]) -> tuple[Slots, tuple[Array, ...]]:
    every = np.concatenate([slots for slots, _ in chunks])
    slots, place = np.unique(every, return_inverse=True)
    columns = []
    for i in range(len(chunks[0][1])):
        values = np.concatenate([columns[i] for _, columns in chunks])
        total = np.zeros(len(slots), values.dtype)
        np.add.at(total, place, values)
        columns.append(total)
    return slots.astype(np.int32), tuple(columns)


class IntegerSums(_Sums):
    """Exact sums of int64 values; what is not known (unpriced) is counted beside them."""

    def __init__(self, window_ns: int) -> None:
        super().__init__(window_ns, dict.fromkeys(("count", "total", "unpriced"), np.dtype(np.int64)))

    def add(self, samples: Samples) -> None:
        """Count samples; those of panes that have left must not be among them."""
        counts, unpriced = self._columns(samples)
        np.add.at(self._totals["count"], samples.slots, counts)
        np.add.at(self._totals["total"], samples.slots, samples.values)
        if samples.unpriced is not None:
            np.add.at(self._totals["unpriced"], samples.slots, unpriced)
        self._store(samples, (counts, samples.values, unpriced))

    @staticmethod
    def _columns(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ones = np.ones(len(samples), np.int64) if samples.counts is None else samples.counts
        if samples.unpriced is None:
            return ones, np.zeros(len(samples), np.int64)
        return ones * ~samples.unpriced, samples.unpriced.astype(np.int64)

    def expire(self, now: int) -> list[Slots]:
        """Take back the panes that left at event time `now`; return the slots concerned."""
        touched = []
        for slots, (counts, values, unpriced) in self.panes.expire(now):
            np.subtract.at(self._totals["count"], slots, counts)
            np.subtract.at(self._totals["total"], slots, values)
            np.subtract.at(self._totals["unpriced"], slots, unpriced)
            touched.append(slots)
        return touched

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window, unpriced ones included."""
        return self._totals["count"][slots] + self._totals["unpriced"][slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples whose value is not known."""
        return self._totals["unpriced"][slots]

    def sum(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] sums in raw units."""
        return self._totals["total"][slots].astype(np.float64)

    def count(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] samples, for the aggregate `count`."""
        return self.samples(slots).astype(np.float64)

    def mean(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] means of the samples with a value; NaN where there are none."""
        count = self._totals["count"][slots]
        return np.divide(self._totals["total"][slots], count, out=np.full(len(count), np.nan), where=count != 0)

    def after_each(self, slot: int, samples: Samples) -> "IntegerSums":
        """Return a window whose slot i is `slot` as it was after the first i + 1 of these samples, the last ones added."""
        past = IntegerSums(self.panes.window_ns)
        counts, unpriced = self._columns(samples)
        for name, column in (("count", counts), ("total", samples.values), ("unpriced", unpriced)):
            past._totals[name] = self._totals[name][slot] - column.sum() + np.cumsum(column)  # its own class
        return past


class FloatSums(_Sums):
    """Sums of float64 values and of their squares, without drift; samples may be weighted."""

    _NAMES = ("count", "weight", "high", "low", "square", "square_low")

    def __init__(self, window_ns: int) -> None:
        fills = dict.fromkeys(self._NAMES, np.dtype(np.float64))
        super().__init__(window_ns, fills | {"count": np.dtype(np.int64)})

    def add(self, samples: Samples) -> None:
        """Count samples; those of panes that have left must not be among them."""
        slots, columns = self._reduced(samples)
        self._apply(slots, columns, 1.0)
        if samples.times[0] // self.panes.width_ns == samples.times[-1] // self.panes.width_ns:
            self.panes.append(int(samples.times[0] // self.panes.width_ns), (slots, columns))
            return
        for _, rows in runs_of(samples.times // self.panes.width_ns):
            part = samples.part(rows)
            self.panes.append(int(part.times[0] // self.panes.width_ns), self._reduced(part))

    @staticmethod
    def _reduced(samples: Samples) -> tuple[Slots, tuple[Array, ...]]:
        slots, place = np.unique(samples.slots, return_inverse=True)
        weights = np.ones(len(samples)) if samples.weights is None else samples.weights
        values = samples.values.astype(np.float64)
        count = np.bincount(place, minlength=len(slots))
        columns = [np.bincount(place, weights=column, minlength=len(slots)) for column in (weights, values * weights)]
        square, rest = square_pairs(values)
        squares = [np.bincount(place, weights=part * weights, minlength=len(slots)) for part in (square, rest)]
        return slots.astype(np.int32), (count, *columns, *squares)

    def _apply(self, slots: Slots, columns: tuple[Array, ...], sign: float) -> None:
        totals = self._totals
        count, weight, value, square, rest = columns
        totals["count"][slots] += count if sign > 0 else -count
        totals["weight"][slots] += sign * weight
        totals["high"][slots], totals["low"][slots] = add_pairs(
            totals["high"][slots], totals["low"][slots], sign * value
        )
        totals["square"][slots], totals["square_low"][slots] = add_pairs(
            totals["square"][slots], totals["square_low"][slots], sign * square, sign * rest
        )
        empty = slots[totals["count"][slots] == 0]
        for name in self._NAMES:
            totals[name][empty] = 0

    def expire(self, now: int) -> list[Slots]:
        """Take back the panes that left at event time `now`; return the slots concerned."""
        touched = []
        for slots, columns in self.panes.expire(now):
            self._apply(slots, columns, -1.0)
            touched.append(slots)
        return touched

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return self._totals["count"][slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] zeros: a sample here always has a value."""
        return np.zeros(len(slots), np.int64)

    def sum(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] (weighted) sums in raw units."""
        return self._totals["high"][slots] + self._totals["low"][slots]

    def count(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] how many spans the samples stand for."""
        return self._totals["weight"][slots]

    def mean(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] means; NaN where there are no samples."""
        weight = self._totals["weight"][slots]
        return np.divide(self.sum(slots), weight, out=np.full(len(weight), np.nan), where=weight != 0)

    def stddev(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] population standard deviations; NaN where there are no samples."""
        columns = [self._totals[name][slots] for name in ("weight", "high", "low", "square", "square_low")]
        spread = np.sqrt(variance_of(*columns))
        spread[self._totals["count"][slots] == 0] = np.nan
        return spread

    def after_each(self, slot: int, samples: Samples) -> "FloatSums":
        """Return a window whose slot i is `slot` as it was after the first i + 1 of these samples, the last ones added."""
        past = FloatSums(self.panes.window_ns)
        weights = np.ones(len(samples)) if samples.weights is None else samples.weights
        values = samples.values.astype(np.float64)
        totals = self._totals
        square = totals["square"][slot] + totals["square_low"][slot]
        columns = {
            "count": (totals["count"][slot], np.ones(len(samples), np.int64)),
            "weight": (totals["weight"][slot], weights),
            "high": (totals["high"][slot] + totals["low"][slot], values * weights),
            "square": (square, values * values * weights),
        }
        past._totals = {
            name: now - column.sum() + np.cumsum(column) for name, (now, column) in columns.items()
        }  # its own class
        past._totals |= {name: np.zeros(len(samples)) for name in ("low", "square_low")}  # as above
        return past
