"""The gRPC service with real clients: who may call, what watchers are told, and what a hostile one achieves."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from guard_parts import Forgetful, Methods
from hypothesis import given
from hypothesis import strategies as st

from tocsin.guard import BlockedError, Guard, guard_pb2
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.guard.config import GuardConfig
from tocsin.guard.feed import Feed
from tocsin.guard.service import GuardService
from tocsin.guard.watched import Watched
from tocsin.security.config import TokenConfig
from tocsin.security.tokens import Tokens

ROOT = Path(__file__).parents[2]
HOUR = 3_600_000_000_000
ADMIN, INGEST, READ = (f"{role}-token-of-the-tests" for role in ("admin", "ingest", "read"))
GUESS = "a guess"


class Served:
    """A served guard, and what calls it."""

    def __init__(self, blocks: Blocks, service: GuardService, address: str, channel: aio.Channel) -> None:
        self.blocks, self.service, self.address, self._channel = blocks, service, address, channel

    def put(self, value: str, label: str = "conversation", reason: str = "a drill") -> Block:
        return self.blocks.block(label, value, until=self.blocks.now + HOUR, by="ana", reason=reason)

    def watch(self, *, token: str | None = None, instance: str = "", version: int = 0) -> Any:  # noqa: ANN401  # as the stubs type it
        call = self._channel.unary_stream(
            "/tocsin.v1.Guard/Watch",
            request_serializer=guard_pb2.WatchRequest.SerializeToString,
            response_deserializer=guard_pb2.WatchResponse.FromString,
        )
        return call(guard_pb2.WatchRequest(instance=instance, version=version), metadata=_metadata(token))

    async def check(self, labels: dict[str, str], *, token: str | None = None) -> guard_pb2.CheckResponse:
        call = self._channel.unary_unary(
            "/tocsin.v1.Guard/Check",
            request_serializer=guard_pb2.CheckRequest.SerializeToString,
            response_deserializer=guard_pb2.CheckResponse.FromString,
        )
        answer: guard_pb2.CheckResponse = await call(
            guard_pb2.CheckRequest(labels=labels), metadata=_metadata(token), timeout=10
        )
        return answer


def _metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def token(role: str, **more: object) -> TokenConfig:
    return TokenConfig.model_validate({"name": role, "token": f"{role}-token-of-the-tests", "role": role, **more})


@asynccontextmanager
async def serving(*tokens: TokenConfig, history: int = 4096, **config: object) -> AsyncIterator[Served]:
    blocks = Blocks(Forgetful(), history=history)
    service = GuardService(blocks, GuardConfig.model_validate(config), Tokens(tokens))
    server = aio.server()
    server.add_generic_rpc_handlers((Methods(service),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with blocks.running(), aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(blocks, service, f"127.0.0.1:{port}", channel)
    finally:
        service.drain()
        await server.stop(5)


async def _code(call: Any) -> grpc.StatusCode:  # noqa: ANN401  # any awaitable of grpcio
    with pytest.raises(aio.AioRpcError) as refused:
        await call
    code: grpc.StatusCode = refused.value.code()
    return code


async def test_a_watcher_gets_everything_then_changes_then_signs_of_life() -> None:
    async with serving(heartbeat="100ms") as served:
        served.put("conv-1")
        stream = served.watch()
        first = await stream.read()
        assert (first.reset, first.complete, [one.value for one in first.blocked]) == (True, True, ["conv-1"])
        block = served.put("conv-2")
        second = await stream.read()
        while not second.blocked:
            second = await stream.read()
        assert (second.reset, [one.value for one in second.blocked]) == (False, ["conv-2"])
        served.blocks.unblock(block, by="ana", reason="x")
        third = await stream.read()
        while not third.removed:
            third = await stream.read()
        assert [one.value for one in third.removed] == ["conv-2"]
        sign = await stream.read()
        assert (sign.complete, sign.version, list(sign.blocked)) == (True, third.version, [])
        stream.cancel()
        resumed = served.watch(instance=third.instance, version=second.version)
        answer = await resumed.read()
        assert (answer.reset, [one.value for one in answer.removed]) == (False, ["conv-2"])
        resumed.cancel()


async def test_a_watcher_that_is_too_far_behind_or_of_another_process_gets_everything() -> None:
    async with serving(history=2) as served:
        for number in range(6):
            served.put(f"conv-{number}")
        for instance, version in ((served.blocks.feed.instance, 1), ("another", 6), (served.blocks.feed.instance, 99)):
            stream = served.watch(instance=instance, version=version)
            answer = await stream.read()
            assert (answer.reset, len(answer.blocked)) == (True, 6)
            stream.cancel()


async def test_a_large_set_comes_in_parts_of_a_bounded_size() -> None:
    async with serving() as served:
        for number in range(4500):
            served.put(f"conv-{number}", reason="x" * 900)
        stream = served.watch()
        watched = Watched()
        parts: list[guard_pb2.WatchResponse] = []
        while not (parts and parts[-1].complete):
            parts.append(await stream.read())
            assert not watched.known.is_set(), "half a set is none"
            watched.take(parts[-1])
        stream.cancel()
        assert max(part.ByteSize() for part in parts) < 2_000_000
        assert all(watched.find({"conversation": f"conv-{number}"}) for number in range(4500))


async def test_who_may_call() -> None:
    bound = token("admin", projects=["shop"])
    async with serving(token("read"), bound, token("ingest")) as served:
        served.put("conv-1", reason="a secret")
        labels = {"conversation": "conv-1"}
        assert await _code(served.check(labels)) is grpc.StatusCode.UNAUTHENTICATED
        assert await _code(served.check(labels, token=GUESS)) is grpc.StatusCode.UNAUTHENTICATED
        assert await _code(served.check(labels, token=INGEST)) is grpc.StatusCode.PERMISSION_DENIED
        assert await _code(served.watch().read()) is grpc.StatusCode.UNAUTHENTICATED
        assert await _code(served.watch(token=ADMIN).read()) is grpc.StatusCode.PERMISSION_DENIED
        seen = await served.check(labels, token=READ)
        hidden = await served.check(labels, token=ADMIN)
        assert (seen.blocked, seen.block.reason) == (True, "a secret")
        assert (hidden.blocked, hidden.block.reason) == (True, "blocked")


async def test_watchers_are_bounded_and_a_place_becomes_free() -> None:
    async with serving(max_watchers=1, heartbeat="100ms") as served:
        first = served.watch()
        await first.read()
        assert await _code(served.watch().read()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()
        async with asyncio.timeout(10):
            while True:
                second = served.watch()
                try:
                    assert (await second.read()).complete
                except aio.AioRpcError:
                    await asyncio.sleep(0.01)  # until the server has noticed that the first has left
                else:
                    break
        second.cancel()


@pytest.mark.parametrize("number", [0, 33])
async def test_a_question_of_no_or_too_many_labels_is_refused(number: int) -> None:
    async with serving() as served:
        labels = {f"label-{each}": "x" for each in range(number)}
        assert await _code(served.check(labels)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stop_ends_watches_at_once() -> None:
    async with serving(heartbeat="1m") as served:
        stream = served.watch()
        await stream.read()
        served.service.drain()
        async with asyncio.timeout(20):  # a sign of life would come after a minute
            assert await stream.read() is aio.EOF


async def test_text_that_is_no_unicode_reaches_watchers_all_the_same() -> None:
    async with serving() as served:
        served.put("lone \ud800 half", reason="\ud800")
        stream = served.watch()
        [block] = (await stream.read()).blocked
        assert (block.value, block.reason) == ("lone ? half", "?")
        stream.cancel()


async def test_a_guard_tells_why_it_is_not_connected() -> None:
    async with serving(token("read")) as served:
        async with Guard(served.address, token=GUESS, connect_seconds=0.5) as guard:
            assert not guard.connected
            assert "UNAUTHENTICATED" in (guard.problem or "")
            guard.check(conversation="conv-1")
        served.put("conv-1")
        async with Guard(served.address, token=READ) as guard:
            with pytest.raises(BlockedError, match=r"conversation 'conv-1' is blocked until .*: a drill"):
                guard.check(tenant=None, conversation="conv-1")


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), st.integers(0, 30), st.integers(1, 8))
def test_a_watcher_ends_where_one_that_saw_everything_does(
    changes: list[tuple[int, bool]], seen: int, length: int
) -> None:
    feed = Feed(length)
    table: dict[tuple[str, str], Block] = {}
    known: dict[tuple[str, str], Block] = {}
    version = 0
    for number, (which, blocked) in enumerate(changes):
        key = ("conversation", str(which))
        block = Block(f"blk_{number}", *key, "", "", 0, 1) if blocked else None
        table.pop(key, None)
        if block is not None:
            table[key] = block
        feed.put(key, block)
        if number < seen:
            known, version = dict(table), feed.version
    later = feed.since(version)
    if later is None:
        assert feed.version - version > length
        return
    for key, block in later:
        known.pop(key, None)
        if block is not None:
            known[key] = block
    assert known == table


def test_an_application_imports_no_more_than_grpc() -> None:
    program = (
        "import sys; from tocsin.guard import Guard, BlockedError; Guard()\n"
        "heavy = {'numpy', 'pydantic', 'fastapi', 'sqlalchemy', 'httpx2', 'prometheus_client', 'yaml'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


async def test_the_example_of_the_page_runs() -> None:
    page = (ROOT / "docs" / "kill-switch.md").read_text()
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    async with serving() as served:
        served.put("conv-1")
        names: dict[str, Any] = {}
        exec(program.replace("127.0.0.1:4317", served.address), names)  # noqa: S102  # of our own page
        try:
            assert await asyncio.to_thread(names["ask_model"], "conv-1", "hi") == "stopped: a drill"
            assert await asyncio.to_thread(names["ask_model"], "conv-2", "hi") == "an answer to hi"
        finally:
            await asyncio.to_thread(names["guard"].close)
