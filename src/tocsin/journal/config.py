"""What a user writes under `journal:`."""

from datetime import timedelta

from pydantic import Field, model_validator

from tocsin.model.settings import Duration, Settings, Size

__all__ = ["JournalConfig"]

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB
_MOST_SYNC = timedelta(minutes=1)
_LEAST_RETENTION = timedelta(minutes=1)
_LEAST_INTERVAL = timedelta(seconds=1)


class JournalConfig(Settings):
    """How what was accepted is kept on disk, in `storage.directory`."""

    enabled: bool = True
    """Off: a restart forgets windows and alerts."""
    sync: Duration = timedelta(seconds=1)
    """What a power loss may cost; 0s: nothing, every commit waits for the disk. A killed process costs nothing."""
    retention: Duration = timedelta(days=7)
    """How long records are kept that no restart needs any more."""
    max_size: Size = Field(default=4 * _GIB, ge=128 * _KIB)
    """Of all segments; the two snapshots come on top."""
    segment_size: Size = Field(default=64 * _MIB, ge=64 * _KIB)
    """A file of the journal is full at this size; records go by the file. Its write-ahead log takes as much again."""
    snapshot_interval: Duration = timedelta(seconds=60)
    """How often the state is kept, so that a restart reads only what came later."""

    @model_validator(mode="after")
    def _fitting(self) -> "JournalConfig":
        if self.sync > _MOST_SYNC:
            raise ValueError("sync is at most 1m: a power loss would cost as much")
        if self.retention < _LEAST_RETENTION:
            raise ValueError("retention is at least 1m")
        if self.snapshot_interval < _LEAST_INTERVAL:
            raise ValueError("snapshot_interval is at least 1s")
        if self.max_size < 2 * self.segment_size:
            raise ValueError("max_size holds at least two segments; make it larger, or segment_size smaller")
        return self
