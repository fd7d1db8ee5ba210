"""The kill switch: what is blocked, by whom and why, and one click to let it through again."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Final

from fastapi import HTTPException, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from tocsin.api.authorization import Reader, Writer
from tocsin.api.blocks import Everywhere, NewBlock, kept, lifted, may_touch
from tocsin.api.paging import Cursor, cursor_of, position_of
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.page.forms import Filled
from tocsin.page.shell import Link, Pages, Section, done, stay
from tocsin.security.roles import Principal
from tocsin.storage.blocks import block_history
from tocsin.storage.database import Database

__all__ = ["TTLS", "blocked", "blocks_section"]

TTLS: Final = ("15m", "1h", "4h", "24h", "7d")
"""How long a block may last, for a choice."""
_SHOWN: Final = 200
_PAGE: Final = 50
_LABELS: Final = ("conversation", "tenant", "agent", "user", "model")
_WHY: Final = "lifted by hand"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the form has, and what is wrong with it."""

    fields: Mapping[str, str]
    wrong: Mapping[str, str]


def blocks_section(pages: Pages, blocks: Blocks, database: Database) -> Section:
    """Return the section of blocks."""
    router = pages.routes()

    async def table(
        request: Request, who: Principal, asked: _Asked, cursor: str | None = None, status: int = 200
    ) -> Response:
        position = position_of(cursor, int, str)
        after = None if position is None else (int(position[0]), str(position[1]))
        async with database.connection() as connection:
            past = await block_history(connection, limit=_PAGE, projects=who.projects, after=after)
        found = list(islice((block for block in blocks.latest_first() if may_touch(who, block)), _SHOWN + 1))
        return pages.render(
            request,
            "blocks.html",
            status=status,
            blocks=found[:_SHOWN],
            more=len(found) > _SHOWN,
            changes=past,
            first=cursor is None,
            following=cursor_of(past[-1].at, past[-1].id) if len(past) == _PAGE else None,
            asked=asked,
            labels=_LABELS,
            ttls=TTLS,
            may_block=who.projects is None,
        )

    @router.get("/blocks")
    async def listed(
        request: Request,
        who: Reader,
        label: Annotated[str, Query(max_length=128)] = "",
        value: Annotated[str, Query(max_length=4096)] = "",
        cursor: Cursor = None,
    ) -> Response:
        """What is blocked now, and what was; the form may be filled in by the address."""
        return await table(
            request,
            who,
            _Asked({"label": label or "conversation", "value": value, "ttl": "1h", "reason": ""}, {}),
            cursor,
        )

    @router.post("/blocks")
    async def add(request: Request, who: Everywhere, form: Filled) -> Response:
        """Block a key."""
        fields = {name: form[name] for name in ("label", "value", "ttl", "reason")}
        try:
            made = await blocked(blocks, database, who, fields)
        except _WrongError as error:
            return await table(request, who, _Asked(fields, error.fields), status=422)
        return done(request, "/blocks", f"Blocked: {made.label} {made.value}.")

    @router.post("/blocks/lift")
    async def lift(request: Request, who: Writer, form: Filled) -> Response:
        """Let calls for a block's key through again."""
        gone = lifted(blocks, who, blocks.find(form["block"]), form["reason"][:1000] or _WHY)
        await kept(database)
        return stay(request, "/blocks", f"Not blocked any more: {gone.label} {gone.value}.")

    return Section(router, Link("/blocks", "Blocks"))


class _WrongError(HTTPException):
    """A form that can't be used; `fields` says what is wrong where."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(422, "; ".join(f"{name}: {text}" if name else text for name, text in fields.items()))
        self.fields = fields


async def blocked(blocks: Blocks, database: Database, who: Principal, fields: Mapping[str, str]) -> Block:
    """Block a key as the API does, and return the block once it is on disk, or takes its time to get there.

    Args:
        blocks: in force at once.
        database: keeps them.
        who: of the history.
        fields: `label`, `value`, `ttl` and `reason`.

    Raises:
        HTTPException: it can't be done; the text says why.
        OverloadedError: too many keys are blocked.
    """
    try:
        asked = NewBlock.model_validate(fields)
    except ValidationError as error:
        raise _WrongError(
            {
                str(one["loc"][-1]) if one["loc"] else "ttl": one["msg"].removeprefix("Value error, ")
                for one in error.errors()
            }
        ) from error
    made = blocks.block(asked.label, asked.value, until=asked.end(blocks.now), by=who.name, reason=asked.reason)
    await kept(database)
    return made
