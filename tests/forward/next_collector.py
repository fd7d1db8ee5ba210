"""A next collector that is a real server on gRPC and HTTP, keeps what it took, and fails as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.forward.config import OtlpForwardConfig
from tocsin.forward.forwarder import Forwarder

SIGNALS = {"TraceService": "traces", "LogsService": "logs", "MetricsService": "metrics"}


@dataclass(frozen=True)
class Fault:
    """What is done instead of taking a request."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    http: int = 503
    retry_after: float | None = None
    hang: bool = False
    reset: bool = False
    taken_first: bool = False
    """The request is kept before the fault: the answer is lost."""


HANG = Fault(hang=True)
RESET = Fault(reset=True)
LOST_ANSWER = Fault(reset=True, taken_first=True)
REFUSED = Fault(grpc.StatusCode.INVALID_ARGUMENT, 400)


@dataclass
class NextCollector:
    """What it took, and what it shall do about the next requests."""

    fault: Callable[[bytes], Fault | None] = lambda _data: None
    answer: bytes = b""
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    attempts: int = 0
    at_once: int = 0
    most_at_once: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    """If set, requests wait for it."""

    @property
    def requests(self) -> list[bytes]:
        return [data for _, data in self.taken]

    async def has(self, count: int, *, seconds: float = 20) -> None:
        await self.until(lambda: len(self.taken) >= count, seconds=seconds)

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def take(self, signal: str, data: bytes, metadata: dict[str, str]) -> Fault | None:
        self.attempts += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.changed.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
            fault = self.fault(data)
            if fault is None or fault.taken_first:
                self.taken.append((signal, data))
                self.metadata.append(metadata)
                self.changed.set()
            if fault is not None and fault.hang:
                await asyncio.Event().wait()
            return fault
        finally:
            self.at_once -= 1


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, collector: NextCollector) -> None:
        self.collector = collector

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - as grpc's own
        service = handler_call_details.method.split("/")[1].rpartition(".")[2]

        async def export(data: bytes, context: Any) -> bytes:  # noqa: ANN401 - as above
            metadata = dict(context.invocation_metadata() or ())
            fault = await self.collector.take(SIGNALS[service], data, metadata)
            if fault is None:
                return self.collector.answer
            details: tuple[tuple[str, bytes], ...] = ()
            if fault.retry_after is not None:
                delay, detail = Duration(), AnyMessage()
                delay.FromNanoseconds(round(fault.retry_after * 1e9))
                detail.Pack(RetryInfo(retry_delay=delay))
                details = (("grpc-status-details-bin", Status(details=[detail]).SerializeToString()),)
            await context.abort(fault.code, "told to, Bearer tops3cret", details)
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(export)


@asynccontextmanager
async def grpc_collector(
    collector: NextCollector, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[int]:
    server = aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_Methods(collector),))
    if credentials is None:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


async def _answer_http(collector: NextCollector, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        data = await reader.readexactly(int(headers["content-length"]))
        fault = await collector.take(lines[0].split()[1].rpartition("/")[2], data, headers)
        if fault is not None and fault.reset:
            writer.transport.abort()
            return
        status, body = (200, collector.answer) if fault is None else (fault.http, b"told to, Bearer tops3cret")
        more = "" if fault is None or fault.retry_after is None else f"retry-after: {fault.retry_after:g}\r\n"
        writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()


@asynccontextmanager
async def http_collector(
    collector: NextCollector, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    open_now: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            await _answer_http(collector, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            open_now.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


def collecting(protocol: str, collector: NextCollector, port: int = 0) -> AbstractAsyncContextManager[int]:
    return grpc_collector(collector, port) if protocol == "grpc" else http_collector(collector, port)


@asynccontextmanager
async def forwarding(
    protocol: str, port: int, directory: Path, *, sync: float = 1.0, memory: int = 64 * 1024 * 1024, **more: object
) -> AsyncIterator[Forwarder]:
    config = {
        "endpoint": f"http://127.0.0.1:{port}",
        "protocol": protocol,
        "retry": {"initial": "20ms", "max": "100ms"},
        "timeout": "2s",
        **more,
    }
    forwarder = Forwarder(
        OtlpForwardConfig.model_validate(config), directory, sync=timedelta(seconds=sync), memory=memory
    )
    async with forwarder.running():
        yield forwarder


def request(client: str, number: int, body: int = 0) -> bytes:
    """A request of a client: its resource names it, its span the number."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.instance.id").value.string_value = client
    resource.scope_spans.add().spans.add(name=str(number), trace_id=bytes(16), events=[]).attributes.add(
        key="body"
    ).value.string_value = "x" * body
    return message.SerializeToString()


def read_request(data: bytes) -> tuple[str, int]:
    resource = ExportTraceServiceRequest.FromString(data).resource_spans[0]
    return resource.resource.attributes[0].value.string_value, int(resource.scope_spans[0].spans[0].name)


def files_of(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.requests"))
