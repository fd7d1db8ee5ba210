"""The application: routes, one module a resource, and what every answer has in common."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api import health, metrics, problems
from tocsin.api.status import Status

__all__ = ["application"]

_HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class _Edge:
    """Takes the prefix that a proxy left, and adds the headers that an answer does not have itself."""

    def __init__(self, app: ASGIApp, base_path: str) -> None:
        self._app = app
        self._base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [header for header in _HEADERS if header[0] not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        scope = {**scope, "root_path": self._base_path}
        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def application(status: Status, *, base_path: str = "") -> ASGIApp:
    """Return the ASGI application, which reads `status` at each request.

    Args:
        status: written by the service.
        base_path: a prefix that a proxy leaves in front of every route, like `/tocsin`.
    """
    app = FastAPI(
        title="Tocsin",
        version=status.version,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's page loads scripts from another host
        redoc_url=None,
    )
    app.state.status = status
    app.include_router(health.router)
    app.include_router(metrics.router)
    problems.install(app)
    return _Edge(app, base_path)
