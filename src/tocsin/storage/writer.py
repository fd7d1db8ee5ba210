"""Writes behind: changes wait in memory, and a task writes them in order, in groups of one transaction.

While the database is down the group under way is tried again and again, with pauses that grow, and everything after
it waits. What the database refuses for what it is, rather than for how it is, is found by halving the group and left
out: one change that can't be written must not hold back all later ones.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy.exc import DBAPIError, StatementError

from tocsin.storage.changes import Change
from tocsin.storage.health import Health
from tocsin.telemetry import storage as telemetry

__all__ = ["QUEUE_LIMIT", "Question", "Writer"]

GROUP: Final = 500
"""Changes in one transaction."""
QUEUE_LIMIT: Final = 50_000
"""Changes that wait while the database is down; what comes past it is left out, counted and said."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0

Question = Callable[[], Awaitable[None]]
"""Asked between groups: everything put before it is committed by then. Raises what `commit` raises."""


class Writer:
    """One queue and what empties it. One event loop owns it."""

    def __init__(
        self, commit: Callable[[Sequence[Change]], Awaitable[None]], health: Health, *, limit: int = QUEUE_LIMIT
    ) -> None:
        self._commit = commit
        self._health = health
        self._limit = limit
        self._waiting: deque[Change | Question] = deque()
        self._put = 0
        self._done = 0
        self._dropped = 0
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._oldest: float | None = None
        """Monotonic seconds since when the group under way is being written."""

    def __len__(self) -> int:
        """Return how many changes are not written yet."""
        return self._put - self._done

    @property
    def stuck_for(self) -> float:
        """Seconds since when the group under way is being written; 0 where there is none."""
        return 0.0 if self._oldest is None else time.monotonic() - self._oldest

    def put(self, change: Change | Question) -> bool:
        """Queue a change; return False, and count it, where too many wait already."""
        if len(self._waiting) >= self._limit:
            if self._dropped == 0:
                self._health.lost(f"{self._limit} changes wait already")
            self._dropped += 1
            telemetry.storage_write_dropped(reason="queue_full", kind=type(change).__name__, detail="")
            return False
        self._put += 1
        self._waiting.append(change)
        self._wake.set()
        return True

    async def settled(self) -> None:
        """Return once everything that was put before is committed, or left out for good."""
        goal = self._put
        while self._done < goal:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if self._oldest is None:
                    self._oldest = time.monotonic()
                first = self._waiting[0]
                if callable(first):
                    await self._persist(first)
                    taken = 1
                else:
                    group = self._group()
                    await self._write(group)
                    taken = len(group)
                for _ in range(taken):
                    self._waiting.popleft()
                self._done += taken
                self._dropped = 0
                self._oldest = None
                self._moved.set()
                telemetry.storage_waiting(writes=len(self))

    def _group(self) -> list[Change]:
        """Return the next changes; they stay in the queue until they are written."""
        group: list[Change] = []
        for change in self._waiting:
            if callable(change) or len(group) >= GROUP:
                break
            group.append(change)
        return group

    async def _write(self, group: Sequence[Change]) -> None:
        refused = await self._persist(lambda: self._commit(group))
        if refused is None:
            return
        if len(group) > 1:
            half = len(group) // 2
            await self._write(group[:half])
            await self._write(group[half:])
            return
        telemetry.storage_write_dropped(reason="refused", kind=type(group[0]).__name__, detail=type(refused).__name__)

    async def _persist(self, act: Callable[[], Awaitable[None]]) -> Exception | None:
        """Do something until it succeeds; return the error that repeating it would not mend, or None."""
        pause = FIRST_PAUSE
        while True:
            begun = time.perf_counter()
            try:
                await act()
            except Exception as error:  # noqa: BLE001  # whatever a driver raises, the queue must go on
                if _is_refusal(error):
                    return error
                self._health.failed(error)
                telemetry.storage_waiting(writes=len(self))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                telemetry.storage_written(seconds=time.perf_counter() - begun)
                self._health.worked()
                return None


def _is_refusal(error: Exception) -> bool:
    """Whether the database will never take this, however well it is."""
    if not isinstance(error, StatementError):
        return isinstance(error, ValueError | TypeError | OverflowError)
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return False
        inner = getattr(error.orig, "__cause__", None) or error.orig
        state = str(getattr(inner, "sqlstate", None) or "")
        # 22: data that can't be; 23: a constraint. The drivers' own checks of values are ValueErrors.
        integrity = type(error).__name__ in ("IntegrityError", "DataError")
        return integrity or state[:2] in ("22", "23") or isinstance(inner, ValueError | TypeError | OverflowError)
    return not isinstance(error.orig, OSError | TimeoutError)  # a statement that is wrong stays so
