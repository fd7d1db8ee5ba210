"""Spans as plain values, the real batches that they make, and Hypothesis strategies for histories and rules.

The strategies leave out what the contract leaves open (two values of one inherited label in a trace, an agent whose
usage may or may not be repeated below it), so that an engine and the oracle can be compared to the last event.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tocsin.model.batch import ABSENT, CostSource, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.rule import (
    Aggregate,
    Condition,
    Level,
    Metric,
    NoData,
    Rule,
    Sampling,
    Scope,
    Severity,
)

__all__ = [
    "CALM_GRID",
    "EPOCH",
    "LABELS",
    "MINUTE",
    "NUMBERS",
    "SECOND",
    "Span",
    "batch_of",
    "histories",
    "rule_of",
    "rules",
    "splits",
]

SECOND = 10**9
MINUTE = 60 * SECOND
EPOCH = 1_790_000_000 * SECOND
"""Where histories begin, Unix nanoseconds."""
CALM_GRID = 8 * SECOND
"""The grid of histories for which calm rules decide alike whatever their panes are: no window of theirs ends, and no
timer of theirs elapses, within two seconds before a sample."""
LABELS = ("conversation", "tenant", "environment")
"""Labels of the histories; one value per trace, on some of its spans."""
NUMBERS = ("judge_score", "app.size")


@dataclass(frozen=True)
class Span:
    """One span; times in Unix nanoseconds."""

    time: int = EPOCH
    """Its end: the event time."""
    trace: int = 1
    """128 bits."""
    span: int = 1
    parent: int = 0
    arrival: int | None = None
    """None: at once."""
    span_class: SpanClass = SpanClass.LLM
    latency: int = SECOND
    """From start to end, nanoseconds."""
    failed: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    cost_nano: int = 0
    computed_nano: int = ABSENT
    cost_source: CostSource = CostSource.COMPUTED
    input_tokens: int = ABSENT
    output_tokens: int = ABSENT
    cache_read_tokens: int = ABSENT
    reasoning_tokens: int = ABSENT
    ttft_ms: float = math.nan
    adjusted_count: float = 1.0
    scope: int = 1
    """Who wrote it, 32 bits."""
    wraps: bool = False
    deferred: bool = False

    @property
    def start(self) -> int:
        return self.time - self.latency


ALWAYS_LABELS = ("model", "provider", "service", "response_id", "tool", "agent", "prompt_version")


def batch_of(spans: Sequence[Span], labels: Sequence[str] = LABELS, numbers: Sequence[str] = NUMBERS) -> SpanBatch:
    """Return the batch that the semantic conventions and the prices would have made of these spans."""

    def whole(name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([getattr(span, name) for span in spans], np.int64)

    def ids(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.array(values, np.uint64)

    unknown = np.full(len(spans), ABSENT, np.int64)
    arrival = [span.time if span.arrival is None else span.arrival for span in spans]
    return SpanBatch(
        arrival=np.array(arrival, np.int64),
        trace_hi=ids([span.trace >> 64 for span in spans]),
        trace_lo=ids([span.trace & (2**64 - 1) for span in spans]),
        span_id=ids([span.span for span in spans]),
        parent_id=ids([span.parent for span in spans]),
        start=whole("start"),
        end=whole("time"),
        latency=whole("latency"),
        span_class=np.array([span.span_class for span in spans], np.uint8),
        failed=np.array([span.failed for span in spans], np.bool_),
        scope=np.array([span.scope for span in spans], np.uint32),
        wraps=np.array([span.wraps for span in spans], np.bool_),
        deferred=np.array([span.deferred for span in spans], np.bool_),
        input_tokens=whole("input_tokens"),
        output_tokens=whole("output_tokens"),
        cache_read_tokens=whole("cache_read_tokens"),
        cache_write_tokens=unknown,
        cache_write_1h_tokens=unknown,
        reasoning_tokens=whole("reasoning_tokens"),
        input_audio_tokens=unknown,
        output_audio_tokens=unknown,
        reported_usd=np.full(len(spans), np.nan),
        ttft_ms=np.array([span.ttft_ms for span in spans], np.float64),
        adjusted_count=np.array([span.adjusted_count for span in spans], np.float64),
        labels={name: _texts(spans, name) for name in dict.fromkeys((*labels, *ALWAYS_LABELS))},
        numbers={name: np.array([span.numbers.get(name, math.nan) for span in spans], np.float64) for name in numbers},
        cost_nano=whole("cost_nano"),
        computed_nano=whole("computed_nano"),
        cost_source=np.array([span.cost_source for span in spans], np.uint8),
    )


def _texts(spans: Sequence[Span], name: str) -> TextColumn:
    texts = [span.labels.get(name) for span in spans]
    values = list(dict.fromkeys(text for text in texts if text is not None))
    codes = [-1 if text is None else values.index(text) for text in texts]
    return TextColumn(np.array(codes, np.int32), values)


def rule_of(
    *,
    threshold: float | str = 0,
    recovery: float | str | None = None,
    notify: tuple[str, ...] = ("c",),
    **given: Any,  # noqa: ANN401  # any field of Rule
) -> Rule:
    """Return a rule with the defaults of the rule reference; `threshold` and `recovery` make its one level."""
    metric = given.get("metric", Metric.COST)
    defaults: dict[str, Any] = {
        "project": "default",
        "name": "rule",
        "description": "",
        "scope": Scope.SPAN,
        "spans": None,
        "metric": metric,
        "attribute": None,
        "aggregate": Aggregate.AVG if str(metric).endswith(("rate", "ratio", "score")) else Aggregate.SUM,
        "quantile": None,
        "window_ns": 5 * MINUTE,
        "group_by": (),
        "filters": (),
        "condition": Condition.GT,
        "levels": (_level(Severity.MEDIUM, threshold, recovery, notify),),
        "min_samples": 1,
        "for_ns": 0,
        "keep_firing_ns": 0,
        "cooldown_ns": 30 * MINUTE,
        "notify_resolved": True,
        "no_data": NoData.KEEP,
        "sampling": Sampling.IGNORE,
        "runbook_url": None,
        "dashboard_url": None,
        "summary": None,
        "labels": {},
        "actions": (),
        "version": "0" * 16,
    }
    unknown = given.keys() - {each.name for each in fields(Rule)}
    assert not unknown, unknown
    return Rule(**{**defaults, **given})


def _level(severity: Severity, threshold: float | str, recovery: float | str | None, notify: tuple[str, ...]) -> Level:
    return Level(severity, Decimal(str(threshold)), None if recovery is None else Decimal(str(recovery)), notify)


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    max_traces: int = 6,
    max_spans: int = 6,
    spread: int = 10 * MINUTE,
    classes: Sequence[SpanClass] = (SpanClass.LLM, SpanClass.LLM, SpanClass.TOOL, SpanClass.CHAIN),
    inherited: bool = False,
    nested: bool = False,
    trees: bool = False,
    rooted: bool = False,
    grid: int = SECOND // 2,
) -> list[Span]:
    """Spans in order of event time, all ids distinct.

    Args:
        max_traces: at most so many traces.
        max_spans: at most so many spans in each.
        spread: nanoseconds from the first end to the last.
        classes: to choose from, evenly.
        inherited: labels stand on some spans of a trace only; else on all.
        nested: LLM spans may stand below LLM spans; else they are leaves.
        trees: spans have parents where one can; else every span is a root. What the root of a trace with several
            is, is left open: rules on traces need `rooted`.
        rooted: each trace is one tree, within 56 s, under a root that is no call and ends last; so no span comes
            after its trace was complete, whatever completes it.
        grid: all times are multiples of this many nanoseconds after the epoch; `CALM_GRID` for calm rules.
    """
    spans: list[Span] = []
    for trace in range(1, draw(st.integers(1, max_traces)) + 1):
        labels = {name: draw(st.sampled_from(["a", "b"])) for name in LABELS}
        begin = draw(st.integers(0, spread // grid))
        count = draw(st.integers(1, max_spans))
        extent = min(60, 56 * SECOND // grid) if rooted else 60
        own: list[Span] = []
        for number in range(count):
            root = rooted and not number
            span_class = SpanClass.CHAIN if root else draw(st.sampled_from(list(classes)))
            above = [span for span in own if nested or span.span_class != SpanClass.LLM]
            parent = draw(st.sampled_from(above)).span if (trees or rooted) and above and number else 0
            bearing = {name: value for name, value in labels.items() if not inherited or draw(st.booleans())}
            steps = extent if root else draw(st.integers(0, extent))
            time = EPOCH + min(begin + steps, spread // grid) * grid
            own.append(_call(draw, Span(time, trace, trace * 1000 + number, parent, None, span_class), bearing))
        spans += own
    # At equal times children come before their parents, as exporters send them.
    return sorted(spans, key=lambda span: (span.time, span.trace, -span.span))


def _call(draw: st.DrawFn, span: Span, labels: Mapping[str, str]) -> Span:
    numbers = {name: draw(st.integers(0, 100)) / 100 for name in NUMBERS if draw(st.booleans())}
    shape = replace(
        span,
        labels=labels,
        numbers=numbers,
        latency=draw(st.integers(0, 10_000)) * 10**6,
        failed=draw(st.booleans()),
        cost_source=CostSource.NONE,
    )
    if span.span_class not in (SpanClass.LLM, SpanClass.EMBEDDINGS):
        return shape
    cost = draw(st.integers(0, 10**10))
    priced = draw(st.integers(0, 9)) > 0
    return replace(
        shape,
        cost_nano=cost if priced else 0,
        computed_nano=cost if priced else ABSENT,
        cost_source=CostSource.COMPUTED if priced else CostSource.UNPRICED,
        input_tokens=draw(st.integers(0, 10_000)),
        output_tokens=draw(st.integers(0, 1_000)),
        cache_read_tokens=draw(st.sampled_from([ABSENT, 0, 10])),
        reasoning_tokens=draw(st.sampled_from([ABSENT, 0, 5])),
        ttft_ms=draw(st.sampled_from([math.nan, 10.0, 250.5])),
    )


def splits(spans: Sequence[Span]) -> st.SearchStrategy[list[list[Span]]]:
    """Ways to send a history in requests, its order kept."""
    cuts = st.lists(st.integers(0, len(spans)), max_size=6).map(lambda cut: sorted({0, len(spans), *cut}))
    return cuts.map(lambda cut: [list(spans[a:b]) for a, b in pairwise(cut)])


_THRESHOLDS: dict[Metric, st.SearchStrategy[float | str]] = {
    Metric.COST: st.sampled_from([0, 1, 5, 20]),
    Metric.LATENCY: st.sampled_from([0, 1000, 5000, 20_000]),
    Metric.ERROR_RATE: st.sampled_from([0, "0.05", "0.5"]),
    Metric.SUCCESS_RATE: st.sampled_from(["0.05", "0.5", 1]),
    Metric.TOKENS: st.sampled_from([0, 5_000, 20_000]),
    Metric.INPUT_TOKENS: st.sampled_from([0, 5_000, 20_000]),
    Metric.OUTPUT_TOKENS: st.sampled_from([0, 500, 2_000]),
    Metric.CACHED_TOKENS: st.sampled_from([0, 10, 50]),
    Metric.REASONING_TOKENS: st.sampled_from([0, 5, 20]),
    Metric.COUNT: st.sampled_from([1, 3, 10]),
    Metric.TIME_TO_FIRST_TOKEN: st.sampled_from([10, 100]),
    Metric.JUDGE_SCORE: st.sampled_from(["0.25", "0.5", "0.75"]),
    Metric.UNPRICED_RATIO: st.sampled_from([0, "0.1", "0.5"]),
    Metric.ATTRIBUTE: st.sampled_from(["0.25", "0.5", 2]),
}
_WINDOWS = [2 * SECOND, 30 * SECOND, 5 * MINUTE, 10 * MINUTE, 60 * MINUTE]
_FOR, _KEEP, _COOL = [5 * SECOND, MINUTE], [10 * SECOND, 2 * MINUTE], [MINUTE, 30 * MINUTE]
# Samples end at 0 of the grid's 8 s; windows at 4 and up to a pane later; the timers of both elsewhere.
_CALM_WINDOWS = [4 * SECOND, 28 * SECOND, 300 * SECOND, 596 * SECOND]
_CALM_FOR, _CALM_KEEP, _CALM_COOL = (
    [10 * SECOND, 58 * SECOND],
    [9 * SECOND, 121 * SECOND],
    [59_300_000_000, 1_803_300_000_000],
)
_ONLY_OF_SPANS = (Metric.TIME_TO_FIRST_TOKEN, Metric.UNPRICED_RATIO)
_GROUPINGS = [
    (), (("conversation",),), (("tenant",), ("environment",)), (("trace",),), (("conversation", "trace"),),
]  # fmt: skip
_FILTERS = [
    (),
    (Filter("tenant", (Match(MatchKind.EQUAL, "a"),)),),
    (Filter("tenant", (Match(MatchKind.GLOB, "?"),)), Filter("environment", (Match(MatchKind.EQUAL, "b"),))),
    (Filter("environment", (Match(MatchKind.EQUAL, "a"), Match(MatchKind.REGEX, "c|b"))),),
]


@st.composite
def rules(
    draw: st.DrawFn,
    *,
    windowless: bool = False,
    monotone: bool = False,
    scopes: Sequence[Scope] = (Scope.SPAN,),
    timers: bool = True,
    calm: bool = False,
    alternatives: bool = True,
    aggregates: Sequence[Aggregate] = tuple(Aggregate),
) -> Rule:
    """Rules over the labels and numbers of `histories`.

    Args:
        windowless: each sample is judged on its own; else a window of 2 s to 1 h (4 s to 10 m, if calm).
        monotone: only sums and counts above a threshold.
        scopes: to choose from.
        timers: with `for`, `keep_firing_for`, cooldowns and recovery thresholds; else the defaults.
        calm: with histories on `CALM_GRID`, no decision hangs on the length of a pane: alerts must be the same, and
            their times within a pane of each other.
        alternatives: may group by `conversation or trace`; where labels are inherited, which of the two is known
            first depends on how the spans are split into requests.
        aggregates: to choose from, where not monotone.
    """
    scope = draw(st.sampled_from(list(scopes)))
    of_traces = [metric for metric in _THRESHOLDS if metric not in _ONLY_OF_SPANS]
    sums = (Metric.COST, Metric.TOKENS, Metric.INPUT_TOKENS, Metric.COUNT)
    metric = draw(st.sampled_from(sums if monotone else of_traces if scope is Scope.TRACE else list(_THRESHOLDS)))
    aggregate = Aggregate.SUM if monotone else draw(st.sampled_from(list(aggregates)))
    above = [Condition.GT, Condition.GTE]
    if scope is Scope.TRACE and metric is Metric.JUDGE_SCORE:
        aggregate = draw(st.sampled_from([Aggregate.AVG, Aggregate.MIN]))  # scores of a trace have no other
    condition = draw(st.sampled_from(above if monotone else [*above, Condition.LT, Condition.LTE]))
    threshold = draw(_THRESHOLDS[metric])
    given: dict[str, Any] = {}
    if timers:
        # Whether a reminder comes before an alert ends may hang on a pane: of windows none is due so soon.
        cooldowns = (_CALM_COOL if windowless else _CALM_COOL[1:]) if calm else _COOL
        given = {
            "for_ns": 0 if windowless else draw(st.sampled_from([0, *(_CALM_FOR if calm else _FOR)])),
            "keep_firing_ns": draw(st.sampled_from([0, *(_CALM_KEEP if calm else _KEEP)])),
            "cooldown_ns": draw(st.sampled_from([*([] if windowless else [0]), *cooldowns])),
            "notify_resolved": draw(st.booleans()),
            "no_data": draw(st.sampled_from(list(NoData))),
            "min_samples": 1 if windowless else draw(st.sampled_from([1, 1, 3])),
        }
    return rule_of(
        metric=metric,
        attribute="app.size" if metric is Metric.ATTRIBUTE else None,
        aggregate=aggregate,
        quantile=draw(st.sampled_from([0.5, 0.95, 0.999])) if aggregate is Aggregate.QUANTILE else None,
        window_ns=None if windowless else draw(st.sampled_from(_CALM_WINDOWS if calm else _WINDOWS)),
        group_by=draw(st.sampled_from(_GROUPINGS if alternatives else _GROUPINGS[:-1])),
        filters=draw(st.sampled_from(_FILTERS)),
        condition=condition,
        threshold=threshold,
        scope=scope,
        **given,
    )
