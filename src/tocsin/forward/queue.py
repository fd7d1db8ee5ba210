"""What waits for the next collector: on disk in the order in which it came, bounded, and never in anyone's way.

A thread writes what has gathered while it wrote before (group commit); who gave a request learns when it is on
disk. What is on disk outlives the process and is sent at least once. Of what waits, the next few thousand requests
are listed for sending, their bytes in memory where there is room; the rest is read from disk when its turn comes.

When the disk is full, fails or hangs, requests are kept in memory as far as that is bounded, are sent from
there, and are written as soon as the disk works again. Everything here but the jobs of the threads belongs to one
event loop. Why files and not SQLite: docs/decisions/0027-forwarding-queue.md.
"""

import asyncio
import contextlib
import errno
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tocsin.forward.bounds import QueueLimits
from tocsin.forward.disk import DiskThread
from tocsin.forward.entry import Entry, Place
from tocsin.forward.marks import Marks
from tocsin.forward.segment import HEADER_SIZE, Segment
from tocsin.forward.shelf import Listing, append, counted, left, read_on, reason_of
from tocsin.forward.syncing import Syncing
from tocsin.forward.window import Window
from tocsin.telemetry import forward as telemetry

__all__ = ["Queue"]

BATCH_BYTES: Final = 8 * 1024 * 1024
"""Written by one job of the thread."""
PROBE_SECONDS: Final = 1.0
"""After a failed write the disk is tried again."""
STALL_SECONDS: Final = 2.0
"""A write that takes longer counts as failed for those who wait for it."""
SMALL_BYTES: Final = 1024 * 1024
"""A file of this size with nothing left to send is deleted, so that an idle queue needs next to no disk."""
CLOSE_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
READ_ATTEMPTS: Final = 5
"""A file that can't be listed is tried so often, a second apart."""
COUNT_SECONDS: Final = 2.0
"""For so long a start waits until what is left was counted."""


class Queue:
    """First in, first listed. `listed` is told of each entry whose turn comes."""

    def __init__(
        self,
        directory: Path,
        limits: QueueLimits,
        listed: Callable[[Entry], None],
        dropped: Callable[[], None],
        *,
        sync: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make a queue; `open` reads what a former process left.

        Args:
            directory: its own; made if need be.
            limits: see there.
            listed: gets entries that may be sent, in order.
            dropped: called at times when entries that were listed have gone otherwise than by `finish`.
            sync: seconds between two writes that outlive a power loss; 0: each does.
            clock: the wall clock, Unix nanoseconds.
        """
        self._directory = directory
        self._limits = limits
        self._dropped = dropped
        self._sync = sync
        self._clock = clock
        self._segments: dict[int, Segment] = {}
        """By number, which ascends; the last is written to while `_active`."""
        self._active: Segment | None = None
        self._next_number = 1
        self._unwritten: deque[Entry] = deque()
        self._writing: Sequence[Entry] = ()
        self._writing_since = 0.0
        self._memory_count = self._memory_bytes = 0
        """Of entries without a place that are not gone."""
        self._window = Window(listed, entries=limits.listed, size=limits.listed_bytes)
        self._caught_up = True
        """Everything on disk was listed."""
        self._unread = Place(0, 0)
        """Where the first record is that was not listed; of no meaning when caught up."""
        self._reading = False
        self._unreadable = 0
        self._marks: Marks | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._syncing: Syncing | None = None
        self._degraded: str | None = None
        self._writer: DiskThread | None = None
        self._reader: DiskThread | None = None
        self._lost = False
        """Entries that were listed were dropped since the last tick."""
        self._idle = asyncio.Event()

    @property
    def degraded(self) -> str | None:
        """Why requests are not kept on disk at present; None while they are."""
        return self._degraded

    @property
    def waiting(self) -> int:
        """Requests that are neither sent nor dropped."""
        on_disk = sum(segment.waiting for segment in self._segments.values())
        return on_disk + self._memory_count

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, not even what was not yet counted."""
        return self.waiting == 0 and self._caught_up

    @property
    def waiting_bytes(self) -> int:
        """Their bytes."""
        return sum(segment.waiting_bytes for segment in self._segments.values()) + self._memory_bytes

    async def open(self) -> None:
        """Start, and find what a former process left."""
        self._writer, self._reader = DiskThread("forward-writer"), DiskThread("forward-reader")
        self._syncing, self._marks = Syncing(self._reader, self._sync), Marks(self._writer)
        try:
            found = await self._reader.submit(partial(left, self._directory))
        except OSError as error:
            # What is there can't be seen, and must not be written over: a number that no count reaches.
            self._next_number = int(time.time())
            self._degrade(reason_of(error))
            found = []
        if found:
            self._segments = {segment.number: segment for segment in found}
            self._next_number = found[-1].number + 1
            self._caught_up, self._unread = False, Place(found[0].number, 0)
            self._reading = True
            counting = self._reader.submit(partial(counted, found))
            counting.add_done_callback(partial(self._count, tuple(self._segments)))
            await asyncio.wait({counting}, timeout=COUNT_SECONDS)  # else it goes on in the background
        self._write_soon()

    async def close(self) -> None:
        """Write what waits and is not on disk, note what was sent, and stop."""
        if self._writer is None or self._reader is None:
            return
        deadline = time.monotonic() + CLOSE_SECONDS
        while (self._writing or self._unwritten) and not self._degraded and time.monotonic() < deadline:
            self._idle.clear()
            self._write_soon()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._idle.wait()
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        if self._marks is not None:
            self._marks.write()
        if self._active is not None and not self._active.waiting:
            self._remove(self._active)
        await self._writer.close(CLOSE_SECONDS)
        if self._syncing is not None:
            self._syncing.now()
        await self._reader.close(CLOSE_SECONDS)
        left = [entry for entry in (*self._writing, *self._unwritten) if not entry.gone]
        if left:
            telemetry.requests_dropped(reason="stopping", requests=len(left), size=self._memory_bytes)
        for entry in left:
            entry.settle(kept=False)

    def put(self, entry: Entry) -> "asyncio.Future[bool]":
        """Take an entry with its data. Never blocks, never raises.

        The future's result is True once the entry is on disk, and False as soon as it is known that it is not:
        it is in memory only, or was dropped.
        """
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        entry.kept = kept
        if entry.size + HEADER_SIZE > self._limits.max_size:
            self._lose(entry, "size")
            return kept
        while self._memory_bytes + entry.size > self._limits.memory and self._lose_oldest_unwritten():
            pass
        before = self._unwritten[-1] if self._unwritten else self._writing[-1] if self._writing else None
        self._unwritten.append(entry)
        self._memory_count += 1
        self._memory_bytes += entry.size
        if self._degraded:
            entry.settle(kept=False)
            has_turn = before is None or before.listed or before.gone
            if has_turn and self._caught_up and self._window.room > 0:
                self._window.add(entry)
        self._write_soon()
        return kept

    async def read(self, entry: Entry) -> bytes | None:
        """Return an entry's request; None where it is gone or corrupt.

        Raises:
            OSError: it can't be read now; TimeoutError is one.
        """
        if entry.data is not None or entry.place is None or self._reader is None:
            return entry.data
        segment = self._segments.get(entry.place.segment)
        if segment is None:
            return None
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._reader.submit(partial(segment.read, entry.place.offset))
        except OSError as error:
            if error.errno in (errno.EIO, errno.ENOENT):
                return None  # the disk has lost it
            raise

    def finish(self, entry: Entry) -> None:
        """Forget an entry that was sent or given up."""
        if entry.gone:
            return
        entry.gone = True
        self._window.discard(entry)
        if entry.place is None:
            self._memory_count -= 1
            self._memory_bytes -= entry.size
        else:
            self._settle_on_disk(entry.place, entry.size)
        if entry.place is not None or entry not in self._writing:
            entry.data = None
        self._refill()

    def tick(self) -> None:
        """Do what only time brings about: old requests, a disk that hangs, the sync interval."""
        self._drop_old()
        if self._lost:
            self._lost = False
            self._dropped()
        if self._writing and not self._degraded and time.monotonic() - self._writing_since > STALL_SECONDS:
            self._degrade(f"the disk has not written for {STALL_SECONDS:g} s")
        if self._syncing is not None:
            self._syncing.tick()
        self._report()

    def _count(self, placeholders: Sequence[int], done: "asyncio.Future[list[Segment]]") -> None:
        """Begin to send what a former process left, once it is known what that is."""
        self._reading = False
        found = {segment.number: segment for segment in done.result()}
        for number in placeholders:
            segment = found.get(number)
            if number not in self._segments:
                continue  # dropped meanwhile, to make room
            if segment is None:
                del self._segments[number]  # it can't be read, and stays for the next process
                continue
            self._segments[number] = segment
            if not segment.waiting:
                if segment.broken:
                    telemetry.requests_dropped(reason="corrupt", requests=segment.broken, size=0)
                self._remove(segment)
        if self.waiting:
            telemetry.queue_found(requests=self.waiting, size=self.waiting_bytes)
        self._refill()

    # Writing.

    def _write_soon(self) -> None:
        if self._writing or self._probe_timer is not None or self._writer is None:
            return
        batch, size = self._batch()
        if not batch:
            self._idle.set()
            return
        segment = self._segment_for(size)
        self._writing, self._writing_since = batch, time.monotonic()
        job = partial(append, segment, batch, sync=self._sync == 0)
        self._writer.submit(job).add_done_callback(partial(self._written, segment))

    def _batch(self) -> tuple[list[Entry], int]:
        """Take what is to be written next; an entry that was sent meanwhile needs no disk."""
        batch: list[Entry] = []
        size = 0
        while self._unwritten and size < BATCH_BYTES:
            entry = self._unwritten.popleft()
            if entry.gone:
                entry.data = None
                entry.settle(kept=True)
                continue
            batch.append(entry)
            size += HEADER_SIZE + entry.size
        return batch, size

    def _segment_for(self, size: int) -> Segment:
        """Return the file to append to, after making room for so many bytes."""
        active = self._active
        if active is not None and active.size >= self._limits.segment:
            self._begin_another(active)
            active = None
        while self._segments and sum(each.size for each in self._segments.values()) + size > self._limits.max_size:
            oldest = next(iter(self._segments.values()))
            self._drop_segment(oldest, "size")
            active = None if active is oldest else active
        if active is None:
            active = Segment(self._next_number, self._directory)
            self._segments[active.number] = active
            self._next_number += 1
        self._active = active
        return active

    def _begin_another(self, active: Segment) -> None:
        self._active = None
        if not active.waiting:
            self._remove(active)

    def _written(self, segment: Segment, done: "asyncio.Future[list[int]]") -> None:
        batch, self._writing = self._writing, ()
        if (error := done.exception()) is not None:
            self._unwritten.extendleft(reversed(batch))
            if segment.size and segment is self._active:
                self._begin_another(segment)  # perhaps it is this file alone
            self._degrade(reason_of(error))
            self._probe_timer = asyncio.get_running_loop().call_later(PROBE_SECONDS, self._probe)
            return
        for entry, offset in zip(batch, done.result(), strict=True):
            self._placed(entry, Place(segment.number, offset), segment)
        if self._syncing is not None:
            self._syncing.wrote(segment)
        if self._degraded:
            self._degraded = None
            telemetry.queue_recovered()
        for entry in batch:
            entry.settle(kept=True)
        self._write_soon()

    def _placed(self, entry: Entry, place: Place, segment: Segment) -> None:
        """Note that an entry is on disk, and list it if all before it were."""
        segment.size = place.offset + HEADER_SIZE + entry.size
        entry.place = place
        if entry.gone:
            entry.data = None
            if self._marks is not None:
                self._marks.add(segment, place.offset)
            return
        self._memory_count -= 1
        self._memory_bytes -= entry.size
        segment.waiting += 1
        segment.waiting_bytes += entry.size
        segment.newest = max(segment.newest, entry.at)
        if entry.listed:
            self._window.placed(entry)
        elif self._caught_up and self._window.room > 0:
            self._window.add(entry)
        else:
            entry.data = None
            if self._caught_up:
                self._caught_up, self._unread = False, place

    def _probe(self) -> None:
        self._probe_timer = None
        self._write_soon()

    def _degrade(self, reason: str) -> None:
        if self._degraded is None:
            telemetry.queue_degraded(reason=reason)
        self._degraded = reason
        for entry in (*self._writing, *self._unwritten):
            entry.settle(kept=False)
        self._list_unwritten()

    # Listing.

    def _list_unwritten(self) -> None:
        """List what is in memory only, once all that is on disk was."""
        if not self._caught_up:
            return
        for entry in (*self._writing, *self._unwritten):
            if self._window.room <= 0:
                return
            if not entry.listed and not entry.gone:
                self._window.add(entry)

    def _refill(self) -> None:
        """Read on, if there is room for more and more to read."""
        if self._reading or self._reader is None or not self._window.is_low:
            return
        if self._caught_up:
            if self._degraded:
                self._list_unwritten()
            return
        ends = [(segment, segment.size) for number, segment in self._segments.items() if number >= self._unread.segment]
        begin = self._unread.offset if ends and ends[0][0].number == self._unread.segment else 0
        self._reading = True
        self._reader.submit(partial(read_on, ends, begin, self._window.room)).add_done_callback(self._read)

    def _read(self, done: "asyncio.Future[Listing]") -> None:
        self._reading = False
        if (error := done.exception()) is not None:
            telemetry.queue_file_unreadable(name=f"number {self._unread.segment}", reason=reason_of(error))
            self._unreadable += 1
            if self._unreadable % READ_ATTEMPTS:
                asyncio.get_running_loop().call_later(PROBE_SECONDS, self._refill)
                return
            # What is behind it must go on; this one is read by the next process, or dropped with its age.
            first = next((number for number in self._segments if number > self._unread.segment), None)
            self._caught_up = first is None
            self._unread = Place(first or 0, 0)
            self._refill()
            return
        listing = done.result()
        if listing.broken:
            telemetry.requests_dropped(reason="corrupt", requests=listing.broken, size=0)
        for entry in listing.entries:
            if entry.place is not None and entry.place.segment in self._segments:
                self._window.add(entry)
        segment = self._segments.get(listing.next.segment)
        newest = next(reversed(self._segments), 0)
        at_end = segment is None or listing.next.offset >= segment.size
        self._caught_up = at_end and listing.next.segment >= newest
        self._unread = listing.next
        self._refill()

    # Letting go.

    def _settle_on_disk(self, place: Place, size: int) -> None:
        segment = self._segments.get(place.segment)
        if segment is None:
            return
        segment.waiting -= 1
        segment.waiting_bytes -= size
        is_active = segment is self._active
        if not segment.waiting and (not is_active or (segment.size >= SMALL_BYTES and not self._writing)):
            self._remove(segment)
            return
        if self._marks is not None:
            self._marks.add(segment, place.offset)

    def _remove(self, segment: Segment) -> None:
        if segment is self._active:
            self._active = None
        self._segments.pop(segment.number, None)
        if self._marks is not None:
            self._marks.forget(segment)
        if self._writer is not None:
            self._writer.submit(segment.remove).add_done_callback(_removed)

    def _drop_segment(self, segment: Segment, reason: str) -> None:
        lost, size = segment.waiting, segment.waiting_bytes
        for entry in [each for each in self._window if each.place and each.place.segment == segment.number]:
            if entry.sending:  # it may arrive yet
                lost, size = lost - 1, size - entry.size
            else:
                self._window.discard(entry)
                entry.gone, entry.data = True, None
        self._remove(segment)
        if not self._caught_up and self._unread.segment <= segment.number:
            first = next(iter(self._segments), None)
            self._caught_up = first is None
            self._unread = Place(first or 0, 0)
        if lost:
            telemetry.requests_dropped(reason=reason, requests=lost, size=size)
        self._lost = True
        self._refill()

    def _drop_old(self) -> None:
        oldest = self._clock() - self._limits.max_age_ns
        for segment in list(self._segments.values()):
            if segment.newest < oldest and segment is not self._active and segment.waiting:
                self._drop_segment(segment, "age")
        old = [entry for entry in self._window if entry.at < oldest and not entry.sending]
        for entry in old:
            self._lose(entry, "age")
            self._lost = True

    def _lose_oldest_unwritten(self) -> bool:
        for entry in self._unwritten:
            if not entry.gone and not entry.sending:
                self._lose(entry, "memory")
                self._unwritten.remove(entry)
                self._lost = True
                return True
        return False

    def _lose(self, entry: Entry, reason: str) -> None:
        telemetry.requests_dropped(reason=reason, requests=1, size=entry.size)
        entry.settle(kept=False)
        if entry.listed or entry in self._unwritten:
            self.finish(entry)
        entry.gone, entry.data = True, None

    def _report(self) -> None:
        telemetry.queue_measured(requests=self.waiting, size=self.waiting_bytes)


def _removed(done: "asyncio.Future[None]") -> None:
    if (error := done.exception()) is not None:  # at worst it is sent again after a restart
        telemetry.queue_not_marked(reason=reason_of(error))
