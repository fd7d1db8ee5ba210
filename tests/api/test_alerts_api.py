"""Alerts, their history and dead letters over real HTTP, from a real database."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from event_samples import event_of, life

from tocsin.alerts.event import AlertEvent
from tocsin.api.alerts import alerts_router
from tocsin.api.app import application
from tocsin.api.authorization import Access
from tocsin.api.dead_letters import dead_letters_router
from tocsin.api.edge import Protection
from tocsin.api.server import serving
from tocsin.api.status import Status
from tocsin.notify.egress import Network
from tocsin.notify.history import AttemptRecord, Outcome
from tocsin.notify.log import LogConfig
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.security.config import TokenConfig
from tocsin.security.tokens import Tokens
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

AT = 1_767_669_250_000_000_000


def units() -> dict[tuple[str, str], str]:
    return {event_of(1).rule.key: "USD"}


class Scene:
    """A database with an API before it."""

    def __init__(self, database: Database, outbox: Outbox, client: httpx2.AsyncClient) -> None:
        self.database = database
        self.outbox = outbox
        self.client = client

    async def get(self, path: str, **query: Any) -> Any:  # noqa: ANN401  # JSON
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with (
        Database(StorageConfig(directory=tmp_path / "data")) as database,
        Outbox(MessageWriter(), store=database) as outbox,
    ):
        await outbox.reconfigure({"team/hook": LogConfig(type="log")}, Network())
        app = application(
            Status(version="0", decoder="native"),
            routers=(alerts_router(database, units), dead_letters_router(database, outbox)),
        )
        async with (
            serving(app, "127.0.0.1", 0) as address,
            httpx2.AsyncClient(base_url=f"http://{address}/api/v1") as client,
        ):
            yield Scene(database, outbox, client)


async def recorded(scene: Scene, *events: AlertEvent) -> None:
    for event in events:
        scene.database.record(event)
    await scene.database.settled()


async def test_alerts_come_in_pages_the_latest_first(scene: Scene) -> None:
    lives = [life(f"conv-{number}", at=AT + number * 10**9) for number in range(5)]
    await recorded(scene, *(event for one in lives for event in one[:2]))
    first = await scene.get("/alerts", limit=3)
    assert [one["group"]["conversation"] for one in first["alerts"]] == ["conv-4", "conv-3", "conv-2"]
    await recorded(scene, *life("conv-9", at=AT + 10**11))  # what comes in meanwhile moves nothing
    second = await scene.get("/alerts", limit=3, cursor=first["next_cursor"])
    assert [one["group"]["conversation"] for one in second["alerts"]] == ["conv-1", "conv-0"]
    assert second["next_cursor"] is None


async def test_alerts_are_chosen_by_what_is_asked(scene: Scene) -> None:
    over, going_on = life("over"), life("going-on", at=AT + 10**12)
    await recorded(scene, *over, *going_on[:1])

    async def names(**query: Any) -> list[str]:  # noqa: ANN401  # of any type
        return [one["group"]["conversation"] for one in (await scene.get("/alerts", **query))["alerts"]]

    assert await names(state="firing") == ["going-on"]
    assert await names(group="conversation=over") == ["over"]
    assert await names(group="over") == ["over"]
    assert await names(group=["over", "going-on"]) == []
    assert await names(rule="test-notification", severity="low") == ["going-on", "over"]
    assert await names(project="other") == []
    assert await names(until="2026-01-06T03:14:20Z") == ["over"]
    assert await names(since="2026-01-06T04:20:50+01:00") == ["going-on"]


async def test_alerts_of_rules_on_trial_are_marked(scene: Scene) -> None:
    live, tried = life("live")[0], life("tried", at=AT + 10**12)[0]
    tried = dataclasses.replace(tried, rule=dataclasses.replace(tried.rule, shadow=True), notify=())
    await recorded(scene, live, tried)
    found = (await scene.get("/alerts"))["alerts"]
    assert [(one["group"]["conversation"], one["shadow"]) for one in found] == [("tried", True), ("live", False)]


async def test_an_alert_shows_its_evidence_and_what_became_of_its_notifications(scene: Scene) -> None:
    firing = life("a")[0]
    await recorded(scene, firing)
    scene.database.accepted("hook", firing, AT)
    scene.database.attempted(firing, AttemptRecord("hook", Outcome.RETRYING, 1, AT, 0.5, "503 busy"))
    await scene.database.settled()
    found = await scene.get(f"/alerts/{firing.alert_id}")
    assert (found["state"], found["unit"], found["resolved_at"]) == ("firing", "USD", None)
    (event,) = found["events"]
    assert event["traces"][0]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (event["value"], event["unit"], event["samples"]) == (1.0, "USD", 240)
    assert event["deliveries"][0]["status"] == "waiting"
    assert [(one["number"], one["outcome"], one["answer"]) for one in event["attempts"]] == [
        (1, "retrying", "503 busy")
    ]


async def test_a_value_that_is_no_number_is_null(scene: Scene) -> None:
    event = event_of(1, peak=float("inf"))
    event = dataclasses.replace(event, evidence=dataclasses.replace(event.evidence, value=float("nan")))
    await recorded(scene, event)
    found = await scene.get(f"/alerts/{event.alert_id}")
    assert (found["value"], found["peak"], found["events"][0]["value"]) == (None, None, None)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/alerts/alt_none", 404),
        ("/alerts?state=burning", 422),
        ("/alerts?since=yesterday", 422),
        ("/alerts?since=2026-01-06T03:14:20", 422),
        ("/alerts?limit=0", 422),
        ("/alerts?limit=100000", 422),
        ("/alerts?cursor=%C3%A4", 422),
        ("/alerts?cursor=WzEsMl0", 422),
        ("/alerts?" + "group=x&" * 11, 422),
        ("/dead-letters?cursor=AAAA", 422),
    ],
)
async def test_what_cannot_be_answered_is_a_problem_document(scene: Scene, path: str, status: int) -> None:
    answer = await scene.client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_hostile_text_in_a_filter_finds_nothing_and_breaks_nothing(scene: Scene) -> None:
    await recorded(scene, *life("a"))
    for text in ("'; DROP TABLE alerts; --", "%", "_", "\x00", '{"conversation":"a"}'):
        assert (await scene.get("/alerts", rule=text))["alerts"] == []
        assert (await scene.get("/alerts", group=text))["alerts"] == []
    assert len((await scene.get("/alerts"))["alerts"]) == 1


async def test_a_dead_letter_is_shown_and_sent_again(scene: Scene) -> None:
    event = event_of(1, notify=("team/hook",))
    scene.database.accepted("team/hook", event, AT)
    scene.database.finished("team/hook", event, Outcome.FAILED, "410 gone")
    await scene.database.settled()
    (letter,) = (await scene.get("/dead-letters"))["dead_letters"]
    assert (letter["contact_point"], letter["reason"], letter["status"]) == ("team/hook", "410 gone", "failed")
    answer = await scene.client.post(f"/dead-letters/{letter['id']}/resend")
    assert (answer.status_code, answer.json()) == (202, {"id": letter["id"], "status": "waiting"})
    async with asyncio.timeout(10):
        while not scene.outbox.attempts(event.id):  # noqa: ASYNC110  # nothing tells of it but this
            await asyncio.sleep(0.01)
    assert scene.outbox.attempts(event.id)[-1].outcome is Outcome.DELIVERED
    assert (await scene.get("/dead-letters"))["dead_letters"] == []
    assert (await scene.client.post(f"/dead-letters/{letter['id']}/resend")).status_code == 404


async def test_a_dead_letter_for_a_contact_point_that_is_no_more_is_not_sent_again(scene: Scene) -> None:
    event = event_of(1, notify=("gone",))
    scene.outbox.publish(event)
    await scene.database.settled()
    answer = await scene.client.post(f"/dead-letters/{event.id}:gone/resend")
    assert answer.status_code == 409
    assert "there are: team/hook" in answer.json()["detail"]
    assert (await scene.client.post("/dead-letters/nonsense/resend")).status_code == 422


async def test_who_may_read_sees_its_own_projects_and_sends_nothing_again(tmp_path: Path) -> None:
    read, write, own = (f"token-of-{name}-{'x' * 40}" for name in ("read", "write", "own"))
    access = Access(
        Tokens(
            TokenConfig.model_validate({"name": name, "token": token, "role": role, **more})
            for name, token, role, more in (
                ("read", read, "read", {}),
                ("write", write, "write", {}),
                ("own", own, "write", {"projects": ["another"]}),
            )
        )
    )
    event = event_of(1, notify=("hook",))
    async with (
        Database(StorageConfig(directory=tmp_path / "data")) as database,
        Outbox(MessageWriter(), store=database) as outbox,
    ):
        await outbox.reconfigure({"hook": LogConfig(type="log")}, Network())
        database.record(event)
        database.accepted("hook", event, AT)
        database.finished("hook", event, Outcome.FAILED, "410")
        await database.settled()
        routers = (alerts_router(database, units), dead_letters_router(database, outbox))
        app = application(Status(version="0", decoder="native"), protection=Protection(access), routers=routers)
        async with serving(app, "127.0.0.1", 0) as address, httpx2.AsyncClient() as client:

            async def status(method: str, path: str, token: str | None) -> int:
                headers = {} if token is None else {"authorization": f"Bearer {token}"}
                return (await client.request(method, f"http://{address}/api/v1{path}", headers=headers)).status_code

            resend = f"/dead-letters/{event.id}:hook/resend"
            for path in ("/alerts", f"/alerts/{event.alert_id}", "/dead-letters"):
                assert await status("GET", path, None) == 401
                assert await status("GET", path, read) == 200
            assert await status("GET", f"/alerts/{event.alert_id}", own) == 404
            assert await status("POST", resend, read) == 403
            assert await status("POST", resend, own) == 404
            assert await status("POST", resend, write) == 202
            mine = await client.get(f"http://{address}/api/v1/alerts", headers={"authorization": f"Bearer {own}"})
            assert mine.json()["alerts"] == []
