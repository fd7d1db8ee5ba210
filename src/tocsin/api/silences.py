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
from tocsin.api.paging import Cursor, Limit, cursor_of, nanoseconds_of, position_of
from tocsin.api.problems import problem
from tocsin.errors import OverloadedError
from tocsin.model.settings import nanoseconds, parse_duration
from tocsin.notify.message import rfc3339
from tocsin.notify.routing.matchers import Matchers, Operator, parse_matchers
from tocsin.notify.routing.silences import Silence, SilenceState, new_silence_id
from tocsin.security.roles import Principal
from tocsin.storage.alerts import alert
from tocsin.storage.database import Database
from tocsin.storage.silences import silence, silences

__all__ = ["Once", "Routes", "acknowledge_router", "document_of", "silences_router"]

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


class _NewSilence(BaseModel):
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
        shown = [document_of(one, now) for one in found if _sees(who, one.matchers)]
        return JSONResponse({"silences": shown, "next_cursor": last})

    @router.post("", status_code=201, summary="Silence alerts for a while")
    async def add(new: _NewSilence, request: Request, who: Writer) -> Response:
        """In force at once. Matchers see `rule`, `project`, `severity`, the rule's labels and the group's values."""

        async def make() -> Response:
            made = _made(new, who)
            if isinstance(made, JSONResponse):
                return made
            try:
                await routes.silence(made)
            except OverloadedError as error:
                return unavailable(error)
            return _shown(made, 201, {"location": f"/api/v1/silences/{made.id}"})

        return await (make() if once is None else once(request, make))

    @router.post("/preview", summary="Which alerts would a silence hold back?")
    async def preview(new: _NewSilence, who: Writer) -> JSONResponse:
        """The alerts that fire now and match, whatever the times; nothing is kept."""
        made = _made(new, who)
        if isinstance(made, JSONResponse):
            return made
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
            async with database.connection() as connection:
                found = await alert(connection, alert_id)
            if found is None or not who.sees(found.project):
                raise HTTPException(404)
            if found.state is not AlertState.FIRING:
                return problem(409, "the alert is over")
            await routes.acknowledge(alert_id, who.name)
            async with database.connection() as connection:
                found = await alert(connection, alert_id)
        except OverloadedError as error:
            return unavailable(error)
        if found is None or found.acknowledged_at is None:
            return problem(409, "the alert is over")
        return JSONResponse(
            {
                "id": alert_id,
                "acknowledged_at": rfc3339(found.acknowledged_at),
                "acknowledged_by": found.acknowledged_by,
            }
        )

    return router


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


def _made(new: _NewSilence, who: Principal) -> Silence | JSONResponse:
    """Return the silence, or why there can be none."""
    try:
        matchers = parse_matchers(new.matchers)
    except ValueError as error:
        return _refused("matchers", str(error))
    if not matchers:
        return _refused("matchers", "none; name at least one, or everything would be silent")
    if not _sees(who, matchers):
        return problem(403, 'this token is of some projects; add a matcher project="NAME" of one of them')
    now = time.time_ns()
    starts_at = nanoseconds_of(new.starts_at) or now
    ends_at = _end_of(new, starts_at)
    if isinstance(ends_at, JSONResponse):
        return ends_at
    if ends_at <= starts_at or ends_at <= now:
        return _refused("ends_at", "not after the start, or over already")
    if ends_at - starts_at > nanoseconds(LONGEST):
        return _refused("ends_at", "longer than a year; a rule that nobody wants to hear of can be disabled")
    return Silence(new_silence_id(), matchers, starts_at, ends_at, new.comment, who.name, now, now)


def _end_of(new: _NewSilence, starts_at: int) -> int | JSONResponse:
    if (new.ends_at is None) == (new.duration is None):
        return _refused("ends_at", "give either ends_at or duration")
    if new.duration is None:
        return nanoseconds_of(new.ends_at) or 0
    try:
        return starts_at + nanoseconds(parse_duration(new.duration))
    except ValueError as error:
        return _refused("duration", str(error))


def _sees(who: Principal, matchers: Matchers) -> bool:
    """Whether whatever they match is of projects that exist for them."""
    if who.projects is None:
        return True
    return any(one.name == "project" and one.operator is Operator.EQUAL and who.sees(one.value) for one in matchers)


async def _found(database: Database, silence_id: str, who: Principal) -> Silence:
    async with database.connection() as connection:
        found = await silence(connection, silence_id)
    if found is None or not _sees(who, found.matchers):
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


def _refused(field: str, detail: str) -> JSONResponse:
    return problem(422, "the silence is not valid", errors=[{"field": field, "detail": detail}])
