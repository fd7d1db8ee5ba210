"""What traces added up to after each span of a request.

A trace is judged as it was after each of its spans, so that it crosses its threshold on the same one in any requests.
All spans of a request are added at once; what came later is taken back from sums, and extents are gone through again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.rules.rule import Metric
from tocsin.windows.groups import Key
from tocsin.windows.traces import Contribution, Traces

__all__ = ["Course", "Growth", "Held", "counted_rows"]

_FAR = np.iinfo(np.int64).max
_NO_ROOT = np.iinfo(np.int64).min
_SEEN_BEFORE = {
    Metric.LATENCY: ("start", "end", "root_start", "root_end"),
    Metric.ERROR_RATE: ("root_failed",),
    Metric.SUCCESS_RATE: ("root_failed",),
}
"""Of metrics that are no sums, what has to be known of traces before the spans are added."""

Integers = NDArray[np.int64]
Held = tuple[Key, int, int]
"""Of a trace its group's key, what was counted of it, and when last."""


class Course:
    """Rows of several keys, in order of time: what came before or after which of its own key."""

    def __init__(self, keys: NDArray[Any]) -> None:
        """Sort [n] keys."""
        self.order = np.argsort(keys, kind="stable")
        ordered = keys[self.order]
        first = np.ones(len(keys), np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        self.first = first
        """[n] whether a row, in order, is its key's first."""
        self.begin = first.nonzero()[0]
        """[k] where in the order each key's rows begin."""
        self.place = np.cumsum(first) - 1
        """[n] which key a row, in order, is of."""
        self.is_single = len(self.begin) == len(keys)
        """Whether no key has two rows."""

    def firsts(self) -> NDArray[np.intp]:
        """Return [k] the first row of each key."""
        return self.order[self.begin]

    def key_of(self) -> NDArray[np.intp]:
        """Return [n] the number of each row's key."""
        found = np.empty(len(self.order), np.intp)
        found[self.order] = self.place
        return found

    def since_previous(self, column: Integers, before: Integers) -> Integers:
        """Return [n] by how much each row is more than its key's row before it, of the first than `before` ([k])."""
        held = column[self.order]
        previous = np.empty_like(held)
        previous[1:] = held[:-1]
        previous[self.begin] = before
        found = np.empty_like(held)
        found[self.order] = held - previous
        return found

    def came_later(self, column: Integers) -> Integers:
        """Return [n] the sum of a column over the later rows of each row's key."""
        running = np.cumsum(column[self.order])
        ends = np.append(self.begin[1:], len(column)) - 1
        later = np.empty(len(column), np.int64)
        later[self.order] = running[ends][self.place] - running
        return later

    def running(self, ufunc: np.ufunc, column: NDArray[Any]) -> NDArray[Any]:
        """Return [n] a minimum or maximum over the rows of each row's key up to it.

        Source: Hillis, Steele, "Data parallel algorithms", Communications of the ACM 29:12, 1986.
        """
        held = column[self.order]
        nth = np.arange(len(held)) - self.begin[self.place]
        step, longest = 1, int(nth.max(initial=0))
        while step <= longest:
            rows = (nth >= step).nonzero()[0]
            held[rows] = ufunc(held[rows], held[rows - step])
            step *= 2
        found = np.empty_like(held)
        found[self.order] = held
        return found


class Growth:
    """What the traces of [n] spans add up to; made before the spans are added, and told of them afterwards."""

    def __init__(self, traces: Traces, slots: NDArray[np.int32], metrics: frozenset[Metric]) -> None:
        """Note what is to be known of the traces ([n] slots) beforehand to follow these metrics."""
        self.slots = slots
        self._traces = traces
        self._course = Course(slots)
        names = [] if self._course.is_single else [name for metric in metrics for name in _SEEN_BEFORE.get(metric, ())]
        self._was = {name: traces.column(name)[slots] for name in names}
        self._rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self._added: Contribution | None = None

    def note(self, rows: NDArray[np.intp], added: Contribution) -> None:
        """Take what was added, of the spans at these rows; the others add nothing."""
        self._rows, self._added = rows, added

    def sum(self, name: str) -> Integers:
        """Return [n] a sum of the trace after each span."""
        present: Integers = self._traces.column(name)[self.slots]
        if self._course.is_single or self._added is None:
            return present
        return present - self._course.came_later(self._widened(self._added.sums[name], 0))

    def latency(self) -> Integers:
        """Return [n] nanoseconds after each span: of the longest root, else from the first start to the last end."""
        if self._course.is_single or self._added is None:
            return self._traces.latency(self.slots)
        was, added, running = self._was, self._added, self._course.running
        length = np.where(added.is_root, added.end - added.start, _NO_ROOT)
        held = np.where(was["root_end"] > 0, was["root_end"] - was["root_start"], _NO_ROOT)
        root = running(np.maximum, np.maximum(held, self._widened(length, _NO_ROOT)))
        start = running(np.minimum, np.minimum(was["start"], self._widened(added.start, _FAR)))
        end = running(np.maximum, np.maximum(was["end"], self._widened(added.end, 0)))
        return np.where(root > _NO_ROOT, root, end - start)

    def failed(self) -> NDArray[np.bool_]:
        """Return [n] whether a root of the trace had failed after each span."""
        present: NDArray[np.bool_] = self._traces.column("root_failed")[self.slots]
        if self._course.is_single or self._added is None or not present.any():
            return present
        own = self._widened(self._added.failed & self._added.is_root, 0)
        return self._course.running(np.maximum, self._was["root_failed"] | own)

    def _widened(self, column: NDArray[Any], fill: int) -> NDArray[Any]:
        if len(column) == len(self.slots):
            return column
        wide = np.full(len(self.slots), fill, column.dtype)
        wide[self._rows] = column
        return wide


def counted_rows(
    course: Course, values: NDArray[np.int64], held: Sequence[Held | None]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return [n] by how much traces grew at each row, and the rows at which they are counted.

    Args:
        course: of the [n] rows' traces.
        values: [n] what each had added up to.
        held: [k] what was counted of each trace.
    """
    new = np.array([each is None for each in held], np.bool_)
    before = np.array([0 if each is None else each[1] for each in held], np.int64)
    growth = course.since_previous(values, before)
    if growth.min(initial=0) < 0:  # a price below zero: what is counted is the most that there was
        firsts, highest = course.firsts(), values.copy()
        highest[firsts] = np.where(new, values[firsts], np.maximum(values[firsts], before))
        growth = course.since_previous(course.running(np.maximum, highest), before)
    wanted = growth > 0
    wanted[course.firsts()[new]] = True
    return growth, wanted.nonzero()[0]
