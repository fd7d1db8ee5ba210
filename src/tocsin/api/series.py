"""`/api/v1/series`: the present value of every rule and group, what is closest to firing first."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from tocsin.api.authorization import Reader
from tocsin.api.changes import shown
from tocsin.api.paging import Limit
from tocsin.engine.values import GroupValue
from tocsin.rules.rule import Condition

__all__ = ["Snapshot", "closeness", "series_router"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the engine holds at one moment."""

    values: Sequence[GroupValue]
    time: int
    """Event time, Unix nanoseconds."""


def series_router(snapshot: Callable[[], Snapshot]) -> APIRouter:
    """Return the route; `snapshot` is called on the event loop, between two batches."""
    router = APIRouter(prefix="/api/v1/series", tags=["series"])

    @router.get("", summary="What is closest to firing")
    async def series(
        who: Reader,
        project: Annotated[str | None, Query(max_length=1024)] = None,
        rule: Annotated[str | None, Query(max_length=1024)] = None,
        limit: Limit = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to pass over.")] = 0,
    ) -> JSONResponse:
        """Each group's value beside its threshold; `closeness` is 1 at the threshold, more past it."""
        taken = snapshot()
        found = [
            value
            for value in taken.values
            if who.sees(value.rule.project)
            and project in (None, value.rule.project)
            and rule in (None, value.rule.name)
        ]
        found.sort(key=lambda value: (-closeness(value), value.rule.key, sorted(value.group.items())))
        page = found[offset : offset + limit]
        following = offset + limit if offset + limit < len(found) else None
        return JSONResponse(
            {"series": list(map(_document, page)), "total": len(found), "next_offset": following, "time": taken.time}
        )

    return router


def closeness(value: GroupValue) -> float:
    """Return how close a value is to its threshold: 1 at it, more past it, less before; below 0 without one."""
    limit, present = value.limit, value.value
    if not (math.isfinite(limit) and math.isfinite(present)):
        return -math.inf
    match value.rule.condition:
        case Condition.GT | Condition.GTE:
            near, far = present, limit
        case Condition.LT | Condition.LTE:
            near, far = limit, present
        case Condition.ABSENT:
            return 0.0 if present > 0 else 1.0
        case _:
            return 1.0 / (1.0 + abs(present - limit))
    if far > 0 and near >= 0:
        return near / far
    if near == far:
        return 1.0
    return 1.0 + math.copysign(min(abs(near - far) / max(abs(limit), 1e-12), 1e6), near - far)


def _document(value: GroupValue) -> dict[str, Any]:
    near = closeness(value)
    return {
        "project": value.rule.project,
        "rule": value.rule.name,
        "group": shown(dict(value.group)),
        "value": value.value if math.isfinite(value.value) else None,
        "threshold": value.limit if math.isfinite(value.limit) else None,
        "condition": value.rule.condition.value,
        "unit": value.rule.unit,
        "samples": value.samples,
        "closeness": near if math.isfinite(near) else None,
    }
