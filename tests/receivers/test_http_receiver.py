"""OTLP over HTTP: what an exporter is told, whatever it sends."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import Callable

import httpx2
import orjson
import psutil
import pytest
import zstandard
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no stubs are published
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from receiver_harness import KIB, MIB, Receiving, RecordingIntake, log_request, receiving, trace_request

from tocsin.errors import OverloadedError
from tocsin.receivers.intake import Receipt, Signal
from tocsin.receivers.status import MOST_SPREAD

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    """As Go's encoder writes it: the content's size is not in the frame."""
    packer = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compressobj()
    return packer.compress(data) + packer.flush()


async def post(
    tocsin: Receiving,
    body: bytes,
    *,
    path: str = "/v1/traces",
    kind: str | None = PROTOBUF,
    encoding: str | None = None,
    method: str = "POST",
) -> httpx2.Response:
    headers = {}
    if kind is not None:
        headers["content-type"] = kind
    if encoding is not None:
        headers["content-encoding"] = encoding
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.request(method, tocsin.http + path, content=body, headers=headers)


def retry_seconds_of(status: Status) -> list[float]:
    seconds = []
    for detail in status.details:
        info = RetryInfo()
        assert detail.Unpack(info)
        seconds.append(info.retry_delay.ToTimedelta().total_seconds())
    return seconds


async def test_protobuf_reaches_the_intake_unchanged_and_the_answer_mirrors_its_type() -> None:
    async with receiving() as tocsin:
        data = trace_request("chat")
        answer = await post(tocsin, data)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == PROTOBUF
        assert (await post(tocsin, log_request("x"), path="/v1/logs")).status_code == 200
        assert tocsin.intake.offers[0] == (Signal.TRACES, data, "http")
        assert tocsin.intake.offers[1][0] is Signal.LOGS
        assert tocsin.observer.requests["http"] == 2
        assert tocsin.budget.held == 0


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("zstd", zstandard.compress),
        ("zstd", streamed_zstd),
        ("identity", bytes),
        ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("zstd", lambda data: zstandard.compress(data[:9]) + streamed_zstd(data[9:])),
        ("zstd", lambda data: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(data)),
    ],
)
@pytest.mark.parametrize("size", [0, 3 * MIB])
async def test_compressed_bodies_are_opened(encoding: str, pack: Callable[[bytes], bytes], size: int) -> None:
    async with receiving() as tocsin:
        data = trace_request("chat", body=size)
        answer = await post(tocsin, pack(data), encoding=encoding)
        assert answer.status_code == 200, answer.content
        assert tocsin.intake.offers[0][1] == data
        assert tocsin.observer.bytes["http"] == len(data)
        assert tocsin.budget.held == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("fault", ["truncated", "garbage", "trailing", "empty", "flipped"])
async def test_a_broken_compressed_body_is_malformed(encoding: str, fault: str) -> None:
    packers: dict[str, Callable[[bytes], bytes]]
    packers = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": streamed_zstd}
    pack = packers[encoding]
    whole = pack(trace_request(*(f"span {n}" for n in range(500))))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    body = {
        "truncated": whole[:-3],
        "garbage": b"\x1f\x00 no such format",
        "trailing": whole + b"garbage",
        "empty": b"",
        "flipped": bytes(flipped),
    }[fault]
    async with receiving() as tocsin:
        answer = await post(tocsin, body, encoding=encoding)
        assert answer.status_code == 400
        assert Status.FromString(answer.content).code == 3
        assert tocsin.observer.refusals == {("http", "malformed"): 1}
        assert tocsin.intake.offers == []
        assert tocsin.budget.held == 0


async def test_a_malformed_request_gets_a_status_in_its_own_content_type() -> None:
    async with receiving() as tocsin:
        answer = await post(tocsin, b"\xff\xff\xff")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == PROTOBUF
        assert Status.FromString(answer.content).code == 3
        assert "no OTLP" in Status.FromString(answer.content).message
        assert "retry-after" not in answer.headers


async def test_overload_is_503_with_the_time_to_wait_in_both_places() -> None:
    def full(_signal: Signal, _data: bytes) -> Receipt:
        raise OverloadedError("the queue is full", reason="memory", retry_after=2.5)

    async with receiving(RecordingIntake(answer=full)) as tocsin:
        answer = await post(tocsin, trace_request("chat"))
        assert answer.status_code == 503
        [seconds] = retry_seconds_of(Status.FromString(answer.content))
        assert 2.5 <= seconds <= 2.5 * MOST_SPREAD
        assert int(answer.headers["retry-after"]) == round(seconds)
        assert tocsin.observer.refusals == {("http", "memory"): 1}


async def test_what_a_header_announces_is_checked_before_the_body_and_reserves_nothing() -> None:
    async with receiving(max_request_size="64KiB", in_flight_bytes=128 * KIB) as tocsin:
        tocsin.budget.take(100 * KIB)
        answer = await post(tocsin, bytes(60 * KIB))
        assert answer.status_code == 503
        assert tocsin.observer.refusals == {("http", "in_flight_bytes"): 1}
        tocsin.budget.give_back(100 * KIB)
        # Connections that announce much and send nothing hold nothing.
        waiting = [await open_request(tocsin, 60 * KIB) for _ in range(5)]
        assert tocsin.budget.held == 0
        assert (await post(tocsin, trace_request("x", body=50 * KIB))).status_code == 200
        for _, writer in waiting:
            writer.close()


async def open_request(tocsin: Receiving, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request's headers, and no body."""
    assert tocsin.listening.http is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", tocsin.listening.http.port)
    writer.write(
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
        b"content-length: %d\r\n\r\n" % length
    )
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        (None, bytes),
        ("gzip", gzip.compress),
        ("deflate", raw_deflate),
        ("zstd", zstandard.compress),
        ("zstd", streamed_zstd),
    ],
)
async def test_a_request_over_the_limit_after_decompression_is_413(
    encoding: str | None, pack: Callable[[bytes], bytes]
) -> None:
    async with receiving(max_request_size="1MiB") as tocsin:
        answer = await post(tocsin, pack(trace_request("x", body=9 * MIB)), encoding=encoding)
        assert answer.status_code == 413
        assert "retry-after" not in answer.headers
        assert not Status.FromString(answer.content).details
        assert tocsin.observer.refusals == {("http", "too_large"): 1}
        assert tocsin.budget.held == 0


async def test_a_chunked_body_over_the_limit_is_413() -> None:
    async with receiving(max_request_size="64KiB") as tocsin, httpx2.AsyncClient(trust_env=False) as client:

        async def chunks() -> object:
            for _ in range(100):
                yield bytes(4 * KIB)

        answer = await client.post(
            tocsin.http + "/v1/traces",
            content=chunks(),  # type: ignore[arg-type] # an async generator
            headers={"content-type": PROTOBUF},
        )
        assert answer.status_code == 413


@pytest.mark.parametrize("kind", [None, "text/plain", "application/grpc", "application/x-protobuf-x", "a" * 5000])
async def test_another_content_type_is_415(kind: str | None) -> None:
    async with receiving() as tocsin:
        answer = await post(tocsin, b"", kind=kind)
        assert answer.status_code == 415
        assert "application/x-protobuf" in answer.json()["message"]
        assert tocsin.observer.refusals == {("http", "content_type"): 1}


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "snappy", "\x7f"])
async def test_another_content_encoding_is_415_and_says_which_are_read(encoding: str) -> None:
    async with receiving() as tocsin:
        answer = await post(tocsin, b"", encoding=encoding)
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"
        assert tocsin.observer.refusals == {("http", "content_encoding"): 1}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_another_method_is_405_and_says_which_is_allowed(method: str) -> None:
    async with receiving() as tocsin:
        answer = await post(tocsin, b"", method=method)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/traces/", "/v1/profiles", "/%2e%2e/etc", "/v1/traces%00"])
async def test_another_path_is_404(path: str) -> None:
    async with receiving() as tocsin:
        assert (await post(tocsin, b"", path=path)).status_code == 404
        assert tocsin.observer.refusals == {("http", "unknown_path"): 1}


async def test_metrics_are_accepted_and_dropped_with_a_partial_success_that_says_so() -> None:
    async with receiving() as tocsin:
        answer = await post(tocsin, b"", path="/v1/metrics")
        partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
        assert "dropped" in partial.error_message
        answer = await post(tocsin, b"{}", path="/v1/metrics", kind=JSON)
        assert list(answer.json()["partialSuccess"]) == ["errorMessage"]
        assert tocsin.intake.offers == []


async def test_rejected_spans_are_told_as_partial_success_in_the_type_of_the_request() -> None:
    intake = RecordingIntake(answer=lambda _signal, _data: Receipt(rejected=2, reason="2 have no ids"))
    async with receiving(intake) as tocsin:
        answer = await post(tocsin, trace_request("chat"))
        assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 2
        answer = await post(tocsin, log_request("x"), path="/v1/logs")
        logs = ExportLogsServiceResponse.FromString(answer.content)
        assert logs.partial_success.rejected_log_records == 2
        answer = await post(tocsin, b'{"resourceSpans": []}', kind=JSON)
        assert answer.json() == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "2 have no ids"}}
        answer = await post(tocsin, b'{"resourceLogs": []}', path="/v1/logs", kind=JSON)
        assert answer.json()["partialSuccess"]["rejectedLogRecords"] == "2"


JS_REQUEST = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "js"},
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "chat",
                            "kind": 3,
                            "startTimeUnixNano": "1700000000000000000",
                            "endTimeUnixNano": "1700000001000000000",
                            "attributes": [
                                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": 1200}},
                                {"key": "gen_ai.request.temperature", "value": {"doubleValue": 0.5}},
                            ],
                            "status": {"code": 0},
                        }
                    ],
                }
            ],
        }
    ]
}


@pytest.mark.parametrize("kind", [JSON, "application/json; charset=utf-8", "Application/JSON"])
@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_json_as_the_javascript_exporter_sends_it_becomes_protobuf(kind: str, encoding: str | None) -> None:
    body = orjson.dumps(JS_REQUEST)
    async with receiving() as tocsin:
        answer = await post(tocsin, gzip.compress(body) if encoding else body, kind=kind, encoding=encoding)
        assert (answer.status_code, answer.content) == (200, b"{}")
        assert answer.headers["content-type"] == JSON
        request = ExportTraceServiceRequest.FromString(tocsin.intake.offers[0][1])
        span = request.resource_spans[0].scope_spans[0].spans[0]
        assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
        assert span.kind == 3
        assert span.attributes[0].value.int_value == 1200


async def test_large_json_is_translated_off_the_loop_to_the_same_bytes() -> None:
    request = orjson.loads(orjson.dumps(JS_REQUEST))
    scope = request["resourceSpans"][0]["scopeSpans"][0]
    scope["spans"] = scope["spans"] * 1000
    async with receiving() as tocsin:
        answer = await post(tocsin, orjson.dumps(request), kind=JSON)
        assert answer.content == b"{}"
        assert tocsin.intake.span_names == ["chat"] * 1000


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"resourceSpans": 1}', b"[" * 100_000, b'{"resourceSpans":[{"a"'],
)
async def test_malformed_json_gets_its_status_in_json(body: bytes) -> None:
    async with receiving() as tocsin:
        answer = await post(tocsin, body, kind=JSON)
        assert answer.status_code == 400
        assert answer.json()["code"] == 3
        assert answer.json()["message"]
        assert tocsin.observer.refusals == {("http", "malformed"): 1}


async def test_an_overload_is_told_to_a_json_sender_in_json() -> None:
    def full(_signal: Signal, _data: bytes) -> Receipt:
        raise OverloadedError("the queue is full", reason="memory", retry_after=2.5)

    async with receiving(RecordingIntake(answer=full)) as tocsin:
        answer = await post(tocsin, b'{"resourceSpans": []}', kind=JSON)
        assert answer.status_code == 503
        [detail] = answer.json()["details"]
        assert detail["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
        assert 2.5 <= float(detail["retryDelay"].removesuffix("s")) <= 2.5 * MOST_SPREAD


async def test_those_who_are_refused_together_are_told_to_come_back_at_different_times() -> None:
    def full(_signal: Signal, _data: bytes) -> Receipt:
        raise OverloadedError("the queue is full", reason="memory")

    async with receiving(RecordingIntake(answer=full)) as tocsin:
        answers = [await post(tocsin, trace_request("chat")) for _ in range(30)]
        assert {answer.headers["retry-after"] for answer in answers} == {"1", "2", "3"}


async def test_an_error_of_our_own_is_500_and_gives_its_bytes_back(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_signal: Signal, _data: bytes) -> Receipt:
        raise ZeroDivisionError

    async with receiving(RecordingIntake(answer=broken)) as tocsin:
        assert (await post(tocsin, trace_request("chat"))).status_code == 500
        assert tocsin.budget.held == 0
        assert [record.name for record in caplog.records if record.exc_info] == ["tocsin.receivers.http"]


async def test_requests_in_flight_are_answered_before_the_receiver_ends() -> None:
    intake = RecordingIntake(gate=asyncio.Event())
    assert intake.gate is not None
    async with receiving(intake) as tocsin:
        sent = asyncio.create_task(post(tocsin, trace_request("last")))
        await intake.waiting.wait()
        asyncio.get_running_loop().call_later(0.2, intake.gate.set)
    assert (await sent).status_code == 200
    assert intake.span_names == ["last"]


async def test_a_request_that_outlasts_the_drain_is_refused_so_that_it_is_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    intake = RecordingIntake(gate=asyncio.Event())
    async with receiving(intake, drain_seconds=0.2) as tocsin:
        sent = asyncio.create_task(post(tocsin, trace_request("last")))
        await intake.waiting.wait()
    answer = await sent
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert intake.offers == []
    assert tocsin.budget.held == 0
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.slow
async def test_refused_bombs_leave_no_memory_behind(caplog: pytest.LogCaptureFixture) -> None:
    bomb = bytes(64 * MIB)
    bombs = [("gzip", gzip.compress(bomb, 1)), ("deflate", zlib.compress(bomb, 1)), ("zstd", zstandard.compress(bomb))]
    async with receiving(max_request_size="1MiB") as tocsin:
        process = psutil.Process()
        baseline = 0
        for attempt in range(60):
            for encoding, body in bombs:
                assert (await post(tocsin, body, encoding=encoding)).status_code == 413
            assert (await post(tocsin, bomb[: 4 * MIB])).status_code == 413
            if attempt == 9:  # allocators have what they keep
                baseline = process.memory_info().rss
        assert process.memory_info().rss - baseline < 24 * MIB
        assert tocsin.budget.held == 0
        assert tocsin.intake.offers == []
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]
