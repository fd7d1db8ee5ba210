"""Names of PromQL to what spans carry: metrics, attributes in Prometheus' spelling, and well-known metric names.

Sources: OpenTelemetry semantic conventions for generative AI metrics; the span metrics connector of the OpenTelemetry
Collector and the span metrics of Grafana Tempo; the OpenTelemetry-to-Prometheus rules for names (`.` becomes `_`, the
unit and `_total` are appended).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from types import MappingProxyType

from tocsin.rules.config import SHORT_NAMES
from tocsin.rules.measures import Metric, Scope
from tocsin.rules.vector import Entry
from tocsin.semconv.spellings import MAX_UNDERSCORES
from tocsin.semconv.table import Alias, How, default_table

__all__ = ["Measured", "Suffix", "entry_of", "label_of", "measured_of"]


class Suffix(Enum):
    """What the end of a name says: which of a histogram's or counter's series it is."""

    NONE = ""
    SUM = "_sum"
    TOTAL = "_total"
    COUNT = "_count"
    BUCKET = "_bucket"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a metric name stands for."""

    metric: Metric
    attribute: str | None = None
    scale: float = 1.0
    suffix: Suffix = Suffix.NONE
    by_token_type: bool = False
    """It has one series per `gen_ai_token_type`."""
    by_status: bool = False
    """It counts spans, and `status_code` says which."""
    is_counter: bool = False
    """Without a suffix too."""

    @property
    def scope(self) -> Scope:
        """What one sample is."""
        return Scope.TRACE if self.metric is Metric.COST_PER_TRACE else Scope.SPAN


_SECONDS = 0.001
"""Latencies are milliseconds, and seconds under these names."""

_CALLS = Measured(Metric.COUNT, is_counter=True, by_status=True)
_LATENCY_MS = Measured(Metric.LATENCY)
_LATENCY_S = Measured(Metric.LATENCY, scale=_SECONDS)
_FIRST_TOKEN_S = Measured(Metric.TIME_TO_FIRST_TOKEN, scale=_SECONDS)

_WELL_KNOWN: Mapping[str, Measured] = MappingProxyType(
    {
        "gen_ai_client_operation_duration": _LATENCY_S,
        "gen_ai_client_operation_duration_seconds": _LATENCY_S,
        "gen_ai_server_request_duration": _LATENCY_S,
        "gen_ai_server_request_duration_seconds": _LATENCY_S,
        "gen_ai_client_operation_time_to_first_chunk": _FIRST_TOKEN_S,
        "gen_ai_client_operation_time_to_first_chunk_seconds": _FIRST_TOKEN_S,
        "gen_ai_server_time_to_first_token": _FIRST_TOKEN_S,
        "gen_ai_server_time_to_first_token_seconds": _FIRST_TOKEN_S,
        "gen_ai_client_token_usage": Measured(Metric.TOKENS, by_token_type=True),
        "gen_ai_client_token_usage_tokens": Measured(Metric.TOKENS, by_token_type=True),
        **{
            f"{namespace}calls": _CALLS
            for namespace in ("", "traces_span_metrics_", "traces_spanmetrics_", "span_metrics_", "spanmetrics_")
        },
        **{
            f"{namespace}duration{unit}": _LATENCY_S if unit == "_seconds" else _LATENCY_MS
            for namespace in ("", "traces_span_metrics_", "traces_spanmetrics_", "span_metrics_", "spanmetrics_")
            for unit in ("_milliseconds", "_seconds", "")
            if namespace or unit
        },
        "traces_spanmetrics_latency": _LATENCY_S,  # Tempo's own generator, in seconds
    }
)

_REFUSED_METRICS = (
    ("gen_ai_client_operation_time_per_output_chunk", "spans do not say it; use time_to_first_token or latency"),
    ("gen_ai_server_time_per_output_token", "spans do not say it; use time_to_first_token or latency"),
)

_LABELS: Mapping[str, str] = MappingProxyType({"trace_id": "trace"})

_REFUSED_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "__name__": "groups are told apart by labels of spans; leave it out",
        "le": "spans have values, not buckets; use histogram_quantile(0.95, sum by (le) (rate(…_bucket[5m])))",
        "quantile": "spans have values, not summaries; use quantile_over_time(0.95, latency[5m])",
        "job": "spans have no scrape job; use service, which is the resource's service.name",
        "instance": "spans have no scrape target; use service, or an attribute such as service_instance_id",
        "exported_job": "spans have no scrape job; use service, which is the resource's service.name",
        "span_name": "a span's name is no label of a rule; use operation, model, tool or agent",
        "span_kind": "a span's kind is no label of a rule; use operation, or `spans:` of the rule",
        "status_code": "it is known of calls as a matcher only; use error_rate, as in avg_over_time(error_rate[5m])",
        "gen_ai_token_type": "write a rule for input_tokens and one for output_tokens",
    }
)

_UNDERSCORED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RECORDED = re.compile(r"[A-Za-z_:][A-Za-z0-9_]*:[A-Za-z0-9_:]*")
_MAX_NAME = 255

_NO_METRICS = frozenset({Metric.ATTRIBUTE, Metric.EXPRESSION})


def measured_of(name: str, *, quoted: bool) -> Measured:
    """Return what a metric name stands for.

    Args:
        name: as in the text, without quotes.
        quoted: it was written `{"name"}`, where an attribute's name stands as it is.

    Raises:
        ValueError: it stands for nothing; the text says what would.
    """
    if not name or len(name) > _MAX_NAME or any(char.isspace() or not char.isprintable() for char in name):
        raise ValueError(
            f"{name[:40]!r} is no metric's name; write an attribute's, or a metric such as cost or latency"
        )
    plain = name.replace(".", "_")
    known = _known(plain if _UNDERSCORED.fullmatch(plain) else name)
    exact = _attributes().get(name)
    if known is not None:
        return known
    for refused, text in _REFUSED_METRICS:
        if plain.startswith(refused):
            raise ValueError(f"{refused} has no equivalent: {text}")
    if quoted:
        return Measured(Metric.ATTRIBUTE, name) if exact is None else _with_suffix(name, exact)
    if exact is not None:
        return Measured(Metric.ATTRIBUTE, exact)
    if ":" in name:
        raise ValueError(
            f"{name} is the name of a recording rule, and what it records is not known here; write its expression out"
        )
    return _underscored(name)


def _with_suffix(name: str, exact: str) -> Measured:
    """An attribute under its own name, or that of its histogram with a dotted name."""
    for suffix in (Suffix.SUM, Suffix.COUNT, Suffix.TOTAL, Suffix.BUCKET):
        if exact == name.removesuffix(suffix.value) and exact != name:
            return Measured(Metric.ATTRIBUTE, exact, suffix=suffix)
    return Measured(Metric.ATTRIBUTE, exact)


def _known(name: str) -> Measured | None:
    """A metric of Tocsin's or a well-known one, with or without a suffix."""
    if (found := _named(name)) is not None:
        return found
    for suffix in (Suffix.SUM, Suffix.COUNT, Suffix.TOTAL, Suffix.BUCKET):
        base = name.removesuffix(suffix.value)
        if base != name and (found := _named(base)) is not None:
            return replace(found, suffix=suffix)
    return None


def _named(name: str) -> Measured | None:
    if name in _WELL_KNOWN:
        return _WELL_KNOWN[name]
    if name in tuple(Metric) and Metric(name) not in _NO_METRICS:
        return Measured(Metric(name))
    return None


def _underscored(name: str) -> Measured:
    """An attribute in Prometheus' spelling; the table's are known by their dotted names, others may have dots."""
    for suffix in Suffix:
        base = name.removesuffix(suffix.value) if suffix.value else name
        if suffix.value and base == name:
            continue
        if (exact := _attributes().get(base)) is not None:
            return Measured(Metric.ATTRIBUTE, exact, suffix=suffix)
    suffix = next((each for each in Suffix if each.value and name.endswith(each.value)), Suffix.NONE)
    base = name.removesuffix(suffix.value) if suffix.value else name
    if not base:
        raise ValueError(f"{name!r} is no metric's name; write an attribute's, or a metric such as cost or latency")
    _check_spellings(base)
    return Measured(Metric.ATTRIBUTE, base, suffix=suffix)


def _check_spellings(name: str) -> None:
    if name.count("_") > MAX_UNDERSCORES:
        raise ValueError(
            f"{name} may stand for {2 ** name.count('_')} attributes, as each '_' may be a '.'; "
            f'quote its own name: {{"{name.replace("_", ".")}"}} as a metric, "{name.replace("_", ".")}" as a label'
        )


def label_of(name: str, *, quoted: bool) -> str:
    """Return the label of rules that a label's name stands for: a short name, or an attribute's key.

    Raises:
        ValueError: it stands for none; the text says what would.
    """
    if name in _REFUSED_LABELS and not quoted:
        raise ValueError(f"{name} is no label here: {_REFUSED_LABELS[name]}")
    if not name or len(name) > _MAX_NAME or any(char.isspace() or not char.isprintable() for char in name):
        raise ValueError(f"{name[:40]!r} is no label's name; write a short name, like model, or an attribute's")
    if name in SHORT_NAMES:
        return name
    if (found := _labels().get(name)) is not None:
        return found
    if not quoted and "." not in name:
        exact = _attributes().get(name)
        if exact is not None:
            return exact
        _check_spellings(name)
    return name


def entry_of(label: str, group_by: tuple[Entry, ...]) -> Entry:
    """Return the label as the rule's own groups have it: with its alternatives, where it is the first of some."""
    return next((entry for entry in group_by if entry[0] == label), (label,))


def _spelled(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", key)


def _plain(alias: Alias) -> bool:
    return alias.how in (How.PLAIN, How.QUOTED, How.BEFORE_SLASH) and alias.event is None and "(" not in alias.key


@cache
def _labels() -> Mapping[str, str]:
    """Attribute keys of the table, dotted and in Prometheus' spelling -> the short name whose values they hold."""
    found = dict(_LABELS)
    for name, label in default_table().labels.items():
        for alias in label.aliases:
            if _plain(alias):
                found.setdefault(alias.key, name)
                found.setdefault(_spelled(alias.key), name)
    return MappingProxyType(found)


@cache
def _attributes() -> Mapping[str, str]:
    """Attribute keys of the table, dotted and in Prometheus' spelling, -> the key; none for a spelling of several."""
    table = default_table()
    keys = {
        alias.key
        for group in (
            *table.numbers.values(),
            *table.tokens.values(),
            *(each.aliases for each in table.labels.values()),
        )
        for alias in group
        if _plain(alias)
    }
    found: dict[str, str | None] = {}
    for key in sorted(keys):
        spelled = _spelled(key)
        found[spelled] = key if found.get(spelled, key) == key else None
    found |= {key: key for key in keys}
    return MappingProxyType({spelled: key for spelled, key in found.items() if key is not None})
