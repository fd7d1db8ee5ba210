"""What Tocsin says of itself: metrics in the OpenMetrics format, and a log of events with fields.

One function per event logs and counts together. Work is per request or batch, never per span; what the engine
counts is read when somebody scrapes. Label values are bounded: never a group's value, and of providers and
models the first `MAX_MODELS` only. No prompt text and no secret reaches a log: events carry counts and names.
"""

from tocsin.telemetry.events import (
    alert_changed,
    batch_evaluated,
    bytes_received,
    configuration_refused,
    configuration_taken,
    internal_error,
    memory_measured,
    notification_delivered,
    notification_dropped,
    notification_failed,
    notifications_waiting,
    request_refused,
    requests_received,
    restart_needed,
    service_ready,
    service_stopped,
    service_stopping,
    spans_rejected,
    spans_unpriced,
    started,
    template_failed,
    values_refused,
)
from tocsin.telemetry.log import configure_logging
from tocsin.telemetry.readings import MAX_MODELS, Reading, read_from
from tocsin.telemetry.registry import exposition

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
