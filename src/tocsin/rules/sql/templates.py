"""Ready rules for the metrics that most teams watch, with the thresholds that are usual for them.

The thresholds are those of the reference table in Arthur's documentation of alert rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["SQL_TEMPLATES", "SqlTemplate"]


@dataclass(frozen=True, slots=True)
class SqlTemplate:
    """A ready rule."""

    description: str
    fields: Mapping[str, str]
    """Fields of a rule, as text of YAML; any of them can be written anew."""


def _average(metric_name: str) -> str:
    return _query("AVG(value)", "metrics_numeric_latest_version", metric_name)


def _query(value: str, table: str, metric_name: str) -> str:
    return (
        "SELECT\n"
        "    time_bucket('${interval}', timestamp) AS metric_timestamp,\n"
        f"    {value} AS metric_value\n"
        f"FROM {table}\n"
        f"WHERE metric_name = '{metric_name}'\n"
        "  AND timestamp BETWEEN '${start_time}' AND '${end_time}'\n"
        "GROUP BY metric_timestamp\n"
        "ORDER BY metric_timestamp\n"
    )


def _template(description: str, sql: str, bound: str, threshold: str, severity: str, interval: str) -> SqlTemplate:
    fields = {"sql": sql, "bound": bound, "threshold": threshold, "severity": severity, "interval": interval}
    return SqlTemplate(description, MappingProxyType(fields))


_LOWER, _UPPER = "lower_bound", "upper_bound"
_P95 = "kll_float_sketch_get_quantile(kll_float_sketch_merge(value), 0.95)"

SQL_TEMPLATES: Mapping[str, SqlTemplate] = MappingProxyType(
    {
        "accuracy": _template(
            "Evaluations called accuracy are below 0.8 on average.", _average("accuracy"), _LOWER, "0.8", "high", "1h"
        ),
        "hallucination_rate": _template(
            "Evaluations called hallucination_rate are above 0.05 on average.",
            _average("hallucination_rate"),
            _UPPER,
            "0.05",
            "high",
            "1h",
        ),
        "toxicity": _template(
            "Evaluations called toxicity are above 0.02 on average.", _average("toxicity"), _UPPER, "0.02", "high", "1h"
        ),
        "inference_count": _template(
            "No model call arrives: the pipeline is broken, or nobody asks.",
            _query("COALESCE(SUM(value), 0)", "metrics_numeric_latest_version", "inference_count"),
            _LOWER,
            "1",
            "high",
            "15m",
        ),
        "latency_p95": _template(
            "One model call in twenty takes longer than 5 seconds.",
            _query(_P95, "metrics_sketch_latest_version", "response_latency_ms"),
            _UPPER,
            "5000",
            "medium",
            "15m",
        ),
        "data_drift": _template(
            "Evaluations called data_drift are above 0.3 on average.",
            _average("data_drift"),
            _UPPER,
            "0.3",
            "medium",
            "1d",
        ),
    }
)
"""The name of a ready rule -> its fields."""
