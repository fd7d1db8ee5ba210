"""Alerts about Tocsin itself through the ordinary outbox: every kind of contact point, and one that is dead."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from alert_events import AT
from fault_server import FaultServer, Reply
from mail_server import MailServer
from published_schema import check
from pydantic import TypeAdapter
from scripted_contact import Scripted, ScriptedConfig
from stepped_clock import SteppedClock, settled
from tracker_servers import GitHubServer, JiraServer

from tocsin import telemetry
from tocsin.alerts.event import AlertEvent
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.kinds import AnyContact
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.pricing.unpriced import UnpricedModel
from tocsin.service.observers import DeliveryTelemetry
from tocsin.service.self_alerts.conditions import Kind
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.service.self_alerts.telling import tell
from tocsin.service.self_alerts.watch import SelfWatch

SECOND = 10**9
CONTACT: TypeAdapter[ContactConfig] = TypeAdapter(AnyContact)


@pytest.fixture(autouse=True)
def _receivers() -> Iterator[None]:
    ScriptedConfig.receivers.clear()
    yield
    ScriptedConfig.receivers.clear()


def every_event() -> list[AlertEvent]:
    """Firing, reminding and resolved alerts of every condition."""
    config = SelfAlertsConfig(runbooks="https://wiki.example/tocsin")
    watch = SelfWatch(config, {"hook": CONTACT.validate_python({"type": "log"})})
    said, now = [], AT

    def go(seconds: int) -> None:
        nonlocal now
        for _ in range(seconds):
            now += SECOND
            said.extend(watch.advance(now))

    for second in range(62 + 30 * 60):
        watch.refused("memory")
        watch.future(10 * second, 50 * second)
        watch.delivery("hook", ok=False, permanent=True, reason="403 <!channel> {{ value }}")
        watch.configuration(["rules.yaml:1:1: unknown key '{{ x }}'"])
        for part in ("journal", "storage", "forward"):
            watch.degraded(part, "No space left on device")
        watch.unpriced([UnpricedModel("<b>", "{{ model }}", 1 + second, AT, "no price")])
        go(1)
    watch.delivery("hook", ok=True)
    watch.configuration([])
    for part in ("journal", "storage", "forward"):
        watch.degraded(part, None)
    watch.unpriced([])
    go(3)
    for second in range(3 * 60):
        watch.future(10**6, 10**7 + second)
        go(5)
    return said


EVENTS = every_event()


def test_the_course_has_every_condition_from_beginning_to_end() -> None:
    said = {(event.rule.name, event.transition.value) for event in EVENTS}
    assert said >= {(kind.value, word) for kind in Kind for word in ("firing", "resolved")}
    assert said >= {(kind.value, "reminder") for kind in Kind if kind is not Kind.UNPRICED_MODELS}
    assert len({event.id for event in EVENTS}) == len(EVENTS)


async def sent(config: dict[str, Any], event: AlertEvent) -> None:
    notifier = CONTACT.validate_python({**config, "allow_private": True}).build(Network())
    try:
        await notifier.send(MessageWriter(public_url="https://tocsin.example").message_of(event), Attempt(AT))
    finally:
        await notifier.aclose()


async def test_every_kind_of_contact_point_takes_them_and_they_follow_the_published_schemas() -> None:
    one_each = {(event.rule.name, event.transition): event for event in EVENTS}.values()
    ticket = {"type": "ticket", "token": "t0ken", "search_lag": "0s"}
    async with (
        FaultServer() as hook,
        FaultServer() as slack,
        FaultServer(default=Reply(202)) as pager,
        FaultServer(default=Reply(body=b"")) as logs,
        GitHubServer() as github,
        JiraServer(cloud=False) as jira,
    ):
        for event in one_each:
            await sent({"type": "webhook", "url": hook.url()}, event)
            await sent({"type": "slack", "webhook_url": slack.url()}, event)
            key = "R0123456789ABCDEF0123456789ABCDE"
            await sent({"type": "pagerduty", "routing_key": key, "url": pager.url()}, event)
            await sent({"type": "otlp", "protocol": "http", "endpoint": logs.url("")}, event)
            await sent({"system": "github", "repository": "acme/llm", "api_url": github.url(""), **ticket}, event)
            await sent({"system": "jira-server", "project": "OPS", "api_url": jira.url(""), **ticket}, event)
        assert github.problems == jira.problems == []
        assert len(github.issues) == len(jira.issues) > 5
        assert len(logs.received) == len(hook.received)
        for request in hook.received:
            check(request.json, "webhook-body-1")
            assert request.json["rule"]["project"] == "tocsin"
            assert request.json["rule"]["runbook_url"] == (
                f"https://wiki.example/tocsin/{request.json['rule']['name']}.md"
            )
        for request in slack.received:
            check(request.json, "slack-message")
            assert "<!channel>" not in request.json["blocks"][1]["text"]["text"]
        for request in pager.received:
            check(request.json, "pagerduty-enqueue")
        assert len(hook.received) == len(slack.received) == len(one_each)


async def test_they_make_mails_and_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tocsin.alerts")
    [failing] = [e for e in EVENTS if e.rule.name == "delivery-failing" and e.transition.value == "firing"]
    async with MailServer() as server:
        mail = {"host": "127.0.0.1", "port": server.port, "tls": "none"}
        await sent({"type": "email", "from": "tocsin@test.example", "to": "oncall@test.example", **mail}, failing)
        [received] = server.mails
    assert received.message["Subject"] == "[HIGH] delivery-failing: contact_point hook"
    await sent({"type": "log"}, failing)
    assert caplog.records[0].levelno == logging.ERROR
    line = caplog.records[0].getMessage()
    assert line.startswith("[HIGH] delivery-failing: contact_point hook: contact point hook takes no notifications")
    assert "(403 <!channel> {{ value }})" in line


def down(_event: AlertEvent, _number: int) -> DeliveryError:
    return DeliveryError("503 from the receiver", retryable=True)


async def test_a_dead_contact_point_is_told_of_through_the_other_and_never_switched_off() -> None:
    clock = SteppedClock()
    good, dead = Scripted(), Scripted(down)
    ScriptedConfig.receivers.update(good=good, dead=dead)
    contacts: dict[str, ContactConfig] = {
        name: ScriptedConfig.model_validate({"receiver": name}) for name in ("good", "dead")
    }
    watch = SelfWatch(SelfAlertsConfig(), contacts)
    observer = DeliveryTelemetry(watch, lambda event_id: outbox.attempts(event_id))
    outbox = Outbox(MessageWriter(), observer=observer, clock=clock, random=Random(7))
    async with outbox:
        await outbox.reconfigure(contacts, Network())
        [event] = [one for one in EVENTS if one.rule.name == "unpriced-models" and one.transition.value == "firing"]
        outbox.publish(replace(event, notify=("dead",)))
        for _ in range(3 * 3600):
            await clock.advance(1)
            tell(watch, clock.now_ns(), outbox.publish)
            if good.taken and clock.seconds > 2000:
                break
        await settled()
        [told] = good.taken
        assert (told.rule.name, told.group) == ("delivery-failing", {"contact_point": "dead"})
        assert "failed (503 from the receiver)." in MessageWriter().message_of(told).summary
        assert 'tocsin_self_alerts_firing{rule="delivery-failing"} 1.0' in telemetry.exposition("")[0].decode()
        before = len(dead.attempts)
        await clock.advance(3600)
        assert len(dead.attempts) > before, "it is still tried"
        dead.behaviour = lambda _event, _number: None
        await clock.advance(301)
        tell(watch, clock.now_ns(), outbox.publish)
        await settled()
        assert [one.transition.value for one in good.taken][-1] == "resolved"
        assert 'tocsin_self_alerts_firing{rule="delivery-failing"} 0.0' in telemetry.exposition("")[0].decode()
