"""Attributes that are wanted by the beginning of their keys; `native/src/prefixed.rs` decides the same."""

from typing import Final

from tocsin.model.columns import DEFAULT_CAP, Projection

__all__ = ["MOST_KEY_BYTES", "Admission", "Prefixed"]

MOST_KEY_BYTES: Final = 256
"""Of a key that comes in by its beginning."""


class Prefixed:
    """Which keys a projection wants by their beginning."""

    def __init__(self, projection: Projection) -> None:
        self._prefixes = tuple(prefix.encode() for prefix in projection.prefixes)
        barred = [pattern.encode() for pattern in projection.barred]
        # Columns of events are called so: they have to stay theirs.
        events = (f"{event}/{key}".encode() for event, key in projection.event_attributes)
        self._names = {*events, *(pattern for pattern in barred if b"*" not in pattern)}
        self._beginnings = tuple(pattern[:-1] for pattern in barred if pattern.endswith(b"*"))
        self._ends = tuple(pattern[1:] for pattern in barred if pattern.startswith(b"*"))
        self._most = projection.most_prefixed

    def admission(self) -> "Admission":
        """Return the keys of one request's rows, or of one resource: none yet."""
        return Admission(self, self._most)

    def name_of(self, key: bytes) -> str | None:
        """Return a key as text; None where it is not wanted."""
        if not self._prefixes or not key.startswith(self._prefixes) or len(key) > MOST_KEY_BYTES:
            return None
        if key in self._names or key.startswith(self._beginnings) or key.endswith(self._ends):
            return None
        try:
            return key.decode()
        except UnicodeDecodeError:
            return None


class Admission:
    """The keys that came so far."""

    def __init__(self, prefixed: Prefixed, most: int) -> None:
        self._prefixed = prefixed
        self._most = most
        self._entries: dict[bytes, tuple[str, int]] = {}
        self.crowded = False
        """Whether a key was left out for want of room."""

    def entry(self, key: bytes) -> tuple[str, int] | None:
        """Return a key's name and cap, where it is wanted and there is room for it."""
        known = self._entries.get(key)
        if known is not None:
            return known
        name = self._prefixed.name_of(key)
        if name is None:
            return None
        if len(self._entries) >= self._most:
            self.crowded = True
            return None
        entry = self._entries[key] = (name, DEFAULT_CAP)
        return entry
