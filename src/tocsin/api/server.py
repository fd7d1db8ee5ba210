"""Serves the application on a socket of ours, inside the service's event loop and under its signals."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from tocsin.errors import ConfigError

__all__ = ["serving"]

DRAIN_SECONDS: Final = 2.0
"""For answers under way when the service stops; the API holds no data that could be lost."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the service."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve `app` while the block runs, and give HOST:PORT with the real port; port 0 takes a free one.

    Raises:
        ConfigError: the address can't be listened on.
    """
    listener = _listener(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=int(DRAIN_SECONDS),
        limit_concurrency=256,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config)
    taken: int = listener.getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]), name="api")
        try:
            yield f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
        finally:
            server.should_exit = True


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"api: can't listen on {host}:{port}: {error.strerror or error}; free it or set api.endpoint"
        ) from error
    listener.setblocking(False)  # noqa: FBT003  # positional only
    return listener
