"""Laws of delivery under random faults: nothing is lost, order is kept per alert, nobody waits for anybody."""

import asyncio
import dataclasses
from random import Random

from alert_events import alert_event
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_contact import CountingObserver, Scripted, ScriptedConfig
from stepped_clock import SteppedClock, settled

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.egress import Network
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox

_LIFE = (Transition.FIRING, Transition.REMINDER, Transition.RESOLVED)
CONTACTS = ("one", "two")


def faulty(random: Random, worst: int) -> Scripted:
    """Fails every event up to `worst` times, each time in another way."""
    left: dict[str, int] = {}

    def behaviour(event: AlertEvent, number: int) -> BaseException | None:
        failures = left.setdefault(event.id, random.randrange(worst + 1))
        if number > failures:
            return None
        return random.choice(
            [
                DeliveryError("503", retryable=True),
                DeliveryError("429", retryable=True, retry_after=random.uniform(0, 30)),
                TimeoutError(),
                ConnectionResetError(),
                ValueError("a defect"),
            ]
        )

    return Scripted(behaviour)


def episodes(random: Random, alerts: int) -> list[AlertEvent]:
    """The lives of some alerts, interleaved."""
    lives = []
    for number in range(alerts):
        life = [
            dataclasses.replace(alert_event(transition), alert_id=f"alt_{number}", notify=CONTACTS)
            for transition in _LIFE[: random.randrange(1, 4)]
        ]
        lives.append(life)
    mixed = []
    while any(lives):
        mixed.append(random.choice([life for life in lives if life]).pop(0))
    return mixed


async def deliver(seed: int, alerts: int, worst: int) -> tuple[list[AlertEvent], list[Scripted], set[tuple[str, str]]]:
    """The events, who got which, and which were merged into later ones for whom."""
    random, clock, observer = Random(seed), SteppedClock(), CountingObserver()
    receivers = [faulty(random, worst) for _ in CONTACTS]
    ScriptedConfig.receivers.update(zip(CONTACTS, receivers, strict=True))
    events = episodes(random, alerts)
    async with Outbox(MessageWriter(), observer=observer, clock=clock, random=random) as outbox:
        await outbox.reconfigure({name: ScriptedConfig(receiver=name) for name in CONTACTS}, Network())
        for event in events:
            outbox.publish(event)
            if random.random() < 0.3:
                await clock.advance(random.uniform(0, 5))
        while len(outbox):
            await clock.advance_to_next()
            await settled()
    assert {reason for *_, reason in observer.drops} <= {"merged"}
    return events, receivers, {(name, event_id) for name, event_id, _ in observer.drops}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), alerts=st.integers(1, 8), worst=st.integers(0, 6))
def test_every_event_arrives_in_order_within_its_alert_or_a_later_one_that_it_was_merged_into(
    seed: int, alerts: int, worst: int
) -> None:
    events, receivers, merged = asyncio.run(deliver(seed, alerts, worst))
    for name, receiver in zip(CONTACTS, receivers, strict=True):
        for alert_id in {event.alert_id for event in events}:
            published = [event.id for event in events if event.alert_id == alert_id]
            expected = [event_id for event_id in published if (name, event_id) not in merged]
            assert [event.id for event in receiver.taken if event.alert_id == alert_id] == expected
            assert expected[-1] == published[-1], "the latest state did not arrive"
