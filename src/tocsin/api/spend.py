"""`/api/v1/spend`: what model calls cost now, by conversation, tenant, agent or model, rule or not."""

from enum import StrEnum
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tocsin.api.authorization import requires
from tocsin.api.changes import shown
from tocsin.engine.spend import MEASURES, SpendReport, Sums
from tocsin.model.batch import NANO_USD
from tocsin.notify.message import rfc3339
from tocsin.security.roles import Principal, Role

__all__ = ["By", "Order", "SpendSource", "SpendWindow", "spend_document", "spend_router"]

_SECOND: Final = 1_000_000_000


class By(StrEnum):
    """The labels that spend is known by."""

    CONVERSATION = "conversation"
    TENANT = "tenant"
    AGENT = "agent"
    MODEL = "model"


class SpendWindow(StrEnum):
    """How far back."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    HOUR = "1h"

    @property
    def nanoseconds(self) -> int:
        """Its length."""
        return {"1m": 60, "5m": 300, "1h": 3600}[self.value] * _SECOND


class Order(StrEnum):
    """What the keys are ranked by, the most first."""

    USD = "usd"
    TOKENS = "tokens"
    CALLS = "calls"
    ERRORS = "errors"
    UNPRICED = "unpriced"

    @property
    def measure(self) -> str:
        """The name of the engine's measure."""
        return "nano_usd" if self is Order.USD else self.value


class SpendSource(Protocol):
    """Asked on the event loop, between two batches."""

    def __call__(self, by: str, window_ns: int, *, order: str, offset: int, limit: int) -> SpendReport:
        """Return the spend of the window that ends now; see `tocsin.engine.spend.Spend.report`."""
        ...


class _Calls(BaseModel):
    """What some calls are in all."""

    usd: float
    """A lower bound where some are unpriced."""
    tokens: int
    """Input and output."""
    calls: int
    errors: int
    """Calls that failed."""
    unpriced: int
    """Calls that cost something that nobody knows."""


class _Key(_Calls):
    """One conversation, tenant, agent or model."""

    value: str
    share: float
    """Of the window's cost, 0 to 1."""


class _Window(BaseModel):
    """Event time; null before the first span."""

    seconds: int
    begins: str | None = Field(alias="from")
    ends: str | None = Field(alias="to")


class _Step(BaseModel):
    at: str
    """When it begins."""
    usd: float


class _Spend(BaseModel):
    """Live spend."""

    by: By
    order: Order
    window: _Window
    total: _Calls
    """All calls of the window; exact."""
    usd_per_hour: float
    """At the pace of the window."""
    keys: list[_Key]
    rest: _Calls
    """Of keys that are not listed here."""
    without: _Calls
    """Of calls that lack the label."""
    known: int
    """Keys that are held in all."""
    next_offset: int | None
    exact: bool
    """Whether each key's numbers are; totals always are."""
    most_more: _Calls
    """How much more than stated one key may have: nothing where `exact`."""
    course: list[_Step]
    """The window's cost in steps, the oldest first; the first step and the last may not be whole."""


def spend_router(source: SpendSource) -> APIRouter:
    """Return the route of what `source` says."""
    router = APIRouter(prefix="/api/v1/spend", tags=["spend"])

    @router.get("", summary="What model calls cost now, the most expensive first", response_model=_Spend)
    async def spend(
        _: Annotated[Principal, Depends(requires(Role.READ, everywhere=True))],
        by: By = By.CONVERSATION,
        window: SpendWindow = SpendWindow.FIVE_MINUTES,
        order: Order = Order.USD,
        limit: Annotated[int, Query(ge=1, le=500, description="How many keys at most.")] = 20,
        offset: Annotated[int, Query(ge=0, le=100_000, description="How many keys to pass over.")] = 0,
    ) -> JSONResponse:
        """Cost, tokens, calls and errors of each key, over a sliding window of event time; each call counts once.

        A token that is bound to projects may not ask: calls are of no project.
        """
        report = source(by.value, window.nanoseconds, order=order.measure, offset=offset, limit=limit)
        return JSONResponse(spend_document(report, order))

    return router


def spend_document(report: SpendReport, order: Order = Order.USD) -> dict[str, Any]:
    """Return a report as the API gives it."""
    window_ns = report.ends - report.begins
    total = report.total
    following = report.offset + len(report.keys)
    begun = report.ends > 0
    return {
        "by": report.by,
        "order": order.value,
        "window": {
            "seconds": window_ns // _SECOND,
            "from": rfc3339(report.begins) if begun else None,
            "to": rfc3339(report.ends) if begun else None,
        },
        "total": _calls(total),
        "usd_per_hour": total.nano_usd / NANO_USD * 3600 * _SECOND / window_ns,
        "keys": [
            {
                "value": shown(key.value),
                "share": key.sums.nano_usd / total.nano_usd if total.nano_usd else 0.0,
                **_calls(key.sums),
            }
            for key in report.keys
        ],
        "rest": _calls(report.rest),
        "without": _calls(report.without),
        "known": report.known,
        "next_offset": following if report.keys and following < report.known else None,
        "exact": not any(getattr(report.most_more, name) for name in MEASURES),
        "most_more": _calls(report.most_more),
        "course": [{"at": rfc3339(at), "usd": nano / NANO_USD} for at, nano in report.course if begun],
    }


def _calls(sums: Sums) -> dict[str, Any]:
    return {
        "usd": sums.nano_usd / NANO_USD,
        "tokens": sums.tokens,
        "calls": sums.calls,
        "errors": sums.errors,
        "unpriced": sums.unpriced,
    }
