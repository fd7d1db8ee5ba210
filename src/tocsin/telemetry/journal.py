"""Events of the journal and its snapshots: logs and counts together."""

import logging

from prometheus_client import Counter, Gauge, Histogram

from tocsin.telemetry.log import log
from tocsin.telemetry.registry import REGISTRY, SECONDS

__all__ = [
    "degraded",
    "measured",
    "records_committed",
    "records_corrupt",
    "recovered",
    "segment_abandoned",
    "segment_set_aside",
    "segments_removed",
    "snapshot_failed",
    "snapshot_kept",
    "snapshot_refused",
    "sync_late",
]

_records = Counter("tocsin_journal_records", "Records that were committed.", registry=REGISTRY)
_bytes = Counter("tocsin_journal_bytes", "Bytes of records that were committed.", registry=REGISTRY)
_commit = Histogram("tocsin_journal_commit_seconds", "One group commit.", buckets=SECONDS, registry=REGISTRY)
_degraded = Gauge("tocsin_journal_degraded", "1 while records are not kept.", registry=REGISTRY)
_size = Gauge("tocsin_journal_size_bytes", "Size of all segments.", registry=REGISTRY)
_corrupt = Counter("tocsin_journal_corrupt_records", "Records that could not be read back.", registry=REGISTRY)
_snapshot = Histogram("tocsin_snapshot_seconds", "Keeping one snapshot.", buckets=SECONDS, registry=REGISTRY)
_snapshot_size = Gauge("tocsin_snapshot_size_bytes", "Size of the newest snapshot.", registry=REGISTRY)
_snapshot_failures = Counter("tocsin_snapshot_failures", "Snapshots that could not be kept.", registry=REGISTRY)


def records_committed(*, records: int, size: int, seconds: float) -> None:
    """A group of records is on disk, as safe as configured."""
    _records.inc(records)
    _bytes.inc(size)
    _commit.observe(seconds)


def degraded(*, reason: str) -> None:
    """Records are not kept: what is lost if the process ends before a snapshot is what came since."""
    _degraded.set(1)
    log(logging.ERROR, "the journal does not keep what is accepted; evaluation goes on", reason=reason)


def recovered(*, seconds: float) -> None:
    """Records are kept again."""
    _degraded.set(0)
    log(logging.WARNING, "the journal keeps what is accepted again", after_seconds=round(seconds, 1))


def measured(*, size: int) -> None:
    """All segments together have this size in bytes."""
    _size.set(size)


def records_corrupt(*, segment: str, first: int, records: int) -> None:
    """Records of a segment were left out at reading; `first` is the position of the first of them."""
    _corrupt.inc(records)
    log(logging.ERROR, "records of the journal are damaged and left out", segment=segment, first=first, records=records)


def segment_set_aside(*, segment: str, reason: str) -> None:
    """A segment is damaged as a whole: what could be read was read, and nothing more is written to it."""
    log(logging.ERROR, "a segment of the journal is damaged and set aside", segment=segment, reason=reason)


def segment_abandoned(*, segment: str, reason: str) -> None:
    """A segment could not be written to; the journal goes on in a new one, and nothing is lost."""
    log(logging.WARNING, "the journal goes on in a new segment", segment=segment, reason=reason)


def segments_removed(*, segments: int, size: int, needed: bool) -> None:
    """Segments went by age or size; `needed`: a restart would have read them, but journal.max_size is reached."""
    if needed:
        log(
            logging.ERROR,
            "segments that no snapshot covers went, for journal.max_size is reached; raise it",
            segments=segments,
            size=size,
        )
    else:
        log(logging.DEBUG, "segments of the journal went", segments=segments, size=size)


def sync_late(*, seconds: float) -> None:
    """The disk took long to make records safe against a power loss."""
    log(logging.WARNING, "the disk is slow: a power loss now costs more than journal.sync", seconds=round(seconds, 1))


def snapshot_kept(*, position: int, size: int, seconds: float) -> None:
    """The state is on disk."""
    _snapshot.observe(seconds)
    _snapshot_size.set(size)
    log(logging.DEBUG, "snapshot kept", position=position, size=size, seconds=round(seconds, 3))


def snapshot_failed(*, position: int, reason: str) -> None:
    """The state could not be kept; the one before is still there."""
    _snapshot_failures.inc()
    log(logging.ERROR, "no snapshot was kept; a restart reads more of the journal", position=position, reason=reason)


def snapshot_refused(*, snapshot: str, reason: str) -> None:
    """A snapshot can't be used; the one before it may be good."""
    log(logging.ERROR, "a snapshot is damaged and left out", snapshot=snapshot, reason=reason)
