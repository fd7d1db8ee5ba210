"""What one contact point has not got yet.

Events in order per alert, the next due one first, never more than a limit.

Order is kept within an alert and nowhere else, so that one event which its receiver refuses to take for now
holds back the later news of its own alert, and nobody else's.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.routing.tree import Hold

__all__ = ["Backlog", "Pending"]


@dataclass(slots=True, eq=False)
class Pending:
    """One event that waits for one contact point; changed only by the lane that owns it."""

    event: AlertEvent
    published_ns: int
    """Wall clock; retries end a time after it."""
    due: float
    """Monotonic seconds of the next attempt."""
    attempts: int = 0
    merged: int = 0
    """Earlier events of the alert that it stands for."""
    tried_in_drain: bool = False
    sequence: int = 0
    """Set by the backlog: the order of arrival."""
    hold: Hold | None = None
    """The incident in whose messages it goes; None: it has one of its own."""
    batch: "tuple[Pending, ...]" = ()
    """What went with it in the first attempt, itself included, and goes with it in every further one."""

    @property
    def queue(self) -> str:
        """What it keeps its place in: its incident, or its alert."""
        return self.event.alert_id if self.hold is None else self.hold.key


class Backlog:
    """A bounded queue. Not more than the oldest event of each alert, or incident, is ever offered."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._alerts: dict[str, deque[Pending]] = {}
        self._heads: list[tuple[float, int, str]] = []
        """A heap with an entry for each alert's head, and stale ones, which `head` throws out."""
        self._ids: set[str] = set()
        self._sequence = 0
        self._in_flight: tuple[Pending, ...] = ()

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Pending]:
        for queue in self._alerts.values():
            yield from queue

    def __contains__(self, event: AlertEvent) -> bool:
        return event.id in self._ids

    def add(self, item: Pending) -> Pending | None:
        """Append; return the one that had to go where the limit is reached, which may be `item` itself.

        The least loss first: a reminder or test, then what a later event of its alert supersedes, then a
        resolution, then the oldest firing. The one that is being sent stays.
        """
        self._sequence += 1
        item.sequence = self._sequence
        queue = self._alerts.setdefault(item.queue, deque())
        queue.append(item)
        self._ids.add(item.event.id)
        if len(queue) == 1:
            self.changed(item)
        if len(self._ids) <= self._limit:
            return None
        victim = min((one for one in self if one not in self._in_flight), key=self._worth)
        self.remove(victim)
        return victim

    def head(self) -> Pending | None:
        """Return the item that is due first, of those that no earlier event of their alert holds back."""
        while self._heads:
            due, sequence, alert_id = self._heads[0]
            queue = self._alerts.get(alert_id)
            if queue and queue[0].sequence == sequence and queue[0].due == due:
                return queue[0]
            heapq.heappop(self._heads)
        return None

    def next_of(self, queue: str) -> Pending | None:
        """Return the oldest item of an alert or incident, or None."""
        items = self._alerts.get(queue)
        return items[0] if items else None

    def heads(self) -> Iterator[Pending]:
        """Iterate over the oldest item of each alert."""
        for queue in self._alerts.values():
            yield queue[0]

    def together(self, item: Pending) -> tuple[Pending, ...]:
        """Return what goes in one message with `item`, in order: all that its incident has by now, or it alone."""
        if item.hold is None:
            return (item,)
        if not item.batch:
            item.batch = tuple(self._alerts[item.queue])
            for one in item.batch:
                one.batch = item.batch
        return tuple(one for one in item.batch if one.event.id in self._ids)

    def take(self, *items: Pending) -> None:
        """Note that `items` are being sent."""
        self._in_flight = items

    def put_back(self, item: Pending) -> None:
        """Note that `item` is not being sent any more; its due time may be another."""
        self._in_flight = ()
        self.changed(item)

    def changed(self, item: Pending) -> None:
        """Note a new due time; cheap where it is none."""
        queue = self._alerts.get(item.queue)
        if queue and queue[0] is item:
            heapq.heappush(self._heads, (item.due, item.sequence, item.queue))

    def remove(self, item: Pending) -> None:
        """Take out an item that is here."""
        queue = self._alerts[item.queue]
        queue.remove(item)
        self._ids.discard(item.event.id)
        self._in_flight = tuple(one for one in self._in_flight if one is not item)
        if queue:
            self.changed(queue[0])
        else:
            del self._alerts[item.queue]

    def merge(self) -> list[tuple[Pending, Pending]]:
        """Let the latest event of each alert stand for all of its; return (gone, standing for it)."""
        gone = []
        for queue in list(self._alerts.values()):
            latest, first = queue[-1], queue[0]
            if latest is first or latest.hold is not None:  # an incident is one message already
                continue
            for item in list(queue)[:-1]:
                latest.merged += 1 + item.merged
                gone.append((item, latest))
                self._ids.discard(item.event.id)
            latest.due = min(first.due, latest.due)
            queue.clear()
            queue.append(latest)
            self.changed(latest)
        return gone

    def _worth(self, item: Pending) -> tuple[int, int]:
        if item.event.transition in (Transition.REMINDER, Transition.TEST):
            return 0, item.sequence
        newer = (one for one in reversed(self._alerts[item.queue]) if one.event.alert_id == item.event.alert_id)
        if next(newer, item) is not item:
            return 1, item.sequence
        return (2 if item.event.transition is Transition.RESOLVED else 3), item.sequence
