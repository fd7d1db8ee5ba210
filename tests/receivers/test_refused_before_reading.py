"""A receiver that may take nothing says so before it has read, opened or translated anything."""

import asyncio
import gzip
import os

import grpc
import httpx2
import psutil
import pytest
from grpc import aio
from receiver_harness import (
    KIB,
    MIB,
    TRACES,
    Receiving,
    RecordingIntake,
    export,
    receiving,
    refused_export,
    trace_request,
)

from tocsin.errors import OverloadedError
from tocsin.receivers import http, http_body
from tocsin.receivers.intake import Receipt, Signal


def short_of_memory() -> None:
    raise OverloadedError("the process is over limits.memory", reason="memory", retry_after=5.0)


async def test_short_of_memory_a_grpc_message_is_refused_before_it_is_read() -> None:
    async with receiving(check=short_of_memory, read_timeout="5s") as tocsin:
        async with aio.insecure_channel(tocsin.grpc) as channel:
            call: aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(TRACES)()  # sends headers, and no message
            async with asyncio.timeout(4):
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
        error = await refused_export(tocsin.grpc, bytes(30 * MIB))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "grpc-status-details-bin" in dict(error.trailing_metadata() or ())
        assert tocsin.observer.requests["grpc"] == 0
        assert tocsin.observer.refusals == {("grpc", "memory"): 2}


async def test_short_of_memory_an_http_body_is_refused_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("opened or translated all the same")

    monkeypatch.setattr(http_body, "DECOMPRESSORS", {"gzip": never})
    monkeypatch.setattr(http, "traces_from_json", never)
    async with receiving(check=short_of_memory) as tocsin, httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            tocsin.http + "/v1/traces",
            content=gzip.compress(b"{}"),
            headers={"content-type": "application/json", "content-encoding": "gzip"},
        )
        assert answer.status_code == 503
        assert 5 <= int(answer.headers["retry-after"]) <= 15
        assert tocsin.observer.refusals == {("http", "memory"): 1}
        assert tocsin.observer.requests["http"] == 0


async def test_a_full_budget_refuses_a_grpc_message_before_it_is_read() -> None:
    async with receiving(max_request_size="64KiB", in_flight_bytes=128 * KIB) as tocsin:
        tocsin.budget.take(128 * KIB)
        async with aio.insecure_channel(tocsin.grpc) as channel:
            call: aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(TRACES)()
            async with asyncio.timeout(10):
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
        tocsin.budget.give_back(128 * KIB)
        await export(tocsin.grpc, trace_request("after"))


async def test_a_sender_that_stalls_in_its_message_is_cut_off_for_those_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tocsin.receivers.turns.PATIENCE_SECONDS", 0.2)
    async with (
        receiving(max_request_size="64KiB", in_flight_bytes=128 * KIB) as tocsin,
        aio.insecure_channel(tocsin.grpc) as channel,
    ):
        stalled: list[aio.StreamUnaryCall[bytes, bytes]]
        stalled = [channel.stream_unary(TRACES)() for _ in range(20)]  # two of them have all turns there are
        async with asyncio.timeout(20):
            while tocsin.observer.refusals["grpc", "reading"] < 2:
                tocsin.observer.changed.clear()
                sent = asyncio.create_task(export(tocsin.grpc, trace_request("other")))
                await tocsin.observer.changed.wait()
                assert await sent == b""
        for call in stalled:
            call.cancel()


@pytest.mark.slow
async def test_refused_messages_are_not_kept_by_the_traceback_of_their_refusal() -> None:
    """An exception's frames hold the message, in a cycle: it would stay until cycles are collected."""

    def full(_signal: Signal, _data: bytes) -> Receipt:
        raise OverloadedError("busy", reason="memory")

    data = trace_request("large", body=30 * MIB)
    async with receiving(RecordingIntake(answer=full)) as tocsin, httpx2.AsyncClient(trust_env=False) as client:
        process = psutil.Process(os.getpid())
        baseline = 0
        for attempt in range(12):
            assert (await refused_export(tocsin.grpc, data)).code() is grpc.StatusCode.UNAVAILABLE
            answer = await client.post(
                tocsin.http + "/v1/traces", content=data, headers={"content-type": "application/x-protobuf"}
            )
            assert answer.status_code == 503
            if attempt == 3:
                baseline = process.memory_info().rss
        assert process.memory_info().rss - baseline < 100 * MIB


async def post_json(tocsin: Receiving, spans: int) -> httpx2.Response:
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([b"{}"] * spans) + b"]}]}]}"
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        headers = {"content-type": "application/json"}
        return await client.post(tocsin.http + "/v1/traces", content=body, headers=headers)


async def test_json_that_would_become_too_much_is_413_before_it_is_translated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(_: bytes) -> bytes:
        raise AssertionError("translated all the same")

    async with receiving(max_request_size="1MiB", in_flight_bytes=16 * MIB) as tocsin:
        assert (await post_json(tocsin, 1000)).status_code == 200
        monkeypatch.setattr(http, "traces_from_json", never)
        answer = await post_json(tocsin, 300_000)
        assert answer.status_code == 413
        assert "protobuf" in answer.json()["message"]
        assert tocsin.budget.held == 0


async def test_json_that_does_not_fit_now_is_503_and_is_taken_later() -> None:
    async with receiving(max_request_size="1MiB", in_flight_bytes=16 * MIB) as tocsin:
        tocsin.budget.take(14 * MIB)
        assert (await post_json(tocsin, 10_000)).status_code == 503
        tocsin.budget.give_back(14 * MIB)
        assert (await post_json(tocsin, 10_000)).status_code == 200
        assert tocsin.budget.held == 0
