"""The alerts: what fires, what did, and of each one its evidence, who was told, and what to do about it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from tocsin.alerts.event import Transition
from tocsin.alerts.state import AlertState
from tocsin.api.alerts import Units
from tocsin.api.authorization import Reader, Writer
from tocsin.api.blocks import Everywhere
from tocsin.api.paging import Cursor, cursor_of, position_of
from tocsin.api.silences import Routes, acknowledged
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.notify.link import Links
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.routing.decision import Reason
from tocsin.page.forms import Filled
from tocsin.page.sections.blocks import TTLS, blocked
from tocsin.page.shell import Link, Pages, Section, done, stay
from tocsin.rules.rule import Severity
from tocsin.security.roles import Principal
from tocsin.storage.alerts import AlertFilter, AlertRow, Label, Told, alert, alerts, story_of
from tocsin.storage.database import Database

__all__ = ["AlertSources", "alerts_section"]

_FIRING: Final = 200
_PAGE: Final = 50
_SHORT: Final = 256
_WAIT_SECONDS: Final = 0.5
_HELD: Final = {
    Reason.SILENCED: "silenced",
    Reason.MUTED: "muted at this time",
    Reason.INHIBITED: "inhibited by another alert",
    Reason.ACKNOWLEDGED: "no reminder: acknowledged",
    Reason.REPEAT: "too soon after the last message",
    Reason.UNHEARD: "was not told that it fired",
    Reason.NO_ROUTE: "no route leads anywhere",
}


@dataclass(frozen=True, slots=True)
class AlertSources:
    """What the section asks."""

    database: Database
    routes: Routes
    blocks: Blocks
    units: Units
    writer: Callable[[], MessageWriter]
    """Gives what writes messages under the present configuration."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A line of an alert's story."""

    told: Told
    message: Message | None


def alerts_section(pages: Pages, sources: AlertSources) -> Section:
    """Return the section of alerts."""
    router = pages.routes()

    @router.get("/alerts")
    async def table(
        request: Request,
        who: Reader,
        state: Annotated[str, Query(pattern="^(firing|resolved|)$")] = "",
        severity: Annotated[str, Query(pattern="^(critical|high|medium|low|)$")] = "",
        rule: Annotated[str, Query(max_length=_SHORT)] = "",
        group: Annotated[str, Query(max_length=_SHORT)] = "",
        cursor: Cursor = None,
    ) -> Response:
        """What fires now, and what did, page by page."""
        shown = {"state": state, "severity": severity, "rule": rule, "group": group}
        position = position_of(cursor, int, str)
        after = None if position is None else (int(position[0]), str(position[1]))
        chosen = [_chosen(who, AlertState(each), severity, rule, group) for each in ("firing", "resolved")]
        firing: Sequence[AlertRow] = ()
        past: Sequence[AlertRow] = ()
        await _caught_up(sources.database)
        async with sources.database.connection() as connection:
            if state != "resolved" and cursor is None:
                firing = await alerts(connection, chosen[0], limit=_FIRING)
            if state != "firing":
                past = await alerts(connection, chosen[1], limit=_PAGE, after=after)
        following = cursor_of(past[-1].fired_at, past[-1].id) if len(past) == _PAGE else None
        worst = sorted(firing, key=lambda row: (row.acknowledged_at is not None, -row.severity.rank, -row.fired_at))
        return pages.render(
            request,
            "alerts.html",
            firing=worst,
            past=past,
            units=sources.units(),
            shown=shown,
            filtered=any(shown.values()),
            first=cursor is None,
            following=following,
            more=len(firing) == _FIRING,
            matchers_of=_matchers,
            severities=[str(each) for each in reversed(Severity)],
        )

    @router.get("/alerts/{alert_id}")
    async def one(request: Request, alert_id: str, who: Reader) -> Response:
        """One alert."""
        await _caught_up(sources.database)
        async with sources.database.connection() as connection:
            found = await alert(connection, alert_id)
            if found is None or not who.sees(found.project):
                raise HTTPException(404)
            story = await story_of(connection, alert_id)
        writer = sources.writer()
        steps = [_Step(told, None if told.event is None else writer.message_of(told.event)) for told in story]
        latest = next((step.message for step in reversed(steps) if step.message is not None), None)
        evidence = _telling(steps) or latest
        return pages.render(
            request,
            "alert.html",
            alert=found,
            steps=steps[::-1],
            latest=latest,
            evidence=evidence,
            addresses=latest.links if latest is not None else Links(None, None, None, None),
            unit=latest.event.rule.unit if latest is not None else "",
            matchers=_matchers(found),
            held=_HELD,
            ttls=TTLS,
            may_block=who.projects is None,
            blocked=_blocked(sources.blocks, found),
            now=time.time_ns(),
        )

    _add_actions(router, sources)
    return Section(router, Link("/alerts", "Alerts"))


def _add_actions(router: APIRouter, sources: AlertSources) -> None:
    @router.post("/alerts/{alert_id}/acknowledge")
    async def acknowledge(request: Request, alert_id: str, who: Writer) -> Response:
        """Somebody looks after it."""
        found = await acknowledged(sources.database, sources.routes, alert_id, who)
        return stay(request, f"/alerts/{found.id}", f"Acknowledged: no reminders of {found.rule} until it ends.")

    @router.post("/alerts/{alert_id}/block")
    async def block(request: Request, alert_id: str, who: Everywhere, form: Filled) -> Response:
        """Applications are to refuse calls for one of its group's values."""
        async with sources.database.connection() as connection:
            found = await alert(connection, alert_id)
        if found is None or form["label"] not in found.group:
            raise HTTPException(404)
        made = await blocked(
            sources.blocks,
            sources.database,
            who,
            {
                "label": form["label"],
                "value": found.group[form["label"]],
                "ttl": form["ttl"],
                "reason": form["reason"],
            },
        )
        return done(request, f"/alerts/{alert_id}", f"Blocked: {made.label} {made.value}.")


async def _caught_up(database: Database) -> None:
    """Wait a moment for what is written behind: who is told of an alert and looks, is to find it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_WAIT_SECONDS):
            await database.settled()


def _chosen(who: Principal, state: AlertState, severity: str, rule: str, group: str) -> AlertFilter:
    name, equals, value = group.partition("=")
    labels = [Label(name.strip(), value.strip())] if equals else [Label(None, group.strip())]
    return AlertFilter(
        state=state,
        projects=who.projects,
        rule=rule.strip() or None,
        severity=Severity(severity) if severity else None,
        group=tuple(labels) if group.strip() else (),
    )


def _telling(steps: Sequence[_Step]) -> Message | None:
    """Return the latest message that shows why it fires: at its end the value says little."""
    for step in reversed(steps):
        if step.message is not None and step.message.event.transition in (Transition.FIRING, Transition.REMINDER):
            return step.message
    return None


def _blocked(blocks: Blocks, row: AlertRow) -> list[Block]:
    """Return the blocks of the group's values; that a key is blocked is no secret, see `api.blocks`."""
    found = (blocks.check({name: value}) for name, value in row.group.items())
    return [block for block in found if block is not None]


def _matchers(row: AlertRow) -> dict[str, str]:
    """Return the query by which the page of silences is filled in for an alert."""
    return {
        "project": row.project,
        "rule": row.rule,
        **{f"group.{name}": value for name, value in row.group.items()},
    }
