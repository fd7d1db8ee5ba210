"""The peer of compiled queries: DuckDB, running the SQL as it was written over the same samples."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import duckdb
from vector_oracle import VectorSample

from tocsin.engine.view import classes_of
from tocsin.history.macros import MACROS
from tocsin.model.batch import SpanClass
from tocsin.rules.measures import Metric
from tocsin.rules.vector import Series, Vector

__all__ = ["EPOCH_NS", "INTERVAL_NS", "LABELS", "Peer", "Sample", "oracle_samples", "with_classes"]

INTERVAL_NS = 60 * 10**9
EPOCH_NS = 1_790_000_040 * 10**9
"""Where buckets begin that samples fall in: a multiple of the interval."""
LABELS = ("model", "tenant", "app.kind")
"""Labels of samples; the dimension `model_version` is `model`."""

_TABLES = """
CREATE TABLE metrics_numeric_latest_version (
    timestamp TIMESTAMPTZ, model_id VARCHAR, metric_name VARCHAR, value DOUBLE, dimensions JSON);
CREATE VIEW metrics_sketch_latest_version AS SELECT * FROM metrics_numeric_latest_version;
CREATE TABLE spans (
    timestamp TIMESTAMPTZ, span_class VARCHAR, model VARCHAR, tenant VARCHAR, "app.kind" VARCHAR, failed BOOLEAN,
    latency_ms DOUBLE, cost_usd DOUBLE, input_tokens BIGINT, "app.size" DOUBLE);
"""


@dataclass(frozen=True)
class Sample:
    """One span or evaluation."""

    at_us: int
    """Microseconds after EPOCH_NS."""
    span_class: SpanClass = SpanClass.LLM
    labels: Mapping[str, str] = field(default_factory=dict)
    failed: bool = False
    latency_ms: float = 0.0
    cost_usd: float = 0.0
    input_tokens: int | None = None
    size: float | None = None
    """The attribute app.size."""
    score: float | None = None
    """Of an evaluation called accuracy."""

    @property
    def time_ns(self) -> int:
        return EPOCH_NS + self.at_us * 1000

    def metrics(self) -> dict[tuple[Metric, str | None], float]:
        """What it is worth by metric and attribute."""
        found: dict[tuple[Metric, str | None], float] = {
            (Metric.COUNT, None): 1.0,
            (Metric.ERROR_RATE, None): float(self.failed),
            (Metric.SUCCESS_RATE, None): float(not self.failed),
            (Metric.LATENCY, None): self.latency_ms,
        }
        if self.span_class is SpanClass.LLM:
            found[(Metric.COST, None)] = self.cost_usd
        if self.input_tokens is not None:
            found[(Metric.INPUT_TOKENS, None)] = float(self.input_tokens)
        if self.size is not None:
            found[(Metric.ATTRIBUTE, "app.size")] = self.size
        if self.score is not None:
            found[(Metric.JUDGE_SCORE, None)] = self.score
        return found


_NAMES: dict[str, tuple[Metric, str | None]] = {
    "inference_count": (Metric.COUNT, None),
    "error_rate": (Metric.ERROR_RATE, None),
    "response_latency_ms": (Metric.LATENCY, None),
    "cost": (Metric.COST, None),
    "input_tokens": (Metric.INPUT_TOKENS, None),
    "app.size": (Metric.ATTRIBUTE, "app.size"),
    "accuracy": (Metric.JUDGE_SCORE, None),
}


class Peer:
    """A DuckDB with the tables of the contract."""

    def __init__(self) -> None:
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'; SET threads = 1")
        self._database.execute(MACROS + _TABLES)

    def close(self) -> None:
        self._database.close()

    def fill(self, samples: Sequence[Sample]) -> None:
        """Take these samples in place of those before."""
        self._database.execute("DELETE FROM metrics_numeric_latest_version; DELETE FROM spans")
        metrics, spans = [], []
        for sample in samples:
            time = _time(sample.time_ns)
            labels = {name: sample.labels[name] for name in LABELS if name in sample.labels}
            dimensions = labels | ({"model_version": labels["model"]} if "model" in labels else {})
            worth = sample.metrics()
            for name, key in _NAMES.items():
                if key in worth and sample.span_class in classes_of(key[0], None):
                    metrics.append((time, "m", name, worth[key], json.dumps(dimensions)))
            tokens = sample.input_tokens
            cost = worth.get((Metric.COST, None))
            texts = [labels.get(name) for name in LABELS]
            word = sample.span_class.name.lower()
            spans.append((time, word, *texts, sample.failed, sample.latency_ms, cost, tokens, sample.size))
        self._insert("metrics_numeric_latest_version", metrics)
        self._insert("spans", spans)

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            marks = f"({', '.join('?' * len(rows[0]))})"
            values = ", ".join([marks] * len(rows))
            self._database.execute(f"INSERT INTO {table} VALUES {values}", [each for row in rows for each in row])  # noqa: S608

    def rows(self, text: str, end_ns: int) -> list[dict[str, Any]]:
        """Return what a query returns for the bucket that ends at an instant; infinite and NaN numbers as NULL."""
        text = text.replace("${start_time}", _time(end_ns - INTERVAL_NS).isoformat())
        text = text.replace("${end_time}", _time(end_ns).isoformat())
        text = text.replace("${interval}", f"{INTERVAL_NS // 10**9} seconds")
        found = self._database.execute(text)
        names = [each[0] for each in found.description or ()]
        return [dict(zip(names, map(_finite, row), strict=True)) for row in found.fetchall()]


def _time(time_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def oracle_samples(samples: Sequence[Sample]) -> list[VectorSample]:
    """Return the samples as the brute-force evaluator takes them."""
    return [
        VectorSample(each.time_ns, dict(each.labels) | _evaluation(each), each.metrics(), each.span_class)
        for each in samples
    ]


def _evaluation(sample: Sample) -> dict[str, str]:
    return {} if sample.score is None else {"evaluation": "accuracy"}


def with_classes(vector: Vector) -> Vector:
    """Return a tree whose leaves say which spans they are about, as the engine fills it in."""
    if isinstance(vector, Series):
        return replace(vector, spans=classes_of(vector.metric, vector.spans))
    return replace(vector, **{each.name: _part(getattr(vector, each.name)) for each in fields(vector)})


def _part(value: Any) -> Any:  # noqa: ANN401  # any part of a node
    if isinstance(value, tuple):
        return tuple(map(_part, value))
    return with_classes(value) if isinstance(value, get_args(Vector)) else value
