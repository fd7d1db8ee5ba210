"""What the database of alerts and deliveries says: one function per event logs and counts together."""

import logging

from prometheus_client import Counter, Gauge, Histogram

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY, SECONDS

__all__ = [
    "dead_letters_counted",
    "expired_rows_deleted",
    "storage_corrupt",
    "storage_degraded",
    "storage_document_unreadable",
    "storage_recovered",
    "storage_takeover",
    "storage_unwritten",
    "storage_waiting",
    "storage_write_dropped",
    "storage_written",
]

_degraded = Gauge("tocsin_storage_degraded", "1 while the database can't be written to.", registry=REGISTRY)
_dead = Gauge("tocsin_dead_letters", "Notifications that were given up and are kept.", registry=REGISTRY)
_queue = Gauge("tocsin_storage_queue", "Changes not yet written to the database.", registry=REGISTRY)
_seconds = Histogram(
    "tocsin_storage_write_seconds", "One transaction of the database.", buckets=SECONDS, registry=REGISTRY
)
_dropped = Counter(
    "tocsin_storage_dropped_writes", "Changes that never reached the database.", ["reason"], registry=REGISTRY
)


def storage_degraded(*, reason: str) -> None:
    """The database can't be used; what happens waits in memory."""
    _degraded.set(1)
    log(logging.ERROR, "the database can't be used; changes wait in memory until it can", reason=reason)


def storage_recovered(*, seconds: float) -> None:
    """The database can be used again."""
    _degraded.set(0)
    log(logging.INFO, "the database can be used again", after_seconds=round(seconds, 1))


def storage_waiting(*, writes: int) -> None:
    """So many changes are not yet written."""
    _queue.set(writes)


def storage_written(*, seconds: float) -> None:
    """A group of changes was committed."""
    _seconds.observe(seconds)


def storage_write_dropped(*, reason: str, kind: str, detail: str) -> None:
    """A change will never reach the database: `queue_full`, or `refused` by it."""
    _dropped.labels(reason).inc()
    if reason != "queue_full":
        log(logging.ERROR, "the database refused a change, which is left out", kind=kind, why=detail)


def storage_unwritten(*, writes: int) -> None:
    """The service ended while the database was down; with a journal the next start finds the events again."""
    _dropped.labels("shutdown").inc(writes)
    log(logging.ERROR, "changes were not written before the end", writes=writes)


def storage_corrupt(*, moved_to: str, reason: str) -> None:
    """SQLite's file is damaged; a new one was begun."""
    log(
        logging.ERROR,
        "the database is corrupt: it was moved aside and a new one begun; history and undelivered notifications in it "
        "are not used any more, and `sqlite3 FILE .recover` may save them",
        moved_to=moved_to,
        reason=reason,
    )


def storage_document_unreadable(*, event_id: str, reason: str) -> None:
    """An event in the database can't be read; its delivery is a dead letter."""
    log(logging.ERROR, "an event in the database can't be read", event=event_id, reason=reason)


def storage_takeover(*, deliveries: int) -> None:
    """Deliveries that another process left, or that were sent again, are delivered from here."""
    log(logging.INFO, "deliveries taken over", deliveries=deliveries)


def dead_letters_counted(*, letters: int) -> None:
    """So many dead letters are kept."""
    _dead.set(letters)


def expired_rows_deleted(*, rows: int) -> None:
    """What was older than storage.retention is gone."""
    log(logging.INFO, "old rows deleted", rows=rows)
