"""HTTP/2 frames by hand, for what no library would send.

Sources: RFC 9113 (frames) and RFC 7541, 6.2.2 (literal header fields without indexing).
"""

import asyncio
import contextlib
import struct
from collections.abc import Iterable

__all__ = [
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "PING",
    "PREFACE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "RawConnection",
    "call_headers",
    "frame",
    "grpc_message",
    "literal",
    "reset",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
_CANCEL = 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """Return a header field that is added to no table."""
    return b"\0" + _text(name) + _text(value)


def call_headers(path: str, more: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the header block of a gRPC call."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "127.0.0.1"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *more,
    ]
    return b"".join(literal(name, value) for name, value in fields)


def grpc_message(data: bytes, *, announced: int | None = None, compressed: bool = False) -> bytes:
    """Return a message with gRPC's prefix, which may announce another length than it has."""
    length = len(data) if announced is None else announced
    return bytes((compressed,)) + struct.pack(">I", length) + data


def reset(stream: int) -> bytes:
    """Return the frame that cancels a stream."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", _CANCEL))


class RawConnection:
    """A TCP connection to `address` (HOST:PORT) that reads and forgets what it is sent; a context manager."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self.received = bytearray()

    async def __aenter__(self) -> "RawConnection":
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self.ended = asyncio.create_task(self._read())
        """Done when the other side closed the connection."""
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ended.cancel()
        self._writer.transport.abort()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self.ended

    async def greet(self) -> None:
        """Send the preface and empty settings."""
        await self.send(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0))

    async def send(self, data: bytes) -> bool:
        """Send bytes; return whether the connection still takes them."""
        if self.ended.done():
            return False
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            return False
        return True

    async def has_ended(self, seconds: float = 20) -> bool:
        """Return whether the other side ends the connection within so many seconds."""
        done, _ = await asyncio.wait({self.ended}, timeout=seconds)
        return bool(done)

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await self._reader.read(65536):
                self.received += part
                del self.received[:-65536]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _integer(len(encoded)) + encoded


def _integer(number: int) -> bytes:
    """Return a length with a prefix of 7 bits (RFC 7541, 5.1)."""
    if number < 127:
        return bytes((number,))
    number -= 127
    parts = [127]
    while number >= 128:
        parts.append(number % 128 + 128)
        number //= 128
    return bytes((*parts, number))
