"""Where a request ends: what two servers could read in two ways is refused, and nothing is smuggled in."""

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import Callable

import httpx2
import psutil
import pytest
import zstandard
from receiver_harness import KIB, MIB, Receiving, receiving, trace_request
from test_http_connections import HEADERS, connect, is_served, rest_of

DATA = trace_request("sent")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


async def answer_to(tocsin: Receiving, request: bytes) -> bytes:
    """Return all that comes back until the other side closes."""
    reader, writer = await connect(tocsin)
    writer.write(request)
    answer = await rest_of(reader)
    writer.close()
    return answer


@pytest.mark.parametrize("order", ["length first", "encoding first"])
async def test_content_length_with_transfer_encoding_is_400_and_nothing_is_smuggled(order: str) -> None:
    length, encoding = b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"
    both = length + encoding if order == "length first" else encoding + length
    inner = HEADERS + b"content-length: %d\r\n\r\n" % len(DATA) + DATA
    async with receiving() as tocsin:
        answer = await answer_to(tocsin, HEADERS + both + b"\r\n0\r\n\r\n" + inner)
        assert answer.startswith(b"HTTP/1.1 400")
        assert answer.count(b"HTTP/1.1") == 1
        assert tocsin.intake.offers == []
        assert tocsin.observer.refusals["http", "malformed"] == 1
        assert await is_served(tocsin)


@pytest.mark.parametrize(
    "framing",
    [
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"transfer-encoding: identity, chunked\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding : chunked\r\n",
        b"content-length: +5\r\n",
        b"content-length: 0x5\r\n",
        b"content-length: 5, 6\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: -1\r\n",
        b"content-length: 99999999999999999999999\r\n",
        b"content-length: 5\0\r\n",
        b"x: a\rtransfer-encoding: chunked\r\n",
        b"host: y\r\n",
    ],
)
async def test_framing_that_others_may_read_otherwise_is_400_and_the_connection_ends(framing: bytes) -> None:
    async with receiving() as tocsin:
        answer = await answer_to(tocsin, HEADERS + framing + b"\r\nhello")
        assert answer.startswith(b"HTTP/1.1 400")
        assert answer.count(b"HTTP/1.1") == 1
        assert tocsin.intake.offers == []


async def test_a_body_longer_than_its_content_length_is_not_read_as_a_part_of_it() -> None:
    async with receiving() as tocsin:
        answer = await answer_to(tocsin, HEADERS + b"content-length: %d\r\n\r\n" % len(DATA) + DATA + b"extra\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1 200") == 1
        assert [data for _, data, _ in tocsin.intake.offers] == [DATA]


async def test_a_body_shorter_than_its_content_length_is_never_taken() -> None:
    async with receiving() as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(HEADERS + b"content-length: %d\r\n\r\n" % (len(DATA) + 1) + DATA)
        writer.write_eof()
        await rest_of(reader)
        writer.close()
        await tocsin.observer.refusal("http", "incomplete")
        assert tocsin.intake.offers == []
        assert tocsin.budget.held == 0


async def test_a_sender_that_asks_first_is_told_to_continue() -> None:
    async with receiving() as tocsin:
        reader, writer = await connect(tocsin)
        writer.write(HEADERS + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(DATA))
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(DATA)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_body_in_chunks_of_one_byte_is_one_body() -> None:
    async with receiving() as tocsin:
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in DATA) + b"0\r\n\r\n"
        request = HEADERS + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + body
        assert (await answer_to(tocsin, request)).startswith(b"HTTP/1.1 200")
        assert tocsin.intake.offers[0][1] == DATA


async def test_a_sender_that_pipelines_and_reads_no_answer_is_left() -> None:
    process = psutil.Process()
    request = HEADERS.replace(b"/v1/traces", b"/nowhere") + b"content-length: 0\r\n\r\n"
    async with receiving(read_timeout="500ms") as tocsin:
        assert await is_served(tocsin)
        before = process.memory_info().rss
        assert tocsin.listening.http is not None
        _, writer = await asyncio.open_connection("127.0.0.1", tocsin.listening.http.port, limit=KIB)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                while not tocsin.observer.refusals["http", "timeout"]:
                    writer.write(request * 100)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await writer.drain()
        await tocsin.observer.refusal("http", "timeout")
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        assert await is_served(tocsin)
        assert process.memory_info().rss - before < 48 * MIB


async def test_the_connection_stays_usable_after_a_body_that_is_too_large() -> None:
    async with receiving(max_request_size="64KiB") as tocsin:
        reader, writer = await connect(tocsin)
        packed = gzip.compress(bytes(MIB))
        writer.write(HEADERS + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        writer.write(HEADERS + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(DATA) + DATA)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 200")
        writer.close()


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", BOMBS)
async def test_many_small_bombs_at_once_stay_within_the_bytes_in_flight(encoding: str) -> None:
    bomb = BOMBS[encoding](bytes(16 * MIB))
    process = psutil.Process()
    async with (
        receiving(max_request_size="8MiB", in_flight_bytes=16 * MIB) as tocsin,
        httpx2.AsyncClient(trust_env=False, timeout=30, limits=httpx2.Limits(max_connections=64)) as client,
    ):
        headers = {"content-type": "application/x-protobuf", "content-encoding": encoding}
        url = tocsin.http + "/v1/traces"
        await client.post(url, content=bomb, headers=headers)
        before = process.memory_info().rss
        peak = 0

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, tocsin.budget.held)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        answers = await asyncio.gather(*(client.post(url, content=bomb, headers=headers) for _ in range(64)))
        watching.cancel()
        assert {answer.status_code for answer in answers} <= {413, 503}
        assert 0 < peak <= 16 * MIB
        assert process.memory_info().rss - before < 64 * MIB
        assert tocsin.budget.held == 0
        assert tocsin.intake.offers == []
