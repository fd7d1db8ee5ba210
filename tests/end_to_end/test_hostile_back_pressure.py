"""A service that refuses for load, or does not answer for a while: real senders wait, and each span counts once."""

import asyncio
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import grpc
import pytest
from collector_process import collector, exporter_to
from configurations import write_configuration
from grpc import aio
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService

RULE = """
- name: counted
  metric: count
  window: 1h
  condition: gt
  threshold: 1000000
  notify: [terminal]
"""
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SPANS = 20
INPUT_TOKENS = 7
PAUSE_SECONDS = 1.5


def configured(path: Path) -> Path:
    """Return a configuration that takes two requests of 64 KiB at a time."""
    config = write_configuration(path / "c.yaml", RULE, more="limits: {in_flight_bytes: 128KiB}\n")
    listening = "endpoint: 127.0.0.1:0"
    config.write_text(config.read_text().replace(listening, f"{listening}, max_request_size: 64KiB", 2))
    return config


def batch_of_spans() -> Sequence[ReadableSpan]:
    """Return a batch of some 50 KiB, as an application's spans."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    for _ in range(SPANS):
        with tracer.start_as_current_span("chat gpt-4o") as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.provider.name", "openai")
            span.set_attribute("gen_ai.request.model", "gpt-4o")
            span.set_attribute("gen_ai.usage.input_tokens", INPUT_TOKENS)
            span.set_attribute("gen_ai.usage.output_tokens", 1)
            span.set_attribute("gen_ai.prompt", "x" * 2400)
    return memory.get_finished_spans()


def exporter_of(kind: str, service: RunningService) -> SpanExporter:
    if kind == "grpc":
        return GrpcSpanExporter(endpoint=service.addresses["grpc"], insecure=True, timeout=40)
    return HttpSpanExporter(endpoint=f"http://{service.addresses['http']}/v1/traces", timeout=40)


def assert_counted_once(service: RunningService, spans: int) -> None:
    assert service.wait_for_metric("tocsin_samples_total", spans, rule="counted") == spans
    assert service.metric("tocsin_tokens_total", type="input") == spans * INPUT_TOKENS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_the_python_sdk_retries_what_was_refused_for_load_and_each_span_is_counted_once(
    kind: str, tmp_path: Path
) -> None:
    senders, batches = 8, 3  # over HTTP the SDK gives up after six refusals, so there must not be too many
    with RunningService(configured(tmp_path)) as service:
        exporters = [exporter_of(kind, service) for _ in range(senders)]
        with ThreadPoolExecutor(senders) as threads:

            def send(exporter: SpanExporter) -> list[SpanExportResult]:
                return [exporter.export(batch_of_spans()) for _ in range(batches)]

            service.signal(signal.SIGSTOP)
            results = [threads.submit(send, exporter) for exporter in exporters]
            threading.Event().wait(PAUSE_SECONDS)  # all of them wait, and then come at once
            service.signal(signal.SIGCONT)
            outcomes = [outcome for result in results for outcome in result.result(50)]
        assert outcomes == [SpanExportResult.SUCCESS] * senders * batches
        assert service.metric("tocsin_refused_requests_total") > 0
        assert_counted_once(service, senders * batches * SPANS)
        for exporter in exporters:
            exporter.shutdown()


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grpc gzip", "http zstd"])
async def test_the_collector_retries_what_was_refused_for_load_and_each_span_is_counted_once(
    kind: str, tmp_path: Path
) -> None:
    random = Random(4)
    filler = {"filler": random.randbytes(1200).hex()}
    requests = [
        request_of(
            Call.drawn(random, end=time.time_ns(), input_tokens=INPUT_TOKENS, attributes=filler) for _ in range(SPANS)
        ).SerializeToString()
        for _ in range(150)
    ]
    with RunningService(configured(tmp_path)) as service:
        exporter = exporter_to(kind, service.addresses["grpc"], f"http://{service.addresses['http']}")
        async with collector(exporter, tmp_path) as endpoint, aio.insecure_channel(endpoint) as channel:
            export: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(TRACES)
            service.signal(signal.SIGSTOP)
            for request in requests:
                await export(request, timeout=10)
            await asyncio.sleep(PAUSE_SECONDS)  # its consumers wait for answers, and the rest in its queue
            service.signal(signal.SIGCONT)
            await asyncio.to_thread(
                service.wait_for_metric, "tocsin_samples_total", len(requests) * SPANS, seconds=45, rule="counted"
            )
        refused = await asyncio.to_thread(service.metric, "tocsin_refused_requests_total")
        assert refused > 0
        await asyncio.to_thread(assert_counted_once, service, len(requests) * SPANS)


def test_a_request_whose_answer_was_lost_counts_once_when_it_is_sent_again(tmp_path: Path) -> None:
    random = Random(4)
    with RunningService(configured(tmp_path)) as service, Exporter(service.addresses["grpc"]) as export:
        calls = [Call.drawn(random, end=time.time_ns(), input_tokens=INPUT_TOKENS) for _ in range(SPANS)]
        request = request_of(calls).SerializeToString()
        service.signal(signal.SIGSTOP)
        with grpc.insecure_channel(service.addresses["grpc"]) as channel:
            lost: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(TRACES)
            answer = lost.future(request, timeout=0.3)
            with pytest.raises(grpc.RpcError):
                answer.result()
        service.signal(signal.SIGCONT)
        for _ in range(3):
            assert export(request) == b""
        assert_counted_once(service, SPANS)
