import json

import orjson
import pytest
from alert_events import AT, alert_event, message_of
from event_strategies import events
from fault_server import FaultServer, Reply
from hypothesis import given, settings
from published_schema import check
from pydantic import ValidationError

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.pagerduty import PagerDuty, PagerDutyConfig, trigger_of
from tocsin.rules.rule import Severity

KEY = "R0123456789ABCDEF0123456789ABCDE"
TAKEN = Reply(202, body=b'{"status": "success", "message": "Event processed", "dedup_key": "alt"}')


def pagerduty(server: FaultServer) -> PagerDuty:
    written = {"type": "pagerduty", "routing_key": KEY, "url": server.url("/v2/enqueue"), "allow_private": True}
    return PagerDutyConfig.model_validate(written).build(Network())


async def test_an_alert_triggers_reminds_and_resolves_under_one_key() -> None:
    async with FaultServer(default=TAKEN) as server:
        notifier, fired = pagerduty(server), alert_event()
        for transition in (Transition.FIRING, Transition.REMINDER, Transition.RESOLVED):
            event = alert_event(transition, alert_id=fired.alert_id)
            answer = await notifier.send(message_of(event), Attempt(AT))
            assert answer.status == "202"
        await notifier.aclose()
        bodies = [request.json for request in server.received]
        for body in bodies:
            check(body, "pagerduty-enqueue")
        assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "resolve"]
        assert {body["dedup_key"] for body in bodies} == {fired.alert_id}


@pytest.mark.parametrize(
    ("severity", "mapped"),
    [(Severity.CRITICAL, "critical"), (Severity.HIGH, "error"), (Severity.MEDIUM, "warning"), (Severity.LOW, "info")],
)
def test_severities_are_mapped(severity: Severity, mapped: str) -> None:
    body = json.loads(trigger_of(message_of(alert_event(severity=severity)), Attempt(AT), KEY))
    assert body["payload"]["severity"] == mapped


def test_a_trigger_says_what_where_and_since_when() -> None:
    event = alert_event(rule={"runbook_url": "https://runbooks.example/r"})
    body = json.loads(trigger_of(message_of(event), Attempt(AT + 5_000_000), KEY))
    payload = body["payload"]
    assert payload["summary"].startswith(
        "[CRITICAL] runaway-conversation: conversation conv-42: conversation conv-42 spent"
    )
    assert payload["source"] == "conv-42"
    assert payload["timestamp"] == "2026-01-06T03:14:10.123456Z"
    assert payload["component"] == "runaway-conversation"
    assert payload["class"] == "cost"
    assert payload["custom_details"]["Value"] == "$27.31"
    assert payload["custom_details"]["Detection to notification"] == "5.0 ms"
    assert payload["custom_details"]["event"]["value"] == 27.31
    assert body["client_url"] == f"https://tocsin.example/alerts/{event.alert_id}"
    assert "https://runbooks.example/r" in [link["href"] for link in body["links"]]


async def test_a_test_leaves_nothing_open() -> None:
    async with FaultServer(default=TAKEN) as server:
        notifier = pagerduty(server)
        await notifier.send(message_of(alert_event(Transition.TEST)), Attempt(AT))
        await notifier.aclose()
        first, second = (request.json for request in server.received)
        assert (first["event_action"], first["payload"]["severity"]) == ("trigger", "info")
        assert (second["event_action"], second["dedup_key"]) == ("resolve", first["dedup_key"])


@settings(max_examples=150, deadline=None)
@given(events())
def test_any_event_makes_a_body_that_pagerduty_takes(event: AlertEvent) -> None:
    content = trigger_of(message_of(event), Attempt(AT), KEY)
    assert len(content) <= 512_000
    check(json.loads(content), "pagerduty-enqueue")


def test_a_body_over_the_limit_goes_without_its_details() -> None:
    event = alert_event(group={f"label{number}": "v" * 1024 for number in range(600)})
    message = message_of(event)
    assert len(orjson.dumps(message.body)) > 512_000
    content = trigger_of(message, Attempt(AT), KEY)
    assert len(content) <= 512_000
    check(json.loads(content), "pagerduty-enqueue")


@pytest.mark.parametrize("key", ["", "a\r\nb", "with space", "ü" * 32])
def test_a_routing_key_is_one_word(key: str) -> None:
    with pytest.raises(ValidationError):
        PagerDutyConfig.model_validate({"type": "pagerduty", "routing_key": key})


async def test_an_acknowledged_alert_is_acknowledged_there_and_stays_open() -> None:
    async with FaultServer(default=TAKEN) as server:
        notifier, event = pagerduty(server), alert_event(Transition.ACKNOWLEDGED)
        await notifier.send(message_of(event), Attempt(AT))
        await notifier.aclose()
        [body] = [request.json for request in server.received]
        check(body, "pagerduty-enqueue")
        assert (body["event_action"], body["dedup_key"]) == ("acknowledge", event.alert_id)
