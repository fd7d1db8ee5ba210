"""What is blocked, over the API: by whom, for how long, and who may not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_harness import bearer, tokens_of

from tocsin.api.blocks import blocks_router
from tocsin.api.config import ApiConfig
from tocsin.api.server import serving_api
from tocsin.api.status import Status
from tocsin.guard.block import Block
from tocsin.guard.blocks import Blocks
from tocsin.guard.config import GuardConfig
from tocsin.security.roles import Role
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

ROUTE = "/api/v1/blocks"
HOUR = 3_600_000_000_000


@asynccontextmanager
async def serving(
    path: Path, *, limit: int = 1000, **config: object
) -> AsyncIterator[tuple[httpx2.AsyncClient, Blocks]]:
    settings = ApiConfig.model_validate({"endpoint": "127.0.0.1:0", **config})
    async with Database(StorageConfig(directory=path)) as database:
        blocks = Blocks(database, limit=limit)
        router = blocks_router(blocks, database, GuardConfig())
        async with (
            blocks.running(),
            serving_api(settings, Status(version="1", decoder="native"), routers=[router]) as api,
            httpx2.AsyncClient(base_url=f"http://{api.address}", trust_env=False) as client,
        ):
            yield client, blocks


def asked(**changes: object) -> dict[str, Any]:
    return {"label": "conversation", "value": "conv-1", "ttl": "1h", "reason": "a drill", **changes}


def by_rule(blocks: Blocks, value: str, project: str) -> Block:
    """Block as a rule of a project does."""
    made = Block(
        f"blk_{value}", "conversation", value, "secret of a rule", "rule", blocks.now, blocks.now + HOUR, project, "r"
    )
    put: Block | None = blocks._put(made, f"chg_{value}")
    assert put is not None
    return put


async def test_a_key_is_blocked_once_listed_found_and_lifted(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        first = await client.post(ROUTE, json=asked())
        again = await client.post(ROUTE, json=asked(ttl="2h", reason="longer"))
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        assert again.json()["until"] > first.json()["until"]
        [listed] = (await client.get(ROUTE)).json()["blocks"]
        assert (listed["reason"], listed["by"]) == ("longer", "anonymous")
        assert (await client.get(f"{ROUTE}/{listed['id']}")).json() == listed
        assert (await client.get(ROUTE, params={"label": "tenant"})).json()["blocks"] == []
        answer = (await client.get(f"{ROUTE}/check?conversation=conv-1")).json()
        assert answer == {
            "blocked": True,
            "label": "conversation",
            "value": "conv-1",
            "reason": "longer",
            "until": listed["until"],
            "rule": None,
            "alert": None,
        }
        assert (await client.delete(f"{ROUTE}/{listed['id']}", params={"reason": "over"})).json()["kept"] is True
        for gone in (f"{ROUTE}/{listed['id']}", f"{ROUTE}?label=conversation&value=conv-1"):
            assert (await client.delete(gone)).status_code == 404
        told = (await client.get(f"{ROUTE}/history")).json()["changes"]
        assert [(one["action"], one["reason"]) for one in told] == [
            ("unblocked", "over"),
            ("extended", "longer"),
            ("blocked", "a drill"),
        ]


async def test_lists_come_in_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        for number in range(5):
            assert (await client.post(ROUTE, json=asked(value=f"conv-{number}"))).status_code == 201
        for path, name in ((ROUTE, "blocks"), (f"{ROUTE}/history", "changes")):
            found: list[str] = []
            params = {"limit": "2"}
            while True:
                page = (await client.get(path, params=params)).json()
                found += [one["value"] for one in page[name]]
                if page["next_cursor"] is None:
                    break
                params["cursor"] = page["next_cursor"]
            assert found == [f"conv-{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (asked(ttl=None), "either ttl"),
        (asked(until="2030-01-01T00:00:00Z"), "either ttl"),
        (asked(ttl="0"), "no length"),
        (asked(ttl="ever"), "no duration"),
        (asked(ttl=None, until="2020-01-01T00:00:00Z"), "over already"),
        (asked(ttl=None, until="2999-01-01T00:00:00Z"), "more than a year away"),
        (asked(ttl=None, until="2030-01-01T00:00:00"), "timezone"),
        (asked(reason=""), "at least 1 character"),
        (asked(value="x" * 5000), "at most 4096 characters"),
        (asked(label=""), "at least 1 character"),
        (asked(owner="me"), "Extra inputs"),
        ([], "valid dictionary"),
    ],
)
async def test_what_can_not_be_blocked_is_refused_and_changes_nothing(tmp_path: Path, body: object, why: str) -> None:
    async with serving(tmp_path) as (client, blocks):
        answer = await client.post(ROUTE, json=body)
        assert answer.status_code == 422
        assert why in answer.text
        assert len(blocks) == 0


@pytest.mark.parametrize("query", ["", "?conversation=a&conversation=b", "?" + "&".join(f"l{n}=x" for n in range(33))])
async def test_a_question_has_each_label_once_and_not_too_many(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as (client, _):
        assert (await client.get(f"{ROUTE}/check{query}")).status_code == 422


async def test_past_the_limit_a_person_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, limit=1) as (client, _):
        assert (await client.post(ROUTE, json=asked())).status_code == 201
        refused = await client.post(ROUTE, json=asked(value="conv-2"))
        assert (refused.status_code, "guard.max_blocks" in refused.json()["detail"]) == (409, True)


async def test_roles(tmp_path: Path) -> None:
    async with serving(tmp_path, tokens=tokens_of(Role.READ, Role.WRITE)) as (client, _):
        reads, writes = bearer(Role.READ), bearer(Role.WRITE)
        assert (await client.get(f"{ROUTE}/check?conversation=conv-1")).status_code == 401
        assert (await client.post(f"{ROUTE}/authorize/x")).status_code == 401
        assert (await client.post(ROUTE, json=asked(), headers=reads)).status_code == 403
        made = await client.post(ROUTE, json=asked(), headers=writes)
        assert (made.status_code, made.json()["by"]) == (201, "the write")
        assert (await client.delete(f"{ROUTE}/{made.json()['id']}", headers=reads)).status_code == 403
        assert (await client.get(f"{ROUTE}/check?conversation=conv-1", headers=reads)).json()["blocked"] is True


async def test_a_token_of_a_project_sees_and_lifts_what_its_rules_blocked_and_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, tokens=tokens_of(Role.WRITE, projects=["shop"])) as (client, blocks):
        writes = bearer(Role.WRITE)
        ours, theirs = by_rule(blocks, "conv-1", "shop"), by_rule(blocks, "conv-2", "bank")
        assert (await client.post(ROUTE, json=asked(), headers=writes)).status_code == 403
        listed = (await client.get(ROUTE, headers=writes)).json()["blocks"]
        assert [one["id"] for one in listed] == [ours.id]
        told = (await client.get(f"{ROUTE}/history", headers=writes)).json()["changes"]
        assert [one["project"] for one in told] == ["shop"]
        answer = (await client.get(f"{ROUTE}/check?conversation=conv-2", headers=writes)).json()
        assert (answer["blocked"], answer["reason"], answer["rule"]) == (True, "blocked", None)
        for path in (f"{ROUTE}/{theirs.id}", f"{ROUTE}?label=conversation&value=conv-2"):
            assert (await client.delete(path, headers=writes)).status_code == 404
        assert (await client.delete(f"{ROUTE}/{ours.id}", headers=writes)).status_code == 200


async def test_questions_are_not_counted_by_the_rate_limit_and_changes_are(tmp_path: Path) -> None:
    async with serving(tmp_path, rate_limit="3/m") as (client, _):
        for _ in range(10):
            assert (await client.get(f"{ROUTE}/check?conversation=conv-1")).status_code == 200
            assert (await client.get(f"{ROUTE}/authorize")).status_code == 200
        assert [(await client.get(ROUTE)).status_code for _ in range(4)] == [200, 200, 200, 429]


async def test_a_proxys_headers_say_what_is_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        await client.post(ROUTE, json=asked(label="tenant", value="acme"))
        for method in ("GET", "POST", "PUT", "DELETE"):
            refused = await client.request(method, f"{ROUTE}/authorize/v1/x", headers={"X-Tenant-Id": "acme"})
            assert (refused.status_code, refused.json()["label"]) == (403, "tenant")
        assert (await client.get(f"{ROUTE}/authorize", headers={"x-tenant-id": "other"})).status_code == 200
        twice = [("x-tenant-id", "other"), ("x-tenant-id", "acme")]
        assert (await client.get(f"{ROUTE}/authorize", headers=twice)).status_code == 403
        joined = {"x-tenant-id": "other, acme"}  # as a proxy passes them on
        assert (await client.get(f"{ROUTE}/authorize", headers=joined)).status_code == 403
