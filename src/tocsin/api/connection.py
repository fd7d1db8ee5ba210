"""The connections of the API: what their limits are, and what is answered to one too many and to what is no HTTP."""

from typing import Final

import orjson
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from tocsin.api.headers import headers_for
from tocsin.security.http_connection import LimitedProtocol
from tocsin.telemetry import security as events

__all__ = ["ApiProtocol"]


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


class ApiProtocol(LimitedProtocol):
    """A connection that does not wait for ever."""

    header_seconds = 10.0
    max_connections = 256
    full = _FULL

    def too_many(self) -> None:
        """Count a connection that there was no room for."""
        events.request_refused(reason="connections")

    def timed_out(self) -> None:
        """Count a connection that was cut off."""
        events.request_refused(reason="timeout")

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
