"""What windows said after each of several samples of a group that came together.

A request may bring many samples of one group, and a condition may hold after one of them and not after the last. So the
windows' values after each are found, for all such groups at once, by taking back from the present totals what came
later; the expression is then evaluated for each sample as if it were a label set of its own.

Sums, counts, rates, means, extremes and last values are followed. Percentiles and standard deviations are not: they
count as they are once all samples are in, as do windows that the samples do not touch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.judge import Fed
from tocsin.engine.leaf import Leaf
from tocsin.engine.vectors.nodes import LeafNode, Moment
from tocsin.engine.vectors.numbers import Column, Floats
from tocsin.engine.vectors.spaces import Slots
from tocsin.rules.rule import Aggregate
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.sums import FloatSums, IntegerSums

__all__ = ["Followed", "Steps"]

Integers = NDArray[np.int64]
_FOLLOWED = (Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE, Aggregate.AVG)


@dataclass(frozen=True, slots=True)
class Steps:
    """The samples of groups that had several, by group and then in order of time."""

    slots: Slots
    """[n] their groups."""
    rows: Integers
    """[n] their rows in the batch."""
    alone: Slots
    """The groups that had one sample, rising."""

    @classmethod
    def of(cls, fed: Sequence[Fed]) -> "Steps":
        """Return the steps of what some leaves were given of one batch; a row that several took is one step."""
        slots = np.concatenate([each.samples.slots for each in fed]).astype(np.int64)
        rows = np.concatenate([each.rows for each in fed])
        width = int(rows.max()) + 1
        distinct = np.unique(slots * width + rows)
        slots, rows = np.divmod(distinct, width)
        begins = np.append(True, slots[1:] != slots[:-1])  # an element
        sizes = np.diff(np.append(np.flatnonzero(begins), len(slots)))
        many = np.repeat(sizes > 1, sizes)
        return cls(slots[many], rows[many], slots[~many])


class Followed(Moment):
    """The instants of some steps; rows are not slots but steps."""

    def __init__(self, steps: Steps, fed: Mapping[int, Fed], now: int, since: int) -> None:
        super().__init__(now)
        self._steps = steps
        self._fed = fed
        ends = next(iter(fed.values())).occasion.ends
        self.now = np.maximum(ends[steps.rows], since)
        self._known: dict[tuple[object, ...], Column] = {}

    def read(self, node: LeafNode, slots: Slots) -> Column:
        """Return [n] the elements of a leaf after each step."""
        key = (id(node.leaf), node.measure)
        found = self._known.get(key)
        if found is None:
            self.cost += len(slots)
            found = self._known[key] = self._column(node)
        return found

    def counts(self, leaf: Leaf) -> Integers:
        """Return [n] the number of samples after each step."""
        fed, now = self._fed.get(id(leaf)), leaf.samples(self._steps.slots)
        return now if fed is None else now - _Later(self._steps, fed).sum(np.ones(len(fed.rows), np.int64))

    def _column(self, node: LeafNode) -> Column:
        leaf, aggregate, slots = node.leaf, node.measure[0], self._steps.slots
        fed, window = self._fed.get(id(leaf)), leaf.window
        if fed is not None:
            later = _Later(self._steps, fed)
            match window:
                case IntegerSums() | FloatSums() if aggregate in _FOLLOWED:
                    return node.column(*_sums(leaf, window, aggregate, fed, later, slots))
                case Extremes() | LastValues():
                    return node.column(*_runs(leaf, window, fed, later, slots))
                case _:
                    pass
        values = leaf.read(node.measure[0], node.measure[1], slots)
        return node.column(values, leaf.samples(slots))


class _Later:
    """For each step, which samples of one leaf came after it."""

    def __init__(self, steps: Steps, fed: Fed) -> None:
        width = int(max(fed.rows.max(), steps.rows.max(initial=0))) + 1
        own = fed.samples.slots.astype(np.int64) * width + fed.rows
        self.order = np.argsort(own, kind="stable")
        self.own = own[self.order]
        self.begin = np.searchsorted(self.own, steps.slots * width)
        """[n] where in the order the group's samples begin."""
        self.at = np.searchsorted(self.own, steps.slots * width + steps.rows, side="right")
        """[n] how many in the order are not later than the step."""
        self.end = np.searchsorted(self.own, (steps.slots + 1) * width)
        """[n] where in the order the group's samples end."""

    def sum(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return [n] the sum of a column of the leaf's samples over those that came later."""
        running = np.append(np.zeros(1, column.dtype), np.cumsum(column[self.order]))
        return running[self.end] - running[self.at]


def _sums(
    leaf: Leaf, window: IntegerSums | FloatSums, aggregate: Aggregate, fed: Fed, later: _Later, slots: Slots
) -> tuple[Floats, Integers]:
    samples = fed.samples
    ones = np.ones(len(samples), np.int64) if samples.counts is None else samples.counts
    count: Integers = window.samples(slots) - later.sum(ones)
    weights = samples.weights if isinstance(window, FloatSums) else None
    values = samples.values if weights is None else samples.values * weights
    total = window.sum(slots) - later.sum(values)
    stands_for = count if weights is None else window.count(slots) - later.sum(weights)
    if aggregate is Aggregate.COUNT:
        return np.asarray(stands_for, np.float64), count
    if aggregate is Aggregate.RATE:
        return total / leaf.scale / window.seconds(), count
    if aggregate is Aggregate.AVG:
        known = stands_for
        if isinstance(window, IntegerSums):
            unpriced = (
                np.zeros(len(samples), np.int64) if samples.unpriced is None else samples.unpriced.astype(np.int64)
            )
            known = count - (window.unpriced(slots) - later.sum(unpriced))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known != 0, total / np.where(known != 0, known, 1), np.nan)
        return mean / leaf.scale, count
    return np.asarray(total / leaf.scale, np.float64), count


def _runs(leaf: Leaf, window: Extremes | LastValues, fed: Fed, later: _Later, slots: Slots) -> tuple[Floats, Integers]:
    """Return what extremes and last values were: each group's samples are gone through in turn."""
    samples = fed.samples
    count = window.samples(slots) - later.sum(np.ones(len(samples), np.int64))
    present = window.extreme(slots) if isinstance(window, Extremes) else window.last(slots)
    found = np.array(present, np.float64)
    values = samples.values.astype(np.float64)[later.order]
    for slot in np.unique(slots).tolist():
        steps = np.flatnonzero(slots == slot)
        begin, end = int(later.begin[steps[0]]), int(later.end[steps[0]])
        if begin == end:
            continue
        before, before_at = fed.before.get(slot, (np.nan, 0))
        if isinstance(window, Extremes):
            run = window.followed(before, values[begin:end])
        else:
            late = samples.times[later.order[begin:end]] < before_at
            run = np.where(late, before, values[begin:end])
        found[steps] = np.append(before, run)[later.at[steps] - begin]
    return found / leaf.scale, count
