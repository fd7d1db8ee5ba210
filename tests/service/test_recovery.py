"""One service ends, the next begins: on what the first one kept."""

import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import pytest
from otlp_requests import Call, request_of
from webhook_receiver import WebhookReceiver

from tocsin.alerts.event import AlertEvent
from tocsin.service.loading import Loaded, load_text
from tocsin.service.serve import Service

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
RANDOM = Random(7)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service keeps goes to the working directory."""
    monkeypatch.chdir(tmp_path)


def loaded(*rules: str, webhook: str = "http://127.0.0.1:9/") -> Loaded:
    return load_text(
        "receivers: {otlp: {grpc: {endpoint: 127.0.0.1:0}, http: null}}\n"
        "api: {endpoint: 127.0.0.1:0}\n"
        "self_alerts: {enabled: false}\n"
        f"contact_points: {{hook: {{type: webhook, url: '{webhook}', allow_private: true}}}}\n"
        f"rules: [{', '.join(rules)}]\n"
    )


def counting(name: str, threshold: int) -> str:
    return f"{{name: {name}, metric: count, window: 10m, condition: gt, threshold: {threshold}, notify: hook}}"


def request(number: int) -> bytes:
    return request_of([Call.drawn(RANDOM, end=time.time_ns()) for _ in range(number)]).SerializeToString()


async def life(configuration: Loaded, *requests: bytes) -> list[AlertEvent]:
    """Run a service from start to end, and return the events that its contact points and history were given."""
    events: list[AlertEvent] = []
    service = Service(configuration, also=events.append)
    async with service.running() as status, grpc.aio.insecure_channel(status.receivers["grpc"]) as channel:
        export: Any = channel.unary_unary(EXPORT)
        for data in requests:
            await export(data, timeout=10)
    return events


def snapshots() -> list[Path]:
    """Return what there is, the newest last."""
    return sorted(Path("data").rglob("snapshot-*"))


def told(events: Sequence[AlertEvent]) -> list[tuple[str, str, int]]:
    return [(event.rule.name, event.transition.value, event.evidence.samples) for event in events]


async def test_windows_go_on() -> None:
    assert await life(loaded(counting("many", 5)), request(3)) == []
    assert told(await life(loaded(counting("many", 5)), request(3))) == [("many", "firing", 6)]


async def test_a_request_that_is_sent_again_counts_once(webhooks: WebhookReceiver) -> None:
    lost_answer = request(4)
    configuration = loaded(counting("many", 5), webhook=webhooks.url)
    await life(configuration, lost_answer)
    assert await life(configuration, lost_answer, request(1)) == []
    assert told(await life(configuration, request(1))) == [("many", "firing", 6)]


async def test_what_was_told_is_not_told_again(webhooks: WebhookReceiver) -> None:
    configuration = loaded(counting("many", 2), webhook=webhooks.url)
    [fired] = await life(configuration, request(3))
    for snapshot in snapshots():
        snapshot.unlink()  # so that the journal alone tells, from its beginning
    assert [event.id for event in await life(configuration)] == [fired.id]
    assert [delivery.headers["webhook-id"] for delivery in webhooks.of("many")] == [fired.id]


@pytest.mark.parametrize("damaged", ["the newest", "all"])
async def test_a_damaged_snapshot_costs_time_and_nothing_else(damaged: str) -> None:
    for _ in range(2):
        await life(loaded(counting("many", 5)), request(2))
    kept = snapshots()
    assert len(kept) == 2
    for path in kept if damaged == "all" else kept[-1:]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    assert told(await life(loaded(counting("many", 5)), request(2))) == [("many", "firing", 6)]


async def test_rules_that_were_edited_meanwhile_are_an_edit() -> None:
    [fired] = await life(loaded(counting("gone", 2), counting("kept", 100)), request(3))
    events = await life(loaded(counting("kept", 100), counting("new", 4)), request(2))
    assert [(event.rule.name, event.transition.value) for event in events] == [("gone", "resolved"), ("new", "firing")]
    assert events[0].alert_id == fired.alert_id
    # What the new rule counts it shares with those that were there, so it knows what came before it.
    assert events[1].evidence.samples == 5


async def test_rules_that_were_edited_while_it_ran_are_in_force_where_its_log_is_read() -> None:
    events: list[AlertEvent] = []
    service = Service(loaded(counting("before", 1)), also=events.append)
    async with service.running() as status, grpc.aio.insecure_channel(status.receivers["grpc"]) as channel:
        export: Any = channel.unary_unary(EXPORT)
        await export(request(2), timeout=10)
        await service.adopt(loaded(counting("after", 2)))
        await export(request(2), timeout=10)
    for snapshot in snapshots():
        snapshot.unlink()
    again = await life(loaded(counting("after", 2)))
    assert [event.id for event in again] == [event.id for event in events]
    assert told(again) == [("before", "firing", 2), ("before", "resolved", 0), ("after", "firing", 3)]
