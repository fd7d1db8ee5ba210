"""`GET /api/v1/blocks/watch`: what `tocsin.v1.Guard/Watch` streams, for applications that gRPC does not get through to.

One question waits for news, and is answered by messages of that method, a line of JSON each. Whoever asks again with
the version of the last one misses nothing, as there is no state of theirs here.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response, StreamingResponse

from tocsin.api.authorization import Reader
from tocsin.api.problems import problem
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.guard.telling import Part, told_since
from tocsin.telemetry import guard as telemetry

__all__ = ["add_watch"]

_LONGEST_WAIT: Final = 30.0


def add_watch(router: APIRouter, blocks: Blocks, most: int) -> None:
    """Add the route; at most so many may wait at once."""
    waiting = 0

    @router.get("/watch", summary="What is blocked, or what changed since")
    async def watch(
        who: Reader,
        instance: Annotated[str, Query(max_length=64, description="Of the last answer.")] = "",
        version: Annotated[int, Query(ge=0, le=2**63, description="Of the last answer.")] = 0,
        wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT, description="Seconds, where nothing changed.")] = 0.0,
    ) -> Response:
        """Lines of JSON, as `WatchResponse` in proto/tocsin/v1/guard.proto; the last one is `complete`."""
        nonlocal waiting
        if who.projects is not None:
            text = "a watcher sees what is blocked in all projects; use a token that is not bound to some"
            raise HTTPException(403, text)
        if waiting >= most:
            telemetry.watch_refused(reason="watchers")
            return problem(503, "too many watch already; see guard.max_watchers", headers={"retry-after": "5"})
        feed = blocks.feed
        known = version if instance == feed.instance else -1
        waiting += 1
        try:
            if wait:
                await feed.after(known, wait)
        finally:
            waiting -= 1
        return StreamingResponse(_lines(told_since(blocks, known)), media_type="application/x-ndjson")


def _lines(parts: Iterable[Part]) -> Iterator[bytes]:
    for part in parts:
        document = {
            "instance": part.instance,
            "version": part.version,
            "now_unix_nano": part.now,
            "reset": part.reset,
            "complete": part.complete,
            "removed": [{"label": _text(label), "value": _text(value)} for label, value in part.removed],
            "blocked": [_shown(block) for block in part.blocked],
        }
        yield orjson.dumps(document) + b"\n"


def _shown(block: Block) -> dict[str, Any]:
    return {
        "block_id": block.id,
        "label": _text(block.label),
        "value": _text(block.value),
        "reason": _text(block.reason),
        "until_unix_nano": min(block.until, 2**63 - 1),
        "by": _text(block.by),
        "project": _text(block.project or ""),
        "rule": _text(block.rule or ""),
        "alert_id": block.alert_id or "",
    }


def _text(text: str) -> str:
    """JSON has no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
