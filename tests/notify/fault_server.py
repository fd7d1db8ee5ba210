"""A real HTTP server that misbehaves on request."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

__all__ = ["FaultServer", "Mode", "Received", "Reply"]

OK_BODY = b'{"ok": true, "channel": "C024BE91L", "ts": "1503435956.000247", "status": "success"}'


class Mode(Enum):
    """How a reply is sent."""

    WHOLE = auto()
    HANG = auto()
    """Reads the request and says nothing."""
    RESET = auto()
    """Cuts the connection with RST."""
    ENDLESS = auto()
    """Sends the body's bytes again and again without an end."""
    STALL = auto()
    """Sends status and headers, then nothing more."""
    TRUNCATE = auto()
    """Promises a body and closes in the middle of it."""


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = OK_BODY
    mode: Mode = Mode.WHOLE


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # as json.loads gives it
        return json.loads(self.body)


class FaultServer:
    """Answers with `replies` in turn, then with `default`."""

    def __init__(self, *replies: Reply, default: Reply | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.replies = list(replies)
        self.default = default or Reply()
        self.received: list[Received] = []
        self.sent_bytes = 0
        self.arrived = asyncio.Event()
        """Set at every request."""
        self._tls = tls
        self._open: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._open.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled by __aexit__ alone
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            self._handlers.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.received.append(Received(method, path, headers, body))
        self.arrived.set()
        return await self._answer(self.reply_to(self.received[-1]), writer)

    def reply_to(self, request: Received) -> Reply:
        """What the next request is answered; servers with a mind of their own override it."""
        return self.replies.pop(0) if self.replies else self.default

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        if reply.mode is Mode.HANG:
            await asyncio.Event().wait()
        if reply.mode is Mode.RESET:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        length = 10**9 if reply.mode is not Mode.WHOLE else len(reply.body)
        lines = [f"HTTP/1.1 {reply.status} X", f"content-length: {length}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if reply.mode is Mode.STALL:
            await writer.drain()
            await asyncio.Event().wait()
        while True:
            writer.write(reply.body)
            self.sent_bytes += len(reply.body)
            await writer.drain()
            if reply.mode is Mode.TRUNCATE:
                return False
            if reply.mode is Mode.WHOLE:
                return True
