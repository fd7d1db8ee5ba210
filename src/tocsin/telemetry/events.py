"""One function per event of the service, its requests, alerts and notifications: logs and counts together."""

import logging
import time
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from tocsin.telemetry.log import log, place_of
from tocsin.telemetry.readings import bounded_model
from tocsin.telemetry.registry import REGISTRY, SECONDS

__all__ = [
    "alert_changed",
    "batch_evaluated",
    "bytes_received",
    "configuration_refused",
    "configuration_taken",
    "internal_error",
    "memory_measured",
    "notification_delivered",
    "notification_dropped",
    "notification_failed",
    "notifications_waiting",
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

_SPANS = (1, 8, 64, 512, 4096, 16384)

_received = Counter("tocsin_spans_received", "Spans that arrived.", ["transport"], registry=REGISTRY)
_records = Counter(
    "tocsin_log_records_received", "Evaluation log records that arrived.", ["transport"], registry=REGISTRY
)
_requests = Counter("tocsin_requests", "Export requests that were taken.", ["transport"], registry=REGISTRY)
_bytes = Counter("tocsin_received_bytes", "Bytes of export requests, decompressed.", ["transport"], registry=REGISTRY)
_rejected = Counter("tocsin_rejected_spans", "Spans that could not be used.", ["reason"], registry=REGISTRY)
_flawed = Counter(
    "tocsin_refused_values",
    "Values that could not be true.",
    ["kind"],
    registry=REGISTRY,
)
_refused = Counter(
    "tocsin_refused_requests", "Export requests that were refused as a whole.", ["reason"], registry=REGISTRY
)
_internal = Counter("tocsin_internal_errors", "Defects of Tocsin itself, survived.", ["stage"], registry=REGISTRY)
_detection = Histogram(
    "tocsin_detection_seconds", "From a span's arrival to the alert.", buckets=SECONDS, registry=REGISTRY
)
_batch_seconds = Histogram("tocsin_batch_seconds", "Decoding to alerts, per batch.", buckets=SECONDS, registry=REGISTRY)
_batch_spans = Histogram("tocsin_batch_spans", "Spans that were evaluated together.", buckets=_SPANS, registry=REGISTRY)
_alerts = Counter("tocsin_alert_events", "Changes of alerts.", ["rule", "event"], registry=REGISTRY)
_notifications = Counter("tocsin_notifications", "Attempts to notify.", ["contact_point", "outcome"], registry=REGISTRY)
_queue = Gauge("tocsin_notification_queue", "Notifications not yet delivered.", registry=REGISTRY)
_delivery = Histogram(
    "tocsin_delivery_seconds", "One attempt to notify that was taken.", buckets=SECONDS, registry=REGISTRY
)
_templates = Counter(
    "tocsin_template_errors",
    "Templates of rules that failed; the default was sent.",
    ["field"],
    registry=REGISTRY,
)
_dropped = Counter(
    "tocsin_dropped_notifications", "Notifications given up.", ["contact_point", "reason"], registry=REGISTRY
)
_load_errors = Gauge(
    "tocsin_rule_load_errors",
    "Errors in the files as they are now; 0 when they are in force.",
    registry=REGISTRY,
)
_loads = Counter("tocsin_configuration_loads", "Loads of the files.", ["outcome"], registry=REGISTRY)
_unpriced = Counter("tocsin_unpriced_spans", "Spans whose cost is not known.", ["provider", "model"], registry=REGISTRY)
_build = Gauge("tocsin_build_info", "Always 1.", ["version", "decoder"], registry=REGISTRY)


def started(*, version: str, decoder: str) -> None:
    """The process has its decoder: `native`, or `reference` where the extension is not built."""
    _build.labels(version, decoder).set(1)


def service_ready(*, addresses: Iterable[str], rules: int, contact_points: int, seconds: float) -> None:
    """Every receiver listens."""
    log(
        logging.INFO,
        "ready",
        addresses=list(addresses),
        rules=rules,
        contact_points=contact_points,
        seconds=round(seconds, 3),
    )


def service_stopping(*, reason: str) -> None:
    """Nothing new is taken; what was accepted is finished."""
    log(logging.INFO, "draining", reason=reason)


def service_stopped(*, undelivered: int) -> None:
    """The end; notifications that were not delivered in time are lost data, so they are an error."""
    log(logging.ERROR if undelivered else logging.INFO, "stopped", undelivered_notifications=undelivered)


def configuration_taken(*, rules: int, warnings: Iterable[str], reload: bool) -> None:
    """The files are in force, for the first time or after an edit."""
    _load_errors.set(0)
    _loads.labels("taken").inc()
    if reload:
        log(logging.INFO, "configuration reloaded", rules=rules)
    for warning in warnings:
        log(logging.WARNING, f"configuration: {warning}")


def restart_needed(*, keys: Iterable[str]) -> None:
    """An edit changed what is read at the start only; everything else of it is in force."""
    log(logging.WARNING, "these changes wait for a restart", keys=list(keys))


def configuration_refused(*, problems: Iterable[str]) -> None:
    """An edit is not valid: what runs goes on unchanged."""
    listed = list(problems)
    _load_errors.set(len(listed))
    _loads.labels("refused").inc()
    for problem in listed:
        log(logging.ERROR, f"configuration not taken: {problem}")


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
    log(logging.DEBUG, "request refused", transport=transport, reason=reason)


def spans_rejected(*, reason: str, spans: int) -> None:
    """Spans of a request that was taken could not be used; `reason` is one of a fixed few texts."""
    _rejected.labels(reason).inc(spans)


def values_refused(*, kind: str, values: int) -> None:
    """Values of spans could not be true (negative tokens, NaN); the spans were used without them."""
    _flawed.labels(kind).inc(values)


def spans_unpriced(*, provider: str, model: str, spans: int) -> None:
    """Spans cost something that the price table does not know."""
    _unpriced.labels(*bounded_model(provider, model)).inc(spans)


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
            log(logging.ERROR, "over limits.memory, refusing requests", resident=resident, limit=limit)
        else:
            log(logging.INFO, "below limits.memory again", resident=resident, limit=limit)


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
    log(logging.ERROR, "internal error, survived", stage=stage, error=type(error).__name__, at=place_of(error))


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
        log(logging.ERROR, "notification dropped", contact_point=contact_point, reason=reason)
