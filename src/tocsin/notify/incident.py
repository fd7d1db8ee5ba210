"""Several alerts of one incident in one message.

The message is that of the worst alert in it, under the incident's id in place of the alert's, so that PagerDuty, Slack
and whatever else tells alerts apart by their id sees one thing that begins, goes on and ends.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.message import Fact, Message, MessageWriter
from tocsin.notify.routing.tree import Hold
from tocsin.notify.wording import clean

__all__ = ["incident_id", "incident_message"]

MOST_LISTED: Final = 20
"""Alerts that a person is told of one by one."""
MOST_BODIES: Final = 100
"""Alerts whose whole body is in the webhook's."""
_SUMMARY: Final = 1_000


def incident_id(events: Sequence[AlertEvent]) -> str:
    """Return the id of a message about these events: the event's own where it is one."""
    if len(events) == 1:
        return events[0].id
    ids = " ".join(sorted(event.id for event in events))
    return "evt_" + hashlib.blake2b(ids.encode(), digest_size=16).hexdigest()


def incident_message(writer: MessageWriter, hold: Hold, events: Sequence[AlertEvent], firing: int) -> Message:
    """Return one message about the events, of distinct alerts or not, of an incident.

    Args:
        writer: makes the message of one event.
        hold: the incident.
        events: in the order in which they happened; at least one.
        firing: how many alerts of the incident fire after them.
    """
    latest = list({event.alert_id: event for event in events}.values())
    chief = _chief(latest)
    message = writer.message_of(chief)
    transition = _transition(latest, firing)
    event = replace(chief, id=incident_id(events), alert_id=hold.key, transition=transition)
    if transition is not Transition.RESOLVED:
        event = replace(event, resolved_at=None)
    incident = {"id": hold.key, "name": clean(hold.name, _SUMMARY), "firing": firing}
    if len(latest) == 1 and transition is chief.transition and not hold.notice:
        body = {**message.body, "id": event.id, "incident": incident}
        return replace(message, event=event, body=body)
    messages = [writer.message_of(one) for one in latest]
    summary = _summary(messages, firing)
    return replace(
        message,
        event=event,
        title=_title(event, hold, latest, firing),
        summary=summary,
        facts=(*_listed(messages), *message.facts),
        body=_body(message.body, event, summary, incident, messages),
    )


def _chief(events: Sequence[AlertEvent]) -> AlertEvent:
    """Return the worst of what still fires, the earliest of equals."""
    return max(events, key=lambda event: (event.transition is not Transition.RESOLVED, event.severity.rank))


def _transition(events: Sequence[AlertEvent], firing: int) -> Transition:
    if firing == 0:
        return Transition.RESOLVED
    if any(event.transition is Transition.FIRING for event in events):
        return Transition.FIRING
    return Transition.REMINDER


def _title(event: AlertEvent, hold: Hold, latest: Sequence[AlertEvent], firing: int) -> str:
    word = str(event.severity) if event.transition is Transition.FIRING else str(event.transition)
    number = len(latest) if firing == 0 else firing
    noun = "alert" if number == 1 else "alerts"
    return clean(f"[{word.upper()}] {number} {noun}: {hold.name}")


def _summary(messages: Sequence[Message], firing: int) -> str:
    ended = sum(one.event.transition is Transition.RESOLVED for one in messages)
    parts = []
    if firing:
        parts.append(f"{firing} {'alert fires' if firing == 1 else 'alerts fire'}")
    if ended:
        parts.append(f"{ended} resolved")
    told = "; ".join(f"{clean(one.event.rule.name)}: {one.summary}" for one in messages[:MOST_LISTED])
    return clean(f"{', '.join(parts)}: {told}", _SUMMARY)


def _listed(messages: Sequence[Message]) -> tuple[Fact, ...]:
    facts = [Fact(one.title, one.summary) for one in messages[:MOST_LISTED]]
    if len(messages) > MOST_LISTED:
        facts.append(Fact("Further alerts", str(len(messages) - MOST_LISTED)))
    return tuple(facts)


def _body(
    chief: Mapping[str, object],
    event: AlertEvent,
    summary: str,
    incident: Mapping[str, Any],
    messages: Sequence[Message],
) -> dict[str, object]:
    return {
        **chief,
        "id": event.id,
        "event": str(event.transition),
        "summary": summary,
        "resolved_at": chief["resolved_at"] if event.transition is Transition.RESOLVED else None,
        "incident": dict(incident),
        "alerts": [one.body for one in messages[:MOST_BODIES]],
    }
