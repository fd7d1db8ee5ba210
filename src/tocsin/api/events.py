"""`/api/v1/events`: alerts as they change, as server-sent events.

Each client has a queue of bounded length: one that reads too slowly is told what it missed by a `gap`, and asks for
the alerts anew. The last events are kept, so that a client that was away for a moment says which it had last
(`Last-Event-ID`) and gets those since. Source: HTML Living Standard, 9.2.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from tocsin.alerts.event import AlertEvent
from tocsin.api.authorization import Reader
from tocsin.api.changes import shown
from tocsin.api.problems import problem
from tocsin.notify.message import rfc3339
from tocsin.security.roles import Principal

__all__ = ["Events", "events_router"]

HEARTBEAT_SECONDS: Final = 15.0
_KEPT: Final = 1_000
_QUEUE: Final = 500
_CLIENTS: Final = 64


class Events:
    """What happened, for those who listen. On one event loop; `alert` and `state` cost next to nothing without them."""

    def __init__(self) -> None:
        self._number = 0
        self._kept: deque[tuple[int, str | None, bytes]] = deque(maxlen=_KEPT)
        """Number, project (None: everybody's), and the frame."""
        self._listening: set[_Listener] = set()
        self.closed = asyncio.Event()

    def alert(self, event: AlertEvent) -> None:
        """Tell of a change of an alert."""
        document = {
            "event": event.transition.value,
            "alert_id": event.alert_id,
            "project": event.rule.project,
            "rule": event.rule.name,
            "group": shown(dict(event.group)),
            "severity": event.severity.value,
            "value": event.evidence.value if event.evidence.value == event.evidence.value else None,
            "threshold": event.threshold,
            "unit": event.rule.unit,
            "started_at": rfc3339(event.started_at),
            "fired_at": rfc3339(event.fired_at),
            "resolved_at": None if event.resolved_at is None else rfc3339(event.resolved_at),
            "shadow": event.rule.shadow,
        }
        self._tell("alert", event.rule.project, document)

    def state(self, document: dict[str, Any]) -> None:
        """Tell of a change of the service itself, like new rules in force."""
        self._tell("state", None, document)

    def close(self) -> None:
        """End every stream, so that a stop waits for none."""
        self.closed.set()
        for listener in self._listening:
            listener.wake.set()

    def _tell(self, kind: str, project: str | None, document: dict[str, Any]) -> None:
        self._number += 1
        frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (self._number, kind.encode(), orjson.dumps(document))
        entry = (self._number, project, frame)
        self._kept.append(entry)
        for listener in self._listening:
            listener.offer(entry)

    def listen(self, who: Principal, last: int | None) -> "_Listener | None":
        """Return a new listener, who is told first what it missed; None: there are too many."""
        if len(self._listening) >= _CLIENTS:
            return None
        listener = _Listener(who)
        if last is not None:
            oldest = self._kept[0][0] if self._kept else self._number + 1
            if last > self._number or last + 1 < oldest:
                listener.missed = True
            for entry in self._kept:
                if entry[0] > last:
                    listener.offer(entry)
        self._listening.add(listener)
        return listener

    def leave(self, listener: "_Listener") -> None:
        """Forget a listener."""
        self._listening.discard(listener)


class _Listener:
    """One client."""

    def __init__(self, who: Principal) -> None:
        self._who = who
        self.frames: deque[bytes] = deque()
        self.missed = False
        self.wake = asyncio.Event()

    def offer(self, entry: tuple[int, str | None, bytes]) -> None:
        """Take an event, if it is for this client."""
        _, project, frame = entry
        if project is not None and not self._who.sees(project):
            return
        if len(self.frames) >= _QUEUE:
            self.frames.clear()
            self.missed = True
        self.frames.append(frame)
        self.wake.set()


def events_router(events: Events, *, heartbeat: float = HEARTBEAT_SECONDS) -> APIRouter:
    """Return the route of what happens; a comment is sent every `heartbeat` seconds without an event."""
    router = APIRouter(prefix="/api/v1/events", tags=["events"])

    @router.get("", summary="Alerts as they change (server-sent events)", response_class=StreamingResponse)
    async def stream(request: Request, who: Reader) -> Response:
        """`alert`: one changed. `state`: the service did. `gap`: events were missed; ask for the alerts anew."""
        written = request.headers.get("last-event-id", "")
        last = int(written) if written.isascii() and written.isdigit() and len(written) < 19 else None  # fits 63 bits
        listener = events.listen(who, last)
        if listener is None:
            return problem(503, f"{_CLIENTS} clients listen already; come again later", headers={"retry-after": "5"})
        return StreamingResponse(
            _frames(events, listener, heartbeat),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return router


async def _frames(events: Events, listener: _Listener, heartbeat: float) -> AsyncIterator[bytes]:
    try:
        yield b"retry: 2000\n: welcome\n\n"
        while not events.closed.is_set():
            if listener.missed:
                listener.missed = False
                yield b"event: gap\ndata: {}\n\n"
            while listener.frames:
                yield listener.frames.popleft()
            try:
                async with asyncio.timeout(heartbeat):
                    await listener.wake.wait()
                listener.wake.clear()
            except TimeoutError:
                yield b": still here\n\n"
    finally:
        events.leave(listener)
