"""A guard where gRPC does not get through: it asks the API, with the same answers and the same `fail`."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from grpc import aio
from guard_parts import Forgetful, Methods

from tocsin.api.blocks import blocks_router
from tocsin.api.config import ApiConfig
from tocsin.api.server import serving_api
from tocsin.api.status import Status
from tocsin.guard import BlockedError, Guard, watching
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.guard.config import GuardConfig
from tocsin.guard.errors import GuardUnavailableError
from tocsin.guard.service import GuardService
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

HOUR = 3_600_000_000_000
APP, BOUND = "a-token-of-an-application", "a-token-bound-to-projects"
TOKENS = [
    {"name": "app", "token": APP, "role": "read"},
    {"name": "bound", "token": BOUND, "role": "read", "projects": ["shop"]},
]


class Served:
    def __init__(self, blocks: Blocks, url: str) -> None:
        self.blocks = blocks
        self.url = url

    def put(self, value: str, label: str = "conversation") -> Block:
        return self.blocks.block(label, value, until=self.blocks.now + HOUR, by="ana", reason="a drill")

    def guard(self, endpoint: str | None = None, **more: Any) -> Guard:  # noqa: ANN401  # of `Guard`
        return Guard(endpoint, **{"http": self.url, "token": APP, **more})


@asynccontextmanager
async def serving(
    tmp_path: Path, *, port: int = 0, blocks: Blocks | None = None, **config: object
) -> AsyncIterator[Served]:
    blocks = Blocks(Forgetful()) if blocks is None else blocks
    router = blocks_router(blocks, Database(StorageConfig(directory=tmp_path)), GuardConfig.model_validate(config))
    api = ApiConfig.model_validate({"endpoint": f"127.0.0.1:{port}", "tokens": TOKENS, "base_path": "/tocsin"})
    async with blocks.running(), serving_api(api, Status(version="0", decoder="native"), routers=(router,)) as served:
        yield Served(blocks, f"http://{served.address}/tocsin")


@contextmanager
def silent_port() -> Iterator[str]:
    """Takes connections and never says a word, like a proxy that speaks no HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def is_via(guard: Guard, way: str) -> bool:
    return guard.via == way


async def until(condition: Any, seconds: float = 10) -> None:  # noqa: ANN401  # a question without arguments
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what the guard's thread changes
            await asyncio.sleep(0.005)


async def test_it_follows_what_is_blocked_lifted_and_large_over_http_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for number in range(5_000):
            served.put(f"conv-{number}")
        odd = 'a"\\ \ufffd'
        served.put(odd, label="tenant")
        async with served.guard() as guard:
            assert (guard.connected, guard.via, guard.problem) == (True, "http", None)
            assert all(guard.is_blocked(conversation=f"conv-{number}") for number in range(5_000))
            with pytest.raises(BlockedError) as caught:
                guard.check(conversation="free", tenant=odd)
            assert (caught.value.label, caught.value.value, caught.value.reason) == ("tenant", odd, "a drill")
            begun = time.monotonic()
            block = served.put("conv-new")
            await until(lambda: guard.is_blocked(conversation="conv-new"))
            assert time.monotonic() - begun < 1, "news ends the wait"
            served.blocks.unblock(block, by="ana", reason="x")
            await until(lambda: not guard.is_blocked(conversation="conv-new"))
            assert guard.is_blocked(conversation="conv-1"), "changes only, and the rest stays"


@pytest.mark.parametrize("way", ["refused", "silent"])
async def test_where_grpc_does_not_get_through_it_asks_the_api(tmp_path: Path, way: str) -> None:
    with silent_port() as silent, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = silent if way == "silent" else f"127.0.0.1:{unused.getsockname()[1]}"
        async with serving(tmp_path) as served:
            served.put("conv-1")
            begun = time.monotonic()
            async with served.guard(endpoint, fail="closed") as guard:
                assert guard.connected
                assert time.monotonic() - begun < 5
                assert guard.via == "http"
                assert guard.is_blocked(conversation="conv-1")
                guard.check(conversation="conv-2")


async def test_it_goes_back_to_grpc_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0.2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with serving(tmp_path) as served:
        served.put("conv-1")
        async with served.guard(f"127.0.0.1:{port}") as guard:
            assert guard.via == "http"
            server = aio.server()
            service = GuardService(served.blocks, GuardConfig())
            server.add_generic_rpc_handlers((Methods(service),))
            assert server.add_insecure_port(f"127.0.0.1:{port}") == port
            await server.start()
            try:
                await until(lambda: is_via(guard, "grpc"), 30)
                assert guard.is_blocked(conversation="conv-1")
                served.put("conv-2")
                await until(lambda: guard.is_blocked(conversation="conv-2"))
            finally:
                service.drain()
                await server.stop(1)
            served.put("conv-3")
            await until(lambda: guard.is_blocked(conversation="conv-3"), 30)
            assert is_via(guard, "http")


async def test_an_api_that_dies_is_noticed_what_was_blocked_stays_so_and_it_comes_back(tmp_path: Path) -> None:
    blocks = Blocks(Forgetful())
    async with serving(tmp_path, blocks=blocks) as served:
        served.put("conv-1")
        closed, opened = served.guard(fail="closed", max_stale=0.9), served.guard(max_stale=0.9)
        await asyncio.to_thread(closed.wait)
        await asyncio.to_thread(opened.wait)
    try:
        await until(lambda: not closed.connected and not opened.connected)
        assert closed.is_blocked(conversation="conv-1")
        assert opened.is_blocked(conversation="conv-1")
        opened.check(conversation="free")
        with pytest.raises(GuardUnavailableError, match="over HTTP"):
            closed.check(conversation="free")
        port = int(served.url.split(":")[2].split("/")[0])
        async with serving(tmp_path, port=port, blocks=Blocks(Forgetful())) as anew:
            anew.put("conv-2")
            await until(lambda: closed.is_blocked(conversation="conv-2") and closed.connected, 20)
            closed.check(conversation="conv-1")  # of a process that knows of no block
    finally:
        await asyncio.to_thread(closed.close)
        await asyncio.to_thread(opened.close)


@pytest.mark.parametrize(("token", "said"), [("no-token-of-anybody", "401"), (BOUND, "403 Forbidden: a watcher sees")])
async def test_who_may_not_watch_is_told_so_and_knows_nothing(tmp_path: Path, token: str, said: str) -> None:
    async with serving(tmp_path) as served, served.guard(token=token, fail="closed", connect_seconds=0.3) as guard:
        await until(lambda: guard.problem is not None)
        assert said in (guard.problem or "")
        with pytest.raises(GuardUnavailableError):
            await asyncio.to_thread(guard.check, conversation="a")


async def test_one_watcher_too_many_is_told_so(tmp_path: Path) -> None:
    headers = {"authorization": f"Bearer {APP}"}
    async with (
        serving(tmp_path, max_watchers=1) as served,
        httpx2.AsyncClient(base_url=served.url, headers=headers, trust_env=False) as client,
    ):
        state = (await client.get("/api/v1/blocks/watch")).json()
        asked = {"instance": state["instance"], "version": state["version"], "wait": 20}
        first = asyncio.create_task(client.get("/api/v1/blocks/watch", params=asked))
        await until(lambda: bool(served.blocks.feed._changed._waiters))
        refused = await client.get("/api/v1/blocks/watch", params=asked)
        assert refused.status_code == 503
        assert "guard.max_watchers" in refused.json()["detail"]
        served.put("conv-1")
        answer = await first
        assert [one["value"] for one in answer.json()["blocked"]] == ["conv-1"]
        assert (answer.json()["reset"], answer.json()["complete"]) == (False, True)
        assert (await client.get("/api/v1/blocks/watch", params={"wait": 31})).status_code == 422


async def test_closing_does_not_wait_for_a_question_that_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        guard = served.guard(max_stale=100)
        await asyncio.to_thread(guard.wait)
        await asyncio.sleep(0.2)  # the second question waits for news by now
        begun = time.monotonic()
        await asyncio.to_thread(guard.close)
        assert time.monotonic() - begun < 1


def test_an_address_that_can_not_be_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="give an endpoint"):
        Guard(None)
    with pytest.raises(ValueError, match="no address of an API"):
        Guard(None, http="tocsin:8417")
