import asyncio
from datetime import datetime
from typing import Any

from alert_events import AT, MINUTE, alert_event, message_of
from fault_server import FaultServer, Received, Reply

from tocsin.alerts.event import Transition
from tocsin.notify.alertmanager import Alertmanager, AlertmanagerConfig
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.rules.rule import Severity

TAKEN = Reply(200, body=b"")


def alertmanager(server: FaultServer, **more: object) -> Alertmanager:
    written = {"type": "alertmanager", "url": server.url("/am/"), "allow_private": True, **more}
    return AlertmanagerConfig.model_validate(written).build(Network())


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def alerts_of(request: Received) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request.json
    return found


async def test_an_alert_has_the_same_labels_from_its_beginning_to_its_end() -> None:
    async with FaultServer(default=TAKEN) as server:
        notifier, fired = alertmanager(server, labels={"env": "prod"}), alert_event(group={"app.feature": "chat\n"})
        worse = alert_event(
            alert_id=fired.alert_id, group=fired.group, severity=Severity.LOW, escalated_from=Severity.HIGH
        )
        over = alert_event(
            Transition.RESOLVED, alert_id=fired.alert_id, group=fired.group, resolved_at=fired.fired_at + MINUTE
        )
        for event in (fired, worse, over):
            await notifier.send(message_of(event), Attempt(AT))
        await notifier.aclose()
        assert {request.path for request in server.received} == {"/am/api/v2/alerts"}
        [first], [second], [third] = map(alerts_of, server.received)
        assert first["labels"] == second["labels"] == third["labels"]
        assert first["labels"] == {
            "alertname": "runaway-conversation",
            "project": "default",
            "severity": "low",
            "team": "support",
            "env": "prod",
            "app_feature": "chat",
            "tocsin_alert_id": fired.alert_id,
        }
        assert first["annotations"]["current_severity"] == "critical"
        assert first["annotations"]["trace"].startswith("https://jaeger.example/trace/")
        assert first["generatorURL"] == f"https://tocsin.example/alerts/{fired.alert_id}"
        assert moment(first["endsAt"]) - AT // 10**9 == 240
        assert moment(third["endsAt"]) == over.resolved_at // 10**9  # type: ignore[operator]


async def test_what_fires_is_sent_again_with_a_later_end_until_it_is_over() -> None:
    async with FaultServer(default=TAKEN) as server:
        notifier = alertmanager(server, resend_interval="1s")
        event, other = alert_event(), alert_event()
        await notifier.send(message_of(event), Attempt(AT))
        await notifier.send(message_of(other), Attempt(AT))
        async with asyncio.timeout(10):
            while len(server.received) < 3:  # noqa: ASYNC110  # the server has no event for it
                await asyncio.sleep(0.05)
        again = alerts_of(server.received[2])
        assert [one["labels"]["tocsin_alert_id"] for one in again] == [event.alert_id, other.alert_id]
        assert moment(again[0]["endsAt"]) > moment(alerts_of(server.received[0])[0]["endsAt"])
        over = alert_event(Transition.RESOLVED, alert_id=event.alert_id, resolved_at=AT)
        await notifier.send(message_of(over), Attempt(AT))
        number = len(server.received)
        async with asyncio.timeout(10):
            while len(server.received) == number:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.05)
        await notifier.aclose()
        assert [one["labels"]["tocsin_alert_id"] for one in alerts_of(server.received[-1])] == [other.alert_id]


async def test_a_test_ends_at_once() -> None:
    async with FaultServer(default=TAKEN) as server:
        notifier = alertmanager(server)
        await notifier.send(message_of(alert_event(Transition.TEST)), Attempt(AT))
        await notifier.aclose()
        [alert] = alerts_of(server.received[0])
        assert moment(alert["endsAt"]) <= max(AT, moment(alert["startsAt"]) * 10**9) // 10**9
