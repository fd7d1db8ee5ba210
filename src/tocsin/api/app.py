"""The application: routes, one module a resource, behind the edge that every request goes through."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from tocsin.api import health, metrics, problems
from tocsin.api.edge import Edge, Protection
from tocsin.api.reference import describe, reference_router
from tocsin.api.status import Status

__all__ = ["application"]


def application(
    status: Status,
    *,
    base_path: str = "",
    protection: Protection | None = None,
    routers: Sequence[APIRouter] = (),
) -> ASGIApp:
    """Return the ASGI application, which reads `status` at each request.

    Args:
        status: written by the service.
        base_path: a prefix that a proxy leaves in front of every route, like `/tocsin`.
        protection: who may ask; None: whoever reaches it by a name of this machine.
        routers: further resources. Their routes say by `authorization.requires` which role they need.
    """
    app = FastAPI(
        title="Tocsin",
        version=status.version,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host header
    )
    app.state.status = status
    for router in (health.router, metrics.router, reference_router(), *routers):
        app.include_router(router)
    problems.install(app)
    describe(app)
    return Edge(app, protection or Protection(), base_path)
