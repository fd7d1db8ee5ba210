"""OTLP over gRPC: what an exporter is told, whatever it sends."""

import asyncio
import contextlib
import logging
import os
import random

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # no stubs
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # no stubs in the package
    reflection_pb2,
    reflection_pb2_grpc,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from receiver_harness import (
    KIB,
    LOGS,
    METRICS,
    MIB,
    TRACES,
    RecordingIntake,
    export,
    log_request,
    receiving,
    refused_export,
    trace_request,
    unary,
)

from tocsin.errors import OverloadedError
from tocsin.receivers.intake import Receipt, Signal
from tocsin.receivers.status import MOST_SPREAD


def status_of(error: aio.AioRpcError) -> Status:
    metadata = error.trailing_metadata()
    assert metadata is not None
    details = dict(metadata)["grpc-status-details-bin"]
    return Status.FromString(details)


def retry_seconds_of(error: aio.AioRpcError) -> float | None:
    for detail in status_of(error).details:
        info = RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


async def test_bytes_reach_the_intake_unchanged_and_the_answer_is_empty() -> None:
    async with receiving() as tocsin:
        data = trace_request("chat", "tool")
        assert await export(tocsin.grpc, data) == b""
        assert await export(tocsin.grpc, log_request("gen_ai.evaluation.result"), method=LOGS) == b""
        assert tocsin.intake.offers[0] == (Signal.TRACES, data, "grpc")
        assert tocsin.intake.offers[1][0] is Signal.LOGS
        assert tocsin.observer.requests["grpc"] == 2
        assert tocsin.budget.held == 0


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_messages_are_opened(compression: grpc.Compression) -> None:
    async with receiving() as tocsin:
        data = trace_request("chat", body=10 * KIB)
        await export(tocsin.grpc, data, compression=compression)
        assert tocsin.intake.offers[0][1] == data


async def test_rejected_spans_are_told_as_partial_success() -> None:
    intake = RecordingIntake(answer=lambda _signal, _data: Receipt(rejected=2, reason="2 spans have no ids"))
    async with receiving(intake) as tocsin:
        traces = ExportTraceServiceResponse.FromString(await export(tocsin.grpc, trace_request("chat")))
        assert traces.partial_success.rejected_spans == 2
        assert traces.partial_success.error_message == "2 spans have no ids"
        logs = ExportLogsServiceResponse.FromString(await export(tocsin.grpc, log_request("x"), method=LOGS))
        assert logs.partial_success.rejected_log_records == 2
        assert logs.partial_success.error_message == "2 spans have no ids"


async def test_metrics_are_accepted_and_dropped_with_a_partial_success_that_says_so() -> None:
    async with receiving() as tocsin:
        answer = ExportMetricsServiceResponse.FromString(await export(tocsin.grpc, b"", method=METRICS))
        assert "dropped" in answer.partial_success.error_message
        assert answer.partial_success.rejected_data_points == 0
        assert tocsin.intake.offers == []


async def test_malformed_bytes_are_an_invalid_argument_that_no_retry_can_help() -> None:
    async with receiving() as tocsin:
        error = await refused_export(tocsin.grpc, b"\xff\xff\xff not protobuf")
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert retry_seconds_of(error) is None
        assert tocsin.observer.refusals == {("grpc", "malformed"): 1}


async def test_overload_is_unavailable_with_the_time_to_wait() -> None:
    def full(_signal: Signal, _data: bytes) -> Receipt:
        raise OverloadedError("the queue is full", reason="memory", retry_after=2.5)

    async with receiving(RecordingIntake(answer=full)) as tocsin:
        error = await refused_export(tocsin.grpc, trace_request("chat"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert status_of(error).code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert 2.5 <= (retry_seconds_of(error) or 0) <= 2.5 * MOST_SPREAD
        assert tocsin.observer.refusals == {("grpc", "memory"): 1}


async def test_bytes_in_flight_are_bounded_and_given_back() -> None:
    intake = RecordingIntake(gate=asyncio.Event())
    async with receiving(intake, max_request_size="64KiB", in_flight_bytes=128 * KIB) as tocsin:
        large = trace_request("large", body=60 * KIB)
        waiting = [asyncio.create_task(export(tocsin.grpc, large)) for _ in range(2)]
        async with asyncio.timeout(10):
            while tocsin.budget.held < 2 * len(large):  # noqa: ASYNC110 - a budget has no event
                await asyncio.sleep(0.01)
        error = await refused_export(tocsin.grpc, large)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert 1.0 <= (retry_seconds_of(error) or 0) <= MOST_SPREAD
        assert intake.gate is not None
        intake.gate.set()
        await asyncio.gather(*waiting)
        assert tocsin.budget.held == 0
        await export(tocsin.grpc, large)


async def test_an_error_of_our_own_is_internal_and_gives_its_bytes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_signal: Signal, _data: bytes) -> Receipt:
        raise ZeroDivisionError

    async with receiving(RecordingIntake(answer=broken)) as tocsin:
        error = await refused_export(tocsin.grpc, trace_request("chat"))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert tocsin.budget.held == 0
        assert [record.name for record in caplog.records if record.exc_info] == ["tocsin.receivers.grpc"]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_request_over_the_limit_after_decompression_is_refused_for_good(
    compression: grpc.Compression,
) -> None:
    async with receiving(max_request_size="1MiB") as tocsin:
        error = await refused_export(tocsin.grpc, trace_request("x", body=8 * MIB), compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-status-details-bin" not in dict(error.trailing_metadata() or ())
        await tocsin.observer.refusal("grpc", "too_large_or_left")
        assert tocsin.intake.offers == []
        await export(tocsin.grpc, trace_request("small"))


@pytest.mark.parametrize("method", ["/x.Unknown/Export", TRACES.replace("Export", "Import"), "/"])
async def test_an_unknown_method_is_unimplemented_and_counted(method: str) -> None:
    async with receiving() as tocsin:
        error = await refused_export(tocsin.grpc, b"", method=method)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert tocsin.observer.refusals == {("grpc", "unknown_method"): 1}


async def test_a_call_without_a_message_is_an_invalid_argument() -> None:
    async with receiving() as tocsin, aio.insecure_channel(tocsin.grpc) as channel:
        call: aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(TRACES)()
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        await tocsin.observer.refusal("grpc", "incomplete")


async def test_a_call_that_never_sends_its_message_is_cut_off() -> None:
    async with receiving(read_timeout="200ms") as tocsin, aio.insecure_channel(tocsin.grpc) as channel:
        call: aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(TRACES)()
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await tocsin.observer.refusal("grpc", "timeout")
        await export(tocsin.grpc, trace_request("after"))


async def test_a_flood_of_metadata_is_refused_and_harms_no_other_client() -> None:
    async with receiving() as tocsin, aio.insecure_channel(tocsin.grpc) as channel:
        call = unary(channel, TRACES)(b"", metadata=[(f"x-{n}", "y" * 1000) for n in range(200)])
        with pytest.raises(aio.AioRpcError) as refused:
            await call
        assert refused.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        await export(tocsin.grpc, trace_request("other"))
        assert tocsin.intake.span_names == ["other"]


async def test_garbage_instead_of_http2_harms_no_other_client() -> None:
    async with receiving() as tocsin:
        assert tocsin.listening.grpc is not None
        for garbage in (
            b"GET / HTTP/1.1\r\n\r\n",
            os.urandom(4096),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(99),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", tocsin.listening.grpc.port)
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(30):
                with contextlib.suppress(ConnectionError):  # closed either way: politely or by a reset
                    while await reader.read(4096):
                        pass
            writer.close()
            await export(tocsin.grpc, trace_request("other"))
        assert tocsin.intake.span_names == ["other"] * 3


async def test_a_second_receiver_on_a_taken_port_is_refused_with_its_place() -> None:
    async with receiving() as tocsin:
        assert tocsin.listening.grpc is not None
        with pytest.raises(Exception, match=r"receivers\.otlp\.grpc\.endpoint: cannot listen on 127"):
            async with receiving(grpc_port=tocsin.listening.grpc.port):
                pass


async def test_health_is_serving_until_the_drain_and_a_watcher_does_not_delay_it() -> None:
    seen = []
    async with receiving(drain_seconds=20) as tocsin:
        channel = aio.insecure_channel(tocsin.grpc)
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "opentelemetry.proto.collector.trace.v1.TraceService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="x"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        seen.append((await watch.read()).status)
        drained_from = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - drained_from < 5
    seen.append((await watch.read()).status)
    assert await watch.read() is aio.EOF
    await channel.close()
    response = health_pb2.HealthCheckResponse
    assert seen == [response.SERVING, response.NOT_SERVING]


async def test_a_watcher_of_an_unknown_service_is_told_so_and_does_not_delay_the_drain() -> None:
    async with receiving(drain_seconds=20) as tocsin:
        channel = aio.insecure_channel(tocsin.grpc)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="x"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        drained_from = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - drained_from < 5
    assert await watch.read() is aio.EOF
    await channel.close()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_the_services(version: str) -> None:
    async with receiving() as tocsin, aio.insecure_channel(tocsin.grpc) as channel:
        if version == "v1alpha":
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        else:
            call = channel.stream_stream(
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {service.name for service in (await call.read()).list_services_response.service}
        assert "opentelemetry.proto.collector.trace.v1.TraceService" in names
        assert "grpc.health.v1.Health" in names
        symbol = "opentelemetry.proto.collector.trace.v1.TraceService"
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        assert (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()


async def test_requests_in_flight_are_answered_before_the_receiver_ends() -> None:
    intake = RecordingIntake(gate=asyncio.Event())
    assert intake.gate is not None
    async with receiving(intake) as tocsin:
        sent = asyncio.create_task(export(tocsin.grpc, trace_request("last")))
        await intake.waiting.wait()
        asyncio.get_running_loop().call_later(0.2, intake.gate.set)
    assert await sent == b""
    assert intake.span_names == ["last"]


async def test_a_request_that_outlasts_the_drain_is_refused_so_that_it_is_sent_again() -> None:
    intake = RecordingIntake(gate=asyncio.Event())
    async with receiving(intake, drain_seconds=0.2) as tocsin:
        sent = asyncio.create_task(refused_export(tocsin.grpc, trace_request("last")))
        await intake.waiting.wait()
    error = await sent
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert intake.offers == []
    assert tocsin.budget.held == 0


@pytest.mark.slow
async def test_refused_bombs_leave_no_memory_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(max_request_size="1MiB") as tocsin:
        bomb = bytes(8 * MIB)
        process = psutil.Process()
        baseline = 0
        for attempt in range(60):
            await refused_export(tocsin.grpc, bomb, compression=grpc.Compression.Gzip)
            await refused_export(tocsin.grpc, bomb)
            if attempt == 9:  # allocators have what they keep
                baseline = process.memory_info().rss
        assert process.memory_info().rss - baseline < 24 * MIB
        assert tocsin.budget.held == 0
        assert tocsin.intake.offers == []
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]


@pytest.mark.slow
async def test_senders_that_leave_at_any_moment_leave_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(4317)
    requests = [trace_request("good", body=20 * KIB), b"\xff" * 100, bytes(3 * MIB)]
    async with receiving(max_request_size="1MiB") as tocsin:
        for _ in range(60):
            options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
            channel = aio.insecure_channel(tocsin.grpc, options=options)
            calls = [unary(channel, TRACES)(chance.choice(requests)) for _ in range(10)]
            await asyncio.sleep(chance.random() * 0.02)  # the moment of leaving is what varies
            for call in calls[:5]:
                call.cancel()
            await channel.close(0)
            await asyncio.gather(*(call.code() for call in calls), return_exceptions=True)
        await export(tocsin.grpc, trace_request("after"))
        assert tocsin.intake.span_names[-1] == "after"
    assert tocsin.budget.held == 0
    assert not [record for record in caplog.records if record.exc_info]
