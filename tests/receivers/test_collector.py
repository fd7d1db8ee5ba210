"""A real OpenTelemetry Collector in front: what an exporter gives it arrives here, once, also after refusals."""

import asyncio
from pathlib import Path

import pytest
from collector_process import collector, exporter_to, free_port
from grpc import aio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from receiver_harness import LOGS, METRICS, TRACES, RecordingIntake, log_request, receiving, trace_request, unary

from tocsin.errors import OverloadedError
from tocsin.receivers.intake import Receipt, Signal

pytestmark = [pytest.mark.peer, pytest.mark.slow]


async def send(endpoint: str, count: int) -> list[str]:
    """Send `count` requests with a span each through the collector; return the spans' names."""
    names = [f"span {number}" for number in range(count)]
    async with aio.insecure_channel(endpoint) as channel:
        export = unary(channel, TRACES)
        for name in names:
            await export(trace_request(name, body=100), timeout=10)
    return names


async def arrived(intake: RecordingIntake, count: int) -> None:
    async with asyncio.timeout(30):
        while len(intake.span_names) < count:  # noqa: ASYNC110 - the collector's queue has no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["grpc", "grpc gzip", "http", "http gzip", "http zstd", "http deflate", "json gzip"])
async def test_what_the_collector_forwards_arrives_once(kind: str, tmp_path: Path) -> None:
    async with receiving() as tocsin:
        async with collector(exporter_to(kind, tocsin.grpc, tocsin.http), tmp_path) as endpoint:
            sent = await send(endpoint, 50)
            async with aio.insecure_channel(endpoint) as channel:
                await unary(channel, LOGS)(log_request("gen_ai.evaluation.result"), timeout=10)
            await arrived(tocsin.intake, len(sent))
        assert sorted(tocsin.intake.span_names) == sorted(sent)
        assert [each for each, _, _ in tocsin.intake.offers].count(Signal.LOGS) == 1
        assert not tocsin.observer.refusals
        assert tocsin.budget.held == 0


@pytest.mark.parametrize("kind", ["grpc gzip", "http zstd"])
async def test_what_was_refused_for_load_is_sent_again_and_nothing_is_lost(kind: str, tmp_path: Path) -> None:
    offers = iter(range(10_000))

    def refuse_two_of_three(_signal: Signal, _data: bytes) -> Receipt:
        if next(offers) % 3:
            raise OverloadedError("busy", reason="memory", retry_after=0.1)
        return Receipt()

    intake = RecordingIntake(answer=refuse_two_of_three)
    async with receiving(intake) as tocsin:
        async with collector(exporter_to(kind, tocsin.grpc, tocsin.http), tmp_path) as endpoint:
            sent = await send(endpoint, 30)
            await arrived(intake, len(sent))
        assert sorted(intake.span_names) == sorted(sent)
        assert sum(tocsin.observer.refusals.values()) >= 30


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_what_came_while_tocsin_was_away_arrives_after_its_restart(kind: str, tmp_path: Path) -> None:
    grpc_port, http_port = free_port(), free_port()
    exporter = exporter_to(kind, f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{http_port}")
    intake = RecordingIntake()
    async with collector(exporter, tmp_path) as endpoint:
        sent = await send(endpoint, 10)
        async with receiving(intake, grpc_port=grpc_port, http_port=http_port):
            await arrived(intake, len(sent))
    assert sorted(intake.span_names) == sorted(sent)


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_metrics_do_not_make_the_collector_retry(kind: str, tmp_path: Path) -> None:
    async with receiving() as tocsin:
        async with collector(exporter_to(kind, tocsin.grpc, tocsin.http), tmp_path) as endpoint:
            async with aio.insecure_channel(endpoint) as channel:
                await unary(channel, METRICS)(metric_request(), timeout=10)
            sent = await send(endpoint, 1)
            await arrived(tocsin.intake, len(sent))
        assert tocsin.observer.requests[kind] == 2
        assert not tocsin.observer.refusals


def metric_request() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.gauge.data_points.add(as_double=1.0, time_unix_nano=1_700_000_000_000_000_000)
    return request.SerializeToString()
