"""`/healthz`: the process lives. `/readyz`: it takes spans, and in what state it is."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tocsin.api.status import Status

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> JSONResponse:
    """Answer 200 as long as the event loop turns."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Whether spans are taken")
async def readyz(request: Request) -> JSONResponse:
    """Answer 200 when every receiver listens, 503 before that and while draining.

    Errors in the files do not make the service unready: the rules that run go on. They are listed.
    """
    status: Status = request.app.state.status
    serving = status.ready and not status.stopping
    word = "ready" if serving else "stopping" if status.stopping else "starting"
    return JSONResponse(
        {
            "status": word,
            "version": status.version,
            "decoder": status.decoder,
            "receivers": dict(status.receivers),
            "rules": status.rules,
            "contact_points": list(status.contact_points),
            "rule_errors": list(status.rule_errors),
        },
        status_code=200 if serving else 503,
    )
