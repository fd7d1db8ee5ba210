"""What is known of deliveries without asking the database: what was accepted, what is owed, who was told.

Loaded when the database is opened, and kept up to date by what this process does. Bounded: of what was accepted, the
last two days and `MOST_KNOWN` are remembered, since no log of the engine's inputs is replayed from further back.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

__all__ = ["KNOWN_NS", "MOST_KNOWN", "Ledger"]

KNOWN_NS: Final = 48 * 3600 * 1_000_000_000
MOST_KNOWN: Final = 500_000

Key = tuple[str, str]
"""Contact point and event id."""


class Ledger:
    """Sets of deliveries."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, int] = OrderedDict()
        self._owed: set[Key] = set()
        self.told: dict[str, tuple[str, ...]] = {}
        """Contact point -> alerts that it heard of before this process began, and not the end of."""

    def __len__(self) -> int:
        """Return how many deliveries are owed."""
        return len(self._owed)

    def load(self, rows: Iterable[tuple[str, str, int, bool]]) -> None:
        """Take what the database knows: contact point, event id, when it was published, whether it is owed."""
        for contact_point, event_id, published, owed in rows:
            key = (contact_point, event_id)
            if key not in self._known:
                self._known[key] = published
                if owed:
                    self._owed.add(key)

    def accept(self, contact_point: str, event_id: str, published: int) -> bool:
        """Note a delivery as owed; return False where it was accepted before."""
        key = (contact_point, event_id)
        if key in self._known:
            return False
        self._known[key] = published
        self._owed.add(key)
        self._forget(published)
        return True

    def reopen(self, contact_point: str, event_id: str, published: int) -> bool:
        """Note a delivery as owed that may have ended before; return False where it is owed already."""
        key = (contact_point, event_id)
        if key in self._owed:
            return False
        self._known[key] = published
        self._known.move_to_end(key)
        self._owed.add(key)
        return True

    def finish(self, contact_point: str, event_id: str) -> None:
        """Note that a delivery is owed no more."""
        self._owed.discard((contact_point, event_id))

    def finish_others(self, contact_points: Collection[str]) -> int:
        """Note that nothing is owed to any other contact point; return how many deliveries that ends."""
        ended = [key for key in self._owed if key[0] not in contact_points]
        self._owed.difference_update(ended)
        return len(ended)

    def owes(self, contact_point: str, event_id: str) -> bool:
        """Whether a delivery is owed."""
        return (contact_point, event_id) in self._owed

    def _forget(self, now: int) -> None:
        while self._known:
            key, published = next(iter(self._known.items()))
            if published > now - KNOWN_NS and len(self._known) <= MOST_KNOWN:
                return
            del self._known[key]
