"""The way from receivers to the engine: one evaluation at a time, of all that waits, and an answer to each.

A request that finds the pipeline idle is evaluated at once, inside `offer`, so nothing waits for a task to be
scheduled. Requests that arrive meanwhile wait in the inbox and are evaluated together, since the cost of an
evaluation is per batch; after an evaluation they are gathered for some times as long as it took. What is large is
decoded in a thread (the native decoder lets go of the GIL) and given to the engine in slices, between which
others are served. Measured in docs/decisions/0018-requests-are-gathered-in-bursts.md.

What the engine is given is given to the log just before, so that it is written while it is evaluated. A request is
answered, and what it changed is told, when its record is safe, or when it is known that the log can't keep it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from tocsin import telemetry
from tocsin.alerts.event import AlertEvent
from tocsin.errors import OverloadedError, TocsinError
from tocsin.journal.log import Log
from tocsin.journal.record import Record
from tocsin.model.batch import SpanBatch
from tocsin.receivers.intake import Receipt, Signal
from tocsin.rules.rule import Rule
from tocsin.service import memory
from tocsin.service.readings import rule_label
from tocsin.service.stages import Answer, Offer, Prepared, Stages, internal

__all__ = ["SLICE_ROWS", "Evaluates", "Pipeline"]

INLINE_BYTES: Final = 1024 * 1024
"""More than this is decoded in a thread; for less the hand-over costs more than it saves."""
BATCH_BYTES: Final = 8 * 1024 * 1024
"""Of requests that are evaluated together; a single larger one is evaluated alone."""
SLICE_ROWS: Final = 4096
"""Rows that the engine is given at a time: a few milliseconds of work."""
REST: Final = 3.0
MOST_REST_SECONDS: Final = 0.01
"""After an evaluation requests are gathered for so many times as long as it took, and at most so long: an evaluation
costs about the same for ten spans as for a hundred. What comes later than that finds the pipeline idle."""
BUSY: Final = 0.08
BUSY_REST: Final = 8.0
MOST_BUSY_REST_SECONDS: Final = 0.015
"""The same, where evaluating took more than this share of the last second or so: a steady stream of small requests
is evaluated in larger parts."""
GATHERED_BYTES: Final = 4 * 1024 * 1024
"""So much is evaluated without gathering more."""
TICK_SECONDS: Final = 0.1
MEMORY_TICKS: Final = 10
"""The resident set is read once in so many ticks."""


class Evaluates(Protocol):
    """What the pipeline asks of the engine; times are the wall clock in Unix nanoseconds."""

    @property
    def time(self) -> int:
        """Event time, Unix nanoseconds."""
        ...

    def ingest(self, batch: SpanBatch, now: int) -> list[AlertEvent]:
        """Count a batch, and return what it changed."""
        ...

    def advance(self, now: int) -> list[AlertEvent]:
        """Do what only time brings about."""
        ...

    def replace_rules(self, rules: Sequence[Rule], now: int) -> list[AlertEvent]:
        """Go on with other rules."""
        ...


@dataclass(slots=True)
class _Waiting:
    offer: Offer
    answer: "asyncio.Future[Receipt]"


_Kept = asyncio.Future[bool]
"""Done when a record is safe (True) or known not to be kept (False)."""
_Safe = asyncio.Future[Any]
"""Done when a request can be answered."""
Onward = Callable[[Signal, bytes, int], _Kept | None]
"""Takes a request (signal, protobuf, arrival) to be passed on; done when it is queued, None where it is not wanted."""


class Pipeline:
    """An `Intake` that evaluates. One event loop owns it; nothing here may be called from another thread."""

    def __init__(
        self,
        stages: Stages,
        engine: Evaluates,
        publish: Callable[[AlertEvent], None],
        *,
        log: Log | None = None,
        onward: Onward | None = None,
        in_flight_bytes: int = 256 * 1024 * 1024,
        memory_bytes: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make a pipeline; `running` starts it.

        Args:
            stages: decoder, conventions, prices.
            engine: owned by the pipeline from now on.
            publish: told of every alert event; must not block.
            log: keeps what the engine is given; None: nothing is kept.
            onward: given every request that was taken; None: nothing is passed on.
            in_flight_bytes: of requests that wait or are being evaluated; past it offers are refused.
            memory_bytes: resident set past which offers are refused; 0: no limit.
            clock: the wall clock, Unix nanoseconds.
        """
        self._stages = stages
        self._engine = engine
        self._publish = publish
        self._log = log
        self._kept: _Kept | None = None
        """Of the last record; None once it is done."""
        self._onward = onward
        self._limit = in_flight_bytes
        self._memory_limit = memory_bytes
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._evaluated_at = 0.0
        self._rest_until = 0.0
        """When gathering after the last evaluation ends, on the clock of `time.perf_counter`."""
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        """Held while a batch is evaluated or the parts are swapped."""
        self._in_flight = 0
        self.spans = 0
        """Usable spans so far."""
        self._busy = 0.0
        """The share of the last second or so that evaluating took."""
        self._short_of_memory = False
        self._closed = False

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of requests that are not yet answered."""
        return self._in_flight

    async def offer(self, signal: Signal, data: bytes, *, transport: str) -> Receipt:
        """See `Intake.offer`."""
        size = len(data)
        self.admit(size)
        offer = Offer(signal, data, transport, self._clock())
        idle = not self._waiting and not self._turn.locked() and time.perf_counter() >= self._rest_until
        if idle and size <= INLINE_BYTES:
            answer, safe = self._evaluate_now(offer)
            if safe is not None:
                await self._until(safe, size)
            if isinstance(answer, TocsinError):
                raise answer
            return answer
        waiting = _Waiting(offer, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._in_flight += size
        self._wake.set()
        return await waiting.answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Evaluate and keep time until the block ends; then finish what was accepted, and refuse the rest."""
        async with asyncio.TaskGroup() as tasks:
            consumer = tasks.create_task(self._consume(), name="pipeline")
            ticker = tasks.create_task(self._tick(), name="ticker")
            try:
                yield
            finally:
                self._closed = True
                ticker.cancel()
                while self._waiting or self._turn.locked() or self._in_flight:
                    self._wake.set()
                    await asyncio.sleep(0 if self._waiting else 0.001)
                await self.settled()
                consumer.cancel()

    async def settled(self) -> None:
        """Return when all that the engine was given so far is safe (or known not to be kept) and told."""
        if self._kept is not None:
            await asyncio.shield(self._kept)

    async def swap(self, stages: Stages, rules: Sequence[Rule], document: bytes = b"") -> None:
        """Go on with other parts and rules from the next batch; unchanged windows and alerts go on.

        `document` is what the log is given of the rules.
        """
        async with self._turn:
            self._stages = stages
            now = self._clock()
            self._keep(Record(now, self._engine.time, rules=document))
            self._tell(self._engine.replace_rules(rules, now))

    def limit(self, *, in_flight_bytes: int, memory_bytes: int) -> None:
        """Change the limits."""
        self._limit, self._memory_limit = in_flight_bytes, memory_bytes

    def admit(self, size: int) -> None:
        """Check, without taking anything, that a request of so many bytes would be taken now; cheap.

        Raises:
            OverloadedError: it would not.
        """
        if self._closed:
            raise OverloadedError("the service is stopping; send to another or retry", reason="stopping")
        if self._in_flight + size > self._limit:
            raise OverloadedError(
                f"{self._in_flight} bytes are being evaluated, and the limit is {self._limit}; retry later",
                reason="in_flight_bytes",
            )
        if self._short_of_memory:
            raise OverloadedError("the process is over limits.memory; retry later", reason="memory", retry_after=5.0)

    def _evaluate_now(self, offer: Offer) -> tuple[Answer, _Safe | None]:
        begun = time.perf_counter()
        prepared = self._stages.prepare((offer,))
        spans = 0
        failed = False
        for batch in prepared.batches:
            spans += len(batch)
            failed |= not self._ingest(batch)
        self._evaluated(spans, begun)
        answer = prepared.answers[0] if not failed else internal()
        return answer, self._safe((offer,), (answer,), prepared.onward)

    async def _until(self, safe: _Safe, size: int) -> None:
        self._in_flight += size
        try:
            await asyncio.shield(safe)
        finally:
            self._in_flight -= size

    def _safe(self, offers: Sequence[Offer], answers: Sequence[Answer], onward: Sequence[bytes]) -> _Safe | None:
        """Pass on what was taken, and return what is done when these offers can be answered; None: they can be now."""
        waits: list[asyncio.Future[bool]] = [] if self._kept is None else [self._kept]
        if self._onward is not None:
            for number, (offer, answer) in enumerate(zip(offers, answers, strict=True)):
                if isinstance(answer, Receipt):
                    data = onward[number] if onward else offer.data
                    queued = self._onward(offer.signal, data, offer.arrival)
                    waits += [] if queued is None else [queued]
        if len(waits) < 2:
            return waits[0] if waits else None
        return asyncio.gather(*waits)

    def _evaluated(self, spans: int, begun: float) -> None:
        now = time.perf_counter()
        took = now - begun
        since = max(now - self._evaluated_at, took)
        weight = min(since, 1.0)
        self._busy += weight * (took / since - self._busy)
        self._evaluated_at = now
        rest, most = (BUSY_REST, MOST_BUSY_REST_SECONDS) if self._busy > BUSY else (REST, MOST_REST_SECONDS)
        self._rest_until = now + min(rest * took, most)
        self.spans += spans
        telemetry.batch_evaluated(spans=spans, seconds=took)

    async def _consume(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                rest = self._rest_until - time.perf_counter()
                if rest > 0 and self._in_flight < GATHERED_BYTES and not self._closed:
                    await asyncio.sleep(rest)
                async with self._turn:
                    await self._evaluate(self._take())
                await asyncio.sleep(0)  # the answers go out, and what arrived meanwhile comes in

    def _take(self) -> list[_Waiting]:
        """Return the requests to evaluate together: the first, and those of its signal that fit."""
        taken = [self._waiting.popleft()]
        signal, size = taken[0].offer.signal, len(taken[0].offer.data)
        left: deque[_Waiting] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            size += len(waiting.offer.data)
            if size > BATCH_BYTES:
                self._waiting.appendleft(waiting)
                break
            if waiting.offer.signal is signal:
                taken.append(waiting)
            else:
                size -= len(waiting.offer.data)
                left.append(waiting)
        self._waiting.extendleft(reversed(left))
        return taken

    async def _evaluate(self, taken: Sequence[_Waiting]) -> None:
        offers = [waiting.offer for waiting in taken]
        size = sum(len(offer.data) for offer in offers)
        begun = time.perf_counter()
        answers: Sequence[Answer] = ()
        safe: _Safe | None = None
        try:
            if size > INLINE_BYTES:
                prepared = await asyncio.to_thread(self._stages.prepare, offers)
            else:
                prepared = self._stages.prepare(offers)
            failed = await self._ingest_sliced(prepared)
            answers = [internal()] * len(taken) if failed else prepared.answers
            self._evaluated(sum(map(len, prepared.batches)), begun)
            safe = self._safe(offers, answers, prepared.onward)
        finally:
            if safe is None:
                self._finish(taken, answers, size)
            else:
                # The next batch is evaluated while this one is written.
                safe.add_done_callback(lambda _: self._finish(taken, answers, size))

    def _finish(self, taken: Sequence[_Waiting], answers: Sequence[Answer], size: int) -> None:
        self._in_flight -= size
        for waiting, answer in zip(taken, answers, strict=False):
            _answer(waiting.answer, answer)
        for waiting in taken:
            waiting.answer.cancel()  # of one that has its answer, nothing

    async def _ingest_sliced(self, prepared: Prepared) -> bool:
        """Give the engine what was prepared, and return whether any of it failed."""
        failed = False
        first = True
        for batch in prepared.batches:
            for start in range(0, len(batch), SLICE_ROWS):
                if not first:
                    await asyncio.sleep(0)
                first = False
                whole = len(batch) <= SLICE_ROWS
                rows = np.arange(start, min(start + SLICE_ROWS, len(batch)), dtype=np.intp)
                failed |= not self._ingest(batch if whole else batch.take(rows))
        return failed

    def _ingest(self, batch: SpanBatch) -> bool:
        now = self._clock()
        self._keep(Record(now, self._engine.time, batch))
        try:
            events = self._engine.ingest(batch, now)
        except Exception as error:  # noqa: BLE001  # hostile data must not end the service
            telemetry.internal_error(stage="engine", error=error)
            return False
        self._tell(events)
        return True

    def _keep(self, record: Record) -> None:
        """Give the log a record; `_kept` is the last one's future while it is not done."""
        if self._log is None:
            return
        self._kept = kept = self._log.append(record)
        kept.add_done_callback(self._forget)

    def _forget(self, kept: _Kept) -> None:
        if self._kept is kept:
            self._kept = None

    def _tell(self, events: Sequence[AlertEvent]) -> None:
        """Announce events once the record that caused them, the last, is done; in order, since records are."""
        if not events:
            return
        if self._kept is None:
            self._announce(events)
        else:
            self._kept.add_done_callback(lambda _: self._announce(events))

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            if ticks % MEMORY_TICKS == 0:
                self._look_at_memory()
            now = self._clock()
            try:
                events = self._engine.advance(now)
            except Exception as error:  # noqa: BLE001  # a rule that fails must not stop time for the others
                telemetry.internal_error(stage="timer", error=error)
                continue
            if events:
                self._keep(Record(now, self._engine.time))
                self._tell(events)

    def _look_at_memory(self) -> None:
        if not self._memory_limit:
            self._short_of_memory = False
            return
        if memory.resident_bytes() > self._memory_limit:
            memory.give_back()
        resident = memory.resident_bytes()
        telemetry.memory_measured(resident=resident, limit=self._memory_limit)
        self._short_of_memory = resident > self._memory_limit

    def _announce(self, events: Sequence[AlertEvent]) -> None:
        for event in events:
            seconds = None
            if event.arrival_to_detection_ns is not None:
                arrival = event.detected_at - event.arrival_to_detection_ns
                seconds = (self._clock() - arrival) / 1e9
            telemetry.alert_changed(
                rule=rule_label(event.rule.key), event=event.transition.value, detection_seconds=seconds
            )
            try:
                self._publish(event)
            except Exception as error:  # noqa: BLE001  # one message that can't be made must not end evaluation
                telemetry.internal_error(stage="publish", error=error)


def _answer(future: "asyncio.Future[Receipt]", answer: Answer) -> None:
    if future.done():
        return  # the client has gone; what it sent is counted all the same
    if isinstance(answer, TocsinError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
