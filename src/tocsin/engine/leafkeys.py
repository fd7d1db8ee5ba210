"""What makes a leaf: rules and series with equal keys share one window, also across a reload."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tocsin.engine.view import NUMBERS, classes_of
from tocsin.model.batch import SpanClass
from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.filters import Filter
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Sampling, Scope
from tocsin.rules.vector import Series

__all__ = ["GROWING", "NOT_INHERITED", "LeafKey", "awaited_bits", "leaf_key", "reader_key", "series_key"]

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
    fold: str = ""
    """Over traces: how a number of a trace's spans becomes the trace's."""
    offset_ns: int = 0
    calendar: Calendar | None = None
    interval_ns: int | None = None
    """The window moves from one end of a bucket of this length to the next."""
    running: bool = False
    """Everything since the present bucket began, instead."""
    baseline: bool = False
    excluding: tuple[str, str] | None = None
    """The rule (project, name) while whose alert is firing samples of its group are left out."""

    @property
    def is_windowed(self) -> bool:
        """Whether there is a window: samples are not judged one by one."""
        return self.window_ns is not None or self.calendar is not None

    @property
    def opens(self) -> bool:
        """Whether the window has to be told the time before its first sample: it is one of a calendar's or bucket's."""
        return self.calendar is not None or self.interval_ns is not None

    @property
    def memory_ns(self) -> int:
        """How long a sample matters at the longest, without the width of a pane."""
        if self.calendar is not None:
            return _LONGEST[self.calendar.period]
        return (self.window_ns or 0) + self.offset_ns + 2 * (self.interval_ns or 0)


_LONGEST = {period: days * 86_400 * 10**9 for period, days in ((Period.DAY, 2), (Period.WEEK, 8), (Period.MONTH, 32))}
"""How long a period is at the most, and more."""


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
        "" if rule.judges_each else _storage(rule.metric, rule.aggregate, adjusted=adjusted),
        _grows(rule),
        _fold(rule.scope, rule.metric, rule.aggregate),
        calendar=rule.calendar,
    )
    return key, chosen.constant if chosen else None


def series_key(series: Series, rule: Rule, *, running: bool = False) -> LeafKey:
    """Return the leaf of a series of a rule's expression.

    Args:
        series: the series.
        rule: whose expression it is of.
        running: what is in the present bucket, for expressions with an interval.

    Raises:
        ValueError: the series is one that no window can be.
    """
    adjusted = series.sampling is Sampling.ADJUST
    interval_ns = None if rule.expression is None else rule.expression.interval_ns
    if series.calendar is not None and (series.offset_ns or interval_ns):
        raise ValueError("a window of the calendar has neither an offset nor an interval")
    return LeafKey(
        series.scope,
        series.metric,
        series.attribute,
        classes_of(series.metric, series.spans),
        adjusted,
        tuple(sorted(series.filters, key=lambda each: each.label)),
        tuple(sorted(set(series.labels))),
        None if series.calendar is not None else series.window_ns,
        _storage(series.metric, series.aggregate, adjusted=adjusted),
        fold=_fold(series.scope, series.metric, series.aggregate),
        offset_ns=series.offset_ns,
        calendar=series.calendar,
        interval_ns=interval_ns,
        running=running,
        baseline=series.baseline,
        excluding=rule.key if series.exclude_incidents else None,
    )


def _storage(metric: Metric, aggregate: Aggregate, *, adjusted: bool) -> str:
    match aggregate:
        case Aggregate.QUANTILE:
            return "sketch"
        case Aggregate.MIN | Aggregate.MAX | Aggregate.LAST:
            return aggregate.value
        case Aggregate.STDDEV:
            return "float"
        case _:
            return "float" if adjusted or metric in _FLOATS else "integer"


def _fold(scope: Scope, metric: Metric, aggregate: Aggregate) -> str:
    if scope is not Scope.TRACE or metric not in NUMBERS:
        return ""
    return aggregate.value if aggregate in (Aggregate.SUM, Aggregate.MIN, Aggregate.MAX) else "mean"


def _grows(rule: Rule) -> bool:
    """Whether a rule over traces in a window has a condition that can only become truer as a trace grows."""
    rising = rule.condition in (Condition.GT, Condition.GTE) and rule.aggregate is Aggregate.SUM
    return rule.scope is Scope.TRACE and not rule.judges_each and rising and rule.metric in GROWING


def reader_key(rule: Rule) -> tuple[Any, ...]:
    """Return what must be equal, beside the leaf, for rules to be compared together."""
    return rule.aggregate, rule.quantile, rule.condition


def awaited_bits(key: LeafKey, bits: dict[str, int]) -> tuple[int, ...]:
    """Return what a row of a leaf waits for: each filter's label, and each entry of the grouping as a whole."""
    entries: Iterable[tuple[str, ...]] = [*((each.label,) for each in key.filters), *key.grouping]
    # An entry with an alternative that is never inherited (the trace id above all) is known at once.
    return tuple(
        sum(bits[label] for label in entry) for entry in dict.fromkeys(entries) if all(label in bits for label in entry)
    )
