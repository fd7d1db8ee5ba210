"""What the kill switch says. Never the value of a key in a metric."""

import logging

from prometheus_client import Counter, Gauge

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY

__all__ = [
    "block_ended",
    "block_refused",
    "blocked",
    "blocks_loaded",
    "blocks_not_loaded",
    "checked",
    "keys_blocked",
    "told_by_others",
    "watch_refused",
    "watchers_counted",
]

_blocks = Gauge("tocsin_blocks", "Keys that are blocked now.", registry=REGISTRY)
_changes = Counter("tocsin_block_changes", "What happened to blocks.", ["action"], registry=REGISTRY)
_refused = Counter("tocsin_blocks_refused", "Keys not blocked, as guard.max_blocks are already.", registry=REGISTRY)
_checks = Counter(
    "tocsin_block_checks", "Questions whether something is blocked.", ["via", "outcome"], registry=REGISTRY
)
_watchers = Gauge("tocsin_guard_watchers", "Applications that follow what is blocked.", registry=REGISTRY)
_from_others = Counter(
    "tocsin_block_changes_of_others",
    "Changes of blocks by other processes of the same database.",
    ["action"],
    registry=REGISTRY,
)
_turned_away = Counter("tocsin_guard_refused", "Refused calls of the Guard service.", ["reason"], registry=REGISTRY)


def keys_blocked(*, number: int) -> None:
    """So many keys are blocked now."""
    _blocks.set(number)


def blocked(*, action: str, label: str, by: str, reason: str) -> None:
    """A key was blocked, or its block was extended."""
    _changes.labels(action).inc()
    level = logging.WARNING if action == "blocked" else logging.INFO
    log(level, f"key {action}", label=label, by=by, reason=reason)


def block_ended(*, action: str, label: str, by: str) -> None:
    """A key is free again."""
    _changes.labels(action).inc()
    log(logging.INFO, f"key {action}", label=label, by=by)


def block_refused(*, limit: int, by: str) -> None:
    """A key was not blocked, as too many are."""
    _refused.inc()
    log(
        logging.ERROR,
        "a key was not blocked: guard.max_blocks keys are blocked already; lift some or raise it",
        limit=limit,
        by=by,
    )


def checked(*, via: str, blocked: bool) -> None:
    """Somebody asked; `via` is `http`, `proxy` or `grpc`."""
    _checks.labels(via, "blocked" if blocked else "free").inc()


def watchers_counted(*, number: int) -> None:
    """So many watchers are there."""
    _watchers.set(number)


def watch_refused(*, reason: str) -> None:
    """A call was refused; `reason` is one of a fixed few words."""
    _turned_away.labels(reason).inc()
    log(logging.DEBUG, "call of the Guard service refused", reason=reason)


def blocks_loaded(*, number: int) -> None:
    """So many keys were blocked when the service ended, and are again."""
    if number:
        log(logging.INFO, "blocks go on", blocks=number)


def blocks_not_loaded(*, reason: str) -> None:
    """What was blocked before the start is not known yet."""
    log(logging.ERROR, "what was blocked before the start can't be read; it is tried again", reason=reason)


def told_by_others(*, action: str) -> None:
    """Another process that shares the database did something to a block."""
    _from_others.labels(action).inc()
