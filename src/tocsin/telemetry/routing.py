"""What routing says: one function per event logs and counts together."""

import logging

from prometheus_client import Counter

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY

__all__ = ["notification_held", "routing_not_loaded", "silence_ended"]

_held = Counter(
    "tocsin_held_notifications", "Notifications that routing kept from a contact point.", ["reason"], registry=REGISTRY
)


def notification_held(*, reason: str) -> None:
    """A contact point is not told of an event: silenced, muted, inhibited or acknowledged."""
    _held.labels(reason).inc()


def routing_not_loaded(*, reason: str) -> None:
    """Silences and decisions can't be read; what is in memory counts."""
    log(
        logging.WARNING, "silences can't be read from the database at present; the ones known here count", reason=reason
    )


def silence_ended(*, silence: str, firing: int) -> None:
    """A silence is over."""
    log(logging.INFO, "a silence ended", silence=silence, still_firing=firing)
