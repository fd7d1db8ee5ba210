"""Serves the application on a socket of ours, inside the service's event loop and under its signals."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from fastapi import APIRouter
from starlette.types import ASGIApp

from tocsin.api.app import application
from tocsin.api.authorization import Access
from tocsin.api.clients import Clients
from tocsin.api.config import ApiConfig
from tocsin.api.connection import ApiProtocol
from tocsin.api.edge import Protection
from tocsin.api.origin import Hosts
from tocsin.api.status import Status
from tocsin.errors import ConfigError
from tocsin.security.certificates import Certificates
from tocsin.security.endpoint import Endpoint, endpoint_of
from tocsin.security.tokens import Tokens
from tocsin.telemetry import security as events

__all__ = ["Api", "protection_of", "serving", "serving_api"]

DRAIN_SECONDS: Final = 2.0
"""For answers under way when the service stops; the API holds no data that could be lost."""
_LISTENER: Final = "api"


class Api:
    """The API while it is served."""

    def __init__(self, address: str, access: Access) -> None:
        self.address = address
        """HOST:PORT with the real port."""
        self._access = access

    @property
    def tokens(self) -> Tokens:
        """Who may use it; the same object for as long as it is served, whatever is reloaded."""
        return self._access.tokens

    def adopt(self, config: ApiConfig) -> None:
        """Know the tokens of `config` from the next request on; all else of it needs a restart.

        Whether tokens are asked for at all stays as it was: an address and its openness belong together.
        """
        if config.tokens and self._access.tokens:
            self._access.tokens.replace(config.tokens)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the service."""
        yield


@asynccontextmanager
async def serving_api(config: ApiConfig, status: Status, *, routers: Sequence[APIRouter] = ()) -> AsyncIterator[Api]:
    """Serve the API as configured while the block runs.

    Args:
        config: `api`.
        status: written by the service.
        routers: resources besides health and metrics.

    Raises:
        ConfigError: the address can't be listened on, or the certificate can't be used.
    """
    endpoint = endpoint_of(config.endpoint)
    protection = protection_of(config)
    _say_how_open(config, endpoint)
    app = application(status, base_path=config.base_path, protection=protection, routers=routers)
    async with AsyncExitStack() as stack:
        certificates = None
        if config.tls is not None:
            certificates = await stack.enter_async_context(Certificates(config.tls, _LISTENER).watched())
        address = await stack.enter_async_context(serving(app, *endpoint, certificates=certificates))
        yield Api(address, protection.access)


def protection_of(config: ApiConfig) -> Protection:
    """Return what the edge asks and allows."""
    rate = config.rate_limit
    return Protection(
        access=Access(Tokens(config.tokens)),
        hosts=Hosts(endpoint_of(config.endpoint), config.allowed_hosts, config.public_url),
        clients=Clients(count=rate.count, seconds=rate.seconds) if rate is not None else None,
        public_url=config.public_url,
    )


@asynccontextmanager
async def serving(
    app: ASGIApp, host: str, port: int, *, certificates: Certificates | None = None
) -> AsyncIterator[str]:
    """Serve `app` while the block runs, and give HOST:PORT with the real port; port 0 takes a free one.

    Raises:
        ConfigError: the address can't be listened on.
    """
    listener = _listener(host, port)
    config = uvicorn.Config(
        app,
        http=ApiProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,  # else a header would say who the client is, and each could have a rate of its own
        server_header=False,
        timeout_graceful_shutdown=int(DRAIN_SECONDS),
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32 * 1024,
    )
    config.load()
    config.ssl = certificates.context if certificates is not None else None
    server = _Server(config)
    taken: int = listener.getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]), name="api")
        try:
            yield f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
        finally:
            server.should_exit = True


def _say_how_open(config: ApiConfig, endpoint: Endpoint) -> None:
    if endpoint.is_loopback:
        return
    if config.allow_unauthenticated:
        events.listener_is_open(listener=_LISTENER, endpoint=config.endpoint)
    elif config.tls is None:
        events.tokens_in_the_clear(listener=_LISTENER, endpoint=config.endpoint)


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
