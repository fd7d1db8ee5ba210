"""Connections, streams and frames without end, as raw HTTP/2: other clients are served all the while."""

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain, count, repeat

import grpc
import psutil
import pytest
from grpc import aio
from http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    RawConnection,
    call_headers,
    frame,
    grpc_message,
    literal,
    reset,
)
from receiver_harness import KIB, MIB, TRACES, Receiving, export, receiving, refused_export, trace_request, unary

from tocsin.service.memory import give_back

FLOOD_SECONDS = 1.0
MOST_HANDLERS = 2000
"""Calls of a flood that may come as far as our own code in that time; without protection it is several times that."""


async def is_served(tocsin: Receiving) -> bool:
    """Return whether a new client gets its answer in good time."""
    async with asyncio.timeout(10):
        return await export(tocsin.grpc, trace_request("other")) == b""


@contextlib.asynccontextmanager
async def others_served(tocsin: Receiving) -> AsyncIterator[list[float]]:
    """Send one request after the other while the block runs; yields how long each took."""
    took: list[float] = []

    is_over = asyncio.Event()

    async def client() -> None:
        while not is_over.is_set():
            begun = time.monotonic()
            assert await is_served(tocsin)
            took.append(time.monotonic() - begun)

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(client())
        yield took
        is_over.set()
        await serving


async def test_one_grpc_connection_too_many_is_closed_and_the_others_go_on() -> None:
    async with receiving(grpc={"max_connections": 5}) as tocsin, contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(RawConnection(tocsin.grpc)) for _ in range(4)]
        for connection in opened:
            await connection.greet()
        channel = await stack.enter_async_context(aio.insecure_channel(tocsin.grpc))
        await channel.channel_ready()
        flood = [await stack.enter_async_context(RawConnection(tocsin.grpc)) for _ in range(50)]
        assert [await connection.has_ended() for connection in flood] == [True] * 50
        export_over = unary(channel, TRACES)
        assert await export_over(trace_request("inside"), timeout=10) == b""
        assert not any(connection.ended.done() for connection in opened)


async def test_places_of_closed_grpc_connections_are_taken_again() -> None:
    async with receiving(grpc={"max_connections": 2}) as tocsin:
        for _ in range(20):
            async with RawConnection(tocsin.grpc) as connection:
                await connection.greet()
        async with asyncio.timeout(20):
            while True:  # closing is noticed a moment later
                with contextlib.suppress(aio.AioRpcError):
                    if await is_served(tocsin):
                        break


@pytest.mark.parametrize("sent", [b"", b"PRI * HT", PREFACE, PREFACE + frame(SETTINGS, 0, 0)[:5]])
async def test_a_grpc_connection_that_sends_no_preface_or_settings_is_closed(sent: bytes) -> None:
    async with receiving(read_timeout="300ms") as tocsin, RawConnection(tocsin.grpc) as connection:
        await connection.send(sent)
        assert await connection.has_ended(10)


async def test_a_grpc_stream_whose_headers_never_end_occupies_no_handler_and_harms_nobody() -> None:
    async with receiving(read_timeout="300ms") as tocsin, RawConnection(tocsin.grpc) as connection:
        await connection.greet()
        block = call_headers(TRACES)
        await connection.send(frame(HEADERS, 0, 1, block[:1]))
        for at in range(1, len(block)):
            assert await connection.send(frame(CONTINUATION, 0, 1, block[at : at + 1]))
        assert await is_served(tocsin)
        assert tocsin.observer.refusals == {}


async def test_grpc_streams_that_never_end_are_cut_off() -> None:
    async with receiving(read_timeout="300ms") as tocsin, RawConnection(tocsin.grpc) as connection:
        await connection.greet()
        for stream in range(1, 41, 2):
            await connection.send(
                frame(HEADERS, END_HEADERS, stream, call_headers(TRACES))
                + frame(DATA, 0, stream, grpc_message(b"\x0a", announced=10 * KIB))
            )
        async with asyncio.timeout(20):
            while sum(tocsin.observer.refusals.values()) < 20:
                tocsin.observer.changed.clear()
                await tocsin.observer.changed.wait()
        assert {reason for _, reason in tocsin.observer.refusals} <= {"timeout", "reading"}
        assert await is_served(tocsin)
        assert tocsin.budget.held == 0


async def test_more_streams_than_a_connection_may_open_are_refused_and_others_served() -> None:
    async with receiving(grpc={"max_concurrent_streams": 4}) as tocsin, RawConnection(tocsin.grpc) as connection:
        await connection.greet()
        for stream in range(1, 2001, 2):
            if not await connection.send(frame(HEADERS, END_HEADERS, stream, call_headers(TRACES))):
                break
        assert await is_served(tocsin)


def _rapid_reset() -> Iterator[bytes]:
    block = call_headers(TRACES)
    for start in range(1, 1 << 30, 200):
        yield b"".join(
            frame(HEADERS, END_HEADERS, stream, block) + reset(stream) for stream in range(start, start + 200, 2)
        )


def _endless(first: bytes, more: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: chain([first], repeat(more))


def _continuations() -> Iterator[bytes]:
    yield frame(HEADERS, 0, 1, call_headers(TRACES))
    for number in count():
        yield frame(CONTINUATION, 0, 1, literal(f"x-{number}", "y" * 1000)) * 20


def _headers(more: Sequence[tuple[str, str]]) -> Callable[[], Iterator[bytes]]:
    block = call_headers(TRACES, more)
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]

    def flood() -> Iterator[bytes]:
        for stream in range(1, 1 << 30, 2):
            yield frame(HEADERS, END_STREAM, stream, parts[0])
            for part in parts[1:-1]:
                yield frame(CONTINUATION, 0, stream, part)
            yield frame(CONTINUATION, END_HEADERS, stream, parts[-1])

    return flood


def _garbage() -> Iterator[bytes]:
    while True:
        yield os.urandom(16 * KIB)


_CALL = frame(HEADERS, END_HEADERS, 1, call_headers(TRACES))
_CHANGE = struct.pack(">HI", 4, 65535)  # SETTINGS_INITIAL_WINDOW_SIZE
FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "rapid reset (CVE-2023-44487)": _rapid_reset,
    "pings": _endless(b"", frame(PING, 0, 0, bytes(8)) * 400),
    "settings": _endless(b"", frame(SETTINGS, 0, 0, _CHANGE) * 400),
    "empty data frames": _endless(_CALL, frame(DATA, 0, 1) * 400),
    "window updates": _endless(b"", frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 400),
    "continuations (CVE-2024-27316)": _continuations,
    "empty continuations": _endless(frame(HEADERS, 0, 1, call_headers(TRACES)), frame(CONTINUATION, 0, 1) * 400),
    "many headers": _headers([(f"x-{number}", "y" * 20) for number in range(2000)]),
    "a huge header": _headers([("x", "y" * 4 * MIB)]),
    "garbage": _garbage,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_http2_frames_costs_little_memory_and_others_are_served(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = psutil.Process()
    async with receiving() as tocsin:
        assert await is_served(tocsin)
        before = process.memory_info().rss
        async with others_served(tocsin) as took:
            ends = asyncio.get_running_loop().time() + FLOOD_SECONDS
            while asyncio.get_running_loop().time() < ends or len(took) < 3:  # one that is thrown out comes again
                async with RawConnection(tocsin.grpc) as connection:
                    await connection.greet()
                    for part in FLOODS[name]():
                        await asyncio.sleep(0)
                        if asyncio.get_running_loop().time() > ends or not await connection.send(part):
                            break
        assert len(took) >= 3
        assert max(took) < 5  # milliseconds on a machine that does nothing else
        assert process.memory_info().rss - before < (110 if name == "many headers" else 56) * MIB
        assert tocsin.budget.held == 0
        assert set(tocsin.intake.span_names) == {"other"}
        assert sum(tocsin.observer.refusals.values()) < MOST_HANDLERS
    assert not [record for record in caplog.records if record.exc_info]


async def test_many_small_bombs_at_once_over_grpc_are_refused_and_hold_nothing() -> None:
    async with receiving(max_request_size="1MiB", in_flight_bytes=4 * MIB) as tocsin:
        process = psutil.Process()
        await refused_export(tocsin.grpc, bytes(32 * MIB), compression=grpc.Compression.Gzip)
        before = process.memory_info().rss
        bomb = bytes(32 * MIB)
        for _ in range(2):
            errors = await asyncio.gather(
                *(refused_export(tocsin.grpc, bomb, compression=grpc.Compression.Gzip) for _ in range(16))
            )
            assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        async with asyncio.timeout(30):  # the senders are in this process too, and let go a little later
            while process.memory_info().rss - before >= 128 * MIB:  # memory tells nobody
                await asyncio.sleep(0.05)
                give_back()  # what the allocator keeps of the senders' copies is nothing that is held
        assert tocsin.budget.held == 0
        assert tocsin.intake.offers == []
        assert await is_served(tocsin)
