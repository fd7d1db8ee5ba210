"""Parts of a served guard: a store that keeps nothing, and its methods as grpcio asks for them."""

from typing import Any

import grpc

from tocsin.guard.block import BlockChange, Kept, Told
from tocsin.guard.service import GuardService

__all__ = ["Forgetful", "Methods"]


class Forgetful:
    """A store that keeps nothing."""

    shared = False

    async def blocks_after(self, version: int) -> list[Told]:
        return []

    def block_changed(self, change: BlockChange) -> None: ...

    async def kept_blocks(self) -> Kept:
        return Kept((), ())

    async def settled(self) -> None: ...


class Methods(grpc.GenericRpcHandler):
    def __init__(self, service: GuardService) -> None:
        self._service = service

    def service(self, details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401  # as the stubs type it
        return self._service.handlers.get(details.method)
