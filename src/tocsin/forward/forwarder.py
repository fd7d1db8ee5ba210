"""The way on: what was received is queued on disk, and sent to the next collector in order until it takes it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from tocsin import telemetry
from tocsin.errors import ConfigError
from tocsin.forward.bounds import QueueLimits
from tocsin.forward.config import OtlpForwardConfig
from tocsin.forward.entry import Entry, Signal, client_of
from tocsin.forward.exporter import Exporter, Fate, Outcome, exporter_of
from tocsin.forward.queue import Queue
from tocsin.forward.schedule import Backoff, Schedule
from tocsin.forward.shelf import reason_of
from tocsin.model.settings import nanoseconds
from tocsin.telemetry import forward as forward_telemetry

__all__ = ["Forwarder", "refuse_loop"]

TICK_SECONDS: Final = 0.5
_DRAIN_LOOKS: Final = 0.02
_LOOPBACK: Final = ("localhost", "127.", "::1")
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


class Forwarder:
    """Passes requests on. Belongs to one event loop; nothing here ever blocks or fails who gives it a request."""

    def __init__(
        self, config: OtlpForwardConfig, directory: Path, *, sync: timedelta, memory: int = 64 * 1024 * 1024
    ) -> None:
        """Make a forwarder; `running` starts it.

        Args:
            config: `forward.otlp`.
            directory: the queue's own, under `storage.directory`.
            sync: `journal.sync`: what a power loss may cost; 0: nothing.
            memory: bytes of requests that are kept while the disk can't be written.
        """
        self._config = config
        self._signals = frozenset(config.signals)
        retry = config.retry
        backoff = Backoff(retry.initial.total_seconds(), retry.max.total_seconds(), random.random)
        self._schedule = Schedule(backoff, in_flight=config.in_flight)
        self._wake = asyncio.Event()
        limits = QueueLimits(config.queue.max_size, nanoseconds(config.queue.max_age), memory=memory)
        self._queue = Queue(directory, limits, self._listed, self._schedule.purge, sync=sync.total_seconds())
        self._closed = False

    @property
    def add_cost(self) -> bool:
        """Whether requests with traces are to be given with their costs in them."""
        return self._config.add_cost

    @property
    def degraded(self) -> str | None:
        """Why requests are not kept on disk at present; None while they are."""
        return self._queue.degraded

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._queue.waiting

    @property
    def failing(self) -> bool:
        """Whether the next collector took none of the last attempts."""
        return self._schedule.failures > 0

    def offer(self, signal: str, data: bytes, *, arrival: int | None = None) -> "asyncio.Future[bool] | None":
        """Take a request to be passed on. Never blocks, never raises.

        Args:
            signal: `traces`, `logs` or `metrics`.
            data: protobuf, decompressed.
            arrival: wall clock, Unix nanoseconds; now if None.

        Returns:
            A future to await before the request is acknowledged: True once it is on disk, False where it is not
            (the queue is degraded or full, and says so). None: this signal is not forwarded.
        """
        if signal not in self._signals:
            return None
        if self._closed:
            forward_telemetry.requests_dropped(reason="stopping", requests=1, size=len(data))
            return None
        try:
            at = time.time_ns() if arrival is None else arrival
            return self._queue.put(Entry(Signal(signal), client_of(data), at, len(data), data))
        except Exception as error:  # noqa: BLE001  # whatever is wrong here, the request is evaluated and answered
            telemetry.internal_error(stage="forward", error=error)
            return None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send until the block ends; what is not sent by then stays on disk for the next process.

        Raises:
            ConfigError: a certificate can't be used.
        """
        exporter = exporter_of(self._config)
        try:
            await self._queue.open()
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._pump(exporter), name="forward"),
                    tasks.create_task(self._tick(), name="forward-ticker"),
                ]
                try:
                    yield
                finally:
                    self._closed = True
                    for task in running:
                        task.cancel()
        finally:
            await self._queue.close()
            await exporter.aclose()

    async def drain(self, timeout: float) -> int:  # noqa: ASYNC109  # what is left is no error
        """Wait until all is sent, at most `timeout` seconds; return how many requests are left.

        Those are on disk, and are sent by the next process.
        """
        deadline = time.monotonic() + timeout
        while not self._queue.is_empty and time.monotonic() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(_DRAIN_LOOKS)
        return self._queue.waiting

    def _listed(self, entry: Entry) -> None:
        self._schedule.add(entry)
        self._wake.set()

    async def _pump(self, exporter: Exporter) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                entry, wait = self._schedule.next(time.monotonic())
                if entry is not None:
                    tasks.create_task(self._send(exporter, entry), name="forward-request")
                    continue
                self._wake.clear()
                if wait == float("inf"):
                    await self._wake.wait()
                    continue
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _send(self, exporter: Exporter, entry: Entry) -> None:
        try:
            data = await self._queue.read(entry)
            if data is None:
                self._give_up(entry)
                return
            outcome = await exporter.send(entry.signal, data)
        except OSError as error:
            outcome = Outcome(Fate.LATER, f"the queue can't be read: {reason_of(error)}")
        except Exception as error:  # noqa: BLE001  # a defect must not end forwarding
            telemetry.internal_error(stage="forward", error=error)
            outcome = Outcome(Fate.LATER, "internal error")
        self._judge(entry, outcome)
        self._wake.set()

    def _give_up(self, entry: Entry) -> None:
        self._schedule.given_up(entry)
        if not entry.gone:
            forward_telemetry.requests_dropped(reason="corrupt", requests=1, size=entry.size)
            self._queue.finish(entry)
        self._wake.set()

    def _judge(self, entry: Entry, outcome: Outcome) -> None:
        if outcome.fate is Fate.LATER:
            forward_telemetry.attempt_failed(reason=outcome.text)
            self._schedule.failed(entry, time.monotonic(), wish=outcome.wait)
            return
        self._schedule.answered(entry)
        self._queue.finish(entry)
        if outcome.fate is Fate.REFUSED:
            forward_telemetry.request_refused(signal=entry.signal, reason=outcome.text)
            return
        forward_telemetry.request_delivered()
        if outcome.rejected or outcome.text:
            forward_telemetry.partially_rejected(signal=entry.signal, items=outcome.rejected, reason=outcome.text)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._queue.tick()
            except Exception as error:  # noqa: BLE001  # as above
                telemetry.internal_error(stage="forward", error=error)


def refuse_loop(config: OtlpForwardConfig, listening: Iterable[tuple[str, int]]) -> None:
    """Check that the next collector is not this process itself.

    Only what the addresses themselves say is seen; a loop through another name or another collector is not.

    Args:
        config: `forward.otlp`.
        listening: host and port of each receiver that is on.

    Raises:
        ConfigError: it is.
    """
    for host, port in listening:
        if port and port == config.port and _is_same(config.host, host):
            raise ConfigError(
                f"forward.otlp.endpoint: {config.target} is where Tocsin itself receives, so that every request would"
                " come back for ever; give the next collector's address, or move the receiver"
            )


def _is_same(target: str, own: str) -> bool:
    target, own = target.lower().rstrip("."), own.lower()
    if target == own or target in _ANY:
        return True
    return target.startswith(_LOOPBACK) and own.startswith((*_LOOPBACK, *_ANY))
