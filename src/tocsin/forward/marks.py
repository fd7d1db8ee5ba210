"""What was sent is noted on disk, gathered for a moment: a kill in between makes it be sent again."""

import asyncio
from functools import partial
from typing import Final

from tocsin.forward.disk import DiskThread
from tocsin.forward.segment import Segment
from tocsin.forward.shelf import reason_of
from tocsin.telemetry import forward as telemetry

__all__ = ["Marks"]

GATHER_SECONDS: Final = 0.1


class Marks:
    """Offsets that are done with and not yet noted; one event loop owns it."""

    def __init__(self, thread: DiskThread) -> None:
        """Note them in `thread`, the one that writes."""
        self._thread = thread
        self._offsets: dict[Segment, list[int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, segment: Segment, offset: int) -> None:
        """A record is done with."""
        self._offsets.setdefault(segment, []).append(offset)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.write)

    def forget(self, segment: Segment) -> None:
        """A file goes, and its marks with it."""
        self._offsets.pop(segment, None)

    def write(self) -> None:
        """Note what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._offsets = self._offsets, {}
        for segment, offsets in gathered.items():
            self._thread.submit(partial(segment.mark, offsets)).add_done_callback(_written)


def _written(done: "asyncio.Future[None]") -> None:
    if (error := done.exception()) is not None:
        telemetry.queue_not_marked(reason=reason_of(error))
