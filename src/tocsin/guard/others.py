"""Which keys of a shared store are newer there than in memory.

The store has all changes in one order, ours among them, and is right about every key, but for those that a change of
ours is on its way for: that will be later than what is there now.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from tocsin.guard.block import BlockChange, Key, Told

__all__ = ["Others"]

LOST_SECONDS: Final = 60.0
"""A change of ours that did not arrive after so long is taken for lost."""
_MOST: Final = 100_000


class Others:
    """Remembers what of ours is on its way."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: dict[str, tuple[Key, float]] = {}
        """Change -> its key, and since when."""

    def made(self, change: BlockChange) -> None:
        """Note a change of ours."""
        self._under_way[change.id] = change.block.key, self._clock()
        if len(self._under_way) > _MOST:
            del self._under_way[next(iter(self._under_way))]

    def settled(self, told: Sequence[Told]) -> list[Told]:
        """Return the last change of each key that nothing of ours is on its way for."""
        last: dict[Key, Told] = {}
        for change in told:
            ours = self._under_way.pop(change.id, None)
            last[change.key if ours is None else ours[0]] = change
        lost = self._clock() - LOST_SECONDS
        for change_id in [one for one, (_, since) in self._under_way.items() if since < lost]:
            del self._under_way[change_id]
        coming = {key for key, _ in self._under_way.values()}
        return [change for key, change in last.items() if key not in coming]
