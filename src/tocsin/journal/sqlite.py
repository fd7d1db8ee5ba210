"""The log in files of this machine: segments of SQLite, and snapshots beside them."""

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from tocsin.errors import ConfigError
from tocsin.journal.config import JournalConfig
from tocsin.journal.directory import Lock, SegmentFile, segments_in
from tocsin.journal.log import Snapshot
from tocsin.journal.reading import read_segments
from tocsin.journal.record import Record
from tocsin.journal.retention import Aged, parting
from tocsin.journal.segment import last_position
from tocsin.journal.snapshots import Snapshots
from tocsin.journal.writer import Writer
from tocsin.model.state import Frozen
from tocsin.telemetry import journal as events

__all__ = ["SqliteLog"]

STALL_SECONDS: Final = 2.0
"""A commit that has not returned by then is taken to have failed: the disk hangs."""
PROBE_SECONDS: Final = 1.0
BUSY_SECONDS: Final = 1.0
"""How long a commit waits for another process that has locked the segment; less than what counts as a hung disk."""
CLOSE_SECONDS: Final = 10.0

_T = TypeVar("_T")


class SqliteLog:
    """A `Log`. `open` makes one; one event loop owns it from the first `append` or `save` on."""

    def __init__(
        self,
        directory: Path,
        config: JournalConfig,
        lock: Lock,
        position: int,
        previous: int,
        current: Path | None,
        *,
        on_state: Callable[[str | None], None] | None = None,
        stall_seconds: float = STALL_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """Use `open`: it finds what these are."""
        self._directory = directory
        self._config = config
        self._lock = lock
        self._position = position
        self._on_state = on_state
        self._stall_seconds = stall_seconds
        self._snapshots = Snapshots(directory)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: deque[tuple[int, asyncio.Future[bool], float]] = deque()
        """Position, answer, and when it was handed over, on the loop's clock."""
        self._watch: asyncio.TimerHandle | None = None
        self._degraded: str | None = None
        self._degraded_since = 0.0
        self._closed = False
        self._saving = asyncio.Lock()
        self._tidying = threading.Lock()
        self._writer = Writer(
            directory,
            self,
            segment_size=config.segment_size,
            sync_seconds=config.sync.total_seconds(),
            busy_seconds=busy_seconds,
            probe_seconds=probe_seconds,
            current=current,
        )
        self._writer.start(position, previous)

    @classmethod
    def open(
        cls,
        directory: Path,
        config: JournalConfig,
        on_state: Callable[[str | None], None] | None = None,
        *,
        stall_seconds: float = STALL_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> "SqliteLog":
        """Return the log in a directory, which is made if it is not there. Blocks.

        Args:
            directory: of this log alone.
            config: see there.
            on_state: called on the event loop when the log degrades, with the reason, and with None when it recovered;
                a snapshot is due then.
            stall_seconds: after which a commit counts as hung.
            probe_seconds: between two tries of a disk that failed.
            busy_seconds: that a commit waits for another process that has locked the segment.

        Raises:
            ConfigError: another process uses the directory, or it can't be written to.
        """
        directory = directory.absolute()
        lock = Lock(directory)
        snapshots = Snapshots(directory)
        snapshots.clean()
        previous, current = _end_of(directory, config.segment_size)
        position = max([previous, *(file.position for file in snapshots)])
        log = cls(
            directory, config, lock, position, previous, current, on_state=on_state,
            stall_seconds=stall_seconds, probe_seconds=probe_seconds, busy_seconds=busy_seconds,
        )  # fmt: skip
        log.tidy()
        return log

    @property
    def position(self) -> int:
        """See `Log.position`."""
        return self._position

    @property
    def degraded(self) -> str | None:
        """See `Log.degraded`."""
        return self._degraded

    def append(self, record: Record) -> "asyncio.Future[bool]":
        """See `Log.append`."""
        loop = self._bound()
        answer: asyncio.Future[bool] = loop.create_future()
        self._position += 1
        if self._degraded is not None or self._closed:
            answer.set_result(False)
            return answer
        self._pending.append((self._position, answer, loop.time()))
        self._writer.put(self._position, record)
        if self._watch is None:
            self._look_in(self._stall_seconds)
        return answer

    def read(self, after: int) -> Iterator[tuple[int, Record]]:
        """See `Log.read`."""
        return read_segments(self._directory, after, own=True, damaged=self._damaged)

    def snapshots(self) -> Iterator[Snapshot]:
        """See `Log.snapshots`."""
        return iter(self._snapshots)

    async def save(self, position: int, sections: MutableMapping[str, Frozen]) -> bool:
        """See `Log.save`; waits until what was appended up to `position` is on disk, or known not to be."""
        loop = self._bound()
        async with self._saving:
            waiting = [answer for put, answer, _ in self._pending if put <= position]
            if waiting:
                await asyncio.wait(waiting)
            kept = await _in_thread(loop, lambda: self._snapshots.write(position, sections))
            await _in_thread(loop, self.tidy)
            return kept

    async def close(self) -> None:
        """See `Log.close`; what the disk does not take in ten seconds is given up."""
        if self._closed:
            return
        self._closed = True
        ended = await _in_thread(self._bound(), lambda: self._writer.stop(CLOSE_SECONDS))
        if self._watch is not None:
            self._watch.cancel()
        self._answer_all(kept=False)
        if ended:
            self._lock.release()

    def tidy(self) -> None:
        """Remove what is too old or too much. Any thread may call this; it blocks, and raises nothing."""
        with self._tidying, suppress(OSError):
            kept = self._snapshots.prune()
            now = time.time()
            segments = [Aged(file, file.size(), now - file.modified()) for file in segments_in(self._directory)]
            gone = parting(
                segments, kept, retention=self._config.retention.total_seconds(), max_size=self._config.max_size
            )
            for parted, needed in ((gone.free, False), (gone.needed, True)):
                for segment in parted:
                    segment.file.remove()
                if parted:
                    size = sum(segment.size for segment in parted)
                    events.segments_removed(segments=len(parted), size=size, needed=needed)
            events.measured(size=sum(file.size() for file in segments_in(self._directory)))

    def committed(self, position: int) -> None:
        """See `Hears.committed`."""
        self._post(lambda: self._kept(position))

    def failed(self, reason: str) -> None:
        """See `Hears.failed`."""
        self._post(lambda: self._degrade(reason))

    def rolled(self) -> None:
        """See `Hears.rolled`."""
        self.tidy()

    def _bound(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _post(self, call: Callable[[], None]) -> None:
        """Have something done on the loop; once that is closed nobody waits for it."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call)

    def _kept(self, position: int) -> None:
        while self._pending and self._pending[0][0] <= position:
            answer = self._pending.popleft()[1]
            if not answer.done():
                answer.set_result(True)
        if self._degraded is not None:
            self._degraded = None
            events.recovered(seconds=time.monotonic() - self._degraded_since)
            if self._on_state is not None:
                self._on_state(None)

    def _degrade(self, reason: str) -> None:
        self._answer_all(kept=False)
        if self._degraded is None:
            self._degraded_since = time.monotonic()
        if self._degraded != reason:
            self._degraded = reason
            events.degraded(reason=reason)
            if self._on_state is not None:
                self._on_state(reason)

    def _answer_all(self, *, kept: bool) -> None:
        pending, self._pending = self._pending, deque()
        for _, answer, _ in pending:
            if not answer.done():
                answer.set_result(kept)

    def _look(self) -> None:
        """Give up on a commit that does not return: a thread that waits for a hung disk can't say so itself.

        Where this loop did not get its turn in time either, it is not the disk that hangs: then it gets more time.
        """
        watch, self._watch = self._watch, None
        if not self._pending or self._loop is None or watch is None:
            return
        now = self._loop.time()
        waited = now - self._pending[0][2]
        if now - watch.when() > self._stall_seconds / 4:
            self._look_in(self._stall_seconds)
        elif waited >= self._stall_seconds:
            self._degrade(f"the disk has not answered for {self._stall_seconds:g} s ({self._directory})")
        else:
            self._look_in(self._stall_seconds - waited)

    def _look_in(self, seconds: float) -> None:
        self._watch = self._bound().call_later(seconds, self._look)

    def _damaged(self, segment: SegmentFile) -> None:
        """Set a segment aside that could not be read in full; not under a writer's hands."""
        last = max((file.first for file in segments_in(self._directory) if not file.corrupt), default=0)
        if segment.first < last:
            segment.set_aside()
        elif self._loop is None:
            self._writer.forget()
            segment.set_aside()
        else:
            self._writer.abandon(f"{segment.path.name} is damaged ({self._directory})")


def _end_of(directory: Path, segment_size: int) -> tuple[int, Path | None]:
    """Return the last position in the segments, and the segment to go on with, if any.

    Raises:
        ConfigError: another program has locked a segment.
    """
    position = 0
    for segment in reversed(segments_in(directory)):
        try:
            last = last_position(segment.path)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                problem = f"storage.directory: {segment.path} is locked by another program; end that"
                raise ConfigError(problem) from error
            position = max(position, segment.first)
            if not segment.corrupt:
                events.segment_set_aside(segment=segment.path.name, reason=str(error))
                segment.set_aside()
            continue
        if last == 0 and not segment.corrupt:
            segment.remove()
            continue
        if segment.corrupt:
            position = max(position, last)
            continue
        return max(position, last), segment.path if segment.size() < segment_size else None
    return position, None


def _in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Return what some work that blocks returns. The thread does not keep a process alive whose disk hangs."""
    result: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # without an error there is a value

    def run() -> None:
        value, failure = None, None
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            failure = error
        with suppress(RuntimeError):  # the loop is gone, and nobody waits
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=run, name="journal-work", daemon=True).start()
    return result
