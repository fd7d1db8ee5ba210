"""Which request is sent next: of each client in order, of several clients side by side, and none too soon.

A client's next request waits until the one before it is sent or given up, so that its order is kept. After
a failure both that client and the destination are left alone for a while, twice as long each time; while the
destination fails, one request at a time is tried, each time another client's, so that one request that is never
taken holds up its own client only. Plain state: no clock, no task.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tocsin.forward.entry import Entry

__all__ = ["Backoff", "Schedule"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th failure in a row; all in seconds."""

    initial: float
    most: float
    draw: Callable[[], float]
    """Gives numbers from 0 to 1: the jitter, which takes off up to half."""

    def after(self, failures: int) -> float:
        """Return the wait after so many failures, at least 1."""
        longest = min(self.most, self.initial * 2.0 ** min(failures - 1, 60))
        return longest * (1.0 - self.draw() / 2.0)


@dataclass(slots=True)
class _Lane:
    """One client's requests."""

    client: int
    order: int
    """When it began to wait: the older lane goes first."""
    entries: deque[Entry] = field(default_factory=deque)
    failures: int = 0


class Schedule:
    """Entries that wait, and when the next of them may go; times in seconds on any one clock."""

    def __init__(self, backoff: Backoff, *, in_flight: int) -> None:
        self._backoff = backoff
        self._most = in_flight
        self._lanes: dict[int, _Lane] = {}
        self._ready: list[tuple[int, int, int]] = []
        """Heap of (failures, order, client): lanes whose first entry may go."""
        self._resting: list[tuple[float, int]] = []
        """Heap of (when, client): lanes that failed."""
        self._arrivals = 0
        self._sending = 0
        self._failures = 0
        """Of the destination in a row."""
        self._closed_until = -math.inf
        """Nothing is sent before; the destination failed, or asked for it."""

    @property
    def failures(self) -> int:
        """Attempts that failed since one succeeded."""
        return self._failures

    def add(self, entry: Entry) -> None:
        """Put an entry behind those of its client."""
        client = 0 if self._most == 1 else entry.client
        lane = self._lanes.get(client)
        if lane is None:
            lane = self._lanes[client] = _Lane(client, self._arrivals)
            self._arrivals += 1
            heapq.heappush(self._ready, (0, lane.order, client))
        lane.entries.append(entry)

    def next(self, now: float) -> tuple[Entry | None, float]:
        """Return the entry to send now, or None and for how many seconds there is none, infinite: until more comes.

        Whoever gets one calls `answered`, `given_up` or `failed` with it.
        """
        while self._resting and self._resting[0][0] <= now:
            _, client = heapq.heappop(self._resting)
            lane = self._lanes[client]
            heapq.heappush(self._ready, (lane.failures, lane.order, client))
        if self._sending >= (1 if self._failures else self._most):
            return None, math.inf
        if now < self._closed_until:
            return None, self._closed_until - now
        while self._ready:
            _, _, client = heapq.heappop(self._ready)
            entries = self._lanes[client].entries
            while entries and entries[0].gone:
                entries.popleft()
            if entries:
                self._sending += 1
                entries[0].sending = True
                return entries[0], 0.0
            del self._lanes[client]
        return None, self._resting[0][0] - now if self._resting else math.inf

    def answered(self, entry: Entry) -> None:
        """The destination took it, or will never take it: it is done with, and the destination works."""
        self._failures = 0
        self._closed_until = -math.inf
        self._leave(entry)

    def given_up(self, entry: Entry) -> None:
        """It was not sent and is not tried again; nothing is known of the destination."""
        self._leave(entry)

    def failed(self, entry: Entry, now: float, *, wish: float | None = None) -> None:
        """It may be taken later.

        Args:
            entry: what `next` gave.
            now: the time.
            wish: the destination's own, seconds to leave it alone.
        """
        self._sending -= 1
        entry.sending = False
        lane = self._lane_of(entry)
        lane.failures += 1
        if now >= self._closed_until:  # else one of several in flight that met the same failure
            self._failures += 1
            self._closed_until = now + self._backoff.after(self._failures)
        self._closed_until = max(self._closed_until, now + (wish or 0.0))
        heapq.heappush(self._resting, (now + max(self._backoff.after(lane.failures), wish or 0.0), lane.client))

    def purge(self) -> None:
        """Forget entries that are gone; else they would stay for as long as the destination is away."""
        resting = {client for _, client in self._resting}
        for client, lane in list(self._lanes.items()):
            lane.entries = deque(entry for entry in lane.entries if not entry.gone)
            if not lane.entries and client not in resting:
                del self._lanes[client]
        self._ready = [place for place in self._ready if place[2] in self._lanes]
        heapq.heapify(self._ready)

    def _leave(self, entry: Entry) -> None:
        self._sending -= 1
        entry.sending = False
        lane = self._lane_of(entry)
        lane.entries.popleft()
        lane.failures = 0
        if lane.entries:
            lane.order = self._arrivals
            self._arrivals += 1
            heapq.heappush(self._ready, (0, lane.order, lane.client))
        else:
            del self._lanes[lane.client]

    def _lane_of(self, entry: Entry) -> _Lane:
        return self._lanes[0 if self._most == 1 else entry.client]
