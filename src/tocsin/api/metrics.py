"""`/metrics`: OpenMetrics or the older Prometheus text, as the scraper asks."""

from fastapi import APIRouter, Depends, Request, Response

from tocsin import telemetry
from tocsin.api.authorization import requires
from tocsin.security.roles import Role

__all__ = ["router"]

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    summary="Tocsin's own metrics",
    response_class=Response,
    dependencies=[Depends(requires(Role.READ, everywhere=True))],  # rules of all projects are in it
)
async def metrics(request: Request) -> Response:
    """Answer with all metrics."""
    body, content_type = telemetry.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
