"""Sessions: a browser showed a token once, and shows a cookie from then on.

The cookie holds 256 random bits and nothing else, so that it tells nothing of the token and ends with its session: at
a logout, after half a day, when the token is no longer known, or with the process. Beside it each session has a second
random text that its pages know and no other site does: what changes something must show it
(OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "synchronizer token").
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

__all__ = ["COOKIE", "Session", "Sessions", "session_id_of"]

COOKIE: Final = "tocsin_session"
_SECONDS: Final = 12 * 3600.0
_MOST: Final = 1_000
"""Sessions; the oldest goes first."""
_LONGEST: Final = 128


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's."""

    digest: bytes
    """The SHA-256 of the token that it showed."""
    proof: str
    """What a change must show."""
    until: float
    """Of the clock, seconds."""

    def proves(self, shown: str | None) -> bool:
        """Whether a change comes from a page of this session."""
        return shown is not None and compare_digest(self.proof.encode(), shown.encode("utf-8", "replace"))


class Sessions:
    """The sessions of one listener. Used on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, Session] = OrderedDict()
        """By a hash of what the cookie says: how long a look-up takes tells nothing about the ids that there are."""

    def begin(self, token: str) -> str:
        """Return the cookie of a new session of whoever has `token`, which was recognised."""
        identifier = secrets.token_urlsafe(32)
        until = self._clock() + _SECONDS
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        self._kept[_hash(identifier)] = Session(digest, secrets.token_urlsafe(32), until)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return identifier

    def find(self, identifier: str | None) -> Session | None:
        """Return the session of a cookie, or None where it has none (any more)."""
        if identifier is None:
            return None
        session = self._kept.get(_hash(identifier))
        if session is not None and session.until <= self._clock():
            self.end(identifier)
            return None
        return session

    def end(self, identifier: str | None) -> None:
        """Forget a session."""
        if identifier is not None:
            self._kept.pop(_hash(identifier), None)


def session_id_of(cookies: str) -> str | None:
    """Return what a `Cookie` header says of our session; None where it does not, or says it twice."""
    found = [
        value.strip() for name, _, value in (one.partition("=") for one in cookies.split(";")) if name.strip() == COOKIE
    ]
    return found[0] if len(found) == 1 and 0 < len(found[0]) <= _LONGEST else None


def _hash(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode("utf-8", "surrogateescape")).digest()
