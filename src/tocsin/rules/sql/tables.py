"""The tables that a rule's query may read, and what their columns are here.

`spans` has one row per recorded span or evaluation; the two metrics tables have one row per sample and metric.
"""

from dataclasses import dataclass
from enum import StrEnum

from tocsin.model.batch import SpanClass
from tocsin.rules.config import SHORT_NAMES, SPAN_WORDS
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.measures import Metric, Scope
from tocsin.rules.sql.config import SqlConfig

__all__ = [
    "BILLED_SPANS",
    "BUILT_IN_METRICS",
    "DIMENSIONS",
    "EVERY_SPAN",
    "SPAN_CLASSES",
    "SPAN_COLUMNS",
    "Column",
    "Kind",
    "Measure",
    "Table",
    "column_of",
    "dimension_of",
    "measure_of",
]


class Table(StrEnum):
    """What a query may read."""

    NUMERIC = "metrics_numeric_latest_version"
    SKETCH = "metrics_sketch_latest_version"
    SPANS = "spans"


class Kind(StrEnum):
    """What a column holds."""

    TIME = "time"
    MODEL_ID = "model id"
    METRIC_NAME = "metric name"
    VALUE = "value"
    SKETCH = "sketch"
    DIMENSIONS = "dimensions"
    LABEL = "text"
    NUMBER = "number"
    FAILED = "failed"
    SPAN_CLASS = "span class"
    RECORDED = "recorded"
    """Kept for `tocsin query`; rules can't tell samples apart by it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What one number of a sample is."""

    metric: Metric
    attribute: str | None = None
    filters: tuple[Filter, ...] = ()
    scope: Scope = Scope.SPAN


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    kind: Kind
    label: str = ""
    """A short name or an attribute's key, where it can tell samples apart."""
    measure: Measure | None = None
    """Where it is a number."""


EVERY_SPAN = frozenset(SpanClass) - {SpanClass.USAGE, SpanClass.DUPLICATE}
"""The rows of `spans`: usage records are part of their calls, copies are no spans."""

BILLED_SPANS = frozenset({SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.AGENT})
"""Those with a cost; `cost_usd` of every other row is NULL."""

SPAN_CLASSES = {word: SpanClass[word.upper()] for word in SPAN_WORDS if word != "any"} | {"other": SpanClass.OTHER}
"""Values of `spans.span_class`."""

SPAN_COLUMNS: dict[str, Column] = {
    "timestamp": Column(Kind.TIME),
    "trace_id": Column(Kind.LABEL, "trace"),
    "span_id": Column(Kind.RECORDED),
    "parent_id": Column(Kind.RECORDED),
    "span_class": Column(Kind.SPAN_CLASS),
    **{name: Column(Kind.LABEL, name) for name in SHORT_NAMES if name != "trace"},
    "failed": Column(Kind.FAILED),
    "cost_usd": Column(Kind.NUMBER, measure=Measure(Metric.COST)),
    "latency_ms": Column(Kind.NUMBER, measure=Measure(Metric.LATENCY)),
    "time_to_first_token_ms": Column(Kind.NUMBER, measure=Measure(Metric.TIME_TO_FIRST_TOKEN)),
    "total_tokens": Column(Kind.NUMBER, measure=Measure(Metric.TOKENS)),
    "input_tokens": Column(Kind.NUMBER, measure=Measure(Metric.INPUT_TOKENS)),
    "output_tokens": Column(Kind.NUMBER, measure=Measure(Metric.OUTPUT_TOKENS)),
    "cached_tokens": Column(Kind.NUMBER, measure=Measure(Metric.CACHED_TOKENS)),
    "reasoning_tokens": Column(Kind.NUMBER, measure=Measure(Metric.REASONING_TOKENS)),
    "judge_score": Column(Kind.NUMBER, measure=Measure(Metric.JUDGE_SCORE)),
    "relevance_score": Column(Kind.NUMBER, measure=Measure(Metric.RELEVANCE_SCORE)),
    "top_score": Column(Kind.NUMBER, measure=Measure(Metric.TOP_SCORE)),
    "retrieved_count": Column(Kind.NUMBER, measure=Measure(Metric.RETRIEVED_COUNT)),
    "attributes": Column(Kind.DIMENSIONS),
}
"""Columns of `spans`. Every recorded attribute is one more, by its quoted key: `"app.my.number"`, as text or number."""

_METRIC_COLUMNS: dict[str, Column] = {
    "timestamp": Column(Kind.TIME),
    "model_id": Column(Kind.MODEL_ID),
    "metric_name": Column(Kind.METRIC_NAME),
    "dimensions": Column(Kind.DIMENSIONS),
}

BUILT_IN_METRICS = {"response_latency_ms": Metric.LATENCY, "inference_count": Metric.COUNT}
"""Names of the seed product's metrics that are metrics here."""

DIMENSIONS = {"model_version": "model", "trace_id": "trace"}
"""Dimensions with a meaning of their own: the model that answered carries its version in its name."""

_METRICS = {metric.value: metric for metric in Metric if metric not in (Metric.ATTRIBUTE, Metric.EXPRESSION)}


def column_of(table: Table, name: str, *, quoted: bool, names: SqlConfig) -> Column | None:
    """Return a table's column; None where it has none of that name."""
    if table is Table.SPANS:
        if name in SPAN_COLUMNS:
            return SPAN_COLUMNS[name]
        if name in names.dimensions:
            return Column(Kind.LABEL, names.dimensions[name])
        return attribute_column(name) if quoted or "." in name else None
    if name == "value":
        return Column(Kind.VALUE if table is Table.NUMERIC else Kind.SKETCH)
    return _METRIC_COLUMNS.get(name)


def attribute_column(key: str) -> Column:
    """Return the column that a recorded attribute is."""
    return Column(Kind.LABEL, key, Measure(Metric.ATTRIBUTE, key))


def dimension_of(name: str, names: SqlConfig) -> str:
    """Return the short name or attribute key that a dimension stands for."""
    return names.dimensions.get(name) or DIMENSIONS.get(name) or name


def measure_of(name: str, names: SqlConfig) -> Measure:
    """Return what a `metric_name` stands for.

    In this order: a name under `sql.metrics:`, a metric of the rule reference, a built-in name, an attribute's key
    (it has a dot), the name of an evaluation.
    """
    written = names.metrics.get(name, name)
    if written.startswith("attribute:"):
        return Measure(Metric.ATTRIBUTE, written.removeprefix("attribute:"))
    if written.startswith("evaluation:"):
        return _evaluation(written.removeprefix("evaluation:"))
    metric = _METRICS.get(written) or BUILT_IN_METRICS.get(written)
    if metric is Metric.COST_PER_TRACE:
        # A sample is a trace, and its number is what the trace cost: any aggregate of it is one over traces.
        return Measure(Metric.COST, scope=Scope.TRACE)
    if metric is not None:
        return Measure(metric)
    if "." in written or name in names.metrics:
        return Measure(Metric.ATTRIBUTE, written)
    return _evaluation(written)


def _evaluation(name: str) -> Measure:
    return Measure(Metric.JUDGE_SCORE, filters=(Filter("evaluation", (Match(MatchKind.EQUAL, name),)),))
