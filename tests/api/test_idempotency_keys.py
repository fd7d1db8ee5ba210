"""A POST that comes again with its key is done once: while it is under way, after a restart, and by another process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from running_service import RunningService
from sqlalchemy import func, select, update
from starlette.responses import Response

from tocsin.api.config import ApiConfig
from tocsin.api.idempotency import Idempotency
from tocsin.api.server import serving_api
from tocsin.api.status import Status
from tocsin.errors import OverloadedError
from tocsin.storage import answers as stored
from tocsin.storage.answers import Answers, KeptAnswer
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database
from tocsin.storage.tables import ANSWERS

KEY = {"idempotency-key": "k1"}
DAY = 86_400_000_000_000
CONFIG = """\
receivers: {otlp: {grpc: null, http: {endpoint: "127.0.0.1:0"}}}
api: {endpoint: "127.0.0.1:0"}
storage: {directory: ./data}
rules: []
"""


class Counting:
    """A route that counts how often it is done."""

    def __init__(self, answers: Answers | None) -> None:
        self.done = 0
        self.status = 201
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.once = Idempotency(answers)
        self.router = APIRouter(prefix="/api/v1/counted")

        @self.router.post("")
        async def make(request: Request) -> Response:
            return await self.once.once(request, self._make)

    async def _make(self) -> Response:
        self.done += 1
        self.entered.set()
        await self.gate.wait()
        return JSONResponse({"number": self.done}, self.status, {"location": f"/{self.done}"})


@asynccontextmanager
async def counting(answers: Answers | None) -> AsyncIterator[tuple[Counting, httpx2.AsyncClient]]:
    made = Counting(answers)
    config = ApiConfig.model_validate({"endpoint": "127.0.0.1:0"})
    async with (
        serving_api(config, Status(version="0", decoder="native"), routers=(made.router,)) as api,
        httpx2.AsyncClient(base_url=f"http://{api.address}", trust_env=False, timeout=30) as client,
    ):
        yield made, client


async def post(client: httpx2.AsyncClient, body: object = None, **headers: str) -> httpx2.Response:
    return await client.post("/api/v1/counted", json=body or {"a": 1}, headers={**KEY, **headers})


async def test_a_request_is_done_once_in_this_process_and_the_next_and_another(place: StorageConfig) -> None:
    async with Database(place) as database:
        async with counting(Answers(database)) as (first, client):
            answers = [await post(client) for _ in range(2)]
            assert [one.json() for one in answers] == [{"number": 1}] * 2
            assert first.done == 1
        async with counting(Answers(database)) as (second, client):
            again = await post(client)
            assert (again.status_code, again.json(), again.headers["location"]) == (201, {"number": 1}, "/1")
            assert again.headers["idempotent-replayed"] == "true"
            assert (await post(client, {"a": 2})).status_code == 422
            assert (await post(client, **{"idempotency-key": "k2"})).json() == {"number": 1}
            assert second.done == 1


async def test_one_that_is_under_way_elsewhere_is_not_done_beside_it(place: StorageConfig) -> None:
    async with (
        Database(place) as database,
        counting(Answers(database)) as (first, client),
        counting(Answers(database)) as (second, other),
    ):
        first.gate.clear()
        slow = asyncio.create_task(post(client))
        await first.entered.wait()
        for busy in (other, client):
            refused = await post(busy)
            assert refused.status_code == 409
            assert "still being answered" in refused.json()["detail"]
        first.gate.set()
        assert (await slow).status_code == 201
        assert (await post(other)).json() == {"number": 1}
        assert (first.done, second.done) == (1, 0)


async def test_what_failed_may_be_tried_again(place: StorageConfig) -> None:
    async with Database(place) as database, counting(Answers(database)) as (it, client):
        it.status = 422
        assert (await post(client)).status_code == 422
        it.status = 201
        assert (await post(client)).json() == {"number": 2}


async def test_of_one_whose_process_died_nobody_says_that_it_was_or_was_not_done(place: StorageConfig) -> None:
    async with Database(place) as database, counting(Answers(database)) as (first, client):
        first.gate.clear()
        slow = asyncio.create_task(post(client))
        await first.entered.wait()
        old = update(ANSWERS).values(at=time.time_ns() - 61_000_000_000)
        await database.change(lambda connection: connection.execute(old))
        async with counting(Answers(database)) as (second, other):
            refused = await post(other)
            assert refused.status_code == 409
            assert "is not known" in refused.json()["detail"]
            assert second.done == 0
        first.gate.set()
        await slow


class Down(Answers):
    """As where the database can't be used."""

    async def begin(self, place: str, request: str) -> KeptAnswer | None:
        raise OverloadedError("it is down", reason="storage")

    async def finish(self, place: str, answer: bytes) -> None:
        raise OverloadedError("it is down", reason="storage")


async def test_without_the_database_memory_does(tmp_path: Path) -> None:
    async with counting(Down(Database(StorageConfig(directory=tmp_path)))) as (it, client):
        assert [(await post(client)).status_code for _ in range(2)] == [201, 201]
        assert it.done == 1


async def test_answers_are_kept_for_a_day_and_not_without_end(
    place: StorageConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_MOST", 30)
    async with Database(place) as database:
        answers = Answers(database)

        async def count() -> int:
            async with database.connection() as connection:
                return int((await connection.execute(select(func.count()).select_from(ANSWERS))).scalar_one())

        for number in range(stored._BETWEEN + 1):
            assert await answers.begin(f"place-{number}", "body") is None
        assert await count() == 31
        old = update(ANSWERS).values(at=time.time_ns() - DAY)
        await database.change(lambda connection: connection.execute(old))
        for number in range(stored._BETWEEN):
            await answers.begin(f"later-{number % 3}", "body")
        assert await count() == 3


def test_a_silence_that_is_asked_for_again_after_a_kill_is_the_same_one(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)

    def ask(service: RunningService) -> httpx2.Response:
        asked: dict[str, Any] = {"matchers": ["team=a"], "duration": "1h"}
        with httpx2.Client(base_url=f"http://{service.addresses['api']}", trust_env=False, timeout=30) as client:
            return client.post("/api/v1/silences", json=asked, headers=KEY)

    with RunningService(config) as service:
        first = ask(service)
        assert first.status_code == 201, first.text
        service.process.kill()
        service.process.wait()
    with RunningService(config) as service:
        again = ask(service)
        assert (again.status_code, again.json()) == (201, first.json())
        with httpx2.Client(base_url=f"http://{service.addresses['api']}", trust_env=False) as client:
            assert len(client.get("/api/v1/silences").json()["silences"]) == 1
