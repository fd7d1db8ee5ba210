"""Takes snapshots: at intervals, at the end, and as soon as the log has to be covered by one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from tocsin.engine.engine import Engine
from tocsin.journal.log import Log
from tocsin.service import memory
from tocsin.service.pipeline import Pipeline
from tocsin.service.recovery import snapshot_sections
from tocsin.service.self_alerts.watch import SelfWatch
from tocsin.telemetry import recovery as telemetry

__all__ = ["Snapshots"]

_RETRY_SECONDS: Final = 0.5
"""Between two tries to cover what the log lacks."""


class Snapshots:
    """Keeps what a restart begins with no older than an interval; on the event loop of the pipeline."""

    def __init__(
        self,
        log: Log,
        engine: Engine,
        pipeline: Pipeline,
        watch: SelfWatch,
        told: Callable[[], Awaitable[None]],
        interval: timedelta,
    ) -> None:
        """Make it; `run` does the work.

        Args:
            log: keeps them.
            engine: whose state is kept.
            pipeline: gives the engine what the log has.
            watch: whose alerts are kept too.
            told: returns when every event that was published so far is in the database.
            interval: between two.
        """
        self._log = log
        self._engine = engine
        self._pipeline = pipeline
        self._watch = watch
        self._told = told
        self._seconds = interval.total_seconds()
        self._position = -1
        self._wanted = asyncio.Event()
        self._gaps = 0
        """How often the log began or ended to lack records."""
        self._covered = 0
        """Up to which of these a snapshot covers it."""

    @property
    def gap(self) -> bool:
        """Whether the log lacks records that no snapshot covers yet: a crash now would lose them."""
        return self._gaps > self._covered

    def log_changed(self, degraded: str | None) -> None:
        """Note that the log degraded, or that it recovered: what it lacks is to be covered at once."""
        self._gaps += 1
        if degraded is None:
            self.soon()

    def soon(self) -> None:
        """Take one now."""
        self._position = -1
        self._wanted.set()

    async def run(self) -> None:
        """Take snapshots until cancelled."""
        while True:
            seconds = _RETRY_SECONDS if self.gap and self._log.degraded is None else self._seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, self._seconds)):
                    await self._wanted.wait()
            self._wanted.clear()
            await self.take()

    async def take(self) -> bool:
        """Keep the state as it is now, unless nothing came since the last; return whether it is kept."""
        if self._log.position == self._position:
            return True
        # No await from here to the end of freezing: the state is the one after the last record.
        position = self._log.position
        covered = self._gaps if self._log.degraded is None else 0
        begun = time.perf_counter()
        sections = snapshot_sections(self._engine, self._watch.freeze())
        telemetry.frozen(seconds=time.perf_counter() - begun)
        # What led to the state, and what it led to, must outlive the process before the state does.
        await self._pipeline.settled()
        await self._told()
        kept = await self._log.save(position, sections)
        if kept:
            self._position = position
            self._covered = max(self._covered, covered)
        await asyncio.to_thread(memory.give_back)  # the copies were large, and are freed
        return kept
