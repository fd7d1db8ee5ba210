"""The connections of OTLP/HTTP: what their limits are, and who counts what was cut off."""

from typing import Any

from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from tocsin.receivers.admission import ReceiverObserver
from tocsin.receivers.status import INCOMPLETE, TIMEOUT, TOO_MANY_CONNECTIONS, json_status
from tocsin.security.http_connection import LimitedProtocol

__all__ = ["protocol_class"]

_BODY = json_status(TOO_MANY_CONNECTIONS)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"retry-after: 1\r\nconnection: close\r\n"
    b"content-length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)


class _OtlpProtocol(LimitedProtocol):
    """A connection of one server; `protocol_class` gives it its limits."""

    observer: ReceiverObserver
    full = _FULL

    def too_many(self) -> None:
        self.observer.refused("http", TOO_MANY_CONNECTIONS.reason)

    def timed_out(self) -> None:
        self.observer.refused("http", TIMEOUT.reason)

    def send_400_response(self, msg: str) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # None at first, though typed otherwise
        if cycle is not None and cycle.response_started:
            self.observer.refused("http", INCOMPLETE.reason)
            self.transport.close()  # answered already, early; h11 would not let a second answer begin
            return
        if cycle is None:
            self.observer.refused("http", INCOMPLETE.reason)
        else:
            # The application still waits for this request's body: it counts, and must not answer after us.
            cycle.disconnected = True
            cycle.message_event.set()
        super().send_400_response(msg)


def protocol_class(observer: ReceiverObserver, *, header_seconds: float, max_connections: int) -> type[LimitedProtocol]:
    """Return the class of one server's connections.

    Args:
        observer: counts what is cut off.
        header_seconds: for a request's headers to arrive, from the connection or from their first byte.
        max_connections: open at once.
    """
    limits: dict[str, Any] = {
        "observer": observer,
        "header_seconds": header_seconds,
        "max_connections": max_connections,
    }
    return type("OtlpProtocol", (_OtlpProtocol,), limits)
