"""Live spend: what model calls cost now, and by which conversation, tenant, model or agent."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from starlette.responses import Response

from tocsin.api.authorization import requires
from tocsin.api.spend import By, Order, SpendSource, SpendWindow, spend_document
from tocsin.model.batch import NANO_USD
from tocsin.page.shell import Link, Pages, Section
from tocsin.security.roles import Principal, Role

__all__ = ["spend_section"]

_KEYS: Final = 25
_NS: Final = 1_000_000_000


def spend_section(pages: Pages, source: SpendSource) -> Section:
    """Return the section of live spend."""
    router = pages.routes()

    @router.get("/spend")
    async def table(
        request: Request,
        _: Annotated[Principal, Depends(requires(Role.READ, everywhere=True))],
        by: By = By.CONVERSATION,
        window: SpendWindow = SpendWindow.FIVE_MINUTES,
        order: Order = Order.USD,
        offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    ) -> Response:
        """The keys that cost most, and the course of all."""
        report = source(by.value, window.nanoseconds, order=order.measure, offset=offset, limit=_KEYS)
        return pages.render(
            request,
            "spend.html",
            spend=spend_document(report, order),
            chart=_chart(report.course),
            shown={"by": by.value, "window": window.value, "order": order.value},
            offset=offset,
            step=_KEYS,
            choices={"by": [str(each) for each in By], "window": [str(each) for each in SpendWindow]},
            orders=[str(each) for each in Order],
        )

    return Section(router, Link("/spend", "Live spend", everywhere=True))


def _chart(course: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the course in dollars an hour, so that steps of any length compare."""
    if len(course) < 2:
        return {}
    length = (course[1][0] - course[0][0]) / _NS / 3600
    amounts = [nano / NANO_USD / length for _, nano in course]
    return {
        "unit": "USD/h",
        "times": [at // _NS for at, _ in course],
        "series": [{"label": "spend", "low": amounts, "high": amounts}],
        "lines": [],
        "bands": [],
    }
