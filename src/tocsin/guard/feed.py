"""Changes by number, for watchers that each go their own pace.

There is no queue a watcher: each remembers the number it has seen, and the last changes are kept once for all. One
that falls behind further than that is given everything anew.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from tocsin.guard.block import Block, Key

__all__ = ["Feed"]

_MOST: Final = 1_000_000


class Feed:
    """The last changes. One event loop owns it."""

    def __init__(self, length: int) -> None:
        """Make an empty one that keeps `length` changes."""
        self.instance = uuid.uuid4().hex
        """Of this process: numbers of another mean nothing here."""
        self.version = 0
        self._changes: deque[tuple[Key, Block | None]] = deque(maxlen=min(length, _MOST))
        self._changed = asyncio.Event()

    def put(self, key: Key, block: Block | None) -> None:
        """Tell that a key is blocked so now; None: that it is free."""
        self.version += 1
        self._changes.append((key, block))
        self.wake()

    def wake(self) -> None:
        """Have all watchers look."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def since(self, version: int) -> Sequence[tuple[Key, Block | None]] | None:
        """Return the changes after a version, oldest first; None where they are not known any more."""
        behind = self.version - version
        if not 0 <= behind <= len(self._changes):
            return None
        return list(islice(self._changes, len(self._changes) - behind, None))

    async def after(self, version: int, seconds: float) -> None:
        """Return once there is a change after a version, or so many seconds have passed."""
        if self.version != version:
            return
        changed = self._changed
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            return
