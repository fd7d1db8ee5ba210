"""What Tocsin says of itself: metrics in the OpenMetrics format, and a log of events with fields.

One function per event logs and counts together. Work is per request or batch, never per span; what the engine
counts is read when somebody scrapes. Label values are bounded: never a group's value, and of providers and
models the first `MAX_MODELS` only. No prompt text and no secret reaches a log: events carry counts and names.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TextIO

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

__all__ = [
    "MAX_MODELS",
    "Reading",
    "alert_changed",
    "batch_evaluated",
    "bytes_received",
    "configuration_refused",
    "configuration_taken",
    "configure_logging",
    "exposition",
    "internal_error",
    "memory_measured",
    "notification_delivered",
    "notification_dropped",
    "notification_failed",
    "notifications_waiting",
    "read_from",
    "request_refused",
    "requests_received",
    "restart_needed",
    "service_ready",
    "service_stopped",
    "service_stopping",
    "spans_rejected",
    "spans_unpriced",
    "started",
    "template_failed",
    "values_refused",
]

MAX_MODELS: Final = 200
"""Distinct (provider, model) pairs with labels of their own; all later ones are counted as `other`."""

_FRAMES: Final = 4
_LOG = logging.getLogger("tocsin")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SPANS = (1, 8, 64, 512, 4096, 16384)
_REGISTRY = CollectorRegistry(auto_describe=False)

_received = Counter("tocsin_spans_received", "Spans that arrived.", ["transport"], registry=_REGISTRY)
_records = Counter(
    "tocsin_log_records_received", "Evaluation log records that arrived.", ["transport"], registry=_REGISTRY
)
_requests = Counter("tocsin_requests", "Export requests that were taken.", ["transport"], registry=_REGISTRY)
_bytes = Counter("tocsin_received_bytes", "Bytes of export requests, decompressed.", ["transport"], registry=_REGISTRY)
_rejected = Counter("tocsin_rejected_spans", "Spans that could not be used.", ["reason"], registry=_REGISTRY)
_flawed = Counter(
    "tocsin_refused_values",
    "Values that could not be true.",
    ["kind"],
    registry=_REGISTRY,
)
_refused = Counter(
    "tocsin_refused_requests", "Export requests that were refused as a whole.", ["reason"], registry=_REGISTRY
)
_internal = Counter("tocsin_internal_errors", "Defects of Tocsin itself, survived.", ["stage"], registry=_REGISTRY)
_detection = Histogram(
    "tocsin_detection_seconds", "From a span's arrival to the alert.", buckets=_SECONDS, registry=_REGISTRY
)
_batch_seconds = Histogram(
    "tocsin_batch_seconds", "Decoding to alerts, per batch.", buckets=_SECONDS, registry=_REGISTRY
)
_batch_spans = Histogram(
    "tocsin_batch_spans", "Spans that were evaluated together.", buckets=_SPANS, registry=_REGISTRY
)
_alerts = Counter("tocsin_alert_events", "Changes of alerts.", ["rule", "event"], registry=_REGISTRY)
_notifications = Counter(
    "tocsin_notifications", "Attempts to notify.", ["contact_point", "outcome"], registry=_REGISTRY
)
_queue = Gauge("tocsin_notification_queue", "Notifications not yet delivered.", registry=_REGISTRY)
_delivery = Histogram(
    "tocsin_delivery_seconds", "One attempt to notify that was taken.", buckets=_SECONDS, registry=_REGISTRY
)
_templates = Counter(
    "tocsin_template_errors",
    "Templates of rules that failed; the default was sent.",
    ["field"],
    registry=_REGISTRY,
)
_dropped = Counter(
    "tocsin_dropped_notifications", "Notifications given up.", ["contact_point", "reason"], registry=_REGISTRY
)
_load_errors = Gauge(
    "tocsin_rule_load_errors",
    "Errors in the files as they are now; 0 when they are in force.",
    registry=_REGISTRY,
)
_loads = Counter("tocsin_configuration_loads", "Loads of the files.", ["outcome"], registry=_REGISTRY)
_unpriced = Counter(
    "tocsin_unpriced_spans", "Spans whose cost is not known.", ["provider", "model"], registry=_REGISTRY
)
_build = Gauge("tocsin_build_info", "Always 1.", ["version", "decoder"], registry=_REGISTRY)
ProcessCollector(registry=_REGISTRY)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the engine and its neighbours have counted so far, read at a scrape; counters never fall."""

    samples: Mapping[str, int] = field(default_factory=dict)
    """Rule -> samples."""
    late: Mapping[str, int] = field(default_factory=dict)
    ungrouped: Mapping[str, int] = field(default_factory=dict)
    series: Mapping[str, int] = field(default_factory=dict)
    """Rule -> series that are known now."""
    overflow: int = 0
    late_in_trace: int = 0
    firing: int = 0
    pending: int = 0
    duplicates: int = 0
    future: int = 0
    traces: int = 0
    """Traces that are open now."""
    waiting: int = 0
    """Samples that wait for a label of their trace now."""
    cost_usd: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(provider, model) -> US dollars."""
    tokens: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """(provider, model, type) -> tokens."""
    in_flight_bytes: int = 0


class _Bounded:
    """The (provider, model) pairs with labels of their own: the first ones, for good."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def of(self, provider: str, model: str) -> tuple[str, str]:
        pair = (provider[:128] or "unknown", model[:128] or "unknown")
        if pair not in self._known:
            if len(self._known) >= MAX_MODELS:
                return "other", "other"
            self._known.add(pair)
        return pair


_MODELS = _Bounded()


class _Readings(Collector):
    """Turns a `Reading` to metrics when somebody scrapes."""

    def __init__(self) -> None:
        self.source: Callable[[], Reading] = Reading

    def collect(self) -> Iterator[Metric]:
        reading = self.source()
        yield _family("tocsin_samples", "Samples that a rule counted.", "rule", reading.samples)
        yield _family("tocsin_late_samples", "Samples older than the rule's window, not counted.", "rule", reading.late)
        yield _family("tocsin_ungrouped_samples", "Samples that never got a group's label.", "rule", reading.ungrouped)
        series = GaugeMetricFamily("tocsin_series", "Series that live now.", labels=["rule"])
        for rule, number in reading.series.items():
            series.add_metric([rule], number)
        yield series
        for name, text, number in (
            ("tocsin_duplicate_spans", "Spans that arrived again.", reading.duplicates),
            ("tocsin_future_samples", "Samples from the future, counted now.", reading.future),
            ("tocsin_overflow_samples", "Samples of groups past limits.groups.", reading.overflow),
            ("tocsin_late_in_trace_spans", "Spans of traces that were complete.", reading.late_in_trace),
        ):
            yield CounterMetricFamily(name, text, value=number)
        for name, text, number in (
            ("tocsin_open_traces", "Traces that are not complete.", reading.traces),
            ("tocsin_waiting_samples", "Samples that wait for a label of their trace.", reading.waiting),
            ("tocsin_alerts_firing", "Alerts that fire now.", reading.firing),
            (
                "tocsin_alerts_pending",
                "Alerts whose condition holds, not yet for long enough.",
                reading.pending,
            ),
            ("tocsin_in_flight_bytes", "Bytes of requests not yet answered.", reading.in_flight_bytes),
        ):
            yield GaugeMetricFamily(name, text, value=number)
        yield from self._by_model(reading)

    def _by_model(self, reading: Reading) -> Iterator[Metric]:
        cost: dict[tuple[str, str, str], float] = {}
        for pair, usd in reading.cost_usd.items():
            key = (*_MODELS.of(*pair), "")
            cost[key] = cost.get(key, 0.0) + usd
        tokens: dict[tuple[str, str, str], float] = {}
        for (provider, model, kind), number in reading.tokens.items():
            key = (*_MODELS.of(provider, model), kind)
            tokens[key] = tokens.get(key, 0.0) + number
        for name, text, labels, values in (
            ("tocsin_cost_usd", "What model calls cost, each counted once.", ["provider", "model"], cost),
            (
                "tocsin_tokens",
                "Tokens of model calls, each counted once.",
                ["provider", "model", "type"],
                tokens,
            ),
        ):
            family = CounterMetricFamily(name, text, labels=labels)
            for key, value in values.items():
                family.add_metric(key[: len(labels)], value)
            yield family


def _family(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


_READINGS = _Readings()
_REGISTRY.register(_READINGS)


def read_from(source: Callable[[], Reading]) -> None:
    """Ask `source` for what the engine has counted, at each scrape."""
    _READINGS.source = source


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all metrics and their content type: OpenMetrics where `accept` takes it, else Prometheus's."""
    encode, content_type = choose_encoder(accept)
    return encode(_REGISTRY), content_type


def started(*, version: str, decoder: str) -> None:
    """The process has its decoder: `native`, or `reference` where the extension is not built."""
    _build.labels(version, decoder).set(1)


def service_ready(*, addresses: Iterable[str], rules: int, contact_points: int, seconds: float) -> None:
    """Every receiver listens."""
    _log(
        logging.INFO,
        "ready",
        addresses=list(addresses),
        rules=rules,
        contact_points=contact_points,
        seconds=round(seconds, 3),
    )


def service_stopping(*, reason: str) -> None:
    """Nothing new is taken; what was accepted is finished."""
    _log(logging.INFO, "draining", reason=reason)


def service_stopped(*, undelivered: int) -> None:
    """The end; notifications that were not delivered in time are lost data, so they are an error."""
    _log(logging.ERROR if undelivered else logging.INFO, "stopped", undelivered_notifications=undelivered)


def configuration_taken(*, rules: int, warnings: Iterable[str], reload: bool) -> None:
    """The files are in force, for the first time or after an edit."""
    _load_errors.set(0)
    _loads.labels("taken").inc()
    if reload:
        _log(logging.INFO, "configuration reloaded", rules=rules)
    for warning in warnings:
        _log(logging.WARNING, f"configuration: {warning}")


def restart_needed(*, keys: Iterable[str]) -> None:
    """An edit changed what is read at the start only; everything else of it is in force."""
    _log(logging.WARNING, "these changes wait for a restart", keys=list(keys))


def configuration_refused(*, problems: Iterable[str]) -> None:
    """An edit is not valid: what runs goes on unchanged."""
    listed = list(problems)
    _load_errors.set(len(listed))
    _loads.labels("refused").inc()
    for problem in listed:
        _log(logging.ERROR, f"configuration not taken: {problem}")


def requests_received(*, transport: str, requests: int, spans: int, records: int) -> None:
    """Requests were decoded, with so many spans and evaluation records together."""
    _requests.labels(transport).inc(requests)
    _received.labels(transport).inc(spans)
    if records:
        _records.labels(transport).inc(records)


def bytes_received(*, transport: str, size: int) -> None:
    """A request arrived in full, whatever becomes of it."""
    _bytes.labels(transport).inc(size)


def request_refused(*, transport: str, reason: str) -> None:
    """A request was refused as a whole; `reason` is one of a fixed few words."""
    _refused.labels(reason).inc()
    _log(logging.DEBUG, "request refused", transport=transport, reason=reason)


def spans_rejected(*, reason: str, spans: int) -> None:
    """Spans of a request that was taken could not be used; `reason` is one of a fixed few texts."""
    _rejected.labels(reason).inc(spans)


def values_refused(*, kind: str, values: int) -> None:
    """Values of spans could not be true (negative tokens, NaN); the spans were used without them."""
    _flawed.labels(kind).inc(values)


def spans_unpriced(*, provider: str, model: str, spans: int) -> None:
    """Spans cost something that the price table does not know."""
    _unpriced.labels(*_MODELS.of(provider, model)).inc(spans)


def batch_evaluated(*, spans: int, seconds: float) -> None:
    """Some requests went through decoding, prices and rules together."""
    _batch_spans.observe(spans)
    _batch_seconds.observe(seconds)


def memory_measured(*, resident: int, limit: int) -> None:
    """The resident set was compared with `limits.memory`; past it requests are refused."""
    over = resident > limit
    if over != _MEMORY["over"]:
        _MEMORY["over"] = over
        if over:
            _log(logging.ERROR, "over limits.memory, refusing requests", resident=resident, limit=limit)
        else:
            _log(logging.INFO, "below limits.memory again", resident=resident, limit=limit)


_MEMORY = {"over": False}
_FAILURES: dict[tuple[str, str], float] = {}


def internal_error(*, stage: str, error: BaseException) -> None:
    """A defect of ours was survived; logged once a minute per stage and type, with its place and no data."""
    _internal.labels(stage).inc()
    key = (stage, type(error).__name__)
    now = time.monotonic()
    if now - _FAILURES.get(key, -60.0) < 60.0:
        return
    _FAILURES[key] = now
    _log(logging.ERROR, "internal error, survived", stage=stage, error=type(error).__name__, at=_place(error))


def alert_changed(*, rule: str, event: str, detection_seconds: float | None) -> None:
    """An alert fired, resolved or reminds."""
    _alerts.labels(rule, event).inc()
    if detection_seconds is not None and event == "firing":
        _detection.observe(max(0.0, detection_seconds))


def notification_delivered(*, contact_point: str, seconds: float) -> None:
    """A contact point took a notification."""
    _notifications.labels(contact_point, "delivered").inc()
    _delivery.observe(seconds)


def notification_failed(*, contact_point: str, retryable: bool) -> None:
    """A contact point did not take a notification; it is tried again if `retryable`."""
    _notifications.labels(contact_point, "retried" if retryable else "failed").inc()


_QUEUES: dict[str, int] = {}


def notifications_waiting(*, contact_point: str, length: int) -> None:
    """So many notifications wait for this contact point."""
    _QUEUES[contact_point] = length
    _queue.set(sum(_QUEUES.values()))


def template_failed(*, field_name: str) -> None:
    """A template of a rule could not be rendered."""
    _templates.labels(field_name).inc()


def notification_dropped(*, contact_point: str, reason: str) -> None:
    """A notification will not arrive; unless a later one says the same, somebody is not told."""
    _dropped.labels(contact_point, reason).inc()
    if reason != "merged":
        _log(logging.ERROR, "notification dropped", contact_point=contact_point, reason=reason)


def _place(error: BaseException) -> str:
    """Return the innermost frames of an error as `file:line`, which says where without saying what the data was."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename.replace("\\", "/")
        places.append(f"{'/'.join(path.rsplit('/', 2)[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(places[-_FRAMES:])) or "unknown"


def configure_logging(*, level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send the log to `stream` (None: standard error), a line an event; of other libraries only warnings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _LOG.setLevel(level.upper())
    # Alerts are what the product says, not what it says of itself: the level is for the latter.
    logging.getLogger("tocsin.alerts").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)


def _log(level: int, message: str, **fields: object) -> None:
    if _LOG.isEnabledFor(level):
        _LOG.log(level, message, extra={"fields": fields})


def _moment(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class _Text(logging.Formatter):
    """`TIME level message key=value`, one line whatever a value holds."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        tail = "".join(f" {key}={_shown(value)}" for key, value in fields.items())
        line = f"{_moment(record)} {record.levelname.lower():7} {_one_line(record.getMessage())}{tail}"
        return f"{line} {_one_line(self.formatException(record.exc_info))}" if record.exc_info else line


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if hasattr(record, "alert"):
            entry["alert"] = record.alert
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shown(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return orjson.dumps(text).decode() if any(c in ' "=' or not c.isprintable() for c in text) else text


def _one_line(text: str) -> str:
    """Escape what could start a line of its own: clients' values must not forge log entries."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
