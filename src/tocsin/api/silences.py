"""`/api/v1/silences`: when nobody is told of what; `/api/v1/alerts/{id}/acknowledge`: somebody looks after it."""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import AlertState
from tocsin.api.alerts import unavailable
from tocsin.api.authorization import Reader, Writer
from tocsin.api.editing import FieldProblem, RejectedError
from tocsin.api.paging import Cursor, Limit, cursor_of, nanoseconds_of, position_of
from tocsin.api.problems import problem
from tocsin.errors import OverloadedError
from tocsin.model.settings import nanoseconds, parse_duration
from tocsin.notify.message import rfc3339
from tocsin.notify.routing.matchers import Matchers, Operator, parse_matchers
from tocsin.notify.routing.silences import Silence, SilenceState, new_silence_id
from tocsin.security.roles import Principal
from tocsin.storage.alerts import AlertRow, alert
from tocsin.storage.database import Database
from tocsin.storage.silences import silence, silences

__all__ = [
    "NewSilence",
    "Once",
    "Routes",
    "acknowledge_router",
    "acknowledged",
    "document_of",
    "may_see",
    "silence_of",
    "silences_router",
]

LONGEST: Final = timedelta(days=366)
_SHOWN: Final = 200
Once = Callable[[Request, Callable[[], Awaitable[Response]]], Awaitable[Response]]
"""Answers a request with the answer that it had before, where it has an idempotency key."""


class Routes(Protocol):
    """What is asked of routing."""

    async def silence(self, made: Silence) -> None:
        """Keep a silence, in force at once."""
        ...

    async def end_silence(self, silence_id: str, who: str, version: str | None = None) -> bool:
        """End a silence now; return whether it was pending or active, and of that version."""
        ...

    def matching(self, matchers: Matchers) -> Sequence[AlertEvent]:
        """Return the alerts that fire and that a silence would hold back."""
        ...

    async def acknowledge(self, alert_id: str, who: str) -> bool:
        """Note that somebody looks after an alert; return whether nobody did before."""
        ...


class NewSilence(BaseModel):
    """What a silence is made of."""

    model_config = ConfigDict(extra="forbid")

    matchers: list[Annotated[str, Field(max_length=2_500)]] | dict[str, Any] = Field(
        description='`["severity=\\"critical\\"", "team=~\\"a|b\\""]`, or `{"rule": "runaway"}`; all must hold.'
    )
    starts_at: AwareDatetime | None = Field(default=None, description="RFC 3339; now if left out.")
    ends_at: AwareDatetime | None = Field(default=None, description="RFC 3339; or `duration`.")
    duration: Annotated[str, Field(max_length=40)] | None = Field(default=None, description="From the start: `2h`.")
    comment: Annotated[str, Field(max_length=2_000)] = ""


def silences_router(database: Database, routes: Routes, once: Once | None = None) -> APIRouter:
    """Return the routes of the silences in `database`; `routes` puts them in force."""
    router = APIRouter(prefix="/api/v1/silences", tags=["silences"])

    @router.get("", summary="Silences, the last to end first")
    async def list_silences(
        who: Reader, state: SilenceState | None = None, limit: Limit = 100, cursor: Cursor = None
    ) -> JSONResponse:
        """`pending`, `active` and `expired` ones, or those of one state."""
        position = position_of(cursor, int, str)
        after = None if position is None else (int(position[0]), str(position[1]))
        now = time.time_ns()
        try:
            async with database.connection() as connection:
                found = await silences(connection, now, limit=limit, state=state, after=after)
        except OverloadedError as error:
            return unavailable(error)
        last = cursor_of(found[-1].ends_at, found[-1].id) if len(found) == limit else None
        shown = [document_of(one, now) for one in found if may_see(who, one.matchers)]
        return JSONResponse({"silences": shown, "next_cursor": last})

    @router.post("", status_code=201, summary="Silence alerts for a while")
    async def add(new: NewSilence, request: Request, who: Writer) -> Response:
        """In force at once. Matchers see `rule`, `project`, `severity`, the rule's labels and the group's values."""

        async def make() -> Response:
            try:
                made = silence_of(new, who)
                await routes.silence(made)
            except RejectedError as error:
                return _refused(error)
            except OverloadedError as error:
                return unavailable(error)
            return _shown(made, 201, {"location": f"/api/v1/silences/{made.id}"})

        return await (make() if once is None else once(request, make))

    @router.post("/preview", summary="Which alerts would a silence hold back?")
    async def preview(new: NewSilence, who: Writer) -> JSONResponse:
        """The alerts that fire now and match, whatever the times; nothing is kept."""
        try:
            made = silence_of(new, who)
        except RejectedError as error:
            return _refused(error)
        found = [event for event in routes.matching(made.matchers) if who.sees(event.rule.project)]
        return JSONResponse({"count": len(found), "alerts": [_alert(event) for event in found[:_SHOWN]]})

    @router.get("/{silence_id}", summary="One silence")
    async def one(silence_id: str, who: Reader) -> Response:
        """With its state, and its `ETag`."""
        try:
            return _shown(await _found(database, silence_id, who))
        except OverloadedError as error:
            return unavailable(error)

    @router.delete("/{silence_id}", summary="End a silence now")
    async def end(silence_id: str, request: Request, who: Writer) -> Response:
        """It is kept, as expired; who was silenced is told of what still fires. `If-Match` guards against a change."""
        wanted = request.headers.get("if-match")
        try:
            found = await _found(database, silence_id, who)
            if wanted not in (None, "*", f'"{found.version}"'):
                return problem(412, "the silence was changed meanwhile; get it again")
            version = None if wanted in (None, "*") else found.version
            if not await routes.end_silence(found.id, who.name, version):
                return problem(409, "the silence is over already, or was changed meanwhile")
            return _shown(await _found(database, silence_id, who))
        except OverloadedError as error:
            return unavailable(error)

    return router


def acknowledge_router(database: Database, routes: Routes) -> APIRouter:
    """Return the route by which somebody says that they look after an alert."""
    router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

    @router.post("/{alert_id}/acknowledge", summary="Look after an alert: no reminders until it ends")
    async def acknowledge(alert_id: str, who: Writer) -> JSONResponse:
        """The first one counts; again changes nothing. What gets worse is told all the same."""
        try:
            found = await acknowledged(database, routes, alert_id, who)
        except OverloadedError as error:
            return unavailable(error)
        return JSONResponse(
            {
                "id": alert_id,
                "acknowledged_at": found.acknowledged_at and rfc3339(found.acknowledged_at),
                "acknowledged_by": found.acknowledged_by,
            }
        )

    return router


async def acknowledged(database: Database, routes: Routes, alert_id: str, who: Principal) -> AlertRow:
    """Note that somebody looks after an alert, and return the alert; who did so first, stays.

    Raises:
        HTTPException: there is no such alert for them, or it is over.
        OverloadedError: the database can't be used at present.
    """
    async with database.connection() as connection:
        found = await alert(connection, alert_id)
    if found is None or not who.sees(found.project):
        raise HTTPException(404)
    if found.state is not AlertState.FIRING:
        raise HTTPException(409, "the alert is over")
    await routes.acknowledge(alert_id, who.name)
    async with database.connection() as connection:
        found = await alert(connection, alert_id)
    if found is None or found.acknowledged_at is None:
        raise HTTPException(409, "the alert is over")
    return found


def document_of(one: Silence, now: int) -> dict[str, Any]:
    """Return a silence as JSON values; `now`: the wall clock, Unix nanoseconds."""
    return {
        "id": one.id,
        "state": one.state(now).value,
        "matchers": [str(matcher) for matcher in one.matchers],
        "starts_at": rfc3339(one.starts_at),
        "ends_at": rfc3339(one.ends_at),
        "comment": one.comment,
        "created_by": one.created_by,
        "created_at": rfc3339(one.created_at),
        "ended_by": one.ended_by or None,
    }


def silence_of(new: NewSilence, who: Principal) -> Silence:
    """Return the silence that somebody asks for; it is not in force yet.

    Raises:
        RejectedError: there can be none like it.
        HTTPException: they may not silence what it would.
    """
    try:
        matchers = parse_matchers(new.matchers)
    except ValueError as error:
        raise _mistake("matchers", str(error)) from error
    if not matchers:
        raise _mistake("matchers", "none; name at least one, or everything would be silent")
    if not may_see(who, matchers):
        raise HTTPException(403, 'this token is of some projects; add a matcher project="NAME" of one of them')
    now = time.time_ns()
    starts_at = nanoseconds_of(new.starts_at) or now
    ends_at = _end_of(new, starts_at)
    if ends_at <= starts_at or ends_at <= now:
        raise _mistake("ends_at", "not after the start, or over already")
    if ends_at - starts_at > nanoseconds(LONGEST):
        raise _mistake("ends_at", "longer than a year; a rule that nobody wants to hear of can be disabled")
    return Silence(new_silence_id(), matchers, starts_at, ends_at, new.comment, who.name, now, now)


def _end_of(new: NewSilence, starts_at: int) -> int:
    if (new.ends_at is None) == (new.duration is None):
        raise _mistake("ends_at", "give either ends_at or duration")
    if new.duration is None:
        return nanoseconds_of(new.ends_at) or 0
    try:
        return starts_at + nanoseconds(parse_duration(new.duration))
    except ValueError as error:
        raise _mistake("duration", str(error)) from error


def may_see(who: Principal, matchers: Matchers) -> bool:
    """Whether whatever they match is of projects that exist for them."""
    if who.projects is None:
        return True
    return any(one.name == "project" and one.operator is Operator.EQUAL and who.sees(one.value) for one in matchers)


async def _found(database: Database, silence_id: str, who: Principal) -> Silence:
    async with database.connection() as connection:
        found = await silence(connection, silence_id)
    if found is None or not may_see(who, found.matchers):
        raise HTTPException(404)
    return found


def _shown(one: Silence, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    tagged = {"etag": f'"{one.version}"', **(headers or {})}
    return JSONResponse(document_of(one, time.time_ns()), status_code=status, headers=tagged)


def _alert(event: AlertEvent) -> dict[str, Any]:
    return {
        "id": event.alert_id,
        "project": event.rule.project,
        "rule": event.rule.name,
        "severity": event.severity.value,
        "group": {name: value.encode("utf-8", "replace").decode() for name, value in event.group.items()},
    }


def _mistake(field: str, detail: str) -> RejectedError:
    return RejectedError([FieldProblem(field, detail)])


def _refused(error: RejectedError) -> JSONResponse:
    return problem(422, "the silence is not valid", errors=[one.document() for one in error.problems])
