"""`/api/v1/blocks`: the kill switch by hand, and the question before each call, for programs and for proxies.

That a key is blocked holds for everybody, whatever projects there are, so everybody who may read may ask. A token
that is bound to projects sees and lifts what rules of these did, learns nothing but the end of other blocks, and blocks
nothing by hand: it would stop applications of others.
"""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tocsin.api.alerts import unavailable
from tocsin.api.authorization import Reader, Writer, requires
from tocsin.api.blocks_watch import add_watch
from tocsin.api.paging import Cursor, Limit, cursor_of, nanoseconds_of, position_of
from tocsin.api.problems import problem
from tocsin.errors import OverloadedError
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.guard.config import GuardConfig
from tocsin.guard.service import seen_by
from tocsin.model.settings import Duration, nanoseconds
from tocsin.notify.message import rfc3339
from tocsin.security.roles import Principal, Role
from tocsin.storage.blocks import PastChange, block_history
from tocsin.storage.database import Database
from tocsin.telemetry import guard as telemetry

__all__ = ["Everywhere", "NewBlock", "blocks_router", "kept", "lifted", "may_touch"]

_MOST_LABELS: Final = 32
_LONGEST_LABEL: Final = 128
_LONGEST_VALUE: Final = 4096
_LONGEST_REASON: Final = 1000
_LONGEST_NS: Final = 366 * 86_400 * 1_000_000_000
_SAFE_SECONDS: Final = 5.0
"""So long an answer waits until the change is on disk; past it the change holds all the same, and the answer tells."""
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_Label = Annotated[str | None, Query(max_length=_LONGEST_LABEL)]
_Value = Annotated[str | None, Query(max_length=_LONGEST_VALUE)]
_Why = Annotated[str, Query(min_length=1, max_length=_LONGEST_REASON, description="Of the history.")]
Everywhere = Annotated[Principal, Depends(requires(Role.WRITE, everywhere=True))]
"""Of a route's parameter: whoever may change what concerns all projects."""


class NewBlock(BaseModel):
    """What is to be blocked, and for how long."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    label: str = Field(min_length=1, max_length=_LONGEST_LABEL, examples=["conversation"])
    value: str = Field(min_length=1, max_length=_LONGEST_VALUE, examples=["conv-42"])
    ttl: Duration | None = Field(default=None, examples=["1h"])
    """From now."""
    until: AwareDatetime | None = None
    """Instead of `ttl`."""
    reason: str = Field(min_length=1, max_length=_LONGEST_REASON)

    @model_validator(mode="after")
    def _ends_once(self) -> "NewBlock":
        if (self.ttl is None) == (self.until is None):
            raise ValueError("give either ttl, like 1h, or until, like 2026-01-06T03:14:10Z")
        if self.ttl is not None and not self.ttl:
            raise ValueError("ttl: a block of no length; write how long it lasts, like 1h")
        return self

    def end(self, now: int) -> int:
        """Return when it ends; both in Unix nanoseconds.

        Raises:
            HTTPException: it is over already, or lasts longer than a year.
        """
        until = now + nanoseconds(self.ttl) if self.ttl is not None else nanoseconds_of(self.until)
        if until is None or until <= now:
            raise HTTPException(422, "until: is over already; name a moment to come")
        if until - now > _LONGEST_NS:
            raise HTTPException(422, "until: is more than a year away; name an earlier moment")
        return until


def blocks_router(blocks: Blocks, database: Database, config: GuardConfig) -> APIRouter:
    """Return the routes of what is blocked."""
    router = APIRouter(prefix="/api/v1/blocks", tags=["blocks"])
    _add_questions(router, blocks, config.headers)
    add_watch(router, blocks, config.max_watchers)
    _add_history(router, database)

    @router.get("", summary="What is blocked, the latest first")
    async def list_blocks(
        who: Reader,
        label: _Label = None,
        value: _Value = None,
        rule: Annotated[str | None, Query(max_length=1024)] = None,
        project: Annotated[str | None, Query(max_length=1024)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> JSONResponse:
        """Keys that are blocked now, with who blocked them, why and until when."""
        position = position_of(cursor, int, str)
        wanted = {"label": label, "value": value, "rule": rule, "project": project}
        chosen = {name: text for name, text in wanted.items() if text is not None}
        matching = (
            block
            for block in blocks.latest_first()
            if all(getattr(block, name) == text for name, text in chosen.items())
            and may_touch(who, block)
            and (position is None or (block.created, block.id) < (position[0], position[1]))
        )
        found = list(islice(matching, limit))
        last = cursor_of(found[-1].created, found[-1].id) if len(found) == limit else None
        return JSONResponse({"blocks": [_shown(one) for one in found], "next_cursor": last})

    @router.post("", status_code=201, summary="Block a key")
    async def add(asked: NewBlock, who: Everywhere) -> JSONResponse:
        """Block a key for a while; one that is blocked already ends at the later of the two ends."""
        until = asked.end(blocks.now)
        known = blocks.check({asked.label: asked.value})
        try:
            block = blocks.block(asked.label, asked.value, until=until, by=who.name, reason=asked.reason)
        except OverloadedError as error:
            return problem(409, str(error))
        return JSONResponse(
            {**_shown(block), "kept": await kept(database)}, status_code=200 if known is not None else 201
        )

    @router.delete("", summary="Lift the block of a key")
    async def lift_key(
        who: Writer,
        label: Annotated[str, Query(max_length=_LONGEST_LABEL)],
        value: Annotated[str, Query(max_length=_LONGEST_VALUE)],
        reason: _Why = "lifted by hand",
    ) -> JSONResponse:
        """Let calls for this key through again."""
        block = lifted(blocks, who, blocks.check({label: value}), reason)
        return JSONResponse({**_shown(block), "kept": await kept(database)})

    @router.delete("/{block_id}", summary="Lift a block")
    async def lift(block_id: str, who: Writer, reason: _Why = "lifted by hand") -> JSONResponse:
        """Let calls for its key through again."""
        block = lifted(blocks, who, blocks.find(block_id), reason)
        return JSONResponse({**_shown(block), "kept": await kept(database)})

    @router.get("/{block_id}", summary="One block")
    async def one(block_id: str, who: Reader) -> JSONResponse:
        """A block, while it lasts."""
        block = blocks.find(block_id)
        if block is None or not may_touch(who, block):
            raise HTTPException(404)
        return JSONResponse(_shown(block))

    return router


def _add_questions(router: APIRouter, blocks: Blocks, headers: Mapping[str, str]) -> None:
    @router.get("/check", summary="Is any of these blocked?")
    async def check(request: Request, who: Reader) -> JSONResponse:
        """`?conversation=conv-42&tenant=acme`: labels and values; the first that is blocked is answered."""
        labels = _labels(request.query_params.multi_items())
        block = blocks.check(labels)
        telemetry.checked(via="http", blocked=block is not None)
        return JSONResponse(_answer(who, block))

    # Envoy asks with the method and path of the request that it holds back, after the prefix that it is told of.
    @router.api_route("/authorize{rest:path}", methods=_METHODS, include_in_schema=False)
    async def authorize(request: Request, who: Reader) -> JSONResponse:
        labels = {}
        for name, label in headers.items():
            values = request.headers.getlist(name)
            if len(values) > 1:
                return problem(403, f"more than one header {name}; send one")  # which of them counts, is a guess
            if values and values[0]:
                labels[label] = _decoded(values[0])
        block = next((found for each in _readings(labels) if (found := blocks.check(each)) is not None), None)
        telemetry.checked(via="proxy", blocked=block is not None)
        return JSONResponse(_answer(who, block), status_code=200 if block is None else 403)


def _readings(labels: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield the labels as they came, then what lies between commas: Envoy makes one header of two in that way."""
    yield labels
    for label, value in labels.items():
        if "," in value:
            yield from ({label: part} for part in {part.strip() for part in value.split(",")})


def _add_history(router: APIRouter, database: Database) -> None:
    @router.get("/history", summary="Every block and unblock, the latest first")
    async def history(
        who: Reader, label: _Label = None, value: _Value = None, limit: Limit = 100, cursor: Cursor = None
    ) -> JSONResponse:
        """What was blocked, extended, lifted or ended by itself: when, by whom and why."""
        position = position_of(cursor, int, str)
        after = None if position is None else (int(position[0]), str(position[1]))
        try:
            async with database.connection() as connection:
                found = await block_history(
                    connection, limit=limit, label=label, value=value, projects=who.projects, after=after
                )
        except OverloadedError as error:
            return unavailable(error)
        last = cursor_of(found[-1].at, found[-1].id) if len(found) == limit else None
        return JSONResponse({"changes": [_told(one) for one in found], "next_cursor": last})


def lifted(blocks: Blocks, who: Principal, block: Block | None, reason: str) -> Block:
    """Let calls for a block's key through again; return the block that was.

    Raises:
        HTTPException: there is none that they may lift.
    """
    if block is None or not may_touch(who, block) or blocks.unblock(block, by=who.name, reason=reason) is None:
        raise HTTPException(404)
    return block


async def kept(database: Database) -> bool:
    """Wait until all is on disk, and return whether it is; it holds in memory either way."""
    try:
        async with asyncio.timeout(_SAFE_SECONDS):
            await database.settled()
    except TimeoutError:
        return False
    return True


def _labels(items: list[tuple[str, str]]) -> dict[str, str]:
    if not 0 < len(items) <= _MOST_LABELS:
        raise HTTPException(422, f"give 1 to {_MOST_LABELS} labels, like ?conversation=conv-42")
    labels = dict(items)
    if len(labels) != len(items):
        raise HTTPException(422, "each label once; ask twice for two values")
    return labels


def _decoded(value: str) -> str:
    """Headers come as Latin-1, and mean UTF-8 nowadays."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def may_touch(who: Principal, block: Block) -> bool:
    """Whether somebody sees a block whole and may lift it."""
    return who.projects is None or (block.project is not None and who.sees(block.project))


def _answer(who: Principal, block: Block | None) -> dict[str, Any]:
    if block is None:
        return {"blocked": False}
    seen = seen_by(who, block)
    return {
        "blocked": True,
        "label": seen.label,
        "value": _text(seen.value),
        "reason": _text(seen.reason),
        "until": rfc3339(seen.until),
        "rule": seen.rule and _text(seen.rule),
        "alert": seen.alert_id,
    }


def _shown(block: Block) -> dict[str, Any]:
    return {
        "id": block.id,
        "label": _text(block.label),
        "value": _text(block.value),
        "reason": _text(block.reason),
        "by": _text(block.by),
        "created_at": rfc3339(block.created),
        "until": rfc3339(block.until),
        "project": block.project and _text(block.project),
        "rule": block.rule and _text(block.rule),
        "alert": block.alert_id,
    }


def _told(change: PastChange) -> dict[str, Any]:
    return {
        "id": change.id,
        "action": change.action.value,
        "block": change.block_id,
        "label": change.label,
        "value": change.value,
        "at": rfc3339(change.at),
        "until": rfc3339(change.until),
        "by": change.by,
        "reason": change.reason,
        "project": change.project,
        "rule": change.rule,
        "alert": change.alert_id,
    }


def _text(text: str) -> str:
    """JSON has no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
