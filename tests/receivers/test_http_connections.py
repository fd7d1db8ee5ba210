"""Connections that are slow, silent, too many, or not HTTP at all; other clients never notice."""

import asyncio
import contextlib
import os
import random

import pytest
from receiver_harness import MIB, Receiving, RecordingIntake, receiving, trace_request

HEADERS = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"


async def connect(tocsin: Receiving) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert tocsin.listening.http is not None
    return await asyncio.open_connection("127.0.0.1", tocsin.listening.http.port)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what is still sent until the connection ends, however it does."""
    read = b""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                read += part
    return read


async def is_served(tocsin: Receiving) -> bool:
    reader, writer = await connect(tocsin)
    data = trace_request("other")
    writer.write(HEADERS + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
    answer = await rest_of(reader)
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/tr", HEADERS])
async def test_a_connection_that_sends_no_request_is_closed(sent: bytes) -> None:
    async with receiving(read_timeout="200ms") as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(sent)
        assert await rest_of(reader) == b""
        writer.close()
        assert tocsin.observer.refusals == {("http", "timeout"): 1}
        assert await is_served(tocsin)


async def test_a_connection_that_begins_a_second_request_and_stops_is_closed() -> None:
    async with receiving(read_timeout="300ms") as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(HEADERS + b"content-length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"POST /v1/tr")
        assert await rest_of(reader) == b""
        writer.close()
        assert tocsin.observer.refusals == {("http", "timeout"): 1}


async def test_a_body_that_trickles_is_cut_off_with_408() -> None:
    async with receiving(read_timeout="300ms") as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(HEADERS + b"content-length: 1000000\r\n\r\n")
        answer = asyncio.create_task(rest_of(reader))
        with contextlib.suppress(ConnectionError):
            while not answer.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)  # the trickle
        assert (await answer).startswith(b"HTTP/1.1 408")
        writer.close()
        assert tocsin.observer.refusals == {("http", "timeout"): 1}
        assert tocsin.budget.held == 0


async def test_a_sender_that_leaves_within_its_body_is_counted_and_nothing_is_held() -> None:
    async with receiving() as tocsin:
        _, writer = await connect(tocsin)
        writer.write(HEADERS + b"content-length: 1000000\r\n\r\n" + bytes(5000))
        await writer.drain()
        writer.transport.abort()
        await tocsin.observer.refusal("http", "incomplete")
        assert tocsin.budget.held == 0
        assert tocsin.intake.offers == []


async def test_one_connection_too_many_is_told_to_come_back_and_the_others_go_on() -> None:
    async with receiving(http={"max_connections": 3}) as tocsin:
        opened = [await connect(tocsin) for _ in range(3)]
        reader, writer = await connect(tocsin)
        answer = await rest_of(reader)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        writer.close()
        assert tocsin.observer.refusals == {("http", "connections"): 1}
        first_reader, first_writer = opened[0]
        first_writer.write(HEADERS + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        assert (await rest_of(first_reader)).startswith(b"HTTP/1.1 200")
        assert await is_served(tocsin)
        for _, other in opened:
            other.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/traces\r\n\r\n",
        HEADERS + b"content-length: -1\r\n\r\n",
        HEADERS + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        HEADERS + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        HEADERS + b"transfer-encoding: gzip\r\n\r\n",
        HEADERS + b"x: " + b"y" * 300_000,
        HEADERS + b"x: y\r\n" * 100_000,
        os.urandom(1000) + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_without_a_trace(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving() as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(garbage)
        answer = await rest_of(reader)
        writer.close()
        assert answer == b"" or answer.split()[1] in (b"400", b"404", b"501")
        assert sum(tocsin.observer.refusals.values()) in (1, 2)  # HTTP/2's preface reads as two requests
        assert await is_served(tocsin)
    assert caplog.records == []


async def test_garbage_after_an_early_answer_closes_the_connection_without_a_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with receiving() as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(HEADERS.replace(b"/v1/traces", b"/nowhere") + b"transfer-encoding: chunked\r\n\r\n")
        assert b"404" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"no chunk\r\n")
        await rest_of(reader)
        writer.close()
        assert await is_served(tocsin)
    assert caplog.records == []


async def test_a_sender_that_asks_first_is_refused_before_it_sends_its_body() -> None:
    async with receiving(max_request_size="1MiB") as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(HEADERS + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (2 * MIB))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with receiving() as tocsin:
        reader, writer = await connect(tocsin)
        bodies = [trace_request(f"span {n}") for n in range(20)]
        writer.write(b"".join(HEADERS + b"content-length: %d\r\n\r\n" % len(body) + body for body in bodies))
        for _ in bodies:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert tocsin.intake.span_names == [f"span {n}" for n in range(20)]


@pytest.mark.slow
async def test_while_one_sends_garbage_all_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(4318)
    intake = RecordingIntake()
    async with receiving(intake) as tocsin:

        async def vandal() -> None:
            for _ in range(100):
                _, writer = await connect(tocsin)
                data = trace_request("vandal", body=chance.randrange(3000))
                request = bytearray(HEADERS + b"content-length: %d\r\n\r\n" % len(data) + data)
                for _ in range(chance.randrange(1, 9)):
                    request[chance.randrange(len(request))] = chance.randrange(256)
                writer.write(bytes(request[: chance.randrange(len(request))]))
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                writer.transport.abort()

        async def client() -> int:
            return sum([await is_served(tocsin) for _ in range(100)])

        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(client()) for _ in range(3)]
            for _ in range(3):
                tasks.create_task(vandal())
        assert [each.result() for each in clients] == [100, 100, 100]
        assert intake.span_names.count("other") == 300
    assert tocsin.budget.held == 0
    assert not [record for record in caplog.records if record.exc_info]
