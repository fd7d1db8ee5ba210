"""`/healthz`: the process lives. `/readyz`: it takes spans, and in what state it is."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tocsin.api.authorization import principal_of
from tocsin.api.status import Status
from tocsin.security.roles import Role

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> JSONResponse:
    """Answer 200 as long as the event loop turns."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Whether spans are taken")
async def readyz(request: Request) -> JSONResponse:
    """Answer 200 when every receiver listens, 503 before that and while draining.

    Errors in the files do not make the service unready: the rules that run go on. They are listed. Where tokens are
    asked for, a probe without one is told the word only.
    """
    status: Status = request.app.state.status
    serving = status.ready and not status.stopping
    word = "ready" if serving else "stopping" if status.stopping else "starting"
    who = principal_of(request)
    shown = who is not None and who.may(Role.READ) and who.projects is None
    details = _details(status) if shown else {}
    return JSONResponse({"status": word, **details}, status_code=200 if serving else 503)


def _details(status: Status) -> dict[str, object]:
    return {
        "version": status.version,
        "decoder": status.decoder,
        "receivers": dict(status.receivers),
        "rules": status.rules,
        "contact_points": list(status.contact_points),
        "rule_errors": list(status.rule_errors),
        "degraded": dict(status.degraded()),
    }
