"""`Idempotency-Key`: a request that is sent again, because its answer was lost, is not done again.

The first answer is kept for a day, under who asked and what for; in the database too, where there is one, so that it is
found after a restart and by other processes. The same key with another body is refused, since one of the two is a
mistake. Source: The Idempotency-Key HTTP Header Field, IETF draft.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson
from fastapi import Request
from starlette.responses import Response

from tocsin.api.authorization import principal_of
from tocsin.api.problems import problem
from tocsin.errors import OverloadedError
from tocsin.storage.answers import Answers, KeptAnswer

__all__ = ["Idempotency"]

_SECONDS: Final = 86_400.0
_MOST: Final = 2_000
"""Answers that are kept in memory; the oldest goes first."""
_LONGEST: Final = 255
_LARGEST: Final = 256 * 1024
"""Bytes of an answer that is kept in the database."""
_LOST_NS: Final = 60_000_000_000
"""An answer that is not there after so long was lost with the process that made it."""


@dataclass(slots=True)
class _Kept:
    request: str
    """Digest of its body."""
    at: float
    answer: Response | None = None
    """None while it is being made."""


class Idempotency:
    """The answers to requests that had a key. Used on one event loop."""

    def __init__(self, answers: Answers | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it.

        Args:
            answers: keeps them beyond the process; where they can't be used, memory alone does.
            clock: seconds.
        """
        self._answers = answers
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def once(self, request: Request, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the answer that `make` makes, or what it made for the same key before; errors are not kept."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return await make()
        if not key.strip() or len(key) > _LONGEST:
            return problem(422, f"Idempotency-Key: should be 1 to {_LONGEST} characters")
        who = principal_of(request)
        place = _digest([who.name if who else "", request.method, request.url.path, request.url.query, key])
        body = hashlib.sha256(await request.body()).hexdigest()
        self._forget_old()
        known = self._kept.get(place)
        if known is not None:
            return _again(known.answer, same=known.request == body)
        entry = self._kept[place] = _Kept(body, self._clock())
        try:
            before = await self._begin(place, body)
            answer = await make() if before is None else _told(before, body)
        except BaseException:
            del self._kept[place]
            with suppress(OverloadedError):
                await self._end(place, None)
            raise
        if before is not None or answer.status_code >= 400:  # HTTP's
            self._kept.pop(place, None)
        else:
            entry.answer = answer
        if before is None:
            # Else it is only kept in memory; what was asked for is done.
            with suppress(OverloadedError):
                await self._end(place, entry.answer)
        return answer

    async def _begin(self, place: str, body: str) -> KeptAnswer | None:
        if self._answers is None:
            return None
        try:
            return await self._answers.begin(place, body)
        except OverloadedError:
            return None

    async def _end(self, place: str, answer: Response | None) -> None:
        if self._answers is None:
            return
        kept = None if answer is None else _dumped(answer)
        if kept is None:
            await self._answers.forget(place)
        else:
            await self._answers.finish(place, kept)

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept:
            entry = next(iter(self._kept.values()))
            if now - entry.at < _SECONDS and len(self._kept) < _MOST:
                return
            self._kept.popitem(last=False)


def _told(before: KeptAnswer, body: str) -> Response:
    """Return the answer to a request that another process, or this one before it was started anew, had."""
    if before.answer is not None:
        return _again(_loaded(before.answer), same=before.request == body)
    if before.request == body and time.time_ns() - before.at > _LOST_NS:
        text = "whether the first request with it was done is not known, as the service stopped meanwhile; look, and "
        return problem(409, f"Idempotency-Key: {text}take a new key if it was not")
    return _again(None, same=before.request == body)


def _again(first: Response | None, *, same: bool) -> Response:
    if not same:
        return problem(422, "Idempotency-Key: it was used with another body; take a new key for a new request")
    if first is None:
        return problem(409, "Idempotency-Key: the first request with it is still being answered; ask again later")
    again = Response(first.body, first.status_code)
    again.raw_headers = [*first.raw_headers, (b"idempotent-replayed", b"true")]
    return again


def _dumped(answer: Response) -> bytes | None:
    """Return an answer as bytes; None where it is too large to be kept."""
    if len(answer.body) > _LARGEST:
        return None
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.raw_headers]
    return orjson.dumps([answer.status_code, headers, bytes(answer.body).decode("latin-1")])


def _loaded(document: bytes) -> Response:
    status, headers, body = orjson.loads(document)
    answer = Response(body.encode("latin-1"), status)
    answer.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return answer


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
