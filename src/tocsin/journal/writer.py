"""The thread that writes: takes all records that wait, encodes them, commits them together, says so once.

Where a segment can't be written to, the same rows are tried in a new one at once: a file that is locked or damaged then
costs nothing. Where that fails too the thread says so, and tries again every second until the disk takes them.
"""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from tocsin import telemetry
from tocsin.journal.directory import SegmentFile, create_private, segment_path
from tocsin.journal.record import Record
from tocsin.journal.row import Row
from tocsin.journal.segment import Segment
from tocsin.journal.syncer import Syncer
from tocsin.telemetry import journal as events

__all__ = ["Hears", "Writer", "reason_of"]

MOST_RECORDS: Final = 128
MOST_SPANS: Final = 32_768
"""Of a group that is committed together, unless a single record has more."""
PROBE_BYTES: Final = 256 * 1024
"""So much must fit on a disk that was full before it counts as free again."""
_PROBE: Final = "probe.tmp"


class Hears(Protocol):
    """Who is told what becomes of records. Called in the writer's threads; must not block."""

    def committed(self, position: int) -> None:
        """All records up to this position that were put and not reported as failed are on disk."""
        ...

    def failed(self, reason: str) -> None:
        """Records that were put, and those that will be until the next commit, are not kept."""
        ...

    def rolled(self) -> None:
        """A segment is full, and its last records are where they stay."""
        ...


class Writer:
    """Writes records to segments, in a thread of its own from `start` to `stop`."""

    def __init__(
        self,
        directory: Path,
        hears: Hears,
        *,
        segment_size: int,
        sync_seconds: float,
        busy_seconds: float,
        probe_seconds: float,
        current: Path | None,
    ) -> None:
        """Make a writer.

        Args:
            directory: of the segments; locked by this process.
            hears: what becomes of the records.
            segment_size: bytes after which a segment is full.
            sync_seconds: how often commits are made safe against a power loss; 0: each is.
            busy_seconds: how long a commit waits for another process that has locked the segment.
            probe_seconds: how often a disk that failed is tried.
            current: the segment to go on with; None: a new one.
        """
        self._directory = directory
        self._hears = hears
        self._segment_size = segment_size
        self._durable = sync_seconds == 0
        self._busy_seconds = busy_seconds
        self._probe_seconds = probe_seconds
        self._current = current
        self._queue: queue.SimpleQueue[tuple[int, Record] | str | None] = queue.SimpleQueue()
        """Records with their positions; a text: why the segment is of no use any more; None: the end."""
        self._segment: Segment | None = None
        self._unused: Path | None = None
        """The segment as long as we made it and could not commit anything to it."""
        self._next = 0
        """The position of the next record: names a new segment."""
        self._previous = 0
        """The position of the last record that was committed."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._sealing: list[threading.Thread] = []
        self._syncer = None if self._durable else Syncer(sync_seconds, self.abandon)

    def start(self, position: int, previous: int) -> None:
        """Begin after `position`; the last record that there is may be one before, at `previous`."""
        self._next = position + 1
        self._previous = previous
        self._thread.start()
        if self._syncer is not None:
            self._syncer.start()

    def put(self, position: int, record: Record) -> None:
        """Write a record soon. Never blocks."""
        self._queue.put((position, record))

    def abandon(self, reason: str) -> None:
        """Go on in a new segment, for what was written to this one may not be on disk."""
        self._queue.put(reason)

    def forget(self) -> None:
        """Begin with a new segment; only before the first record is put."""
        self._current = None

    def stop(self, seconds: float) -> bool:
        """Write what waits, and end; return whether that could be done in time. Blocks."""
        deadline = time.monotonic() + seconds
        self._queue.put(None)
        self._stopping.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        sealing = tuple(self._sealing)  # the writer adds to them to the last
        for thread in sealing:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._syncer is not None:
            self._syncer.stop(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in (self._thread, *sealing))

    def _run(self) -> None:
        ending = False
        while not ending:
            group: list[tuple[int, Record]] = []
            ending = self._gather(group)
            if group:
                self._write(self._encoded(group), group[-1][0])
        if self._segment is not None:
            with suppress(sqlite3.Error, OSError):
                self._segment.seal()

    def _gather(self, group: list[tuple[int, Record]]) -> bool:
        """Wait for records, and take all that are there; return whether the end has come."""
        spans = 0
        while len(group) < MOST_RECORDS and spans < MOST_SPANS:
            try:
                item = self._queue.get(block=not group)
            except queue.Empty:
                return False
            if item is None:
                return True
            if isinstance(item, str):
                self._unsafe(item)
                continue
            group.append(item)
            spans += len(item[1].batch or ())
        return False

    def _encoded(self, group: Sequence[tuple[int, Record]]) -> list[Row]:
        rows: list[Row] = []
        for position, record in group:
            previous = rows[-1].position if rows else self._previous
            try:
                rows.append(Row.of(position, previous, record))
            except Exception as error:  # noqa: BLE001  # one record must not end the thread that keeps all others
                telemetry.internal_error(stage="journal", error=error)
                self._hears.failed(f"record {position} could not be encoded: {type(error).__name__}")
        return rows

    def _write(self, rows: Sequence[Row], last: int) -> None:
        """Commit rows, however long that takes; give up only at the end of the process."""
        begun = time.perf_counter()
        if rows and not self._tried(rows):
            return
        self._next = last + 1
        self._previous = rows[-1].position if rows else self._previous
        self._hears.committed(last)
        size = sum(len(row.body) for row in rows)
        events.records_committed(records=len(rows), size=size, seconds=time.perf_counter() - begun)
        if self._syncer is not None and self._segment is not None:
            self._syncer.written(self._segment.log)
        if self._segment is not None and self._segment.size >= self._segment_size:
            self._roll()

    def _tried(self, rows: Sequence[Row]) -> bool:
        reason = self._commit(rows)
        if reason is None:
            return True
        abandoned = self._segment_name()
        self._let_go()
        if self._commit(rows) is None:
            events.segment_abandoned(segment=abandoned, reason=reason)
            return True
        return self._recovered(rows, reason)

    def _recovered(self, rows: Sequence[Row], reason: str) -> bool:
        """Say that records are not kept, and try until they are; return False if the process ends before."""
        while True:
            self._hears.failed(reason)
            self._let_go()
            if self._stopping.wait(self._probe_seconds):
                return False
            reason = self._probe() or self._commit(rows) or ""
            if not reason:
                return True

    def _commit(self, rows: Sequence[Row]) -> str | None:
        """Commit rows to the segment, or a new one; return why that failed."""
        try:
            if self._segment is None:
                self._open()
            if self._segment is not None and rows:
                self._segment.append(rows)
                self._unused = None
        except (sqlite3.Error, OSError) as error:
            return reason_of(error, self._directory)
        return None

    def _open(self) -> None:
        path, self._current = self._current, None
        if path is None:
            path = segment_path(self._directory, self._next)
            if path.exists():
                there = SegmentFile(path, self._next, corrupt=False)
                there.remove() if path == self._unused else there.set_aside()
            self._unused = path
        self._segment = Segment(path, durable=self._durable, busy_seconds=self._busy_seconds)

    def _probe(self) -> str | None:
        """Return why the disk does not take a file; None if it does."""
        path = self._directory / _PROBE
        try:
            path.unlink(missing_ok=True)
            create_private(path)
            with path.open("r+b", buffering=0) as file:
                left = PROBE_BYTES
                while left:
                    left -= file.write(bytes(left))
                os.fsync(file.fileno())
        except OSError as error:
            return reason_of(error, self._directory)
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return None

    def _unsafe(self, reason: str) -> None:
        """Go on in a new segment; what was written to the old one may be lost at a power loss, so a snapshot is due."""
        self._hears.failed(reason)
        events.segment_abandoned(segment=self._segment_name(), reason=reason)
        self._let_go()
        failure = self._commit(())
        if failure is None or self._recovered((), failure):
            self._hears.committed(self._next - 1)

    def _let_go(self) -> None:
        """Close the segment as it is.

        That copies its log, so it may take long; but of one that is to be made again the files must not be in use.
        """
        if self._syncer is not None:
            self._syncer.written(None)
        segment, self._segment = self._segment, None
        if segment is not None and segment.path == self._unused:
            segment.close()
        elif segment is not None:
            self._aside(segment.close)

    def _segment_name(self) -> str:
        return self._segment.path.name if self._segment is not None else str(self._directory)

    def _roll(self) -> None:
        """Begin a new segment with the next record; the full one is sealed meanwhile."""
        segment, self._segment = self._segment, None
        if self._syncer is not None:
            self._syncer.written(None)
        if segment is not None:
            self._aside(lambda: self._seal(segment))

    def _aside(self, work: Callable[[], None]) -> None:
        self._sealing = [thread for thread in self._sealing if thread.is_alive()]
        thread = threading.Thread(target=work, name="journal-seal", daemon=True)
        self._sealing.append(thread)
        thread.start()

    def _seal(self, segment: Segment) -> None:
        try:
            segment.seal()
        except sqlite3.Error as error:
            self.abandon(f"{segment.path.name}: {reason_of(error, self._directory)}")
        self._hears.rolled()


def reason_of(error: Exception, directory: Path) -> str:
    """Return why the disk did not take something, and where, for a person."""
    if isinstance(error, OSError):
        return f"{error.strerror or error} ({error.filename or directory})"
    code = getattr(error, "sqlite_errorname", None)
    return f"{error}{f' [{code}]' if code else ''} ({directory})"
