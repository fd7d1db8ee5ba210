"""uvicorn's HTTP/1.1 connection, with the limits that it leaves to a proxy in front.

A connection that sends its headers slowly, or nothing, ends; one too many is answered 503; what is no HTTP is answered
without a line in the log, as a flood of it would fill that.
"""

import asyncio
import logging
from typing import Any, Final

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from tocsin.api.headers import headers_for
from tocsin.telemetry import security as events

__all__ = ["ApiProtocol"]

HEADER_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 256
_logger = logging.getLogger("tocsin.api.connection")
_logger.setLevel(logging.ERROR)


def _answer(status: bytes, detail: str, *more: bytes) -> bytes:
    body = orjson.dumps({"type": "about:blank", "status": int(status[:3]), "detail": detail})
    fields = headers_for(
        [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ],
        encrypted=False,
    )
    lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in fields), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_FULL: Final = _answer(b"503 Service Unavailable", "too many connections; come again later", b"retry-after: 1")
_NO_HTTP: Final = _answer(b"400 Bad Request", "this is no HTTP/1.1 request, or its headers are over 32 KiB")


class ApiProtocol(H11Protocol):
    """A connection that does not wait for ever."""

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for headers, or say that there is no room."""
        super().connection_made(transport)  # type: ignore[arg-type] # TCP transports read and write
        if len(self.connections) > MAX_CONNECTIONS:
            events.request_refused(reason="connections")
            self.transport.write(_FULL)
            self.transport.close()
            return
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._cut_off)

    def data_received(self, data: bytes) -> None:
        """Take bytes; while they are no whole request yet, the clock runs."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_request():
            self._disarm()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._cut_off)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is under way."""
        cycle: RequestResponseCycle | None = self.cycle  # None at first, though typed otherwise
        events.request_refused(reason="malformed")
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if cycle is None or cycle.response_complete:
            self.transport.write(_NO_HTTP)
        self.transport.close()

    def _in_request(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        self._deadline = None
        if not self._in_request() and not self.transport.is_closing():
            events.request_refused(reason="timeout")
            self.transport.close()
