"""What was written is made to outlive a power loss, at intervals, and without holding up those who write."""

import asyncio
import time
from functools import partial

from tocsin.forward.disk import DiskThread
from tocsin.forward.segment import Segment
from tocsin.forward.shelf import reason_of, sync
from tocsin.telemetry import forward as telemetry

__all__ = ["Syncing"]


class Syncing:
    """Files that were written to and not yet synced; one event loop owns it."""

    def __init__(self, thread: DiskThread, interval: float) -> None:
        """Sync in `thread` every `interval` seconds; 0: whoever writes has synced."""
        self._thread = thread
        self._interval = interval
        self._written: dict[int, Segment] = {}
        self._running = False
        self._last = 0.0

    def wrote(self, segment: Segment) -> None:
        """Note that a file was written to."""
        if self._interval:
            self._written[segment.number] = segment

    def tick(self) -> None:
        """Sync if it is time to."""
        if time.monotonic() - self._last >= self._interval:
            self.now()

    def now(self) -> None:
        """Begin to sync, unless that is going on."""
        if self._running or not self._written:
            return
        segments, self._written = list(self._written.values()), {}
        self._running, self._last = True, time.monotonic()
        self._thread.submit(partial(sync, segments)).add_done_callback(self._done)

    def _done(self, done: "asyncio.Future[None]") -> None:
        self._running = False
        if (error := done.exception()) is not None:
            telemetry.queue_not_synced(reason=reason_of(error))
