"""`/api/v1/status`: what the service receives, how far behind it is, its limits, and what is wrong."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tocsin.api.authorization import Reader
from tocsin.api.status import Status

__all__ = ["state_router"]


def state_router(figures: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """Return the route; `figures` gives the numbers, on the event loop."""
    router = APIRouter(prefix="/api/v1/status", tags=["status"])

    @router.get("", summary="The service's state")
    async def status(request: Request, who: Reader) -> JSONResponse:
        """A token that is bound to projects sees no mistakes of files and no names of contact points."""
        known: Status = request.app.state.status
        everywhere = who.projects is None
        return JSONResponse(
            {
                "version": known.version,
                "decoder": known.decoder,
                "ready": known.ready and not known.stopping,
                "receivers": dict(known.receivers),
                "rules": known.rules,
                "contact_points": list(known.contact_points) if everywhere else [],
                "rule_errors": list(known.rule_errors) if everywhere else [],
                "degraded": dict(known.degraded()) if everywhere else {},
                "who": {
                    "name": who.name,
                    "role": who.role.value,
                    "projects": None if who.projects is None else sorted(who.projects),
                },
                **figures(),
            }
        )

    return router
