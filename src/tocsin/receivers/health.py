"""grpc.health.v1: SERVING until the drain begins, NOT_SERVING from then on.

grpcio's own servicer leaves `Watch` streams open for good, so that each watcher would hold up every shutdown
for the whole drain time; here a watcher is told of the drain and its stream ends.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import (  # type: ignore[import-untyped] # no stubs in the package
    HealthCheckRequest,
    HealthCheckResponse,
)

__all__ = ["Health"]


class Health:
    """The state of the gRPC receiver and of each of its services, which share one fate."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = frozenset(services)
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Say NOT_SERVING from now on, and end all watches."""
        self._draining.set()

    async def check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:  # noqa: ANN401
        """Answer `Check`; an unknown service is NOT_FOUND, as the protocol says."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self._state()

    async def watch(self, request: HealthCheckRequest, _: object) -> AsyncIterator[HealthCheckResponse]:
        """Answer `Watch`: the state, and the next one when it changes."""
        if request.service not in self._services:
            yield HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
            await self._draining.wait()
            return
        yield self._state()
        if not self._draining.is_set():
            await self._draining.wait()
            yield self._state()

    def _state(self) -> HealthCheckResponse:
        draining = self._draining.is_set()
        return HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING if draining else HealthCheckResponse.SERVING)
