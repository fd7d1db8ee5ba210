"""`/api/v1/rules/backtest`: what a rule would have done over what was recorded, told while it is found out."""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Protocol, TypedDict

import orjson
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from tocsin.api.authorization import Reader
from tocsin.api.changes import answered
from tocsin.api.editing import Edits
from tocsin.api.problems import problem
from tocsin.errors import OverloadedError, TocsinError

__all__ = ["Question", "Runs", "backtests_router"]

_Moment = Annotated[str | None, Field(max_length=64)]


class Question(TypedDict):
    """What is to be found out."""

    rule: dict[str, Any]
    begin: str | None
    end: str | None
    as_recorded: bool


class Runs(Protocol):
    """Runs backtests."""

    def answers(self, question: Question) -> AsyncGenerator[dict[str, Any], None]:
        """Yield `progress`, and at last `report` or `problem`.

        Raises:
            OverloadedError: too many run; at the first answer.
        """
        ...


class BacktestBody(BaseModel):
    """What a client asks."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    rule: dict[str, Any]
    """The YAML's own fields."""
    begin: _Moment = Field(None, alias="from")
    """`7d` ago, `2026-03-01`, `2026-03-01T03:14Z`; None: all there is."""
    end: _Moment = Field(None, alias="to")
    as_recorded: bool = False
    """In the portions in which it came, as the service evaluated it; else by time, which is faster."""


def backtests_router(edits: Edits, runs: Runs) -> APIRouter:
    """Return the route; `edits` checks the rule, `runs` does the work."""
    router = APIRouter(prefix="/api/v1/rules", tags=["rules"])

    @router.post("/backtest", summary="What a rule would have done", response_class=StreamingResponse)
    async def backtest(body: BacktestBody, request: Request, who: Reader) -> Response:
        """Lines of JSON, or server-sent events where they are accepted: `progress`, then `report` or `problem`.

        It ends when the client goes. A token that is bound to projects can't: what was recorded is of all of them.
        """
        if who.projects is not None:
            raise HTTPException(403, "what was recorded is of all projects; use a token that is not bound to some")
        try:
            await edits.compiled(body.rule)
        except TocsinError as error:
            return answered(error)
        answers = runs.answers(Question(rule=body.rule, begin=body.begin, end=body.end, as_recorded=body.as_recorded))
        try:
            first = await anext(answers)
        except OverloadedError as error:
            return problem(503, str(error), headers={"retry-after": str(math.ceil(error.retry_after))})
        sse = "text/event-stream" in request.headers.get("accept", "")
        return StreamingResponse(
            _told(first, answers, sse=sse), media_type="text/event-stream" if sse else "application/x-ndjson"
        )

    return router


async def _told(
    first: dict[str, Any], answers: AsyncGenerator[dict[str, Any], None], *, sse: bool
) -> AsyncIterator[bytes]:
    try:
        yield _line(first, sse=sse)
        async for each in answers:
            yield _line(each, sse=sse)
    finally:
        await answers.aclose()


def _line(answer: dict[str, Any], *, sse: bool) -> bytes:
    if not sse:
        return orjson.dumps(answer) + b"\n"
    [(kind, content)] = answer.items()
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(content))
