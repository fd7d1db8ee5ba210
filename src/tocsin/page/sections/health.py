"""Health: is Tocsin itself in order? Readiness, lag, queues, mistakes in files, notifications that were given up."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from tocsin.api.authorization import Reader, Writer
from tocsin.api.dead_letters import resent
from tocsin.api.paging import Cursor, cursor_of, position_of
from tocsin.api.status import Status
from tocsin.notify.outbox import Outbox
from tocsin.page.forms import Filled
from tocsin.page.shell import Link, Pages, Section, stay
from tocsin.storage.database import Database
from tocsin.storage.dead_letters import dead_letters

__all__ = ["HealthSources", "health_section"]

_PAGE: Final = 25


@dataclass(frozen=True, slots=True)
class HealthSources:
    """What the section asks."""

    status: Status
    database: Database
    outbox: Outbox
    figures: Callable[[], Mapping[str, Any]]
    """Gives what `/api/v1/status` says."""
    lag: Callable[[], int | None]
    """Gives how far event time is behind the wall clock, nanoseconds; None before the first span."""
    self_alerts: Callable[[], Sequence[tuple[str, Mapping[str, str]]]]
    """Gives name and group of the alerts about Tocsin itself."""


def health_section(pages: Pages, sources: HealthSources) -> Section:
    """Return the section of health."""
    router = pages.routes()

    @router.get("/health")
    async def health(request: Request, who: Reader, cursor: Cursor = None) -> Response:
        """A token that is bound to projects sees its own dead letters, and no mistakes of files."""
        position = position_of(cursor, int, str, str)
        after = None if position is None else (int(position[0]), str(position[1]), str(position[2]))
        async with sources.database.connection() as connection:
            letters = await dead_letters(connection, limit=_PAGE, projects=who.projects, after=after)
        everywhere = who.projects is None
        last = letters[-1] if len(letters) == _PAGE else None
        status = sources.status
        return pages.render(
            request,
            "health.html",
            service=status,
            ready=status.ready and not status.stopping,
            problems=status.rule_errors if everywhere else (),
            degraded=status.degraded() if everywhere else {},
            figures=sources.figures(),
            lag=sources.lag(),
            queued=len(sources.outbox),
            unwritten=sources.database.unwritten,
            firing=sources.self_alerts() if everywhere else (),
            letters=letters,
            first=cursor is None,
            following=last and cursor_of(last.finished, last.event_id, last.contact_point),
            now=time.time_ns(),
        )

    @router.post("/health/resend")
    async def resend(request: Request, who: Writer, form: Filled) -> Response:
        """Deliver a notification that was given up, under its old id."""
        await resent(sources.database, sources.outbox, form["letter"], who)
        return stay(request, "/health", "It is on its way again, with a day of retries before it.")

    return Section(router, Link("/health", "Health"))
