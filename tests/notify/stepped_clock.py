"""A clock that a test moves: a day of retries in milliseconds, and nothing that depends on the machine's speed."""

import asyncio

from alert_events import AT

__all__ = ["SteppedClock", "settled"]


async def settled() -> None:
    """Let every task that can run, run."""
    for _ in range(50):
        await asyncio.sleep(0)


class SteppedClock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def now_ns(self) -> int:
        return AT + round((self.seconds - 1000.0) * 1e9)

    def monotonic(self) -> float:
        return self.seconds

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        if seconds is None:
            await event.wait()
            return
        elapsed = asyncio.Event()
        entry = (self.seconds + seconds, elapsed)
        self._waiting.append(entry)
        tasks = [asyncio.create_task(event.wait()), asyncio.create_task(elapsed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.remove(entry)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def advance(self, seconds: float) -> None:
        """Move on, waking all whose time has come, in order."""
        end = self.seconds + seconds
        await settled()
        while due := [deadline for deadline, _ in self._waiting if deadline <= end]:
            self.seconds = max(self.seconds, min(due))
            for deadline, elapsed in list(self._waiting):
                if deadline <= self.seconds:
                    elapsed.set()
            await settled()
        self.seconds = end
        await settled()

    async def advance_to_next(self) -> bool:
        """Move to the next deadline; False if nobody waits for time."""
        await settled()
        if not self._waiting:
            return False
        await self.advance(max(0.0, min(deadline for deadline, _ in self._waiting) - self.seconds))
        return True
