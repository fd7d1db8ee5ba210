"""What the service asks of a log of the engine's inputs; SQLite serves it here, a Kafka topic could."""

import asyncio
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Protocol

from tocsin.journal.record import Record
from tocsin.model.state import Frozen, State

__all__ = ["Log", "Snapshot"]


class Snapshot(Protocol):
    """The engine's state after some record."""

    @property
    def position(self) -> int:
        """Of the last record that is in it."""
        ...

    def read(self) -> Mapping[str, State]:
        """Return its sections. Blocks.

        Raises:
            SnapshotError: it is torn, corrupt or of another version; the next older one may be good.
        """
        ...


class Log(Protocol):
    """Records by position, 1, 2, 3 …, and snapshots between them. `append` and `save` are called on one event loop."""

    @property
    def position(self) -> int:
        """Of the last record that was appended; 0 before the first."""
        ...

    @property
    def degraded(self) -> str | None:
        """Why records are not kept at present; None while they are."""
        ...

    def append(self, record: Record) -> "asyncio.Future[bool]":
        """Give a record the next position. Never blocks, never raises.

        The future's result is True once the record is as safe as configured, and False as soon as it is known that
        it is not kept: the log is degraded then and says so, and a later snapshot covers what it lost.
        """
        ...

    def read(self, after: int) -> Iterator[tuple[int, Record]]:
        """Yield the records past a position in order; what is torn or corrupt is left out and reported. Blocks."""
        ...

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield what `save` left, the newest first. Blocks."""
        ...

    async def save(self, position: int, sections: MutableMapping[str, Frozen]) -> bool:
        """Keep the state after the record at `position`; return whether that succeeded. The loop goes on meanwhile.

        The sections are taken out and written one after another, so that each is let go once it is written. Older
        snapshots, but for the last good one before this, and segments past their age or size go.
        """
        ...

    async def close(self) -> None:
        """Write what waits, and let go of the files."""
        ...
