"""Random expressions and samples, and the engine's values of them beside the brute-force ones."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from samples import EPOCH, SECOND, Span, batch_of, rule_of
from vector_oracle import VectorSample

from tocsin.engine import Engine
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData
from tocsin.rules.rule import Rule
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Entry,
    Expression,
    Function,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Now,
    NullIf,
    Number,
    Operator,
    Otherwise,
    Series,
    Vector,
    labels_of,
)

__all__ = [
    "LABEL_SETS",
    "PLACE",
    "TENANT",
    "at_end_of",
    "expression_rule",
    "fed",
    "found_by",
    "histories_of",
    "keeping",
    "samples_of",
    "series",
    "steps_of",
    "vectors",
]

Draw = Callable[..., Any]
"""Draws from a strategy."""
TENANT: Entry = ("tenant",)
PLACE: Entry = ("environment",)
LABEL_SETS: list[tuple[Entry, ...]] = [(), (TENANT,), (PLACE, TENANT), (TENANT, PLACE)]
METRICS: list[tuple[Metric, str | None]] = [
    (Metric.INPUT_TOKENS, None), (Metric.ATTRIBUTE, "app.size"), (Metric.COUNT, None), (Metric.ERROR_RATE, None),
]  # fmt: skip
AGGREGATES = [Aggregate.SUM, Aggregate.COUNT, Aggregate.AVG, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST]
ARITHMETIC = [Operator.ADD, Operator.SUB, Operator.MUL, Operator.DIV, Operator.MOD]
COMPARISONS = [Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.EQ, Operator.NE]
COMBINING = [each for each in Combining if each not in (Combining.TOPK, Combining.BOTTOMK)]


def series(**given: Any) -> Series:  # noqa: ANN401  # fields of a series
    """Return a series with defaults."""
    defaults: dict[str, Any] = {
        "metric": Metric.COUNT,
        "attribute": None,
        "aggregate": Aggregate.COUNT,
        "quantile": None,
        "window_ns": 60 * SECOND,
        "labels": (TENANT,),
    }
    return Series(**{**defaults, **given})


@st.composite
def _series(draw: st.DrawFn, labels: tuple[Entry, ...], *, offsets: bool) -> Series:
    metric, attribute = draw(st.sampled_from(METRICS))
    filters = draw(st.sampled_from([(), (), (Filter("conversation", (Match(MatchKind.EQUAL, "a"),)),)]))
    return series(
        metric=metric,
        attribute=attribute,
        aggregate=draw(st.sampled_from(AGGREGATES)),
        window_ns=draw(st.sampled_from([3, 10, 45, 300])) * SECOND,
        labels=labels,
        filters=filters,
        offset_ns=draw(st.sampled_from([0, 0, 5, 40])) * SECOND if offsets else 0,
        scale=draw(st.sampled_from([1.0, 1.0, 4.0])),
    )


@st.composite
def _scalars(draw: st.DrawFn, depth: int, *, offsets: bool) -> Vector:
    kind = draw(st.integers(0, 5)) if depth else 0
    match kind:
        case 5:
            return Apply(Function.SCALAR, draw(vectors((), depth - 1, offsets=offsets)))
        case 4:
            return Binary(draw(st.sampled_from(ARITHMETIC)), Number(3), draw(_scalars(depth - 1, offsets=offsets)))
        case 3:
            return Binary(Operator.SUB, Now(), Number(EPOCH / SECOND))
        case _:
            return Number(draw(st.sampled_from([0, 1, 2, 5, 100, -1, 0.5, math.nan, math.inf])))


@st.composite
def vectors(draw: st.DrawFn, labels: tuple[Entry, ...], depth: int, *, offsets: bool = True) -> Vector:
    """A vector with these labels."""

    def inner(own: tuple[Entry, ...] = labels) -> Vector:
        return draw(vectors(own, depth - 1, offsets=offsets))

    def scalar() -> Vector:
        return draw(_scalars(depth - 1, offsets=offsets))

    if not depth:
        return draw(_series(labels, offsets=offsets))
    wider = [each for each in LABEL_SETS if set(labels) < set(each)] or [labels]
    match draw(st.integers(0, 13)):
        case 0:
            function = draw(st.sampled_from([Function.ABS, Function.NEGATE, Function.SGN, Function.CEIL]))
            return Apply(function, inner())
        case 1:
            return Apply(draw(st.sampled_from([Function.CLAMP_MIN, Function.CLAMP_MAX])), inner(), (scalar(),))
        case 2:
            return Binary(draw(st.sampled_from(ARITHMETIC)), inner(), scalar())
        case 3:
            operator, as_bool = draw(st.sampled_from(COMPARISONS)), draw(st.booleans())
            pair = (inner(), scalar()) if draw(st.booleans()) else (scalar(), inner())
            return Binary(operator, *pair, returns_bool=as_bool)
        case 4:
            operator = draw(st.sampled_from([*ARITHMETIC, *COMPARISONS]))
            return Binary(operator, inner(), inner(), Matching(labels))
        case 5:
            own = draw(st.sampled_from(wider))
            return Binary(draw(st.sampled_from(ARITHMETIC)), inner(own), inner(), Matching(labels))
        case 6:
            on = draw(st.sampled_from([each for each in LABEL_SETS if set(each) <= set(labels)]))
            left, operator = draw(st.booleans()), draw(st.sampled_from([*ARITHMETIC, *COMPARISONS]))
            pair = (inner(), inner(on)) if left else (inner(on), inner())
            return Binary(operator, *pair, Matching(on, "left" if left else "right"))
        case 7:
            logical = draw(st.sampled_from(list(LogicalOperator)))
            on = draw(st.sampled_from([each for each in LABEL_SETS if set(each) <= set(labels)]))
            other = labels if logical is LogicalOperator.OR else draw(st.sampled_from([labels, on]))
            return Logical(logical, inner(), inner(other), on)
        case 8 | 9:
            combining = draw(st.sampled_from(COMBINING))
            parameter = (
                Number(draw(st.sampled_from([0.5, 0.9, 0, 1, 2, -1]))) if combining is Combining.QUANTILE else None
            )
            return Combine(combining, inner(draw(st.sampled_from(wider))), labels, parameter)
        case 10:
            by = draw(st.sampled_from([each for each in LABEL_SETS if set(each) <= set(labels)]))
            return Combine(draw(st.sampled_from([Combining.TOPK, Combining.BOTTOMK])), inner(), by, Number(100))
        case 11 if not labels:
            return Absent(inner(draw(st.sampled_from(LABEL_SETS))))
        case 11 if set(labels) == {TENANT, PLACE}:
            return Binary(Operator.ADD, inner((TENANT,)), inner(), Matching((TENANT,), "left", (PLACE,)))
        case 12:
            return Otherwise(inner(), draw(st.sampled_from([0.0, 7.0])))
        case _:
            return NullIf(inner(), draw(st.sampled_from([0.0, 1.0, 2.0])))


def expression_rule(value: Vector, **given: Any) -> Rule:  # noqa: ANN401  # fields of an expression and of a rule
    """Return a rule with an expression; `limits`, `gate` and `interval_ns` are the expression's."""
    own = {name: given.pop(name) for name in ("limits", "gate", "interval_ns", "language") if name in given}
    expression = Expression(own.pop("language", Language.PROMQL), "", value, **own)
    defaults: dict[str, Any] = {"condition": Condition.PRESENT, "no_data": NoData.OK, "window_ns": None}
    return rule_of(
        **{**defaults, **given}, metric=Metric.EXPRESSION, group_by=labels_of(value) or (), expression=expression
    )


@st.composite
def histories_of(draw: st.DrawFn, *, most: int = 25, seconds: int = 70) -> list[Span]:
    """Spans in order of time, all at the half of a second; labels may lack."""
    ends = sorted(draw(st.lists(st.integers(0, seconds), min_size=1, max_size=most)))
    spans = []
    for number, second in enumerate(ends):
        labels = {name: draw(st.sampled_from(["a", "b"])) for name in ("tenant", "environment", "conversation")}
        numbers = {"app.size": float(draw(st.integers(-5, 5)))} if draw(st.booleans()) else {}
        spans.append(
            Span(
                EPOCH + second * SECOND + SECOND // 2,
                number + 1,
                number + 1,
                labels=labels,
                numbers=numbers,
                failed=draw(st.booleans()),
                input_tokens=draw(st.integers(0, 4)),
            )
        )
    return spans


def samples_of(spans: Iterable[Span]) -> list[VectorSample]:
    """Return spans as the oracle has them."""
    return [
        VectorSample(
            span.time,
            span.labels,
            {
                (Metric.INPUT_TOKENS, None): float(span.input_tokens),
                (Metric.ERROR_RATE, None): float(span.failed),
                **{(Metric.ATTRIBUTE, name): value for name, value in span.numbers.items()},
            },
            span.span_class,
        )
        for span in spans
    ]


def at_end_of(second: int) -> int:
    """Return the last instant of a second of the history: no pane is half in a window then."""
    return EPOCH + (second + 1) * SECOND - 1


def steps_of(draw: Draw, spans: Sequence[Span], *, until: int) -> list[tuple[int, list[Span]]]:
    """Return a way to send spans: (second at whose end it is looked, the spans sent since)."""
    looks = sorted({*draw(st.lists(st.integers(0, until), max_size=6)), until})
    steps, begin = [], 0
    for second in looks:
        end = begin
        while end < len(spans) and spans[end].time <= at_end_of(second):
            end += 1
        steps.append((second, list(spans[begin:end])))
        begin = end
    return steps


def found_by(engine: Engine, rule: Rule) -> Mapping[tuple[str, ...], float]:
    """Return an engine's values of a rule by the values of its labels, in the order of the rule."""
    names = [entry[0] for entry in rule.group_by]
    return {
        tuple(each.group[name] for name in names): each.value for each in engine.values() if each.rule.key == rule.key
    }


def keeping() -> list[Rule]:
    """Return rules that keep every group known for an hour."""
    return [
        replace(
            rule_of(name=f"keep-{number}", metric=Metric.COUNT, threshold=10**9, window_ns=3600 * SECOND),
            group_by=tuple(sorted(labels)),
        )
        for number, labels in enumerate(LABEL_SETS)
    ]


def fed(engine: Engine, spans: Sequence[Span], draw: Draw) -> None:
    """Give an engine spans in some requests."""
    begin = 0
    while begin < len(spans):
        end = draw(st.integers(begin + 1, len(spans)))
        engine.ingest(batch_of(spans[begin:end]), spans[end - 1].time)
        begin = end
