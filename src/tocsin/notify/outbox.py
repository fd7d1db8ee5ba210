"""The outbox.

Takes alert events without ever waiting, and delivers each at least once to each of its contact points.

Every contact point has its own queue and worker, so a slow or dead one delays neither the engine nor another.
A reload builds the new notifiers before it touches the old ones, and keeps what waits.
"""

import asyncio
import logging
from collections.abc import Mapping
from random import Random
from types import TracebackType
from typing import Self

from tocsin.alerts.event import AlertEvent
from tocsin.notify.clock import Clock, SystemClock
from tocsin.notify.contact import ContactConfig, Notifier
from tocsin.notify.egress import Network
from tocsin.notify.history import AttemptRecord, History, Outcome
from tocsin.notify.incidents import Alone, Grouping
from tocsin.notify.lane import Delivering, Lane, OutboxLimits
from tocsin.notify.message import MessageWriter
from tocsin.notify.observer import Observer, SilentObserver
from tocsin.notify.routing.tree import Hold
from tocsin.notify.store import MemoryStore, Store

__all__ = ["Outbox", "OutboxLimits"]

_logger = logging.getLogger(__name__)


class Outbox:
    """Owns the lanes; `async with` is their lifetime. All methods are called on one event loop.

    Args:
        writer: makes the messages.
        observer: is told of every outcome.
        store: remembers what is undelivered beyond the process; in memory by default.
        limits: of queues and retries.
        clock: time; injected by tests.
        random: jitter; injected by tests.
        grouping: says which events go into one message; None: each has one of its own.
    """

    def __init__(
        self,
        writer: MessageWriter,
        *,
        observer: Observer | None = None,
        store: Store | None = None,
        limits: OutboxLimits | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        self._history = History()
        self._shared = Delivering(
            writer=writer,
            clock=clock or SystemClock(),
            random=random or Random(),  # noqa: S311  # jitter, no secret
            limits=limits or OutboxLimits(),
            observer=observer or SilentObserver(),
            store=store or MemoryStore(),
            history=self._history,
            grouping=grouping or Alone(),
        )
        self._lanes: dict[str, Lane] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._network: Network | None = None
        self._tasks = asyncio.TaskGroup()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for name in list(self._lanes):
            await self._end(name, "closed")
        await self._tasks.__aexit__(kind, error, trace)

    def __len__(self) -> int:
        """Return how many deliveries wait, over all contact points."""
        return sum(map(len, self._lanes.values()))

    @property
    def contact_points(self) -> tuple[str, ...]:
        """The names that can be notified now."""
        return tuple(self._lanes)

    def heard(self, contact_point: str, alert_id: str) -> bool:
        """Whether a contact point was told of an alert, or is about to be, and not of its end."""
        lane = self._lanes.get(contact_point)
        return lane is not None and lane.heard(alert_id)

    @property
    def acknowledging(self) -> tuple[str, ...]:
        """The contact points that can be told that somebody looks after an alert."""
        return tuple(name for name, lane in self._lanes.items() if lane.config.takes_acknowledgements)

    def publish(self, event: AlertEvent, notice: Hold | None = None) -> None:
        """Take an event for its contact points: returns at once and raises nothing.

        Once for the same event is enough. Events of one notice that are published together are one message, but to
        contact points that follow each alert.
        """
        for name in dict.fromkeys(event.notify):
            lane = self._lanes.get(name)
            if lane is not None and (not self._closed or self._shared.store.durable):
                lane.offer(event, None if lane.config.follows_alerts else notice)
            else:
                self._keep_for_later(name, event)

    async def resend(self, contact_point: str, event_id: str) -> bool:
        """Deliver a dead letter after all, under its old id; return whether there is one.

        Raises:
            LookupError: there is no such contact point now.
            OverloadedError: the store can't be used at present.
        """
        if contact_point not in self._lanes:
            raise LookupError(contact_point)
        return await self._shared.store.resend(contact_point, event_id)

    def _keep_for_later(self, name: str, event: AlertEvent) -> None:
        """Leave an event that can't be sent now to the next process, or make it a dead letter."""
        shared = self._shared
        accepted = shared.store.accepted(name, event, shared.clock.now_ns())
        if shared.store.durable and (self._closed or not accepted):
            return
        reason = "closed" if self._closed else "unknown"
        shared.store.finished(name, event, Outcome.DROPPED, f"the contact point is {reason}")
        shared.observer.dropped(name, event, reason=reason)
        _logger.error("event %s can't be sent to contact point %s: it is %s", event.id, name, reason)

    def attempts(self, event_id: str) -> tuple[AttemptRecord, ...]:
        """Return what became of an event so far, the oldest record first."""
        return self._history.of(event_id)

    async def reconfigure(
        self,
        contact_points: Mapping[str, ContactConfig],
        network: Network,
        *,
        writer: MessageWriter | None = None,
    ) -> None:
        """Make these the contact points: unchanged ones go on, changed ones keep their queue, others end.

        Raises:
            ConfigError: one can't be built; everything is as it was.
        """
        everything_changes = network != self._network
        wanted = {
            name: config
            for name, config in contact_points.items()
            if everything_changes or name not in self._lanes or self._lanes[name].config != config
        }
        built = await _built(wanted, network)
        self._network = network
        if writer is not None:
            self._shared.writer.adopt(writer)
        for name in [name for name in self._lanes if name not in contact_points]:
            await self._end(name, "removed")
        for name, notifier in built.items():
            if name in self._lanes:
                self._lanes[name].replace(wanted[name], notifier)
            else:
                lane = Lane(name, wanted[name], notifier, self._shared)
                self._lanes[name] = lane
                self._running[name] = self._tasks.create_task(lane.run(), name=f"notify {name}")
        self._shared.store.keep(self._lanes)

    async def drain(self, timeout: float) -> int:  # noqa: ASYNC109  # a deadline for all lanes together
        """Take no more events, try what waits once more.

        And return how many are undelivered after `timeout` seconds.
        """
        self._closed = True
        for lane in self._lanes.values():
            lane.start_drain()
        try:
            async with asyncio.timeout(timeout):
                for lane in self._lanes.values():
                    await lane.drained.wait()
        except TimeoutError:
            _logger.warning("notifications were still being sent after %g s", timeout)
        if left := len(self):
            if self._shared.store.durable:
                _logger.warning("%d notifications are undelivered at the end; the next start sends them", left)
            else:
                _logger.error("%d notifications are undelivered at the end", left)
        return left

    async def _end(self, name: str, reason: str) -> None:
        lane, task = self._lanes.pop(name), self._running.pop(name)
        task.cancel()
        await asyncio.wait([task])
        await lane.close(reason)


async def _built(wanted: Mapping[str, ContactConfig], network: Network) -> dict[str, Notifier]:
    """Build all or none; off the loop, since certificates and templates are files."""
    built: dict[str, Notifier] = {}
    try:
        for name, config in wanted.items():
            built[name] = await asyncio.to_thread(config.build, network)
    except BaseException:
        for notifier in built.values():
            await notifier.aclose()
        raise
    return built
