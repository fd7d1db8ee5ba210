"""One request on its way: what it is, where it is kept, and whose it is."""

import asyncio
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from tocsin.forward.wire import BYTES, MalformedError, Reader, tag

__all__ = ["Entry", "Place", "Signal", "client_of"]

_FIRST: Final = tag(1, BYTES)


class Signal(StrEnum):
    """What is forwarded; the values are those of OTLP's paths."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class Place(NamedTuple):
    """Where a record begins."""

    segment: int
    offset: int


@dataclass(slots=True, eq=False)
class Entry:
    """A request that waits. Belongs to the event loop, but for the time in which the disk's thread writes it."""

    signal: Signal
    client: int
    """Of requests with the same one the order is kept."""
    at: int
    """Wall clock when it was received, Unix nanoseconds."""
    size: int
    """Bytes of the request."""
    data: bytes | None
    """None: on disk only."""
    place: Place | None = None
    """None: in memory only, for now or for want of a disk."""
    kept: "asyncio.Future[bool] | None" = None
    """Done once it is known whether the request is on disk."""
    listed: bool = False
    """Whether it is among those that are to be sent next."""
    sending: bool = False
    gone: bool = False
    """Sent or dropped; whoever still holds it forgets it."""

    def settle(self, *, kept: bool) -> None:
        """Tell who waits for it whether the request is on disk."""
        future, self.kept = self.kept, None
        if future is not None and not future.done():
            future.set_result(kept)


def client_of(data: bytes) -> int:
    """Return a number for who made a request: a hash of its first resource, 32 bits.

    One process has one resource, which names it (`service.instance.id`), however it connects. Of bytes without
    one, or none that can be read, it is 0.
    """
    try:
        first = Reader(data, 0).find(_FIRST)
        resource = None if first is None else first.find(_FIRST)
    except MalformedError:
        return 0
    return zlib.crc32(resource.rest()) if resource else 0
