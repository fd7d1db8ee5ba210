"""What every answer says to a browser: run nothing, show it in no frame, tell no other site.

Sources: OWASP HTTP Headers Cheat Sheet; Content Security Policy Level 3.
"""

from collections.abc import Sequence
from typing import Final

__all__ = ["PAGE_POLICY", "headers_for"]

_API_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For answers that are pages: scripts and styles from files of ours only, so that stored markup stays text. A route
sets it as its own `content-security-policy`."""
_HEADERS: Final[Sequence[tuple[bytes, bytes]]] = (
    (b"content-security-policy", _API_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


def headers_for(present: Sequence[tuple[bytes, bytes]], *, encrypted: bool) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with those that it lacks.

    Args:
        present: what the answer says itself, which stays.
        encrypted: whether it goes over TLS of ours; then browsers are told never to come without.
    """
    named = {name.lower() for name, _ in present}
    ours = (*_HEADERS, _HSTS) if encrypted else _HEADERS
    return [*present, *(header for header in ours if header[0] not in named)]
