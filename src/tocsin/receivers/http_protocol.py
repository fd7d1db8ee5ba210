"""uvicorn's HTTP/1.1 connection, with the limits that it leaves to a proxy in front.

Tocsin stands without a proxy, so a connection that sends its headers slowly, or nothing, ends here, and so
does the one connection too many. Bodies are timed by the application, which knows when it waits for one.
"""

import asyncio
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from tocsin.receivers.admission import ReceiverObserver
from tocsin.receivers.status import INCOMPLETE, TIMEOUT, TOO_MANY_CONNECTIONS, json_status

__all__ = ["protocol_class"]

# uvicorn logs a line for each request that is no HTTP; here it is counted, so a flood of them writes no log.
_logger = logging.getLogger("tocsin.receivers.http.protocol")
_logger.setLevel(logging.ERROR)

_BODY = json_status(TOO_MANY_CONNECTIONS)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"retry-after: 1\r\nconnection: close\r\n"
    b"content-length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)


def protocol_class(
    observer: ReceiverObserver, *, header_seconds: float, max_connections: int
) -> type[asyncio.Protocol]:
    """Return the class of one server's connections.

    Args:
        observer: counts what is cut off.
        header_seconds: for a request's headers to arrive, from the connection or from their first byte.
        max_connections: open at once.
    """

    class LimitedProtocol(H11Protocol):
        """An HTTP/1.1 connection that does not wait for ever."""

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

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type] # TCP transports read and write
            if len(self.connections) > max_connections:
                observer.refused("http", TOO_MANY_CONNECTIONS.reason)
                self.transport.write(_FULL)
                self.transport.close()
                return
            self._deadline = self.loop.call_later(header_seconds, self._cut_off)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self._in_request():
                self._disarm()
            elif self._deadline is None and not self.transport.is_closing():
                self._deadline = self.loop.call_later(header_seconds, self._cut_off)

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            self._is_read()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(header_seconds, self._leave)

        def resume_writing(self) -> None:
            self._is_read()
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            cycle: RequestResponseCycle | None = self.cycle  # None at first, though typed otherwise
            if cycle is not None and cycle.response_started:
                observer.refused("http", INCOMPLETE.reason)
                self.transport.close()  # answered already, early; h11 would not let a second answer begin
                return
            if cycle is None:
                observer.refused("http", INCOMPLETE.reason)
            else:
                # The application still waits for this request's body: it counts, and must not answer after us.
                cycle.disconnected = True
                cycle.message_event.set()
            super().send_400_response(msg)

        def _in_request(self) -> bool:
            cycle: RequestResponseCycle | None = self.cycle
            return cycle is not None and not cycle.response_complete

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _is_read(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def _leave(self) -> None:
            """Leave a sender that asks and asks, and reads no answer."""
            self._unread = None
            observer.refused("http", TIMEOUT.reason)
            self.transport.abort()

        def _cut_off(self) -> None:
            self._deadline = None
            if not self._in_request() and not self.transport.is_closing():
                observer.refused("http", TIMEOUT.reason)
                self.transport.close()

    return LimitedProtocol
