"""The tables of samples that queries of rules read: one row a sample and metric, as the engine counts samples.

Only metrics and models that a query names are put in; where it names none, all metrics of the rule reference are.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from tocsin.engine.view import BILLED, SCALE, View, classes_of
from tocsin.history.naming import Named
from tocsin.history.store import Store
from tocsin.model.batch import SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.model.recorded import label_of, number_of
from tocsin.rules.filters import Filter
from tocsin.rules.measures import Metric, Scope
from tocsin.rules.sql.config import SqlConfig
from tocsin.rules.sql.tables import BUILT_IN_METRICS, Measure, measure_of
from tocsin.semconv.documents import numeric

__all__ = ["NUMERIC", "SKETCH", "Samples"]

NUMERIC: Final = "metrics_numeric_latest_version"
SKETCH: Final = "metrics_sketch_latest_version"
_DIMENSIONS: Final = (
    "model", "provider", "tenant", "environment", "service", "conversation", "agent", "operation", "tool", "user",
    "data_source", "prompt_version", "error_type", "finish_reason", "evaluation",
)  # fmt: skip
_NO_METRICS: Final = (Metric.ATTRIBUTE, Metric.EXPRESSION, Metric.COST_PER_TRACE)


class Samples:
    """Puts samples into the tables."""

    def __init__(self, store: Store, named: Named, names: SqlConfig) -> None:
        self._store = store
        self._named = named
        self._names = names
        self._measures = {name: measure_of(name, names) for name in self._wanted()}
        self._models: list[str | None] = [*sorted(named.models)] or [None]
        store.database.execute(
            f"CREATE TABLE {NUMERIC} (timestamp TIMESTAMPTZ, model_id VARCHAR, metric_name VARCHAR, value DOUBLE, "
            f"dimensions JSON); CREATE VIEW {SKETCH} AS FROM {NUMERIC}"
        )

    def _wanted(self) -> Iterator[str]:
        named = [text for text in sorted(self._named.texts) if text and text not in self._named.models]
        known = {metric.value for metric in Metric if metric not in _NO_METRICS} | {*BUILT_IN_METRICS}
        yield from named
        if self._named.everything or not any(text in known or text in self._names.metrics for text in named):
            yield from sorted((known | {*self._names.metrics}) - {*named})

    def take(self, batch: SpanBatch) -> None:
        """Put the samples of a portion in."""
        view = View(batch, np.ones(len(batch), np.bool_))
        dimensions = None
        for name, measure in self._measures.items():
            found = _values(view, measure)
            if found is None:
                continue
            values, rows = found
            for model in self._models:
                kept = rows if model is None else rows & _passing(batch, self._names.filters_of(model))
                if kept.any():
                    if dimensions is None:
                        dimensions = self._dimensions(batch)
                    self._put(batch, name, model, values, kept, dimensions)

    def _put(
        self,
        batch: SpanBatch,
        name: str,
        model: str | None,
        values: NDArray[Any],
        kept: NDArray[np.bool_],
        dimensions: NDArray[np.object_],
    ) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships none

        rows = np.flatnonzero(kept)
        times = pa.array(batch.end[rows] // 1000, pa.int64()).cast(pa.timestamp("us", "UTC"))
        table = pa.table(
            {
                "timestamp": times,
                "model_id": pa.array([model] * len(rows), pa.string()),
                "metric_name": pa.array([name] * len(rows), pa.string()),
                "value": pa.array(values[rows].astype(np.float64)),
                "dimensions": pa.array(dimensions[rows], pa.string()),
            }
        )
        self._store.put(NUMERIC, "timestamp, model_id, metric_name, value, dimensions", table)

    def _dimensions(self, batch: SpanBatch) -> NDArray[np.object_]:
        """Return [n] the dimensions that the query may read, as JSON texts."""
        columns: dict[str, TextColumn] = {}
        wanted = {*_DIMENSIONS, *self._names.dimensions, "model_version"} | (self._named.texts | self._named.names)
        for name in sorted(wanted):
            source = self._names.dimensions.get(name) or ("model" if name == "model_version" else name)
            column = label_of(batch, source)
            if column is not None and (self._named.everything or name in _ALWAYS or self._named.has(name)):
                columns[name] = column
        if not columns:
            return np.full(len(batch), "{}", np.object_)
        codes = np.stack([column.code for column in columns.values()], axis=1)
        distinct, inverse = np.unique(codes, axis=0, return_inverse=True)
        texts = [
            orjson.dumps(
                {
                    name: column.values[code].encode("utf-8", "replace").decode()
                    for (name, column), code in zip(columns.items(), row, strict=True)
                    if code >= 0
                }
            ).decode()
            for row in distinct.tolist()
        ]
        return np.array(texts, np.object_)[inverse.reshape(-1)]


_ALWAYS: Final = frozenset({"model", "model_version"})


def _values(view: View, measure: Measure) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Return [n] what the samples are worth, in the metric's unit, and which rows are samples; None: none can be."""
    batch, metric = view.batch, measure.metric
    if measure.scope is not Scope.SPAN:
        return None
    name = measure.attribute or metric.value
    if metric is Metric.ATTRIBUTE or name in ("judge_score", "relevance_score", "top_score", "retrieved_count"):
        numbers = number_of(batch, name, numeric)
        if numbers is None:
            return None
        values, rows = numbers, np.isfinite(numbers)
    else:
        measured = view.measure(metric, None)
        values = measured.values / SCALE.get(metric, 1)
        rows = np.ones(len(batch), np.bool_) if measured.valid is None else measured.valid
        if measured.unpriced is not None:
            rows = rows & ~measured.unpriced
    classes = np.zeros(16, np.bool_)
    classes[[int(each) for each in classes_of(metric, None)]] = True
    if metric in BILLED:
        classes[SpanClass.AGENT] = False  # mostly it repeats what the calls below it say
    rows = rows & classes[batch.span_class] & _passing(batch, measure.filters)
    return (values, rows) if rows.any() else None


def _passing(batch: SpanBatch, filters: tuple[Filter, ...]) -> NDArray[np.bool_]:
    passes = np.ones(len(batch), np.bool_)
    for each in filters:
        column = label_of(batch, each.label) or TextColumn(np.full(len(batch), -1, np.int32), [])
        passes &= each.table(column.values)[column.code]
    return passes
