"""One contact point's own way: its queue, its retries, its rate limit, its worker.

Lanes share nothing that waits.
"""

import asyncio
import logging
import sys
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.backlog import Backlog, Pending
from tocsin.notify.clock import Clock
from tocsin.notify.contact import Answer, Attempt, ContactConfig, Notifier, Rate
from tocsin.notify.history import AttemptRecord, History, Outcome
from tocsin.notify.incidents import Alone, Grouping, Incidents
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.observer import Observer
from tocsin.notify.routing.tree import Hold
from tocsin.notify.store import Store, Unfinished
from tocsin.notify.templating.dressing import Dressing

__all__ = ["Delivering", "Lane", "OutboxLimits", "RateGate", "backoff"]

_logger = logging.getLogger(__name__)

_TOLD = 10_000
"""Alerts that a contact point heard of, remembered so that it hears their end too."""
_GRACE = 5.0
"""Seconds that a notifier may overrun its own timeout before it is cut off."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much waits, and how long. Times in seconds."""

    queue: int = 2_000
    """Events per contact point in memory; with a durable store more of them wait there, without one they are lost."""
    retry_for: float = 24 * 3600.0
    backoff_base: float = 1.0
    backoff_cap: float = 300.0
    retry_after_cap: float = 3600.0
    """A receiver that asks for more is tried after this.

    A broken header must not silence an alarm for a year.
    """


@dataclass(frozen=True, slots=True)
class Delivering:
    """What all lanes of an outbox share."""

    writer: MessageWriter
    clock: Clock
    random: Random
    limits: OutboxLimits
    observer: Observer
    store: Store
    history: History
    grouping: Grouping = field(default_factory=Alone)


def backoff(attempts: int, limits: OutboxLimits, random: Random) -> float:
    """Return seconds until the next attempt: exponential with full jitter.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random.uniform(0, min(limits.backoff_cap, limits.backoff_base * 2.0 ** min(attempts - 1, 60)))


class RateGate:
    """At most `rate.count` passes in any `rate.seconds`."""

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._passed: deque[float] = deque(maxlen=rate.count if rate is not None else 0)

    def wait_time(self, now: float) -> float:
        """Return the seconds until the next pass; 0 for now."""
        if self._rate is None or len(self._passed) < self._rate.count:
            return 0.0
        return max(0.0, self._passed[0] + self._rate.seconds - now)

    def passed(self, now: float) -> None:
        """Count a pass."""
        self._passed.append(now)


class Lane:
    """Delivers to one contact point, one attempt at a time; `run` is its only task."""

    def __init__(self, name: str, config: ContactConfig, notifier: Notifier, shared: Delivering) -> None:
        self.name = name
        self.config = config
        self.drained = asyncio.Event()
        """Set when a drain has nothing left to try."""
        self._notifier = notifier
        self._dressing = Dressing(name, config.template, shared.observer)
        self._replacement: tuple[ContactConfig, Notifier] | None = None
        self._shared = shared
        # With a durable store nothing has to go: what does not fit waits there, and `_has_room` says what fits.
        self._backlog = Backlog(sys.maxsize if shared.store.durable else shared.limits.queue)
        self._gate = RateGate(config.rate_limit)
        self._told: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._paused_until = 0.0
        self._draining = False
        self._newest = 0
        """When the newest event that is or was in memory was published; later ones wait in the store, if `_behind`."""
        self._stamp = 0
        self._behind = False
        """Whether some wait in the store alone."""
        self._asked = False
        self._behind_answer = False
        """Whether some were left to the store since it was asked."""
        self._incidents = Incidents(name, shared.grouping)
        for alert_id in shared.store.told(name):
            self._tell(alert_id)
            self._incidents.heard(alert_id)
        self._begin(shared.store.unfinished(name))

    def __len__(self) -> int:
        return len(self._backlog)

    def heard(self, alert_id: str) -> bool:
        """Whether this contact point was told of an alert, or is about to be, and not of its end."""
        return alert_id in self._told

    def offer(self, event: AlertEvent, notice: Hold | None = None) -> None:
        """Take an event if it is for this contact point; never blocks.

        With a notice it goes into that message, and not into its incident's.

        A full queue leaves it in the store, or without a durable one drops the event that it misses least.
        """
        if event in self._backlog or not self._wants(event):
            return
        shared = self._shared
        # No two alike, so that the store can be asked for what came after one.
        self._stamp = max(shared.clock.now_ns(), self._stamp + 1)
        if not shared.store.accepted(self.name, event, self._stamp):
            return
        if shared.store.durable and not self._may_enter():
            self._behind = self._behind_answer = True
        else:
            self._enter(self._pending(event, self._stamp, notice=notice))
        self._changed()

    def adopt(self, left: Sequence[Unfinished]) -> None:
        """Deliver these too: see `Follower.adopt`."""
        for one in left:
            if self._behind and one.published_ns > self._newest:
                continue  # it waits in the store behind others, and comes with them
            self._enter_again(one)
        self._changed()

    def refill(self, left: Sequence[Unfinished], *, complete: bool) -> None:
        """Take what had waited in the store alone: see `Follower.refill`."""
        self._asked = False
        for one in left:
            self._enter_again(one)
        self._behind = self._behind_answer or not complete
        self._changed()

    def replace(self, config: ContactConfig, notifier: Notifier) -> None:
        """Go on with another notifier after the attempt under way; what waits is tried at once."""
        self._replacement = config, notifier
        self._wake.set()

    def start_drain(self) -> None:
        """Try everything once more without waiting for its time, then set `drained`."""
        self._draining = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            self._wake.clear()
            await self._adopt_replacement()
            self._ask_for_more()
            item, seconds = self._next()
            if item is not None and seconds <= 0:
                await self._deliver(item)
            else:
                await self._shared.clock.wait(self._wake, seconds if item is not None else None)

    async def close(self, reason: str) -> None:
        """Let go of the connections and of what is left; `run` is over.

        At the service's end (`closed`) a durable store keeps what is left for the next one; else it is given up.
        """
        self._shared.store.follow(self.name, None)
        if reason != "closed" or not self._shared.store.durable:
            for item in list(self._backlog):
                self._gone(item, reason, "it was still waiting")
                self._backlog.remove(item)
            self._changed()
        await self._notifier.aclose()
        if self._replacement is not None:
            await self._replacement[1].aclose()

    def _wants(self, event: AlertEvent) -> bool:
        """Who heard of an alert hears how it goes on, also below `min_severity`.

        Else an incident stays open.
        """
        reached = max(event.severity.rank, event.escalated_from.rank if event.escalated_from is not None else 0)
        severe = reached >= self.config.min_severity.rank or event.transition is Transition.TEST
        known = event.alert_id in self._told
        if event.transition is Transition.RESOLVED:
            self._told.pop(event.alert_id, None)
        elif severe and event.transition is not Transition.ACKNOWLEDGED:
            self._tell(event.alert_id)
        return severe or known

    def _tell(self, alert_id: str) -> None:
        self._told[alert_id] = None
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)

    def _begin(self, left: Sequence[Unfinished]) -> None:
        """Take what a former process left; what is more than that is asked for."""
        store = self._shared.store
        for one in left:
            self._enter_again(one)
        self._behind = bool(left)
        store.follow(self.name, self)

    def _may_enter(self) -> bool:
        """Whether an event may be held in memory: in its turn, unless the store can't say whose turn it is."""
        if len(self._backlog) >= self._shared.limits.queue:
            return False
        return not self._behind or self._shared.store.degraded is not None

    def _enter(self, item: Pending) -> None:
        if not self._behind:
            self._newest = max(self._newest, item.published_ns)
        victim = self._backlog.add(item)
        if victim is not None:
            self._gone(victim, "queue_full", f"{self._shared.limits.queue} events wait already")

    def _enter_again(self, one: Unfinished) -> None:
        self._newest = max(self._newest, one.published_ns)
        self._stamp = max(self._stamp, one.published_ns)
        if one.event not in self._backlog:
            self._backlog.add(self._pending(one.event, one.published_ns, one.attempts))

    def _pending(
        self, event: AlertEvent, published_ns: int, attempts: int = 0, *, notice: Hold | None = None
    ) -> Pending:
        now = self._shared.clock.monotonic()
        hold = notice or self._incidents.hold_of(event)
        due = now if hold is None else self._incidents.due(hold, event, now)
        waiting = self._backlog.next_of(hold.key) if hold is not None else None
        if waiting is not None and not waiting.batch and due < waiting.due:
            waiting.due = due  # what is worse than all before does not wait behind them
            self._backlog.changed(waiting)
        return Pending(event, published_ns, due, attempts, hold=hold)

    def _ask_for_more(self) -> None:
        """Ask the store for what waits there alone, once half of the room is free."""
        room = self._shared.limits.queue - len(self._backlog)
        if self._behind and not self._asked and not self._draining and room * 2 >= self._shared.limits.queue:
            self._asked, self._behind_answer = True, False
            self._shared.store.more(self.name, self._newest, room)

    def _next(self) -> tuple[Pending | None, float]:
        """Return what to send next and in how many seconds."""
        now = self._shared.clock.monotonic()
        if self._draining:
            return self._next_in_drain(now)
        item = self._backlog.head()
        if item is None:
            return None, 0.0
        if self._paused_until > now:
            self._merge()  # it asked for less, and of what gathers meanwhile only the latest counts
            item = self._backlog.head()
        waiting = max(item.due if item is not None else now, self._paused_until) - now
        if waiting > 0:
            return item, waiting
        held = self._gate.wait_time(now)
        if held > 0:
            self._merge()
            return self._backlog.head(), held
        return item, 0.0

    def _next_in_drain(self, now: float) -> tuple[Pending | None, float]:
        if now >= self._paused_until:
            if self._gate.wait_time(now) > 0:
                self._merge()  # the limit can't be kept any more, but what it would have merged is
            untried = [one for one in self._backlog.heads() if not one.tried_in_drain]
            if untried:
                return min(untried, key=lambda one: one.sequence), 0.0
        self.drained.set()
        return None, 0.0

    async def _deliver(self, item: Pending) -> None:
        shared = self._shared
        started = shared.clock.monotonic()
        attempt = Attempt(shared.clock.now_ns(), item.attempts + 1, item.merged)
        self._gate.passed(started)
        batch = self._backlog.together(item)
        self._backlog.take(*batch)
        try:
            answer = await self._send(item, batch, attempt)
        except DeliveryError as error:
            for one in batch:
                self._failed(one, attempt, error, shared.clock.monotonic() - started)
        else:
            for one in batch:
                self._delivered(one, attempt, answer, shared.clock.monotonic() - started)
            self._told_incident(item, batch)
        finally:
            if item.event in self._backlog:
                self._backlog.put_back(item)
            else:
                self._backlog.take()
            self._changed()

    def _told_incident(self, item: Pending, batch: Sequence[Pending]) -> None:
        """Note that an incident had a message; what came meanwhile goes into the next."""
        if item.hold is None:
            return
        now = self._shared.clock.monotonic()
        self._incidents.told(item.hold, [one.event for one in batch], now)
        following = self._backlog.next_of(item.hold.key)
        if following is not None:
            following.due = self._incidents.due(item.hold, following.event, now)
            self._backlog.changed(following)

    def _message(self, item: Pending, batch: Sequence[Pending]) -> Message:
        writer = self._shared.writer
        if item.hold is None:
            return self._dressing.dress(writer.message_of(item.event))
        return self._dressing.dress(self._incidents.message(writer, item.hold, [one.event for one in batch]))

    async def _send(self, item: Pending, batch: Sequence[Pending], attempt: Attempt) -> Answer:
        seconds = self.config.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds + _GRACE):
                return await self._notifier.send(self._message(item, batch), attempt)
        except DeliveryError:
            raise
        except TimeoutError as error:
            raise DeliveryError(f"no answer within {seconds:g} s", retryable=True) from error
        except Exception as error:
            # A defect of ours must cost neither the event nor the lane: it is logged whole and tried again.
            _logger.exception("contact point %s: unexpected error for event %s", self.name, item.event.id)
            raise DeliveryError(f"unexpected {type(error).__name__}", retryable=True) from error

    def _delivered(self, item: Pending, attempt: Attempt, answer: Answer, seconds: float) -> None:
        self._backlog.remove(item)
        text = f"{answer.status} {answer.excerpt}".strip()
        self._note(item, Outcome.DELIVERED, attempt, seconds, text)
        self._shared.store.finished(self.name, item.event, Outcome.DELIVERED, text)
        self._shared.observer.delivered(self.name, seconds, item.event)
        if attempt.number > 1:
            _logger.info("contact point %s: event %s delivered by attempt %d", self.name, item.event.id, attempt.number)

    def _failed(self, item: Pending, attempt: Attempt, error: DeliveryError, seconds: float) -> None:
        shared, limits = self._shared, self._shared.limits
        item.attempts += 1
        item.tried_in_drain = self._draining
        expired = shared.clock.now_ns() - item.published_ns >= limits.retry_for * 1e9
        retry = error.retryable and not expired
        self._note(item, Outcome.RETRYING if retry else Outcome.FAILED, attempt, seconds, str(error))
        shared.observer.failed(self.name, item.event, retryable=retry)
        if not retry:
            self._backlog.remove(item)
            shared.store.finished(self.name, item.event, Outcome.FAILED, str(error))
            why = "given up after the last of many attempts" if error.retryable else "not taken"
            _logger.error("contact point %s: event %s lost, %s: %s", self.name, item.event.id, why, error)
            if expired:
                shared.observer.dropped(self.name, item.event, reason="expired")
            return
        now = shared.clock.monotonic()
        item.due = now + backoff(item.attempts, limits, shared.random)
        if error.retry_after is not None:
            # What the receiver asks for, it asks for all that it is sent.
            self._paused_until = now + min(error.retry_after, limits.retry_after_cap)
        if item.attempts & (item.attempts - 1) == 0:  # 1, 2, 4, 8 …: a day of retries is no flood of lines
            _logger.warning(
                "contact point %s: event %s not delivered (attempt %d), trying again: %s",
                self.name,
                item.event.id,
                item.attempts,
                error,
            )

    def _merge(self) -> None:
        for gone, standing in self._backlog.merge():
            text = f"merged into {standing.event.id}"
            self._note(gone, Outcome.MERGED, None, 0.0, text)
            self._shared.store.finished(self.name, gone.event, Outcome.MERGED, text)
            self._shared.observer.dropped(self.name, gone.event, reason="merged")

    async def _adopt_replacement(self) -> None:
        if self._replacement is None:
            return
        old, (self.config, self._notifier) = self._notifier, self._replacement
        self._replacement = None
        self._gate = RateGate(self.config.rate_limit)
        self._dressing = Dressing(self.name, self.config.template, self._shared.observer)
        self._paused_until = 0.0
        now = self._shared.clock.monotonic()
        for item in self._backlog:
            item.due = now
            self._backlog.changed(item)
        await old.aclose()

    def _gone(self, item: Pending, reason: str, why: str) -> None:
        self._note(item, Outcome.DROPPED, None, 0.0, reason)
        self._shared.store.finished(self.name, item.event, Outcome.DROPPED, why)
        self._shared.observer.dropped(self.name, item.event, reason=reason)
        _logger.error(
            "contact point %s: event %s (%s of alert %s) is lost: %s",
            self.name,
            item.event.id,
            item.event.transition,
            item.event.alert_id,
            why,
        )

    def _note(self, item: Pending, outcome: Outcome, attempt: Attempt | None, seconds: float, text: str) -> None:
        number = attempt.number if attempt is not None else 0
        at_ns = attempt.at_ns if attempt is not None else self._shared.clock.now_ns()
        record = AttemptRecord(self.name, outcome, number, at_ns, seconds, text)
        self._shared.history.add(item.event.id, record)
        self._shared.store.attempted(item.event, record)

    def _changed(self) -> None:
        self._shared.observer.queue_length(self.name, len(self._backlog))
        self._wake.set()
