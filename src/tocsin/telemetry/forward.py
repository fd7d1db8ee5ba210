"""One function per event of forwarding: logs and counts together. Nothing is logged per request while all is well."""

import logging
import time

from prometheus_client import Counter, Gauge

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY

__all__ = [
    "attempt_failed",
    "cost_not_added",
    "partially_rejected",
    "queue_degraded",
    "queue_file_unreadable",
    "queue_found",
    "queue_measured",
    "queue_not_marked",
    "queue_not_synced",
    "queue_recovered",
    "request_delivered",
    "request_refused",
    "requests_dropped",
]

_SECONDS_BETWEEN = 60.0
_attempts = Counter("tocsin_forwarded_requests", "Attempts to pass a request on.", ["outcome"], registry=REGISTRY)
_rejected = Counter(
    "tocsin_forward_rejected_items",
    "Spans, records and points that the next collector did not take from a request that it took.",
    ["signal"],
    registry=REGISTRY,
)
_dropped = Counter(
    "tocsin_forward_dropped_requests", "Requests that will not be passed on.", ["reason"], registry=REGISTRY
)
_uncosted = Counter("tocsin_forward_uncosted_requests", "Requests passed on without costs.", registry=REGISTRY)
_waiting = Gauge("tocsin_forward_queue_requests", "Requests that wait to be passed on.", registry=REGISTRY)
_bytes = Gauge("tocsin_forward_queue_bytes", "Their bytes.", registry=REGISTRY)
_degraded = Gauge("tocsin_forward_degraded", "1 while the queue is not on disk.", registry=REGISTRY)
_LAST: dict[str, float] = {}
_STATE = {"failing": False}


def _seldom(level: int, message: str, **fields: object) -> None:
    """Log an event that may come often once a minute."""
    now = time.monotonic()
    if now - _LAST.get(message, -_SECONDS_BETWEEN) >= _SECONDS_BETWEEN:
        _LAST[message] = now
        log(level, message, **fields)


def request_delivered() -> None:
    """The next collector took a request."""
    _attempts.labels("delivered").inc()
    if _STATE["failing"]:
        _STATE["failing"] = False
        _LAST.pop("forwarding fails, and is tried again", None)
        log(logging.INFO, "forwarding works again")


def attempt_failed(*, reason: str) -> None:
    """The next collector did not take a request; it is tried again."""
    _attempts.labels("retried").inc()
    _STATE["failing"] = True
    _seldom(logging.WARNING, "forwarding fails, and is tried again", reason=reason)


def request_refused(*, signal: str, reason: str) -> None:
    """The next collector will never take a request; it is dropped, as OTLP asks."""
    _attempts.labels("refused").inc()
    _dropped.labels("refused").inc()
    _seldom(logging.ERROR, "the next collector refused a request, which is dropped", signal=signal, reason=reason)


def partially_rejected(*, signal: str, items: int, reason: str) -> None:
    """The next collector took a request but for some of its items; 0 items are a warning of its."""
    _rejected.labels(signal).inc(items)
    _seldom(
        logging.WARNING, "the next collector did not take all of a request", signal=signal, items=items, reason=reason
    )


def requests_dropped(*, reason: str, requests: int, size: int) -> None:
    """Requests will not be passed on; `reason`: size, age, memory, corrupt, stopping."""
    _dropped.labels(reason).inc(requests)
    _seldom(logging.ERROR, f"not passed on for {reason}", requests=requests, bytes=size)


def cost_not_added(*, reason: str) -> None:
    """A request's spans could not be matched with their costs; it goes on as it came."""
    _uncosted.inc()
    _seldom(logging.ERROR, "costs could not be added to a request", reason=reason)


def queue_found(*, requests: int, size: int) -> None:
    """A former process left requests; they are passed on now."""
    log(logging.INFO, "requests that wait from before are passed on", requests=requests, bytes=size)


def queue_measured(*, requests: int, size: int) -> None:
    """So much waits."""
    _waiting.set(requests)
    _bytes.set(size)


def queue_degraded(*, reason: str) -> None:
    """The queue can't be written: it is in memory, bounded, and lost with the process."""
    _degraded.set(1)
    log(logging.ERROR, "the forwarding queue is in memory only: its disk can't be written", reason=reason)


def queue_recovered() -> None:
    """The queue is on disk again."""
    _degraded.set(0)
    log(logging.INFO, "the forwarding queue is on disk again")


def queue_not_synced(*, reason: str) -> None:
    """The disk does not confirm what was written: a power loss may cost more than the sync interval."""
    _seldom(logging.ERROR, "the forwarding queue could not be synced", reason=reason)


def queue_not_marked(*, reason: str) -> None:
    """It could not be noted what was sent: after a restart it is sent again."""
    _seldom(logging.WARNING, "what was forwarded could not be noted, and may be sent again", reason=reason)


def queue_file_unreadable(*, name: str, reason: str) -> None:
    """A file of the queue can't be read."""
    log(logging.ERROR, "a file of the forwarding queue can't be read", file=name, reason=reason)
