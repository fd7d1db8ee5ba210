"""The body of a request: read as it arrives, counted at once, opened in steps."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tocsin.errors import TooLargeError
from tocsin.receivers.admission import Hold
from tocsin.receivers.compression import DECOMPRESSORS

__all__ = ["ClientLeftError", "opened", "read_body"]


class ClientLeftError(Exception):
    """The sender closed the connection before its request was complete; nobody waits for an answer."""


async def read_body(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], hold: Hold, announced: int, limit: int
) -> bytes:
    """Return the body as it was sent.

    Args:
        receive: ASGI's.
        hold: takes each part as it arrives.
        announced: the Content-Length, 0 where there is none; one too large is refused before a byte is read.
        limit: the most bytes that are read.

    Raises:
        TooLargeError: it is, or says it is, over the limit.
        OverloadedError: it does not fit in what may be in flight.
        ClientLeftError: it ends early.
    """
    if announced > limit:
        raise TooLargeError(_too_large(limit))
    hold.admit(announced)
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeftError
        part: bytes = message["body"]
        if part:
            total += len(part)
            if total > limit:
                raise TooLargeError(_too_large(limit))
            hold.add(len(part))
            parts.append(part)
        if not message["more_body"]:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def opened(body: bytes, encoding: str, hold: Hold, limit: int) -> bytes:
    """Return a compressed body decompressed; other requests get their turn between steps.

    Args:
        body: as it was sent; held, and given back at the end.
        encoding: a key of `DECOMPRESSORS`.
        hold: takes each part as it comes out.
        limit: the most bytes that may come out.

    Raises:
        TooLargeError: more would come out.
        OverloadedError: it does not fit in what may be in flight.
        DecodeError: it is not what `encoding` says.
    """
    parts: list[bytes] = []
    total = 0
    for part in DECOMPRESSORS[encoding](body):
        if parts:
            await asyncio.sleep(0)
        total += len(part)
        if total > limit:
            raise TooLargeError(_too_large(limit))
        hold.add(len(part))
        parts.append(part)
    hold.give_back(len(body))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> str:
    return f"the request is over {limit} bytes (max_request_size) after decompression; send smaller batches"
