"""`/api/v1/dead-letters`: notifications that were given up, and sending them after all."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import JSONResponse

from tocsin.api.alerts import unavailable
from tocsin.api.authorization import Reader, requires
from tocsin.api.paging import Cursor, Limit, cursor_of, position_of
from tocsin.errors import OverloadedError
from tocsin.notify.outbox import Outbox
from tocsin.security.roles import Principal, Role
from tocsin.storage.database import Database
from tocsin.storage.dead_letters import dead_letters, parse_letter_id, project_of

__all__ = ["dead_letters_router", "resent"]


def dead_letters_router(database: Database, outbox: Outbox) -> APIRouter:
    """Return the routes of the dead letters in `database`, which `outbox` sends again."""
    router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])

    @router.get("", summary="Notifications that were given up, the latest first")
    async def list_letters(
        who: Reader,
        contact_point: Annotated[str | None, Query(max_length=1024)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> JSONResponse:
        """What was not delivered, to whom, and why."""
        position = position_of(cursor, int, str, str)
        after = None if position is None else (int(position[0]), str(position[1]), str(position[2]))
        try:
            async with database.connection() as connection:
                found = await dead_letters(
                    connection, limit=limit, contact_point=contact_point, projects=who.projects, after=after
                )
        except OverloadedError as error:
            return unavailable(error)
        last = found[-1] if len(found) == limit else None
        return JSONResponse(
            {
                "dead_letters": [one.document() for one in found],
                "next_cursor": last and cursor_of(last.finished, last.event_id, last.contact_point),
            }
        )

    # The contact point's name is part of the id, and may hold a slash.
    @router.post("/{letter_id:path}/resend", status_code=202, summary="Send one after all")
    async def resend(letter_id: str, who: Annotated[Principal, Depends(requires(Role.WRITE))]) -> JSONResponse:
        """Deliver it under its old id, with a day of retries before it."""
        try:
            await resent(database, outbox, letter_id, who)
        except OverloadedError as error:
            return unavailable(error)
        return JSONResponse({"id": letter_id, "status": "waiting"}, status_code=202)

    return router


async def resent(database: Database, outbox: Outbox, letter_id: str, who: Principal) -> None:
    """Have a notification that was given up sent after all.

    Raises:
        HTTPException: there is no such letter for them, or it can't be sent now.
        OverloadedError: the database can't be used at present.
    """
    try:
        event_id, contact_point = parse_letter_id(letter_id)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    async with database.connection() as connection:
        project = await project_of(connection, event_id, contact_point)
    if project is None or not who.sees(project):
        raise HTTPException(404)
    try:
        sent = await outbox.resend(contact_point, event_id)
    except LookupError as error:
        there = ", ".join(outbox.contact_points) or "none"
        raise HTTPException(409, f"there is no contact point {contact_point!r} now; there are: {there}") from error
    if not sent:
        raise HTTPException(409, "its event can't be read any more, or somebody else has it sent just now")
