"""Tokens: who sent this one?

A presented token is hashed, and its hash is compared with every hash that is known, in constant time and without
an early end. So how long an answer takes depends on the length of what was presented and on how many tokens there
are; neither the token nor which of them is near can be measured. A token that is not known and one that is
malformed get the same answer.
"""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from hmac import compare_digest

from tocsin.security.config import TokenConfig
from tocsin.security.roles import Principal

__all__ = ["Tokens", "bearer_of", "hash_text", "new_token"]

_SCHEME = "bearer"
_LONGEST = 512


class Tokens:
    """The tokens of one listener. Changed and read on one event loop."""

    def __init__(self, configs: Iterable[TokenConfig] = ()) -> None:
        self._known: Sequence[tuple[bytes, Principal]] = ()
        self.replace(configs)

    def __bool__(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._known)

    def replace(self, configs: Iterable[TokenConfig]) -> None:
        """Know these tokens from now on, and no others."""
        self._known = [(config.digest, _principal(config)) for config in configs]

    def find(self, token: str | None) -> Principal | None:
        """Return whose token this is, or None."""
        found = self.holder(hashlib.sha256((token or "").encode("utf-8", "surrogateescape")).digest())
        return found if token else None

    def holder(self, presented: bytes) -> Principal | None:
        """Return whose token has this SHA-256, or None."""
        found = None
        for digest, principal in self._known:
            if compare_digest(digest, presented):
                found = principal  # and on to the last one: the position must not show
        return found


def bearer_of(values: Sequence[str]) -> str | None:
    """Return the token of `Authorization` headers' values; None where there is not exactly one bearer token."""
    if len(values) != 1 or len(values[0]) > _LONGEST + len(_SCHEME) + 1:
        return None
    scheme, _, token = values[0].partition(" ")
    token = token.strip()
    return token if scheme.lower() == _SCHEME and token else None


def new_token() -> str:
    """Return a random token of 256 bits, with a beginning by which scanners for leaked secrets can know it."""
    return f"tocsin_{secrets.token_urlsafe(32)}"


def hash_text(token: str) -> str:
    """Return what a configuration says in the token's place."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def _principal(config: TokenConfig) -> Principal:
    return Principal(config.name, config.role, None if config.projects is None else frozenset(config.projects))
