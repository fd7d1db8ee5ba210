"""`/metrics`: OpenMetrics or the older Prometheus text, as the scraper asks."""

from fastapi import APIRouter, Request, Response

from tocsin import telemetry

__all__ = ["router"]

router = APIRouter(tags=["metrics"])


@router.get("/metrics", summary="Tocsin's own metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Answer with all metrics."""
    body, content_type = telemetry.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
