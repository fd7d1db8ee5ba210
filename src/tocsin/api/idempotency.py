"""`Idempotency-Key`: a request that is sent again, because its answer was lost, is not done again.

The first answer is kept for a day, under who asked and what for. The same key with another body is refused, since one
of the two is a mistake. Source: The Idempotency-Key HTTP Header Field, IETF draft.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from starlette.responses import Response

from tocsin.api.authorization import principal_of
from tocsin.api.problems import problem

__all__ = ["Idempotency"]

_SECONDS: Final = 86_400.0
_MOST: Final = 2_000
"""Answers that are kept; the oldest goes first."""
_LONGEST: Final = 255


@dataclass(slots=True)
class _Kept:
    body: bytes
    """Its digest."""
    at: float
    answer: Response | None = None
    """None while it is being made."""


class Idempotency:
    """The answers to requests that had a key. Used on one event loop; a restart forgets them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()

    async def once(self, request: Request, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the answer that `make` makes, or what it made for the same key before; errors are not kept."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return await make()
        if not key.strip() or len(key) > _LONGEST:
            return problem(422, f"Idempotency-Key: should be 1 to {_LONGEST} characters")
        who = principal_of(request)
        place = (who.name if who else "", f"{request.method} {request.url.path}?{request.url.query}", key)
        body = hashlib.sha256(await request.body()).digest()
        self._forget()
        known = self._kept.get(place)
        if known is not None:
            return self._again(known, body)
        entry = self._kept[place] = _Kept(body, self._clock())
        try:
            answer = await make()
        except BaseException:
            del self._kept[place]
            raise
        if answer.status_code < 400:  # HTTP's
            entry.answer = answer
        else:
            self._kept.pop(place, None)
        return answer

    def _again(self, known: _Kept, body: bytes) -> Response:
        if known.body != body:
            return problem(422, "Idempotency-Key: it was used with another body; take a new key for a new request")
        if known.answer is None:
            return problem(409, "Idempotency-Key: the first request with it is still being answered; ask again later")
        first = known.answer
        again = Response(first.body, first.status_code, media_type=first.media_type)
        again.raw_headers = [*first.raw_headers, (b"idempotent-replayed", b"true")]
        return again

    def _forget(self) -> None:
        now = self._clock()
        while self._kept:
            entry = next(iter(self._kept.values()))
            if now - entry.at < _SECONDS and len(self._kept) < _MOST:
                return
            self._kept.popitem(last=False)
