"""What is closest to firing: each rule's groups beside their limits."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Request
from starlette.responses import Response

from tocsin.api.authorization import Reader
from tocsin.api.series import Snapshot, closeness
from tocsin.engine.values import GroupValue
from tocsin.page.shell import Link, Pages, Section

__all__ = ["closest_section"]

_PAGE: Final = 50
_LIVE: Final = 20_000
"""Groups up to which the page follows by itself: more take the service a while to look through."""
_NEAR: Final = 0.8
"""From this part of the limit on it is told apart."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One group of a rule."""

    value: GroupValue
    closeness: float | None
    """1 at the limit; None: there is none to compare with."""

    @property
    def kind(self) -> str:
        """How it is drawn."""
        if self.closeness is None or self.closeness < _NEAR:
            return ""
        return "bad" if self.closeness >= 1 else "warn"


def closest_section(pages: Pages, snapshot: Callable[[], Snapshot]) -> Section:
    """Return the section; `snapshot` is called on the event loop, between two batches."""
    router = pages.routes()

    @router.get("/closest")
    async def table(
        request: Request,
        who: Reader,
        rule: Annotated[str, Query(max_length=1024)] = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        """The closest first."""
        taken = snapshot()
        seen = [value for value in taken.values if who.sees(value.rule.project)]
        found = [value for value in seen if rule in ("", value.rule.name)]
        found.sort(key=lambda value: (-closeness(value), value.rule.key, sorted(value.group.items())))
        lines = [_line(value) for value in found[offset : offset + _PAGE]]
        return pages.render(
            request,
            "closest.html",
            lines=lines,
            total=len(found),
            rule=rule,
            rules=sorted({value.rule.name for value in seen} | ({rule} if rule else set())),
            offset=offset,
            step=_PAGE,
            live="alert tick" if len(taken.values) <= _LIVE else "",
        )

    return Section(router, Link("/closest", "Closest to firing"))


def _line(value: GroupValue) -> _Line:
    near = closeness(value)
    return _Line(value, near if math.isfinite(near) else None)
