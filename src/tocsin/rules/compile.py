"""Rule text to `Rule`: defaults filled in, units made exact, and what does not go together refused."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar

from tocsin.model.batch import SpanClass
from tocsin.model.settings import nanoseconds
from tocsin.rules.config import RuleConfig
from tocsin.rules.filters import Filter, parse_match
from tocsin.rules.problems import KeyPath, Mistake
from tocsin.rules.rule import (
    Aggregate,
    BlockAction,
    Condition,
    Level,
    Metric,
    NoData,
    Rule,
    Sampling,
    Scope,
    Severity,
)
from tocsin.rules.thresholds import parse_threshold

__all__ = ["compile_rule", "default_aggregate"]

_SECOND_NS = 1_000_000_000
_LONGEST_DAYS = 366

_AVERAGED = frozenset(
    {
        Metric.LATENCY,
        Metric.TIME_TO_FIRST_TOKEN,
        Metric.ERROR_RATE,
        Metric.SUCCESS_RATE,
        Metric.UNPRICED_RATIO,
        Metric.COST_MISMATCH,
        Metric.COST_PER_TRACE,
        Metric.JUDGE_SCORE,
        Metric.RELEVANCE_SCORE,
        Metric.TOP_SCORE,
        Metric.RETRIEVED_COUNT,
        Metric.ATTRIBUTE,
    }
)
_RATIOS = frozenset({Metric.ERROR_RATE, Metric.SUCCESS_RATE, Metric.UNPRICED_RATIO})
_FROM_ATTRIBUTES = frozenset(
    {Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT, Metric.ATTRIBUTE}
)
_SPAN_CLASSES: Mapping[str, frozenset[SpanClass]] = {
    "llm": frozenset({SpanClass.LLM}),
    "embeddings": frozenset({SpanClass.EMBEDDINGS}),
    "tool": frozenset({SpanClass.TOOL}),
    "retrieval": frozenset({SpanClass.RETRIEVAL}),
    "agent": frozenset({SpanClass.AGENT}),
    "chain": frozenset({SpanClass.CHAIN}),
    "memory": frozenset({SpanClass.MEMORY}),
    "evaluation": frozenset({SpanClass.EVALUATION}),
    # What is never a sample of its own (bare usage records, copies) stays out of "any" too.
    "any": frozenset(SpanClass) - {SpanClass.USAGE, SpanClass.DUPLICATE},
}
_RISING = (Condition.GT, Condition.GTE)
_FALLING = (Condition.LT, Condition.LTE)
_SINGLE = (Aggregate.SUM, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST)
"""Aggregates that are the sample itself where there is only one."""

T = TypeVar("T")


def default_aggregate(metric: Metric) -> Aggregate:
    """Return how samples are combined where the rule does not say: a mean of what can't be added up."""
    return Aggregate.AVG if metric in _AVERAGED else Aggregate.SUM


def compile_rule(config: RuleConfig, *, sampling: Sampling = Sampling.IGNORE) -> tuple[Rule | None, list[Mistake]]:
    """Return the rule that a person wrote, or None and all that is wrong with it.

    Args:
        config: the rule's fields, each valid on its own.
        sampling: what counts where the rule does not say.

    Returns:
        The rule and no mistakes, or None and some; their paths begin at the rule.
    """
    compiler = _Compiler(config, sampling)
    rule = compiler.rule()
    return (None if compiler.mistakes else rule), compiler.mistakes


class _Compiler:
    """One rule on its way; `mistakes` grows, and where it is not empty the result is not to be used."""

    def __init__(self, config: RuleConfig, sampling: Sampling) -> None:
        self.config = config
        self.sampling = config.sampling or sampling
        self.mistakes: list[Mistake] = []
        self.metric, self.attribute = self._measured()
        self.scope = self._scope()
        self.window_ns = nanoseconds(config.window) if config.window is not None else None
        self.aggregate, self.quantile = self._aggregate()

    def rule(self) -> Rule:
        config = self.config
        self._check_window()
        levels = self._levels()
        parts: dict[str, Any] = {
            "project": config.project,
            "name": config.name,
            "description": config.description,
            "scope": self.scope,
            "spans": frozenset().union(*(_SPAN_CLASSES[word] for word in config.spans)) if config.spans else None,
            "metric": self.metric,
            "attribute": self.attribute,
            "aggregate": self.aggregate,
            "quantile": self.quantile,
            "window_ns": self.window_ns,
            "group_by": config.group_by,
            "filters": self._filters(),
            "condition": config.condition,
            "levels": levels,
            "min_samples": config.min_samples,
            "for_ns": nanoseconds(config.for_),
            "keep_firing_ns": nanoseconds(config.keep_firing_for),
            "cooldown_ns": nanoseconds(config.cooldown),
            "notify_resolved": config.notify_resolved,
            "no_data": config.no_data,
            "sampling": self.sampling,
            "runbook_url": config.runbook_url,
            "dashboard_url": config.dashboard_url,
            "summary": config.summary,
            "labels": MappingProxyType(dict(config.labels)),
            "actions": self._actions(),
        }
        return Rule(**parts, version=_version_of(parts))

    def _tell(self, path: KeyPath, text: str, *, at_key: bool = False) -> None:
        self.mistakes.append(Mistake(path, text, at_key))

    def _try(self, path: KeyPath, parse: Callable[[], T], otherwise: T) -> T:
        try:
            return parse()
        except ValueError as error:
            self._tell(path, str(error))
            return otherwise

    def _measured(self) -> tuple[Metric, str | None]:
        config = self.config
        if config.attribute is not None and config.metric is not None:
            self._tell(("attribute",), "'metric' and 'attribute' both say what is measured; keep one", at_key=True)
        if config.measured is not None:
            metric, attribute = config.measured
            return metric, attribute
        if config.condition is not Condition.ABSENT:
            self._tell((), "nothing is measured; add 'metric', like metric: cost, or 'attribute'")
        return Metric.COUNT, None

    def _scope(self) -> Scope:
        scope = self.config.scope
        if self.metric is Metric.COST_PER_TRACE:
            if scope is Scope.SPAN:
                self._tell(("scope",), "cost_per_trace is a mean over traces; write scope: trace, or leave it out")
            return Scope.TRACE
        if self.metric is Metric.TIME_TO_FIRST_TOKEN and scope is Scope.TRACE:
            self._tell(("scope",), "time_to_first_token is known of spans only; write scope: span, or use latency")
        return scope or Scope.SPAN

    def _aggregate(self) -> tuple[Aggregate, float | None]:
        word = self.config.aggregate
        if word is None:
            return default_aggregate(self.metric), None
        if word.startswith("p"):
            aggregate, quantile = Aggregate.QUANTILE, float(Decimal(word[1:]) / 100)
        else:
            aggregate, quantile = Aggregate(word), None
        if self.metric in _RATIOS and aggregate is not Aggregate.AVG:
            self._tell(
                ("aggregate",),
                f"{self.metric} is a share of the samples; write aggregate: avg, or leave it out",
            )
        elif self.metric is Metric.COUNT and aggregate not in (
            Aggregate.SUM,
            Aggregate.COUNT,
            Aggregate.RATE,
        ):
            self._tell(("aggregate",), "count is 1 for every sample; write aggregate: sum or rate, or leave it out")
        elif self.metric is Metric.COST_PER_TRACE and aggregate is not Aggregate.AVG:
            text = "cost_per_trace is a mean; leave aggregate out, or write metric: cost with scope: trace"
            self._tell(("aggregate",), text)
        return aggregate, quantile

    def _check_window(self) -> None:
        config = self.config
        if self.window_ns is None:
            self._check_without_window()
        elif self.window_ns < _SECOND_NS:
            self._tell(("window",), "a window is at least 1s; write 1s or more, or leave it out to judge each sample")
        elif self.window_ns > _LONGEST_DAYS * 86_400 * _SECOND_NS:
            self._tell(("window",), f"a window is at most {_LONGEST_DAYS}d; write less")
        if config.sampling is Sampling.ADJUST and self.window_ns is None:
            self._tell(("sampling",), "adjusting for sampled traffic needs a 'window'; add one, or leave it out")

    def _check_without_window(self) -> None:
        config = self.config
        if config.condition is Condition.ABSENT:
            self._tell(("condition",), "'absent' needs a 'window' that had no sample; add one, like window: 10m")
        elif self.metric is Metric.COUNT:
            self._tell(("metric",), "a single sample counts 1; add a 'window' to count in, like window: 5m")
        elif self.metric is Metric.COST_PER_TRACE:
            text = "a mean over traces needs a 'window'; add one, or write metric: cost with scope: trace"
            self._tell(("metric",), text)
        elif config.aggregate is not None and not self._single():
            text = f"{config.aggregate} of a single sample means nothing; add a 'window', or leave aggregate out"
            self._tell(("aggregate",), text)
        if config.min_samples > 1:
            self._tell(("min_samples",), "without a 'window' there is one sample; add a window, or leave it out")
        if config.no_data is NoData.ALERT:
            self._tell(("no_data",), "without a 'window' nothing can be missing; add a window, or leave it out")

    def _single(self) -> bool:
        """Whether the aggregate means something for one sample; a trace combines its spans by it."""
        combines = self.scope is Scope.TRACE and self.metric in _FROM_ATTRIBUTES
        return self.aggregate in _SINGLE or (combines and self.aggregate is Aggregate.AVG)

    def _levels(self) -> tuple[Level, ...]:
        config = self.config
        if config.levels is not None:
            return self._several_levels()
        severity = config.severity or Severity.MEDIUM
        if config.condition is Condition.ABSENT:
            self._refuse_thresholds_of_absent()
            return (Level(severity, Decimal(0), None, config.notify),)
        if config.threshold is None:
            self._tell((), "no 'threshold'; add one, like threshold: 25, or 'levels'")
            return ()
        level = self._level((), severity, config.threshold, config.recovery_threshold, config.notify)
        return (level,) if level else ()

    def _refuse_thresholds_of_absent(self) -> None:
        for key in ("threshold", "recovery_threshold"):
            if getattr(self.config, key) is not None:
                self._tell((key,), f"'absent' compares with nothing; remove '{key}'", at_key=True)

    def _several_levels(self) -> tuple[Level, ...]:
        config = self.config
        for key in ("severity", "threshold", "recovery_threshold"):
            if getattr(config, key) is not None:
                self._tell((key,), f"'levels' stand in place of '{key}'; remove one of the two", at_key=True)
        if config.condition not in (*_RISING, *_FALLING):
            text = f"levels need a direction, which {config.condition.value!r} has not; use gt, gte, lt or lte"
            self._tell(("levels",), text, at_key=True)
            return ()
        if not config.levels:
            self._tell(("levels",), "no level; add one, like {severity: high, threshold: 25}")
            return ()
        found: list[tuple[int, Level]] = []
        for at, written in enumerate(config.levels):
            notify = config.notify if written.notify is None else written.notify
            level = self._level(("levels", at), written.severity, written.threshold, written.recovery_threshold, notify)
            if level is not None:
                found.append((at, level))
        found.sort(key=lambda item: item[1].severity.rank)
        self._check_order(found)
        return tuple(level for _, level in found)

    def _check_order(self, levels: Sequence[tuple[int, Level]]) -> None:
        """A more severe level must be harder to reach, or it is never told apart from the one below."""
        rising = self.config.condition in _RISING
        for (_, low), (at, high) in pairwise(levels):
            if low.severity is high.severity:
                self._tell(
                    ("levels", at, "severity"),
                    f"two levels are {high.severity.value}; give each its own severity",
                )
            elif (high.threshold <= low.threshold) if rising else (high.threshold >= low.threshold):
                text = (
                    f"{high.severity.value} at {high.threshold} is reached before {low.severity.value} at "
                    f"{low.threshold}; with {self.config.condition.value} the more severe level needs the "
                    f"{'higher' if rising else 'lower'} threshold"
                )
                self._tell(("levels", at, "threshold"), text)

    def _level(
        self, path: KeyPath, severity: Severity, threshold: str, recovery: str | None, notify: tuple[str, ...]
    ) -> Level | None:
        limit = self._threshold((*path, "threshold"), threshold)
        back = None if recovery is None else self._threshold((*path, "recovery_threshold"), recovery)
        if limit is None or (recovery is not None and back is None):
            return None
        if back is not None:
            self._check_recovery((*path, "recovery_threshold"), limit, back)
        return Level(severity, limit, back, notify)

    def _threshold(self, path: KeyPath, text: str) -> Decimal | None:
        return self._try(path, lambda: parse_threshold(text, self.metric, self.aggregate), None)

    def _check_recovery(self, path: KeyPath, limit: Decimal, back: Decimal) -> None:
        condition = self.config.condition
        if condition in _RISING and back > limit:
            self._tell(
                path,
                f"recovery at {back} is above the threshold {limit}; with {condition.value} it lies below",
            )
        elif condition in _FALLING and back < limit:
            self._tell(
                path,
                f"recovery at {back} is below the threshold {limit}; with {condition.value} it lies above",
            )
        elif condition not in (*_RISING, *_FALLING):
            self._tell(
                path,
                f"{condition.value!r} has no way back over a line; remove 'recovery_threshold'",
                at_key=True,
            )

    def _filters(self) -> tuple[Filter, ...]:
        found = []
        for label, texts in self.config.filters.items():
            if label == "trace":
                self._tell(("filters", label), "a rule can't be about one trace; use group_by: trace", at_key=True)
            parsed = [
                self._try(("filters", label, at), partial(parse_match, text), None) for at, text in enumerate(texts)
            ]
            matches = tuple(match for match in parsed if match is not None)
            found.append(Filter(label, matches))
        return tuple(found)

    def _actions(self) -> tuple[BlockAction, ...]:
        known = {label for entry in self.config.group_by for label in entry}
        for at, action in enumerate(self.config.actions):
            if action.block not in known:
                text = f"the rule has no single {action.block!r} to block; add it to 'group_by'"
                self._tell(("actions", at, "block"), text)
            elif not action.ttl:
                self._tell(("actions", at, "ttl"), "a block of no length; write how long it lasts, like 1h")
        return tuple(BlockAction(action.block, nanoseconds(action.ttl)) for action in self.config.actions)


def _version_of(parts: Mapping[str, Any]) -> str:
    canonical = json.dumps(_canonical(parts), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:  # noqa: ANN401  # any part of a rule
    """The same JSON for the same content, in every process and version of Python."""
    if is_dataclass(value):
        # What does not count when two are compared (memories, hashes that differ by process) is no content.
        return {field.name: _canonical(getattr(value, field.name)) for field in fields(value) if field.compare}
    match value:
        case Mapping():
            return {str(key): _canonical(item) for key, item in value.items()}
        case frozenset():
            return sorted(_canonical(item) for item in value)
        case tuple() | list():
            return [_canonical(item) for item in value]
        case Decimal():
            return str(value)
        case _:
            return value
