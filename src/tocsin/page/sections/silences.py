"""Silences: who is not told of what, for how long, and which alerts that is about."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import HTTPException, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from tocsin.api.authorization import Reader, Writer
from tocsin.api.editing import FieldProblem, RejectedError
from tocsin.api.paging import Cursor, cursor_of, position_of
from tocsin.api.silences import NewSilence, Routes, may_see, silence_of
from tocsin.notify.routing.matchers import Matcher, Operator
from tocsin.notify.routing.silences import Silence, SilenceState
from tocsin.page.forms import Filled, Form
from tocsin.page.shell import Link, Pages, Section, done, stay
from tocsin.security.roles import Principal
from tocsin.storage.database import Database
from tocsin.storage.silences import silence, silences

__all__ = ["silences_section"]

_PAGE: Final = 100
_SHOWN: Final = 20
_MOST_MATCHERS: Final = 50
_DURATIONS: Final = ("30m", "1h", "2h", "8h", "24h", "7d")
_NEW: Final = {"matchers": "", "starts_at": "", "duration": "2h", "comment": ""}


def silences_section(pages: Pages, database: Database, routes: Routes) -> Section:
    """Return the section of silences."""
    router = pages.routes()

    @router.get("/silences")
    async def table(
        request: Request,
        who: Reader,
        state: Annotated[str, Query(pattern="^(pending|active|expired|)$")] = "",
        cursor: Cursor = None,
    ) -> Response:
        """The last to end first."""
        position = position_of(cursor, int, str)
        after = None if position is None else (int(position[0]), str(position[1]))
        now = time.time_ns()
        chosen = SilenceState(state) if state else None
        async with database.connection() as connection:
            found = await silences(connection, now, limit=_PAGE, state=chosen, after=after)
        return pages.render(
            request,
            "silences.html",
            silences=[one for one in found if may_see(who, one.matchers)],
            state=state,
            first=cursor is None,
            following=cursor_of(found[-1].ends_at, found[-1].id) if len(found) == _PAGE else None,
            now=now,
        )

    def form(request: Request, fields: Mapping[str, str], wrong: Mapping[str, str], status: int = 200) -> Response:
        return pages.render(
            request, "silence_new.html", status=status, fields=fields, wrong=wrong, durations=_DURATIONS
        )

    @router.get("/silences/new")
    async def new(request: Request, _: Writer) -> Response:
        """The form; `?rule=NAME&group.LABEL=VALUE` fills it in, as links in notifications do."""
        return form(request, {**_NEW, "matchers": "\n".join(_named(request))}, {})

    @router.post("/silences/preview")
    async def preview(request: Request, who: Writer, filled: Filled) -> Response:
        """Which alerts it would hold back, as a part of the form."""
        try:
            made = _made(filled, who)
        except RejectedError as error:
            wrong = "; ".join(problem.detail for problem in error.problems)
            return pages.render(request, "silence_preview.html", wrong=wrong, found=[], more=0)
        found = [event for event in routes.matching(made.matchers) if who.sees(event.rule.project)]
        return pages.render(
            request, "silence_preview.html", wrong="", found=found[:_SHOWN], more=max(0, len(found) - _SHOWN)
        )

    @router.post("/silences")
    async def add(request: Request, who: Writer, filled: Filled) -> Response:
        """In force at once."""
        try:
            made = _made(filled, who)
        except RejectedError as error:
            wrong = {_field(problem.field): problem.detail for problem in error.problems}
            return form(request, {name: filled.raw(name) for name in _NEW}, wrong, status=422)
        await routes.silence(made)
        return done(request, "/silences", "The silence is in force." if made.starts_at <= time.time_ns() else "Kept.")

    @router.post("/silences/{silence_id}/end")
    async def end(request: Request, silence_id: str, who: Writer) -> Response:
        """Now; it is kept, as expired."""
        found = await _found(database, silence_id, who)
        if not await routes.end_silence(found.id, who.name):
            raise HTTPException(409, "it is over already")
        return stay(request, "/silences", "The silence has ended. Who was silenced is told of what still fires.")

    return Section(router, Link("/silences", "Silences"))


async def _found(database: Database, silence_id: str, who: Principal) -> Silence:
    async with database.connection() as connection:
        found = await silence(connection, silence_id)
    if found is None or not may_see(who, found.matchers):
        raise HTTPException(404)
    return found


def _named(request: Request) -> Sequence[str]:
    """Return matchers for the labels that an address names."""
    found = []
    for name, value in request.query_params.multi_items()[:_MOST_MATCHERS]:
        try:
            found.append(str(Matcher.of(name, Operator.EQUAL, value)))
        except ValueError:
            continue  # a link that was cut short says less
    return found


def _made(filled: Form, who: Principal) -> Silence:
    """Return the silence that a form asks for.

    Raises:
        RejectedError: there can be none like it.
        HTTPException: they may not.
    """
    fields: dict[str, Any] = {
        "matchers": [line.strip() for line in filled.raw("matchers").splitlines() if line.strip()],
        "duration": filled["duration"] or None,
        "comment": filled["comment"],
    }
    try:
        if filled["starts_at"]:
            # Browsers send a local time without a zone; the field says that it is UTC.
            fields["starts_at"] = datetime.fromisoformat(filled["starts_at"]).replace(tzinfo=UTC)
        return silence_of(NewSilence.model_validate(fields), who)
    except ValidationError as error:
        raise RejectedError(
            [FieldProblem(str(one["loc"][0]) if one["loc"] else "", one["msg"]) for one in error.errors()]
        ) from error
    except ValueError as error:
        raise RejectedError([FieldProblem("starts_at", "no moment; leave it empty for now")]) from error


def _field(name: str) -> str:
    return "duration" if name == "ends_at" else name
