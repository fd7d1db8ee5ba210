"""What a group's value was after each of several samples that came together.

An alert must be the same however spans were put into requests: a condition that held between two spans of one request
has fired and resolved, though nothing of it is left at the request's end. Following every group sample by sample would
cost too much, so bounds say first in which groups the condition may have held on the way.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.leaf import Leaf, Window
from tocsin.engine.watch import Watch
from tocsin.rules.rule import Aggregate, Condition
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

__all__ = ["Together"]

_SLACK = 1e-9
"""By how much, relatively, a bound is widened: a mean of equal floats may round to a little more than each."""
_NOISE = 1e-12
"""Of the root of the mean square, what rounding may add to a standard deviation, and more."""
_WHOLE = 2.0**53
"""Below it every whole number is a double."""
_RISING = (Condition.GT, Condition.GTE)
_FALLING = (Condition.LT, Condition.LTE)
_ADDED_UP = (Aggregate.SUM, Aggregate.RATE)

Floats = NDArray[np.float64]


class Together:
    """Samples that came together, beside what their groups were before; to be made before the window has them."""

    def __init__(self, leaf: Leaf, window: Window, watches: Iterable[Watch], samples: Samples) -> None:
        self._leaf = leaf
        self._window = window
        self._samples = samples
        self._receding: set[int] = set()
        self._calm: set[int] = set()
        self._groups: _Groups | None = None
        if len(samples) < 2:
            return
        if isinstance(window, Extremes):
            self._past = window.extreme(samples.slots)
        elif isinstance(window, LastValues):
            self._past, self._past_times = window.last(samples.slots), window.times(samples.slots)
        receding = [watch for watch in watches if not _stays(watch, window, samples)]
        if not receding:
            return
        if isinstance(window, IntegerSums | FloatSums):
            self._past, self._past_count = window.sum(samples.slots), window.valued(samples.slots)
            if any(watch.rules[0].aggregate is Aggregate.COUNT for watch in receding):
                self._past_stands_for = window.count(samples.slots)
        for watch in receding:
            bounds = self._rough_bounds(watch)
            calm = bounds is not None and not watch.may_hold_any(*bounds)
            (self._calm if calm else self._receding).add(id(watch))

    def is_calm(self, watch: Watch) -> bool:
        """Return whether the condition can't hold in any of the groups, neither on the way nor at the end."""
        return id(watch) in self._calm

    def recedes(self, watch: Watch) -> bool:
        """Return whether a condition may have held after one of the samples that does not after the last."""
        return id(watch) in self._receding

    def doubtful(self, watch: Watch) -> NDArray[np.int32]:
        """Return the groups whose condition may have held after one of the samples, though it need not hold now."""
        if id(watch) not in self._receding:
            return self._samples.slots[:0]
        groups = self._groups = self._groups or _Groups(self._samples.slots)
        if not len(groups.slots):
            return groups.slots
        low, high = self._bounds(watch, groups)
        return groups.slots[watch.may_hold(groups.slots, low, high)]

    def _rough_bounds(self, watch: Watch) -> tuple[float, float] | None:
        """Return what no value of any group on the way was below, and above; None where it is not found cheaply."""
        aggregate = watch.rules[0].aggregate
        if isinstance(self._window, Sketches) or watch.condition not in (*_RISING, *_FALLING):
            return None
        if aggregate in (Aggregate.STDDEV, Aggregate.COUNT) or (
            aggregate in _ADDED_UP and self._samples.weights is not None
        ):
            return None
        values = self._samples.values
        if aggregate in _ADDED_UP:
            low = float(self._past.min()) + float(np.minimum(values, 0).sum(dtype=np.float64))
            high = float(self._past.max()) + float(np.maximum(values, 0).sum(dtype=np.float64))
            return self._widened(low, high, 1 if aggregate is Aggregate.SUM else self._window.panes.window_ns / 1e9)
        if not isinstance(self._window, IntegerSums | FloatSums):
            return self._widened(
                float(np.fmin(np.fmin.reduce(self._past), np.fmin.reduce(values))),
                float(np.fmax(np.fmax.reduce(self._past), np.fmax.reduce(values))),
            )
        return self._rough_bounds_of_mean(values)

    def _rough_bounds_of_mean(self, values: NDArray[Any]) -> tuple[float, float] | None:
        """Return bounds of means: each is between what the mean was and the samples."""
        samples, count = self._samples, self._past_count
        if samples.counts is not None and samples.counts.min() < 1:
            return None  # usage of a call that is another row
        if samples.unpriced is not None and values[samples.unpriced].any():
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            was = self._past / count  # NaN where there was nothing
        low = float(np.fmin(np.fmin.reduce(was), np.fmin.reduce(values)))
        high = float(np.fmax(np.fmax.reduce(was), np.fmax.reduce(values)))
        if not isinstance(self._window, IntegerSums):
            return self._widened(low, high)
        # A quotient of whole numbers is rounded once, and rounding keeps their order.
        size = float(np.abs(self._past).max()) + float(np.abs(values).sum(dtype=np.float64))
        return (low / self._leaf.scale, high / self._leaf.scale) if size < _WHOLE else self._widened(low, high)

    def _widened(self, low: float, high: float, by: float = 1) -> tuple[float, float] | None:
        """Return bounds in the rule's unit with room for what rounding adds; None where there are none."""
        low, high = low / self._leaf.scale / by, high / self._leaf.scale / by
        slack = _SLACK * max(abs(low), abs(high))
        return None if math.isnan(slack) or math.isinf(slack) else (low - slack, high + slack)

    def _bounds(self, watch: Watch, groups: "_Groups") -> tuple[Floats, Floats]:
        """Return [k] what no value on the way was below, and [k] above; nothing known is as good as infinite."""
        samples, scale = self._samples, self._leaf.scale
        endless = np.full(len(groups.slots), np.inf)
        aggregate = watch.rules[0].aggregate
        if watch.condition not in (*_RISING, *_FALLING):
            return -endless, endless
        if aggregate is Aggregate.STDDEV and isinstance(self._window, FloatSums):
            return -endless, self._highest_spread(self._window, groups) / scale
        if isinstance(self._window, Sketches):
            return -endless, self._window.at_most(groups.slots) / scale
        place, rows = groups.rows_of(samples.slots)
        if isinstance(self._window, IntegerSums | FloatSums):
            if aggregate is Aggregate.COUNT:
                return self._past_stands_for[groups.first] * (1 - _SLACK), endless
            if aggregate in _ADDED_UP:
                by = scale if aggregate is Aggregate.SUM else scale * self._window.panes.window_ns / 1e9
                values = self._weighed(samples.values[rows] / by, samples, rows)
                return self._bounds_of_sum(self._past[groups.first] / by, place, values)
            return self._bounds_of_mean(groups, place, samples.part(rows))
        values = samples.values[rows] / scale
        low = self._past[groups.first] / scale
        high = low.copy()
        np.fmin.at(low, place, values)
        np.fmax.at(high, place, values)
        return low - _SLACK * np.abs(low), high + _SLACK * np.abs(high)

    def _highest_spread(self, window: FloatSums, groups: "_Groups") -> Floats:
        """Return [k] what no standard deviation on the way was above, in raw units.

        A sample never makes the squared distances from the mean fewer: they are those of the end at the most, over the
        weight that there was after the first sample at the least.
        """
        slots, weights = groups.slots, self._samples.weights
        least = self._past_count[groups.first] + (1 if weights is None else weights[groups.first])
        with np.errstate(invalid="ignore", over="ignore"):
            distances = np.sqrt(window.count(slots) / least) * window.stddev(slots)
            high = distances * (1 + _SLACK) + _NOISE * np.sqrt(window.squares(slots) / least)
        return np.where(np.isfinite(high), high, np.inf)

    @staticmethod
    def _weighed(values: Floats, samples: Samples, rows: NDArray[np.intp]) -> Floats:
        return values if samples.weights is None else values * samples.weights[rows]

    @staticmethod
    def _bounds_of_sum(was: Floats, place: NDArray[np.intp], values: Floats) -> tuple[Floats, Floats]:
        least, most = np.zeros(len(was)), np.zeros(len(was))
        np.add.at(least, place, np.minimum(values, 0))
        np.add.at(most, place, np.maximum(values, 0))
        slack = _SLACK * (np.abs(was) + most - least)
        return was + least - slack, was + most + slack

    def _bounds_of_mean(self, groups: "_Groups", place: NDArray[np.intp], samples: Samples) -> tuple[Floats, Floats]:
        """Return [k] bounds from the means on the way, in plain doubles; `place` has the group of each sample."""
        order = np.argsort(place, kind="stable")
        place, weights = place[order], self._weights(samples)[order]
        values = samples.values[order] * weights if samples.weights is not None else samples.values[order]
        begin = np.searchsorted(place, np.arange(len(groups.slots)))
        total, count = (_running(column, begin, place) for column in (values.astype(np.float64), weights))
        was_total, was_count = self._past[groups.first], self._past_count[groups.first]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            count += was_count[place]
            mean = (total + was_total[place]) / count / self._leaf.scale
            # What a running total over all groups lost is little beside the largest of them.
            size = np.abs(values).sum() + np.abs(was_total).max()
            slack = _SLACK * (np.abs(mean) + size / count / self._leaf.scale)
            low, high = mean - slack, mean + slack
        empty = count == 0
        low[np.isnan(low)], high[np.isnan(high)] = -np.inf, np.inf
        low[empty], high[empty] = np.inf, -np.inf
        return np.minimum.reduceat(low, begin), np.maximum.reduceat(high, begin)

    def _weights(self, samples: Samples) -> Floats:
        """Return [n] how much of a sample of a mean each row is."""
        if isinstance(self._window, FloatSums):
            return np.ones(len(samples)) if samples.weights is None else samples.weights
        weights = np.ones(len(samples)) if samples.counts is None else samples.counts.astype(np.float64)
        return weights if samples.unpriced is None else weights * ~samples.unpriced

    def course(self, watch: Watch, slot: int, own: NDArray[np.intp]) -> tuple[Floats, NDArray[np.int64]]:
        """Return [n] the value and [n] the number of samples after each of a slot's samples, which are at `own` ([n]).

        It is what each would have led to alone.
        """
        leaf, window, samples, slots = self._leaf, self._window, self._samples, np.array([slot])
        if len(own) == 1:
            return leaf.values(watch, window, slots), window.samples(slots)
        every = np.arange(len(own))
        if isinstance(window, Extremes | LastValues):
            counts = window.samples(slots) - every[::-1]
            past, raw = self._past[own[0]], samples.values[own].astype(np.float64)
            if isinstance(window, Extremes):
                return window.followed(float(past), raw) / leaf.scale, counts
            late = samples.times[own] < self._past_times[own[0]]
            return np.where(late, past, raw) / leaf.scale, counts
        after = window.after_each(slot, samples.part(own))
        return leaf.values(watch, after, every), after.samples(every)


class _Groups:
    """The groups of which several of [n] samples are."""

    def __init__(self, slots: NDArray[np.int32]) -> None:
        own, first, count = np.unique(slots, return_index=True, return_counts=True)
        several = count > 1
        self.slots = own[several]
        """[k] rising."""
        self.first = first[several]
        """[k] the first sample of each."""

    def rows_of(self, slots: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return [m] the number of the group and [m] the row of each sample that is of one."""
        place = np.minimum(np.searchsorted(self.slots, slots), len(self.slots) - 1)
        rows = np.flatnonzero(self.slots[place] == slots)
        return place[rows], rows


def _running(column: Floats, begin: NDArray[np.intp], place: NDArray[np.intp]) -> Floats:
    """Return [n] the sum of a column up to each row, over its group's rows alone, which begin at `begin` ([k])."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.cumsum(column)
        return np.asarray(total - (total[begin] - column[begin])[place])


def _stays(watch: Watch, window: Window, samples: Samples) -> bool:
    """Whether a condition that held after one of the samples still holds after the last of them."""
    if watch.condition is Condition.ABSENT:
        return True
    aggregate = watch.rules[0].aggregate
    if watch.condition in _FALLING:
        return isinstance(window, Extremes) and not window.largest
    if watch.condition not in _RISING:
        return False
    if isinstance(window, Extremes):
        return window.largest
    if not isinstance(window, IntegerSums):
        return False
    return aggregate is Aggregate.COUNT or (aggregate in _ADDED_UP and int(samples.values.min()) >= 0)
