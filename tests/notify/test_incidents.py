"""Alerts of one incident in one message: when, under which id, and nothing lost or told twice."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from alert_events import alert_event
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_contact import Scripted, ScriptedConfig
from stepped_clock import SteppedClock, settled

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Answer, Attempt
from tocsin.notify.egress import Network
from tocsin.notify.history import Outcome
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.notify.routing.tree import Hold
from tocsin.rules.rule import Severity


class Listener(Scripted):
    """Keeps whole messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        answer = await super().send(message, attempt)
        self.messages.append(message)
        return answer


class ByTeam:
    """Alerts of one team are one incident."""

    def __init__(self, wait: float = 0.0, interval: float = 300.0) -> None:
        self.wait = wait
        self.interval = interval

    def hold(self, contact_point: str, event: AlertEvent) -> Hold | None:
        team = event.rule.labels.get("team")
        return Hold(f"inc_{team}", f"team={team}", self.wait, self.interval) if team else None

    def hold_of_alert(self, contact_point: str, alert_id: str) -> Hold | None:
        return None


@pytest.fixture(autouse=True)
def _receivers() -> Iterator[None]:
    ScriptedConfig.receivers.clear()
    yield
    ScriptedConfig.receivers.clear()


@asynccontextmanager
async def listening(grouping: ByTeam) -> AsyncIterator[tuple[Outbox, Listener, SteppedClock]]:
    clock, listener = SteppedClock(), Listener()
    ScriptedConfig.receivers["own"] = listener
    async with Outbox(MessageWriter(), clock=clock, random=Random(7), grouping=grouping) as outbox:
        await outbox.reconfigure({"own": ScriptedConfig.model_validate({"receiver": "own"})}, Network())
        yield outbox, listener, clock


def firing(**changes: Any) -> AlertEvent:  # noqa: ANN401
    return alert_event(**{"notify": ("own",), **changes})


def ended(event: AlertEvent) -> AlertEvent:
    return dataclasses.replace(
        event, id="evt_end" + event.id[7:], transition=Transition.RESOLVED, resolved_at=event.fired_at
    )


def transitions(listener: Listener) -> list[str]:
    return [message.event.transition.value for message in listener.messages]


async def publish(outbox: Outbox, *events: AlertEvent) -> None:
    for event in events:
        outbox.publish(event)
    await settled()


async def test_the_first_rings_at_once_and_what_follows_is_one_message_an_interval_later() -> None:
    async with listening(ByTeam()) as (outbox, listener, clock):
        events = [firing() for _ in range(4)]
        await publish(outbox, events[0])
        await publish(outbox, *events[1:])
        assert [one.body["id"] for one in listener.messages] == [events[0].id]
        await clock.advance(299)
        assert len(listener.messages) == 1
        await clock.advance(1)
        [_, second] = listener.messages
        assert second.event.alert_id == "inc_support" == listener.messages[0].event.alert_id
        assert second.title == "[CRITICAL] 4 alerts: team=support"
        assert second.summary.startswith("4 alerts fire: runaway-conversation: ")
        assert [one["id"] for one in second.body["alerts"]] == [event.id for event in events[1:]]  # type: ignore[attr-defined]
        assert second.body["incident"] == {"id": "inc_support", "name": "team=support", "firing": 4}


async def test_a_wait_gathers_the_first_message_too() -> None:
    async with listening(ByTeam(wait=30)) as (outbox, listener, clock):
        await publish(outbox, firing(), firing())
        assert listener.messages == []
        await clock.advance(30)
        assert [one.title for one in listener.messages] == ["[CRITICAL] 2 alerts: team=support"]


async def test_an_incident_is_resolved_once_when_the_last_of_it_is_and_the_next_rings_at_once() -> None:
    async with listening(ByTeam()) as (outbox, listener, clock):
        one, two = firing(), firing()
        await publish(outbox, one)
        await publish(outbox, two)
        await clock.advance(300)
        await publish(outbox, ended(one))
        await clock.advance(300)
        assert transitions(listener)[-1] == "reminder"  # nobody closes it
        assert "1 alert fires, 1 resolved" in listener.messages[-1].summary
        await publish(outbox, ended(two))
        await clock.advance(300)
        assert transitions(listener)[-1] == "resolved"
        assert len(listener.messages) == 4
        await publish(outbox, firing())
        assert len(listener.messages) == 5


async def test_what_is_worse_than_everything_before_it_does_not_wait() -> None:
    async with listening(ByTeam()) as (outbox, listener, _):
        await publish(outbox, firing(severity=Severity.LOW))
        await publish(outbox, firing(severity=Severity.LOW))
        assert len(listener.messages) == 1
        await publish(outbox, firing(severity=Severity.CRITICAL))
        assert len(listener.messages) == 2
        assert listener.messages[1].event.severity is Severity.CRITICAL
        assert len(listener.messages[1].body["alerts"]) == 2  # type: ignore[arg-type]


async def test_a_message_that_is_tried_again_has_the_same_id_and_the_same_alerts() -> None:
    async with listening(ByTeam(wait=1)) as (outbox, listener, clock):
        listener.behaviour = lambda _event, number: DeliveryError("503", retryable=True) if number < 3 else None
        await publish(outbox, firing(), firing())
        await clock.advance(1)
        await publish(outbox, firing())
        await clock.advance(60)
        ids = [event.id for event, _ in listener.attempts[:3]]
        assert len(set(ids)) == 1
        assert len(listener.messages[0].body["alerts"]) == 2  # type: ignore[arg-type]
        await clock.advance(300)
        assert len(listener.messages) == 2


async def test_a_notice_is_one_message_and_opens_no_incident() -> None:
    async with listening(ByTeam()) as (outbox, listener, _):
        notice = Hold("inc_notice", "silence sil_1 (deploy) ended", 0.0, 1.0, notice=True)
        events = [dataclasses.replace(firing(), transition=Transition.REMINDER) for _ in range(3)]
        for event in events:
            outbox.publish(event, notice)
        await settled()
        [message] = listener.messages
        assert message.title == "[REMINDER] 3 alerts: silence sil_1 (deploy) ended"
        assert all(outbox.heard("own", event.alert_id) for event in events)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), st.sampled_from(["a", "b", ""]), st.sampled_from(list(Severity))),
        st.tuples(st.just("end"), st.integers(0, 20), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 400), st.none()),
        st.tuples(st.just("fail"), st.integers(1, 3), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([0.0, 20.0]))
async def test_every_event_is_told_in_one_message_and_incidents_end_with_their_last_alert(
    done: list[tuple[str, Any, Any]], wait: float
) -> None:
    ScriptedConfig.receivers.clear()
    async with listening(ByTeam(wait=wait)) as (outbox, listener, clock):
        failures = 0

        def behave(_event: AlertEvent, _number: int) -> BaseException | None:
            nonlocal failures
            failures -= 1
            return DeliveryError("503", retryable=True) if failures >= 0 else None

        listener.behaviour = behave
        published: list[AlertEvent] = []
        open_alerts: list[AlertEvent] = []
        for kind, what, severity in done:
            match kind:
                case "fire":
                    event = firing(severity=severity, rule={"labels": {"team": what} if what else {}})
                    open_alerts.append(event)
                    published.append(event)
                    await publish(outbox, event)
                case "end" if open_alerts:
                    over = ended(open_alerts.pop(what % len(open_alerts)))
                    published.append(over)
                    await publish(outbox, over)
                case "wait":
                    await clock.advance(what)
                case "fail":
                    failures = what
                case _:
                    pass
        failures = 0
        for _ in range(4):
            await clock.advance(400)
        for event in published:
            outcomes = [record.outcome for record in outbox.attempts(event.id)]
            assert outcomes.count(Outcome.DELIVERED) == 1
        last = {message.event.alert_id: message.event.transition for message in listener.messages}
        still = {f"inc_{event.rule.labels['team']}" for event in open_alerts if event.rule.labels}
        for incident, transition in last.items():
            if incident.startswith("inc_"):
                assert (transition is not Transition.RESOLVED) == (incident in still)
