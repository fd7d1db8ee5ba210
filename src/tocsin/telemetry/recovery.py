"""What is said of a start from what a former process left, and of the snapshots for the next one."""

import logging

from prometheus_client import Gauge, Histogram

from tocsin.telemetry.log import log, place_of
from tocsin.telemetry.registry import REGISTRY, SECONDS

__all__ = ["frozen", "record_refused", "recovered", "replaying", "snapshot_given_up", "snapshot_refused"]

_SAID_EVERY = 5.0

_recovery = Gauge("tocsin_recovery_seconds", "How long this start took to read what was kept.", registry=REGISTRY)
_replayed = Gauge("tocsin_recovery_records", "Records that this start evaluated again.", registry=REGISTRY)
_pause = Histogram(
    "tocsin_snapshot_pause_seconds", "For how long a snapshot held up evaluation.", buckets=SECONDS, registry=REGISTRY
)


class _Progress:
    said = 0.0


def replaying(*, records: int, seconds: float) -> None:
    """Records are being evaluated again; said every few seconds."""
    if seconds - _Progress.said >= _SAID_EVERY:
        _Progress.said = seconds
        log(logging.INFO, "reading what was kept", records=records, seconds=round(seconds, 1))


def recovered(*, snapshot: int | None, records: int, seconds: float) -> None:
    """The engine goes on from what was kept, if anything."""
    _Progress.said = 0.0
    _recovery.set(seconds)
    _replayed.set(records)
    if snapshot is not None or records:
        log(logging.INFO, "went on from what was kept", snapshot=snapshot, records=records, seconds=round(seconds, 3))


def snapshot_refused(*, position: int, error: Exception) -> None:
    """A snapshot can't be used; an older one or the log alone takes its place."""
    log(
        logging.ERROR,
        "a snapshot can't be used; going on from an older one, or from the journal alone",
        position=position,
        reason=str(error) or type(error).__name__,
    )


def record_refused(*, position: int, error: Exception) -> None:
    """A record could not be evaluated again."""
    log(
        logging.ERROR,
        "a record of the journal could not be evaluated again, and is left out",
        position=position,
        error=type(error).__name__,
        at=place_of(error),
    )


def frozen(*, seconds: float) -> None:
    """The engine's state was taken for a snapshot."""
    _pause.observe(seconds)


def snapshot_given_up(*, seconds: float) -> None:
    """The last snapshot took too long; the next start reads more of the journal."""
    log(logging.WARNING, "the last snapshot was not ready in time; the next start takes longer", seconds=seconds)
