"""Real OpenTelemetry SDK exporters against the real receivers, and the receivers' law."""

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import Sequence

import grpc
import httpx2
import pytest
from grpc import aio
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from receiver_harness import KIB, LOGS, MIB, TRACES, RecordingIntake, log_request, receiving, trace_request, unary

from tocsin.errors import OverloadedError
from tocsin.receivers.intake import Receipt, Signal


def spans(count: int) -> Sequence[ReadableSpan]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    for number in range(count):
        with tracer.start_as_current_span(f"chat {number}") as span:
            span.set_attribute("gen_ai.request.model", "gpt-4o")
            span.set_attribute("gen_ai.usage.input_tokens", 1200)
    return memory.get_finished_spans()


def exporter_of(kind: str, grpc_target: str, http_url: str) -> SpanExporter:
    traces = http_url + "/v1/traces"
    match kind:
        case "grpc":
            return GrpcSpanExporter(endpoint=grpc_target, insecure=True)
        case "grpc gzip":
            return GrpcSpanExporter(endpoint=grpc_target, insecure=True, compression=grpc.Compression.Gzip)
        case "http":
            return HttpSpanExporter(endpoint=traces)
        case "http gzip":
            return HttpSpanExporter(endpoint=traces, compression=HttpCompression.Gzip)
        case _:
            return HttpSpanExporter(endpoint=traces, compression=HttpCompression.Deflate)


KINDS = ["grpc", "grpc gzip", "http", "http gzip", "http deflate"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_python_sdk_delivers_its_spans(kind: str) -> None:
    async with receiving() as tocsin:
        exporter = exporter_of(kind, tocsin.grpc, tocsin.http)
        sent = spans(3)
        assert await asyncio.to_thread(exporter.export, sent) is SpanExportResult.SUCCESS
        await asyncio.to_thread(exporter.shutdown)
        assert tocsin.intake.span_names == ["chat 0", "chat 1", "chat 2"]
        assert {transport for _, _, transport in tocsin.intake.offers} == {kind.split()[0]}


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_the_python_sdk_sends_again_what_was_refused_for_load(kind: str) -> None:
    refusals = iter([True, False])

    def overloaded_once(_signal: Signal, _data: bytes) -> Receipt:
        if next(refusals):
            raise OverloadedError("busy", reason="memory", retry_after=0.1)
        return Receipt()

    async with receiving(RecordingIntake(answer=overloaded_once)) as tocsin:
        exporter = exporter_of(kind, tocsin.grpc, tocsin.http)
        assert await asyncio.to_thread(exporter.export, spans(2)) is SpanExportResult.SUCCESS
        await asyncio.to_thread(exporter.shutdown)
        assert tocsin.intake.span_names == ["chat 0", "chat 1"]
        assert tocsin.observer.refusals == {(kind, "memory"): 1}


async def test_the_python_sdk_gives_up_at_once_on_what_is_too_large() -> None:
    # Over HTTP: its gRPC exporter takes any RESOURCE_EXHAUSTED for retryable, against the specification.
    async with receiving(max_request_size="64KiB") as tocsin:
        exporter = exporter_of("http", tocsin.grpc, tocsin.http)
        started = asyncio.get_running_loop().time()
        assert await asyncio.to_thread(exporter.export, spans(1000)) is SpanExportResult.FAILURE
        assert asyncio.get_running_loop().time() - started < 3
        await asyncio.to_thread(exporter.shutdown)
        assert tocsin.intake.offers == []


async def test_accepted_and_refused_are_together_what_was_sent() -> None:
    """The law: each request is either answered as accepted and at the intake once, or answered as refused."""
    chance = random.Random(1)

    def moody(_signal: Signal, _data: bytes) -> Receipt:
        mood = chance.random()
        if mood < 0.2:
            raise OverloadedError("busy", reason="memory")
        if mood < 0.25:
            raise ZeroDivisionError
        return Receipt(rejected=int(mood < 0.4), reason="one was odd" if mood < 0.4 else "")

    intake = RecordingIntake(answer=moody)
    accepted: list[bytes] = []
    refused = 0
    async with receiving(intake, max_request_size="64KiB", in_flight_bytes=160 * KIB) as tocsin:
        options = [("grpc.max_send_message_length", -1)]
        async with (
            aio.insecure_channel(tocsin.grpc, options=options) as channel,
            httpx2.AsyncClient(trust_env=False, base_url=tocsin.http, timeout=30) as client,
        ):

            async def one(number: int) -> bytes | None:
                """Send one request; return it if it was accepted."""
                is_log = chance.random() < 0.3
                data = (
                    log_request(f"log {number}")
                    if is_log
                    else trace_request(f"span {number}", body=chance.choice([0, 100, 30 * KIB, 60 * KIB, MIB]))
                )
                data += b"\xff" if chance.random() < 0.2 else b""
                is_packed = chance.random() < 0.5
                if chance.random() < 0.5:
                    packing = grpc.Compression.Gzip if is_packed else None
                    try:
                        await unary(channel, LOGS if is_log else TRACES)(data, compression=packing)
                    except aio.AioRpcError:
                        return None
                    return data
                answer = await client.post(
                    "/v1/logs" if is_log else "/v1/traces",
                    content=gzip.compress(data) if is_packed else data,
                    headers={"content-type": "application/x-protobuf"}
                    | ({"content-encoding": "gzip"} if is_packed else {}),
                )
                return data if answer.status_code == 200 else None

            for start in range(0, 400, 20):
                for result in await asyncio.gather(*(one(start + n) for n in range(20))):
                    if result is None:
                        refused += 1
                    else:
                        accepted.append(result)
    assert len(accepted) + refused == 400
    assert min(len(accepted), refused) > 50
    assert Counter(accepted) == Counter(data for _, data, _ in intake.offers)
    assert sum(tocsin.observer.refusals.values()) == refused
    assert tocsin.budget.held == 0
