"""A leaf: one distinct (metric, window, filters, grouping), whatever number of rules and expressions read it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.backlog import Backlog, Window
from tocsin.engine.evidence import SampleLog
from tocsin.engine.extents import Extents
from tocsin.engine.leafkeys import LeafKey
from tocsin.engine.view import BILLED, SCALE, Measured, View
from tocsin.engine.watch import Watch
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.rules.rule import Aggregate, Scope
from tocsin.windows.buckets import Buckets
from tocsin.windows.calendar import PeriodPanes
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.groups import Groups, grown
from tocsin.windows.index import Secret
from tocsin.windows.panes import Panes
from tocsin.windows.reach import BASELINE_PANES, PANES, Reach, Sliding
from tocsin.windows.sketches import SketchCourse, Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

__all__ = ["Leaf", "Window"]


def _panes(key: LeafKey) -> int | Reach | Panes[Any]:
    """Return where a leaf's window is at each instant."""
    if key.calendar is not None:
        return PeriodPanes(key.calendar.bounds)
    window_ns = key.window_ns or 1
    if key.interval_ns is None:
        return Sliding(window_ns, key.offset_ns, BASELINE_PANES if key.baseline else PANES, key.baseline)
    if key.running:
        interval_ns = key.interval_ns
        return PeriodPanes(lambda at: (at // interval_ns * interval_ns, (at // interval_ns + 1) * interval_ns))
    return Buckets(key.interval_ns, window_ns, key.offset_ns, key.baseline)


def _window(key: LeafKey, secret: Secret) -> Window:
    panes = _panes(key)
    match key.storage:
        case "sketch":
            return Sketches(panes, secret)
        case "min" | "max":
            return Extremes(panes, largest=key.storage == "max")
        case "last":
            return LastValues(panes)
        case "float":
            return FloatSums(panes)
        case _:
            return IntegerSums(panes)


@dataclass(slots=True)
class Leaf:
    """A leaf's window (None: each sample is judged on its own), its groups, and the watches over it."""

    key: LeafKey
    groups: Groups
    log: SampleLog
    secret: Secret
    """Of the engine."""
    watches: list[Watch] = field(default_factory=list)
    scheduled: int | None = None
    """The expiry that is in the engine's schedule."""
    measure: int = 0
    """The number of its (metric, attribute) in the plan."""
    choice: int = 0
    """The number of what decides which rows it takes; leaves over the same spans mostly share one."""
    awaited: tuple[int, ...] = ()
    """Bits of inherited labels; a row waits while all bits of any of these are missing."""
    readers: int = 0
    """How many expressions read it."""
    listeners: list[Watch] = field(default_factory=list)
    """The watches of those expressions."""
    leads: list[Watch] = field(default_factory=list)
    """Those of which it is the first window: its samples are theirs."""
    is_logged: bool = True
    """Whether samples are remembered as evidence."""
    excludes: Callable[[NDArray[Any]], NDArray[np.bool_]] | None = None
    """Says of [n] slots whether their samples are to be left out."""
    known: NDArray[np.bool_] | None = None
    """[capacity] which groups had a sample since they are known; None: nobody asks."""
    _former: NDArray[np.bool_] | None = None
    """The same of when rules were other ones."""
    later: Backlog = field(init=False)
    """The window, and samples that it is to have before anybody looks at it."""
    extents: Extents = field(init=False)
    """Between which numbers the values are that expressions read."""

    billed: bool = field(init=False)
    """Whether the metric is of what is paid for."""
    scale: float = field(init=False)
    """Raw units in one of the metric's."""

    def __post_init__(self) -> None:
        """Make the window."""
        self.billed = self.key.metric in BILLED
        self.scale = SCALE.get(self.key.metric, 1.0)
        self.later = Backlog(_window(self.key, self.secret) if self.key.is_windowed else None, self.groups)
        self.extents = Extents(self.scale)

    @property
    def window(self) -> Window | None:
        """The window with all samples that it was given; None where each sample is judged on its own."""
        return self.later.settled()

    def resize(self) -> None:
        """Follow the groups' capacity."""
        self.later.resize()
        if self.known is not None and len(self.known) < self.groups.capacity:
            self.known = grown(self.known, self.groups.capacity, False)  # type: ignore[assignment]  # noqa: FBT003  # a fill value
        for watch in self.watches:
            watch.resize()

    def remember_known(self) -> None:
        """Remember from now on which groups had a sample; those in the window had one."""
        if self.known is None:
            self.resize()
            self.known = self.samples(np.arange(self.groups.capacity)) > 0
            if self._former is not None:
                self.known[: len(self._former)] |= self._former
                self._former = None

    def know(self, slots: NDArray[Any]) -> None:
        """Remember which of some groups have a sample now."""
        if self.known is not None:
            self.resize()
            self.known[slots] |= self.samples(slots) > 0

    def leave(self) -> None:
        """Forget which expressions read this; those that still do say so again."""
        self.later.settled()
        self.readers, self.excludes, self._former, self.known = 0, None, self.known, None
        self.extents = Extents(self.scale)
        self.listeners.clear()
        self.leads.clear()

    def may_wait(self, samples: Samples) -> bool:
        """Return whether nobody looks at the window because of some samples alone, nor moves it sooner than planned."""
        if self.watches or not self.readers or self.known is not None or self.scheduled is None:
            return False
        window = self.later.window
        if window is None or self.key.opens or self.key.scope is not Scope.SPAN:
            return False
        width = window.panes.width_ns
        first, last = int(samples.times[0]) // width, int(samples.times[-1]) // width
        return window.panes.change_by(first, last) >= self.scheduled

    def widen(self, slots: NDArray[Any]) -> None:
        """Take into the extents what some groups' values have become by time alone."""
        for aggregate, quantile in self.extents.measures:
            values = self.read(aggregate, quantile, slots)
            self.extents.widen((aggregate, quantile), values[self.samples(slots) > 0])

    def renew(self, aggregate: Aggregate, quantile: float | None) -> None:
        """Find an extent from all groups' values."""
        every = np.arange(self.groups.used)
        values = self.read(aggregate, quantile, every)
        self.extents.renew((aggregate, quantile), values[self.samples(every) > 0])

    def known_slots(self) -> NDArray[np.bool_]:
        """Return [capacity] which groups had a sample."""
        self.resize()
        return np.zeros(self.groups.capacity, np.bool_) if self.known is None else self.known

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Slots are to be used for other groups."""
        self.resize()
        if self.window is not None:
            self.window.reset(slots)
        if self.known is not None:
            self.known[slots] = False

    def freeze(self) -> Frozen:
        """Return the state of the window, the samples behind it and the watches; the groups have their own."""
        self.resize()
        window = None if self.window is None else self.window.freeze(self.groups.used)
        log, watches, scheduled = self.log.freeze(), [watch.freeze() for watch in self.watches], self.scheduled
        known = None if self.known is None else packed(self.known[: self.groups.used].copy())

        def state() -> State:
            held: State = None if window is None else window()
            watched = [each() for each in watches]
            return {"window": held, "log": log(), "watches": watched, "scheduled": scheduled, "known": known}

        return state

    def thaw(self, section: Section) -> None:
        """Take a state; the groups have theirs already."""
        self.resize()
        if self.window is not None:
            self.window.thaw(section.part("window"), self.groups.used)
        self.log.thaw(section.part("log"))
        for watch, held in zip(self.watches, section.parts("watches", len(self.watches)), strict=True):
            watch.thaw(held)
        self.scheduled = section.optional("scheduled", -(1 << 63))
        if self.known is not None:
            self.known[: self.groups.used] = section.array("known", np.bool_, self.groups.used)

    @property
    def reacts_ns(self) -> int:
        """How long after a sample time alone may change the window, at the soonest, nanoseconds.

        Ends of buckets and periods, which no sample decides, are not meant.
        """
        if self.window is None or self.key.opens:
            return 1 << 62
        later = self.key.offset_ns - self.window.panes.width_ns
        return max(1, min(self.key.window_ns or 1, later)) if self.key.offset_ns else self.key.window_ns or 1

    def bounds(self, at: int) -> tuple[int, int]:
        """Return the bounds of the window at event time `at`; without a window they are equal."""
        if self.key.calendar is not None:
            return self.key.calendar.bounds(at)[0], at
        end = at - self.key.offset_ns
        return end - (self.key.window_ns or 0), end

    def values(self, watch: Watch, window: "Window | SketchCourse", slots: NDArray[Any]) -> NDArray[np.float64]:
        """Return [n] what a watch compares, in the rule's unit; NaN where there is nothing to compare."""
        return self._read(watch.rules[0].aggregate, watch.rules[0].quantile, window, slots)

    def read(self, aggregate: Aggregate, quantile: float | None, slots: NDArray[Any]) -> NDArray[np.float64]:
        """Return [n] an aggregate of slots in the metric's unit, as `values`; the leaf has a window."""
        self.resize()
        return (
            np.full(len(slots), np.nan) if self.window is None else self._read(aggregate, quantile, self.window, slots)
        )

    def samples(self, slots: NDArray[Any]) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return np.zeros(len(slots), np.int64) if self.window is None else self.window.samples(slots)

    def read_past(
        self, aggregate: Aggregate, quantile: float | None, past: "Window | SketchCourse", count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return [count] values and [count] samples after each of a group's last samples, as `after_each` made them."""
        every = np.arange(count)
        return self._read(aggregate, quantile, past, every), past.samples(every)

    def _read(
        self, aggregate: Aggregate, quantile: float | None, window: "Window | SketchCourse", slots: NDArray[Any]
    ) -> NDArray[np.float64]:
        match window:
            case Sketches() | SketchCourse():
                raw = window.quantile(slots, quantile or 0.0)
            case Extremes():
                raw = window.extreme(slots)
            case LastValues():
                raw = window.last(slots)
            case _:
                return self._sums(aggregate, window, slots)
        return raw / self.scale

    def highest(self, watch: Watch, window: Window, slots: NDArray[Any]) -> float | None:
        """Return what no value of some slots with samples is above, in the rule's unit; None: not found cheaply."""
        match window:
            case IntegerSums():
                if watch.rules[0].aggregate is Aggregate.SUM:
                    return window.highest(slots) / self.scale
                return float(window.highest_count(slots)) if watch.rules[0].aggregate is Aggregate.COUNT else None
            case Extremes() | Sketches():
                return window.highest(slots) / self.scale
            case _:
                return None

    def _sums(self, aggregate: Aggregate, window: IntegerSums | FloatSums, slots: NDArray[Any]) -> NDArray[np.float64]:
        match aggregate:
            case Aggregate.COUNT:
                return window.count(slots)
            case Aggregate.SUM:
                return window.sum(slots) / self.scale
            case Aggregate.RATE:
                return window.sum(slots) / self.scale / window.seconds()
            case Aggregate.STDDEV if isinstance(window, FloatSums):
                return window.stddev(slots) / self.scale
            case _:
                return window.mean(slots) / self.scale

    def take(self, view: View) -> tuple[Samples, NDArray[np.intp]] | None:
        """Return the rows of a view that are samples of this leaf, with their groups; counts those without a group."""
        if view.agents_only and not self.billed:
            return None
        measured = view.remembered(self.measure, lambda: view.measure(self.key.metric, self.key.attribute))
        chosen = (self.choice, None if measured.valid is None else self.measure)
        slots, rows, ungrouped = view.remembered(chosen, lambda: self._choose(view, measured))
        self.resize()
        if ungrouped:
            for watch in (*self.watches, *self.leads):
                watch.ungrouped[:-1] += ungrouped
        if not len(rows):
            return None
        kind = (*chosen, self.measure, self.key.adjusted)
        return view.remembered(kind, lambda: self._samples(view, measured, chosen, slots, rows)), rows

    def _samples(
        self,
        view: View,
        measured: Measured,
        chosen: tuple[object, ...],
        slots: NDArray[np.int32],
        rows: NDArray[np.intp],
    ) -> Samples:
        """Return the samples at some rows; leaves that take the same share them."""
        weights = view.batch.adjusted_count if self.key.adjusted else None
        if len(rows) == len(view.batch):
            return Samples(slots, view.batch.end, measured.values, measured.counts, measured.unpriced, weights)
        counts = None if measured.counts is None else measured.counts[rows]
        unpriced = None if measured.unpriced is None else measured.unpriced[rows]
        times = view.remembered((*chosen, "times"), lambda: view.batch.end[rows])
        weights = None if weights is None else weights[rows]
        return Samples(slots, times, measured.values[rows], counts, unpriced, weights)

    def _choose(self, view: View, measured: Measured) -> tuple[NDArray[np.int32], NDArray[np.intp], int]:
        """Return [k] the slots of the rows that are samples, [k] those rows, and how many more have no group."""
        mask = view.of_classes(self.key.classes, billed=self.billed)
        if measured.valid is not None:
            mask = mask & measured.valid
        if (passing := view.passing(self.key.filters)) is not None:
            mask = mask & passing
        if view.missing is not None or view.before is not None:
            mask = mask & self._ready(view)
        slots = view.slots(self.key.grouping, self.groups)
        without = slots < 0
        ungrouped = 0
        if np.count_nonzero(without):
            ungrouped = int(np.count_nonzero(mask & without))
            mask = mask & ~without
        rows = mask.nonzero()[0]
        return (slots if len(rows) == len(slots) else slots[rows]), rows, ungrouped

    def _ready(self, view: View) -> NDArray[np.bool_]:
        """Return [n] which rows have all that this leaf asks of their trace now, and had not before."""
        ready = np.ones(len(view.batch), np.bool_)
        if view.missing is not None and not view.final:
            for bits in self.awaited:
                ready &= (view.missing & np.uint64(bits)) != bits
        if view.before is not None:
            was_ready = np.ones(len(view.batch), np.bool_)
            for bits in self.awaited:
                was_ready &= (view.before & np.uint64(bits)) != bits
            ready &= ~was_ready
        return ready
