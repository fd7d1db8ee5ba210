"""Alerts about Tocsin itself: the log and the metric say them whoever is told, and if nobody can be."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import Gauge

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY

__all__ = ["self_alert_changed", "self_alerts_firing"]

_LEVELS: Final = {"firing": logging.ERROR, "reminder": logging.ERROR}
_firing = Gauge("tocsin_self_alerts_firing", "Alerts about Tocsin itself that fire now.", ["rule"], registry=REGISTRY)


def self_alert_changed(*, rule: str, event: str, text: str, group: Mapping[str, str]) -> None:
    """An alert about Tocsin itself fired, resolved or reminds."""
    log(_LEVELS.get(event, logging.INFO), f"tocsin itself: {event} {rule}: {text}", **group)


def self_alerts_firing(*, rules: Iterable[str], firing: Iterable[str]) -> None:
    """Of all conditions (a fixed few), these fire: one name for each group."""
    counts = dict.fromkeys(rules, 0)
    for rule in firing:
        counts[rule] = counts.get(rule, 0) + 1
    for rule, count in counts.items():
        _firing.labels(rule).set(count)
