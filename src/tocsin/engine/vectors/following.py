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
from tocsin.engine.vectors.moments import Moment
from tocsin.engine.vectors.nodes import LeafNode
from tocsin.engine.vectors.numbers import Column, Floats
from tocsin.engine.vectors.spaces import Slots
from tocsin.rules.rule import Aggregate
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.sums import FloatSums, IntegerSums

__all__ = ["Followed", "Round", "Steps", "counted"]

Integers = NDArray[np.int64]
_ROW_BITS = 32
"""Of a key of a slot and a row."""
_FOLLOWED = (Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE, Aggregate.AVG)


@dataclass(frozen=True, slots=True)
class Steps:
    """Samples by group and then in order of time; a row of the batch that several windows took is one."""

    slots: Slots
    """[n] their groups, rising."""
    rows: Integers
    """[n] their rows in the batch."""
    several: NDArray[np.intp]
    """Which of them are of groups that had several."""

    @classmethod
    def of(cls, fed: Sequence[Fed]) -> "Steps":
        """Return the steps of what some leaves were given of one batch."""
        slots, rows = fed[0].samples.slots, fed[0].rows
        if len(fed) > 1:
            slots = np.concatenate([each.samples.slots for each in fed])
            rows = np.concatenate([each.rows for each in fed])
        keys = slots.astype(np.int64) << _ROW_BITS | rows
        keys = np.unique(keys) if len(fed) > 1 else np.sort(keys)
        slots = keys >> _ROW_BITS
        same = slots[1:] == slots[:-1]
        several = np.zeros(len(slots), np.bool_)
        several[1:] = same
        several[:-1] |= same
        return cls(slots, keys & ((1 << _ROW_BITS) - 1), several.nonzero()[0])


class Followed(Moment):
    """The instants of some steps: what is asked of slots is answered for each step."""

    def __init__(self, steps: Steps, given: Mapping[int, Fed], now: int, since: int) -> None:
        super().__init__(now)
        self.steps = steps
        self.occasion = next(iter(given.values())).occasion
        self.now = np.maximum(self.occasion.ends[steps.rows], since)
        self._given = given
        self._several = Steps(steps.slots[steps.several], steps.rows[steps.several], steps.several)
        self._later: dict[int, _Later] = {}
        self._known: dict[tuple[object, ...], Column] = {}

    def read(self, node: LeafNode, slots: Slots) -> Column:
        """Return [n] the elements of a leaf after each step."""
        key = (id(node.leaf), node.measure)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._column(node)
        return found

    def counts(self, leaf: Leaf) -> Integers:
        """Return [n] the number of samples after each step."""
        fed, now = self._given.get(id(leaf)), leaf.samples(self.steps.slots)
        if fed is not None and len(self.steps.several):
            now[self.steps.several] -= self._later_of(fed).sum(np.ones(len(fed.rows), np.int64))
        return now

    def _later_of(self, fed: Fed) -> "_Later":
        found = self._later.get(id(fed.rows))
        if found is None:
            found = self._later[id(fed.rows)] = _Later(self._several, fed)
        return found

    def _column(self, node: LeafNode) -> Column:
        leaf, aggregate, slots = node.leaf, node.measure[0], self.steps.slots
        values, counts = leaf.read(aggregate, node.measure[1], slots), leaf.samples(slots)
        fed, window, several = self._given.get(id(leaf)), leaf.window, self.steps.several
        if fed is not None and len(several):
            past = None
            if isinstance(window, IntegerSums | FloatSums) and aggregate in _FOLLOWED:
                past = _sums(leaf, window, aggregate, fed, self._later_of(fed), self._several.slots)
            elif isinstance(window, Extremes | LastValues):
                past = _runs(leaf, window, fed, self._later_of(fed), self._several.slots)
            if past is not None:
                values[several], counts[several] = past
        return node.column(values, counts)


class _Later:
    """For each step, which samples of one leaf came after it."""

    def __init__(self, steps: Steps, fed: Fed) -> None:
        keys = fed.samples.slots.astype(np.int64) << _ROW_BITS | fed.rows
        self.order = np.argsort(keys, kind="stable")
        own, slots = keys[self.order], steps.slots << _ROW_BITS
        self.begin = np.searchsorted(own, slots)
        """[n] where in the order the group's samples begin."""
        self.at = np.searchsorted(own, slots | steps.rows, side="right")
        """[n] how many in the order are not later than the step."""
        self.end = np.searchsorted(own, slots + (1 << _ROW_BITS))
        """[n] where in the order the group's samples end."""

    def sum(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return [n] the sum of a column of the leaf's samples over those that came later."""
        running = np.zeros(len(column) + 1, column.dtype)
        np.cumsum(column[self.order], out=running[1:])
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
        first = int(later.order[begin])
        before = np.nan if fed.before is None else float(fed.before.values[first])
        if isinstance(window, Extremes):
            run = window.followed(before, values[begin:end])
        else:
            since = 0 if fed.before is None or fed.before.times is None else fed.before.times[first]
            late = samples.times[later.order[begin:end]] < since
            run = np.where(late, before, values[begin:end])
        found[steps] = np.append(before, run)[later.at[steps] - begin]
    return found / leaf.scale, count


class Round:
    """What windows were given of some spans; expressions over the same rows share what is found of them."""

    def __init__(self, given: Mapping[int, list[Fed]], now: int) -> None:
        self._given = given
        self._single = {leaf: each[0] for leaf, each in given.items() if len(each) == 1}
        self._now = now
        self._followed: dict[frozenset[int], Followed | None] = {}

    def of(self, leaves: frozenset[int]) -> list[Fed]:
        """Return what some leaves (their ids) were given."""
        return [one for leaf in leaves if leaf in self._given for one in self._given[leaf]]

    def followed(self, fed: Sequence[Fed], since: int) -> Followed | None:
        """Return the steps of what leaves were given; None where they can't be followed together."""
        # Leaves that take the same rows of a batch were given one and the same array of them.
        key = frozenset(id(one.rows) for one in fed)
        if key not in self._followed:
            follows = len({id(one.occasion) for one in fed}) == 1 and all(id(one.leaf) in self._single for one in fed)
            distinct = list({id(one.rows): one for one in fed}.values())
            self._followed[key] = Followed(Steps.of(distinct), self._single, self._now, since) if follows else None
        return self._followed[key]


def counted(fed: Fed) -> Fed | None:
    """Return what a window counts already of what it was given: of one with an offset only what is old enough."""
    window = fed.leaf.later.window
    if window is None or not window.panes.waits:
        return fed
    rows = window.panes.counted(fed.samples.times)
    if rows.stop == 0:
        return None
    return Fed(fed.leaf, fed.samples.part(rows), fed.rows[rows], fed.occasion, None)
