"""A leaf: one distinct (metric, window, filters, grouping), whatever number of rules read it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.evidence import SampleLog
from tocsin.engine.view import BILLED, SCALE, Measured, View, classes_of
from tocsin.engine.watch import Watch
from tocsin.model.batch import SpanClass
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.filters import Filter
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Sampling, Scope
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.groups import Groups
from tocsin.windows.index import Secret
from tocsin.windows.sketches import SketchCourse, Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

__all__ = ["GROWING", "NOT_INHERITED", "Leaf", "LeafKey", "Window", "leaf_key", "reader_key"]

Window = IntegerSums | FloatSums | Extremes | LastValues | Sketches

GROWING = {
    Metric.COST: "cost",
    Metric.COST_PER_TRACE: "cost",
    Metric.TOKENS: "tokens",
    Metric.INPUT_TOKENS: "input_tokens",
    Metric.OUTPUT_TOKENS: "output_tokens",
    Metric.CACHED_TOKENS: "cached_tokens",
    Metric.REASONING_TOKENS: "reasoning_tokens",
}
"""Metrics of a trace that are a sum over its calls, by the name of the sum: they only grow."""

NOT_INHERITED = frozenset(
    {"model", "provider", "operation", "tool", "trace", "evaluation", "response_id", "finish_reason"}
)
"""Labels that say what a span itself did; one that lacks them is not given its parent's."""

_SHARED_BY_CONSTANT = frozenset({"environment", "service", "model", "provider", "operation", "tool", "trace"})
"""Labels with few values: an equality on one of them stays a filter."""

_FLOATS = frozenset(
    {
        Metric.TIME_TO_FIRST_TOKEN,
        Metric.JUDGE_SCORE,
        Metric.RELEVANCE_SCORE,
        Metric.TOP_SCORE,
        Metric.RETRIEVED_COUNT,
        Metric.COST_MISMATCH,
        Metric.ATTRIBUTE,
    }
)


@dataclass(frozen=True, slots=True)
class LeafKey:
    """What makes a leaf: rules with equal keys share its window, also across a reload."""

    scope: Scope
    metric: Metric
    attribute: str | None
    classes: frozenset[SpanClass]
    adjusted: bool
    filters: tuple[Filter, ...]
    grouping: tuple[tuple[str, ...], ...]
    window_ns: int | None
    storage: str
    """Which kind of window; empty for a leaf without one."""
    growing: bool = False
    """Over traces: what a trace grows by is counted as it grows, not the whole once it is complete."""


def leaf_key(rule: Rule) -> tuple[LeafKey, str | None]:
    """Return the leaf of a rule, and the constant of the first label of its grouping where the rule is for one value.

    An equality filter on a label with many values (a tenant, a user) becomes the first label of the grouping, so that
    rules that differ only in it share one leaf. Which filter that is depends on the rule alone: adding a rule never
    changes the leaf of another.
    """
    constants = sorted(
        (each for each in rule.filters if each.constant is not None and each.label not in _SHARED_BY_CONSTANT),
        key=lambda each: (each.label != "tenant", each.label),
    )
    chosen = constants[0] if constants else None
    filters = tuple(sorted((each for each in rule.filters if each is not chosen), key=lambda each: each.label))
    grouping = (((chosen.label,),) if chosen else ()) + rule.group_by
    adjusted = rule.sampling is Sampling.ADJUST
    key = LeafKey(
        rule.scope,
        rule.metric,
        rule.attribute,
        classes_of(rule.metric, rule.spans),
        adjusted,
        filters,
        grouping,
        rule.window_ns,
        "" if rule.window_ns is None else _storage(rule, adjusted=adjusted),
        _grows(rule),
    )
    return key, chosen.constant if chosen else None


def _storage(rule: Rule, *, adjusted: bool) -> str:
    match rule.aggregate:
        case Aggregate.QUANTILE:
            return "sketch"
        case Aggregate.MIN | Aggregate.MAX | Aggregate.LAST:
            return rule.aggregate.value
        case Aggregate.STDDEV:
            return "float"
        case _:
            return "float" if adjusted or rule.metric in _FLOATS else "integer"


def _grows(rule: Rule) -> bool:
    """Whether a rule over traces in a window has a condition that can only become truer as a trace grows."""
    rising = rule.condition in (Condition.GT, Condition.GTE) and rule.aggregate is Aggregate.SUM
    return rule.scope is Scope.TRACE and rule.window_ns is not None and rising and rule.metric in GROWING


def reader_key(rule: Rule) -> tuple[Any, ...]:
    """Return what must be equal, beside the leaf, for rules to be compared together."""
    return rule.aggregate, rule.quantile, rule.condition


def _window(storage: str, window_ns: int, secret: Secret) -> Window:
    match storage:
        case "sketch":
            return Sketches(window_ns, secret)
        case "min" | "max":
            return Extremes(window_ns, largest=storage == "max")
        case "last":
            return LastValues(window_ns)
        case "float":
            return FloatSums(window_ns)
        case _:
            return IntegerSums(window_ns)


@dataclass(slots=True)
class Leaf:
    """A leaf's window (None: each sample is judged on its own), its groups, and the watches over it."""

    key: LeafKey
    groups: Groups
    log: SampleLog
    secret: Secret
    """Of the engine."""
    watches: list[Watch] = field(default_factory=list)
    window: Window | None = None
    scheduled: int | None = None
    """The expiry that is in the engine's schedule."""
    measure: int = 0
    """The number of its (metric, attribute) in the plan."""
    choice: int = 0
    """The number of what decides which rows it takes; leaves over the same spans mostly share one."""
    awaited: tuple[int, ...] = ()
    """Bits of inherited labels; a row waits while all bits of any of these are missing."""

    billed: bool = field(init=False)
    """Whether the metric is of what is paid for."""
    scale: float = field(init=False)
    """Raw units in one of the metric's."""

    def __post_init__(self) -> None:
        """Make the window."""
        self.billed = self.key.metric in BILLED
        self.scale = SCALE.get(self.key.metric, 1.0)
        if self.key.window_ns is not None:
            self.window = _window(self.key.storage, self.key.window_ns, self.secret)
            self.window.resize(self.groups.capacity)

    def resize(self) -> None:
        """Follow the groups' capacity."""
        if self.window is not None and self.window.capacity < self.groups.capacity:
            self.window.resize(self.groups.capacity)
        for watch in self.watches:
            watch.resize()

    def freeze(self) -> Frozen:
        """Return the state of the window, the samples behind it and the watches; the groups have their own."""
        self.resize()
        window = None if self.window is None else self.window.freeze(self.groups.used)
        log, watches, scheduled = self.log.freeze(), [watch.freeze() for watch in self.watches], self.scheduled

        def state() -> State:
            held: State = None if window is None else window()
            return {"window": held, "log": log(), "watches": [each() for each in watches], "scheduled": scheduled}

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

    def values(self, watch: Watch, window: "Window | SketchCourse", slots: NDArray[Any]) -> NDArray[np.float64]:
        """Return [n] what a watch compares, in the rule's unit; NaN where there is nothing to compare."""
        rule = watch.rules[0]
        match window:
            case Sketches() | SketchCourse():
                raw = window.quantile(slots, rule.quantile or 0.0)
            case Extremes():
                raw = window.extreme(slots)
            case LastValues():
                raw = window.last(slots)
            case _:
                return self._sums(rule, window, slots)
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

    def _sums(self, rule: Rule, window: IntegerSums | FloatSums, slots: NDArray[Any]) -> NDArray[np.float64]:
        match rule.aggregate:
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
            for watch in self.watches:
                watch.ungrouped[:-1] += ungrouped
        if not len(rows):
            return None
        weights = view.batch.adjusted_count if self.key.adjusted else None
        if len(rows) == len(view.batch):
            samples = Samples(slots, view.batch.end, measured.values, measured.counts, measured.unpriced, weights)
            return samples, rows
        counts = None if measured.counts is None else measured.counts[rows]
        unpriced = None if measured.unpriced is None else measured.unpriced[rows]
        times = view.remembered((*chosen, "times"), lambda: view.batch.end[rows])
        weights = None if weights is None else weights[rows]
        return Samples(slots, times, measured.values[rows], counts, unpriced, weights), rows

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


def awaited_bits(key: LeafKey, bits: dict[str, int]) -> tuple[int, ...]:
    """Return what a row of a leaf waits for: each filter's label, and each entry of the grouping as a whole."""
    entries: Iterable[tuple[str, ...]] = [*((each.label,) for each in key.filters), *key.grouping]
    # An entry with an alternative that is never inherited (the trace id above all) is known at once.
    return tuple(
        sum(bits[label] for label in entry) for entry in dict.fromkeys(entries) if all(label in bits for label in entry)
    )
