"""The real receivers on free ports, with an intake that keeps what it is given and can be told to refuse."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.errors import DecodeError
from tocsin.receivers.admission import ByteBudget
from tocsin.receivers.config import OtlpReceiverConfig
from tocsin.receivers.intake import Receipt, Signal
from tocsin.receivers.otlp import Listening, otlp_receivers

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
KIB = 1024
MIB = 1024 * KIB


@dataclass
class RecordingIntake:
    """Takes what is OTLP, by protobuf's judgement; `answer` may refuse or wait first."""

    answer: Callable[[Signal, bytes], Receipt] = lambda _signal, _data: Receipt()
    gate: asyncio.Event | None = None
    """If set, offers wait for it."""
    offers: list[tuple[Signal, bytes, str]] = field(default_factory=list)
    """What was accepted."""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once an offer waits at the gate."""

    async def offer(self, signal: Signal, data: bytes, *, transport: str) -> Receipt:
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        request = ExportTraceServiceRequest if signal is Signal.TRACES else ExportLogsServiceRequest
        try:
            request.FromString(data)
        except Exception as error:
            raise DecodeError("the bytes are no OTLP request") from error
        receipt = self.answer(signal, data)
        self.offers.append((signal, data, transport))
        return receipt

    @property
    def span_names(self) -> list[str]:
        return [
            span.name
            for signal, data, _ in self.offers
            if signal is Signal.TRACES
            for resource in ExportTraceServiceRequest.FromString(data).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@dataclass
class CountingObserver:
    requests: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def received(self, transport: str, size: int) -> None:
        self.requests[transport] += 1
        self.bytes[transport] += size

    def refused(self, transport: str, reason: str) -> None:
        self.refusals[transport, reason] += 1
        self.changed.set()

    async def refusal(self, transport: str, reason: str) -> None:
        """Return when a refusal of that kind was counted."""
        async with asyncio.timeout(20):
            while not self.refusals[transport, reason]:
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Receiving:
    listening: Listening
    intake: RecordingIntake
    observer: CountingObserver
    budget: ByteBudget

    @property
    def grpc(self) -> str:
        return str(self.listening.grpc)

    @property
    def http(self) -> str:
        return f"http://{self.listening.http}"


@asynccontextmanager
async def receiving(
    intake: RecordingIntake | None = None,
    *,
    grpc_port: int = 0,
    http_port: int = 0,
    in_flight_bytes: int = 1024 * MIB,
    drain_seconds: float = 5,
    grpc: dict[str, Any] | None = None,
    http: dict[str, Any] | None = None,
    check: Callable[[], None] | None = None,
    **limits: str,
) -> AsyncIterator[Receiving]:
    """Run both receivers; `limits` are settings of both, `grpc` and `http` of one; `check` is the budget's."""
    config = OtlpReceiverConfig.model_validate(
        {
            "grpc": {"endpoint": f"127.0.0.1:{grpc_port}", **limits, **(grpc or {})},
            "http": {"endpoint": f"127.0.0.1:{http_port}", **limits, **(http or {})},
        }
    )
    used = intake or RecordingIntake()
    observer = CountingObserver()
    budget = ByteBudget(in_flight_bytes, check=check)
    async with otlp_receivers(config, used, observer, budget, drain_seconds=drain_seconds) as listening:
        yield Receiving(listening, used, observer, budget)


def trace_request(*names: str, body: int = 0) -> bytes:
    """Return a request with a span of each name, each with an attribute of `body` bytes."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, name in enumerate(names, start=1):
        span = scope.spans.add(name=name, trace_id=bytes(15) + b"\1", span_id=number.to_bytes(8, "big"))
        span.start_time_unix_nano = 1_700_000_000_000_000_000
        span.end_time_unix_nano = 1_700_000_001_000_000_000
        if body:
            span.attributes.add(key="body").value.string_value = "x" * body
    return request.SerializeToString()


def log_request(event: str) -> bytes:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(event_name=event)
    return request.SerializeToString()


def unary(channel: aio.Channel, method: str) -> "aio.UnaryUnaryMultiCallable[bytes, bytes]":
    """Return a method that takes and gives bytes."""
    return channel.unary_unary(method)


async def export(
    target: str,
    data: bytes,
    *,
    method: str = TRACES,
    compression: grpc.Compression | None = None,
) -> bytes:
    """Send bytes as they are; return the answer's.

    Raises:
        grpc.aio.AioRpcError: it was refused.
    """
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with aio.insecure_channel(target, options=unlimited) as channel:
        return await unary(channel, method)(data, compression=compression, timeout=30)


async def refused_export(
    target: str, data: bytes, *, method: str = TRACES, compression: grpc.Compression | None = None
) -> aio.AioRpcError:
    """Send what must be refused; return the refusal."""
    try:
        await export(target, data, method=method, compression=compression)
    except aio.AioRpcError as error:
        return error
    raise AssertionError("the request was accepted")
