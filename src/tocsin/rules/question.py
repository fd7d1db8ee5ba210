"""What a rule asks: the part of it that differs between fields, expressions and queries."""

from dataclasses import dataclass, field
from typing import Final

from tocsin.model.batch import SpanClass
from tocsin.rules.calendar import Calendar
from tocsin.rules.config import RuleConfig
from tocsin.rules.filters import Filter
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData, Sampling, Scope
from tocsin.rules.rule import Level
from tocsin.rules.sql.config import SqlConfig
from tocsin.rules.vector import Expression

__all__ = ["SPAN_CLASSES", "Question", "RuleContext", "classes_of"]

SPAN_CLASSES: Final = {
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


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What a rule takes from the configuration around it."""

    sampling: Sampling = Sampling.IGNORE
    timezone: str = "UTC"
    sql: SqlConfig = field(default_factory=SqlConfig)
    routed: bool = False
    """There are routes: they say who is told where the rule does not."""


@dataclass(slots=True, kw_only=True)
class Question:
    """Fields of `Rule` of the same names."""

    metric: Metric
    condition: Condition
    levels: tuple[Level, ...]
    group_by: tuple[tuple[str, ...], ...]
    no_data: NoData
    aggregate: Aggregate = Aggregate.LAST
    quantile: float | None = None
    attribute: str | None = None
    scope: Scope = Scope.SPAN
    spans: frozenset[SpanClass] | None = None
    window_ns: int | None = None
    filters: tuple[Filter, ...] = ()
    min_samples: int = 0
    """0 of expressions: whether there is a value is theirs to say, as COALESCE does of an empty window."""
    expression: Expression | None = None
    calendar: Calendar | None = None


def classes_of(config: RuleConfig) -> frozenset[SpanClass] | None:
    """Return the classes of spans that a rule names; None where it names none."""
    return frozenset().union(*(SPAN_CLASSES[word] for word in config.spans)) if config.spans else None
