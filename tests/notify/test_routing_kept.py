"""Routing on a real database: over a restart, with silences of the command line, and through the API."""

import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from alert_events import alert_event
from scripted_contact import Scripted, ScriptedConfig
from stepped_clock import settled

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.api.alerts import alerts_router
from tocsin.api.app import application
from tocsin.api.idempotency import Idempotency
from tocsin.api.server import serving
from tocsin.api.silences import acknowledge_router, silences_router
from tocsin.api.status import Status
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.notify.routing.matchers import parse_matchers
from tocsin.notify.routing.silences import Silence, new_silence_id
from tocsin.service.config import Configuration
from tocsin.service.routing import Routing
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database

HOUR = 3_600_000_000_000


@pytest.fixture(autouse=True)
def _receivers() -> Iterator[None]:
    ScriptedConfig.receivers.clear()
    yield
    ScriptedConfig.receivers.clear()


@dataclasses.dataclass
class Running:
    """What a service has of routing."""

    database: Database
    outbox: Outbox
    routing: Routing
    own: Scripted
    client: httpx2.AsyncClient

    async def publish(self, *events: AlertEvent) -> None:
        for event in events:
            self.routing.publish(event)
        await self.done()

    async def done(self) -> None:
        while len(self.outbox):
            await settled()
        await self.database.settled()

    async def get(self, path: str) -> Any:  # noqa: ANN401  # JSON
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def running(directory: Path, **configuration: object) -> AsyncIterator[Running]:
    own = ScriptedConfig.receivers["own"] = Scripted()
    database = Database(StorageConfig(directory=directory))
    routing = Routing(database)
    outbox = Outbox(MessageWriter(), store=database, grouping=routing.router)
    routing.begin(outbox, Configuration.model_validate(configuration))
    async with database:
        await routing.load()
        async with outbox:
            await outbox.reconfigure({"own": ScriptedConfig.model_validate({"receiver": "own"})}, Network())
            app = application(
                Status(version="0", decoder="native"),
                routers=(
                    alerts_router(database, dict),
                    acknowledge_router(database, routing),
                    silences_router(database, routing, Idempotency().once),
                ),
            )
            async with (
                serving(app, "127.0.0.1", 0) as address,
                httpx2.AsyncClient(base_url=f"http://{address}", trust_env=False) as client,
            ):
                yield Running(database, outbox, routing, own, client)


def firing(**changes: Any) -> AlertEvent:  # noqa: ANN401
    return alert_event(**{"notify": ("own",), **changes})


def silence(*matchers: str, seconds: float = 3600) -> Silence:
    now = time.time_ns()
    return Silence(
        new_silence_id(), parse_matchers(list(matchers)), now, now + int(seconds * 1e9), "deploy", "ann", now, now
    )


async def test_a_silence_of_the_api_holds_back_is_shown_and_tells_of_its_end(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        made = await it.client.post(
            "/api/v1/silences", json={"matchers": ['team="support"'], "duration": "1h", "comment": "deploy"}
        )
        assert made.status_code == 201, made.text
        assert made.json()["state"] == "active"
        assert made.json()["matchers"] == ['team="support"']
        events = [firing() for _ in range(3)]
        await it.publish(*events)
        assert it.own.taken == []
        shown = await it.get(f"/api/v1/alerts/{events[0].alert_id}")
        assert shown["events"][0]["silenced_by"] == [made.json()["id"]]
        assert shown["events"][0]["routing"]["held"][0]["contact_point"] == "own"
        place = made.headers["location"]
        stale = await it.client.delete(place, headers={"if-match": '"0"'})
        assert stale.status_code == 412
        ended = await it.client.delete(place, headers={"if-match": made.headers["etag"]})
        assert (ended.status_code, ended.json()["state"], ended.json()["ended_by"]) == (200, "expired", "anonymous")
        assert (await it.client.delete(place)).status_code == 409
        await it.routing.look()
        await it.done()
        assert len(it.own.attempts) == 1  # one message for three alerts
        assert it.own.taken[0].transition is Transition.REMINDER
        await it.routing.look()
        assert len(it.own.attempts) == 1


async def test_a_silence_that_is_asked_for_again_with_its_key_is_made_once(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        body, key = {"matchers": ["team=a"], "duration": "1h"}, {"idempotency-key": "k"}
        first = await it.client.post("/api/v1/silences", json=body, headers=key)
        again = await it.client.post("/api/v1/silences", json=body, headers=key)
        assert (first.status_code, again.json()) == (201, first.json())
        assert len((await it.get("/api/v1/silences"))["silences"]) == 1


async def test_a_preview_says_what_would_be_silent_and_keeps_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        event = firing()
        await it.publish(event, firing(rule={"labels": {"team": "x"}}))
        told = await it.client.post(
            "/api/v1/silences/preview", json={"matchers": {"team": "support"}, "duration": "1h"}
        )
        assert told.json()["count"] == 1
        assert told.json()["alerts"][0]["id"] == event.alert_id
        assert await it.get("/api/v1/silences") == {"silences": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"matchers": [], "duration": "1h"}, "matchers"),
        ({"matchers": ["team"], "duration": "1h"}, "matchers"),
        ({"matchers": ['a=~"("'], "duration": "1h"}, "matchers"),
        ({"matchers": ["a=b"]}, "ends_at"),
        ({"matchers": ["a=b"], "duration": "soon"}, "duration"),
        ({"matchers": ["a=b"], "ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"matchers": ["a=b"], "ends_at": "2420-01-01T00:00:00Z"}, "ends_at"),
        ({"matchers": ["a=b"], "duration": "1h", "by": "me"}, "body.by"),
    ],
)
async def test_a_silence_that_means_nothing_is_refused_at_its_field(
    tmp_path: Path, body: dict[str, Any], field: str
) -> None:
    async with running(tmp_path) as it:
        answer = await it.client.post("/api/v1/silences", json=body)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_silences_and_decisions_survive_a_restart(tmp_path: Path) -> None:
    event, before = firing(), firing()
    async with running(tmp_path) as it:
        await it.publish(before)
        await it.routing.silence(silence('team="support"'))
        await it.publish(event)
    async with running(tmp_path) as it:
        await it.publish(before, event)  # as a replay gives them again
        assert it.own.attempts == []
        over = dataclasses.replace(event, id="evt_over", transition=Transition.RESOLVED, resolved_at=event.fired_at)
        end = dataclasses.replace(over, id="evt_end", alert_id=before.alert_id)
        await it.publish(over, end)
        assert [one.id for one in it.own.taken] == ["evt_end"]  # of the other nobody had heard


async def test_a_silence_that_another_process_wrote_counts_soon(tmp_path: Path) -> None:
    async with running(tmp_path) as it, Database(StorageConfig(directory=tmp_path)) as other:
        elsewhere = Routing(other)
        await elsewhere.silence(silence('team="support"'))
        await it.routing.look()
        await it.publish(firing())
        assert it.own.taken == []


async def test_an_acknowledged_alert_says_who_and_is_not_reminded_of(tmp_path: Path) -> None:
    event = firing()
    reminder = dataclasses.replace(event, id="evt_r", transition=Transition.REMINDER)
    async with running(tmp_path) as it:
        await it.publish(event)
        first = await it.client.post(f"/api/v1/alerts/{event.alert_id}/acknowledge")
        assert (first.status_code, first.json()["acknowledged_by"]) == (200, "anonymous")
        again = await it.client.post(f"/api/v1/alerts/{event.alert_id}/acknowledge")
        assert again.json() == first.json()
        assert (await it.client.post("/api/v1/alerts/alt_none/acknowledge")).status_code == 404
        shown = await it.get(f"/api/v1/alerts/{event.alert_id}")
        assert (shown["acknowledged_at"], shown["acknowledged_by"]) == (first.json()["acknowledged_at"], "anonymous")
    async with running(tmp_path) as it:
        await it.publish(reminder)
        assert it.own.taken == []
        over = dataclasses.replace(event, id="evt_over", transition=Transition.RESOLVED, resolved_at=event.fired_at)
        await it.publish(over)
        assert [one.id for one in it.own.taken] == ["evt_over"]
        late = await it.client.post(f"/api/v1/alerts/{event.alert_id}/acknowledge")
        assert late.status_code == 409


async def test_without_a_database_an_alarm_rings_all_the_same() -> None:
    own = ScriptedConfig.receivers["own"] = Scripted()
    routing = Routing(Database(StorageConfig(directory=Path("/proc/nowhere"))))
    outbox = Outbox(MessageWriter(), grouping=routing.router)
    routing.begin(outbox, Configuration())
    async with outbox:
        await outbox.reconfigure({"own": ScriptedConfig.model_validate({"receiver": "own"})}, Network())
        event = firing()
        routing.publish(event)
        await settled()
        assert own.taken == [event]
