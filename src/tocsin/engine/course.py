"""What a group's value was after each of several samples that came together.

An alert must be the same however spans were put into requests: a condition that held between two spans of one request
has fired and resolved, though nothing of it is left at the request's end. Following every group sample by sample would
cost too much, so bounds say first in which groups the condition may have held on the way.
"""

from collections.abc import Iterable

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
_RISING = (Condition.GT, Condition.GTE)
_FALLING = (Condition.LT, Condition.LTE)
_ADDED_UP = (Aggregate.SUM, Aggregate.RATE)

Floats = NDArray[np.float64]


class Together:
    """The groups of which several samples came together; to be made before the samples are added to the window."""

    def __init__(self, leaf: Leaf, window: Window, watches: Iterable[Watch], samples: Samples) -> None:
        self._leaf = leaf
        self._window = window
        self.slots = np.zeros(0, np.int32)
        """[k] the groups, rising."""
        self._was: dict[int, Floats] = {}
        receding = [watch for watch in watches if not _stays(watch, window, samples)] if len(samples) > 1 else []
        followed = len(samples) > 1 and isinstance(window, Extremes | LastValues)
        if not receding and not followed:
            return
        slots, count = np.unique(samples.slots, return_counts=True)
        self.slots = slots[count > 1]
        if not len(self.slots):
            return
        if isinstance(window, Extremes):
            self._past = window.extreme(self.slots)
        elif isinstance(window, LastValues):
            self._past, self._past_times = window.last(self.slots), window.times(self.slots)
        if isinstance(window, IntegerSums | FloatSums):
            self._totals = window.sum(self.slots), _priced(window, self.slots)
        if isinstance(window, Sketches):
            self._was = {id(watch): np.full(len(self.slots), np.nan) for watch in receding}
        else:
            self._was = {id(watch): leaf.values(watch, window, self.slots) for watch in receding}

    def doubtful(self, watch: Watch, samples: Samples) -> NDArray[np.int32]:
        """Return the groups whose condition may have held after one of the samples, though it need not hold now."""
        was = self._was.get(id(watch))
        if was is None:
            return self.slots[:0]
        low, high = self._bounds(watch, was, samples)
        return self.slots[watch.may_hold(self.slots, low, high)]

    def _bounds(self, watch: Watch, was: Floats, samples: Samples) -> tuple[Floats, Floats]:
        """Return [k] what no value on the way was below, and [k] above; nothing known is as good as infinite."""
        endless = np.full(len(self.slots), np.inf)
        aggregate = watch.rules[0].aggregate
        if aggregate is Aggregate.STDDEV or watch.condition not in (*_RISING, *_FALLING):
            return -endless, endless
        if isinstance(self._window, Sketches):
            return -endless, self._window.at_most(self.slots) / self._leaf.scale
        place = np.minimum(np.searchsorted(self.slots, samples.slots), len(self.slots) - 1)
        rows = np.flatnonzero(self.slots[place] == samples.slots)
        place, values = place[rows], samples.values[rows] / self._leaf.scale
        if aggregate is Aggregate.COUNT:
            return np.zeros(len(self.slots)), endless
        if aggregate in _ADDED_UP:
            return self._bounds_of_sum(aggregate, was, place, self._weighed(values, samples, rows))
        if isinstance(self._window, IntegerSums | FloatSums):
            return self._bounds_of_mean(place, samples.part(rows))
        low, high = was.copy(), was.copy()
        np.fmin.at(low, place, values)
        np.fmax.at(high, place, values)
        return low - _SLACK * np.abs(low), high + _SLACK * np.abs(high)

    @staticmethod
    def _weighed(values: Floats, samples: Samples, rows: NDArray[np.intp]) -> Floats:
        return values if samples.weights is None else values * samples.weights[rows]

    def _bounds_of_sum(
        self, aggregate: Aggregate, was: Floats, place: NDArray[np.intp], values: Floats
    ) -> tuple[Floats, Floats]:
        values = values / self._window.panes.window_ns * 1e9 if aggregate is Aggregate.RATE else values
        least, most = np.zeros(len(was)), np.zeros(len(was))
        np.add.at(least, place, np.minimum(values, 0))
        np.add.at(most, place, np.maximum(values, 0))
        slack = _SLACK * (np.abs(was) + most - least)
        return was + least - slack, was + most + slack

    def _bounds_of_mean(self, place: NDArray[np.intp], samples: Samples) -> tuple[Floats, Floats]:
        """Return [k] bounds from the means on the way, in plain doubles; `place` has the group of each sample."""
        order = np.argsort(place, kind="stable")
        place, weights = place[order], self._weights(samples)[order]
        values = samples.values[order] * weights if samples.weights is not None else samples.values[order]
        begin = np.searchsorted(place, np.arange(len(self.slots)))
        total, count = (_running(column, begin, place) for column in (values.astype(np.float64), weights))
        was_total, was_count = self._totals
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

    def course(
        self, watch: Watch, slot: int, samples: Samples, own: NDArray[np.intp]
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return [n] the value and [n] the number of samples after each of a slot's samples, which are at `own` ([n]).

        It is what each would have led to alone.
        """
        leaf, window, slots = self._leaf, self._window, np.array([slot])
        if len(own) == 1:
            return leaf.values(watch, window, slots), window.samples(slots)
        every = np.arange(len(own))
        if isinstance(window, Extremes | LastValues):
            counts = window.samples(slots) - every[::-1]
            place = int(np.searchsorted(self.slots, slot))
            raw = samples.values[own].astype(np.float64)
            if isinstance(window, Extremes):
                return window.followed(float(self._past[place]), raw) / leaf.scale, counts
            late = samples.times[own] < self._past_times[place]
            return np.where(late, self._past[place], raw) / leaf.scale, counts
        past = window.after_each(slot, samples.part(own))
        return leaf.values(watch, past, every), past.samples(every)


def _priced(window: IntegerSums | FloatSums, slots: NDArray[np.int32]) -> Floats:
    """Return [n] the samples that a mean is of, weighted where the window's are."""
    return window.count(slots) - window.unpriced(slots)


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
    rising = aggregate is Aggregate.COUNT or (aggregate in _ADDED_UP and bool((samples.values >= 0).all()))
    return isinstance(window, IntegerSums) and rising
