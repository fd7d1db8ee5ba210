"""uvicorn's HTTP/1.1 connection, with the limits that it leaves to a proxy in front.

Tocsin stands without a proxy, so a connection that sends its headers slowly, or nothing, or reads no answer, ends here,
and so does the one connection too many. Bodies are timed by the application, which knows when it waits for one.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = ["LimitedProtocol"]

# uvicorn logs a line for each request that is no HTTP; here it is counted, so a flood of them writes no log.
_logger = logging.getLogger("tocsin.security.http_connection")
_logger.setLevel(logging.ERROR)


class LimitedProtocol(H11Protocol, ABC):
    """A connection that does not wait for ever."""

    header_seconds: ClassVar[float]
    """For a request's headers to arrive, from the connection or from their first byte; and for answers to be read."""
    max_connections: ClassVar[int]
    """Open at once."""
    full: ClassVar[bytes]
    """The whole answer to one connection too many."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _logger
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @abstractmethod
    def too_many(self) -> None:
        """Count a connection that there was no room for."""

    @abstractmethod
    def timed_out(self) -> None:
        """Count a connection that was cut off."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for headers, or say that there is no room."""
        super().connection_made(transport)  # type: ignore[arg-type] # TCP transports read and write
        if len(self.connections) > self.max_connections:
            self.too_many()
            self.transport.write(self.full)
            self.transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; while they are no whole request yet, the clock runs."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_request():
            self._disarm()
        elif self._deadline is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        self._disarm()
        self._is_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the peer to read."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.header_seconds, self._leave)

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._is_read()
        super().resume_writing()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._cut_off)

    def _in_request(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None at first, though typed otherwise
        return cycle is not None and not cycle.response_complete

    def _leave(self) -> None:
        """Leave a peer that asks and asks, and reads no answer."""
        self._unread = None
        self.timed_out()
        self.transport.abort()

    def _cut_off(self) -> None:
        self._deadline = None
        if not self._in_request() and not self.transport.is_closing():
            self.timed_out()
            self.transport.close()
