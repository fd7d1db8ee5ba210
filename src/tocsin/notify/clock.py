"""Time for deliveries: injected, so that a day of retries is a test of milliseconds."""

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What time it is, and waiting for it."""

    def now_ns(self) -> int:
        """Return the wall clock, Unix nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; retries are planned in them."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when `event` is set or after `seconds`, whichever is first; None: only the event."""
        ...


class SystemClock:
    """The machine's own."""

    def now_ns(self) -> int:
        """Return the wall clock, Unix nanoseconds."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when `event` is set or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
