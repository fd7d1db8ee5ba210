"""A message of each state that an alert can be in: what templates are tried with, and previewed."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import nan
from typing import Final

from tocsin.alerts.event import AlertEvent, Evidence, Transition
from tocsin.notify.incident import incident_message
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.routing.tree import Hold
from tocsin.notify.sample import sample_event
from tocsin.rules.rule import Condition, Severity

__all__ = ["STATES", "sample_messages"]

STATES: Final = (
    "firing",
    "escalated",
    "reminder",
    "resolved",
    "no-data",
    "incident",
    "incident-resolved",
    "silence-ended",
    "test",
)
"""docs/contact-points.md says what they are."""
_AT: Final = 1_767_669_250_123_456_789
"""2026-01-06T03:14:10.123456Z, Unix nanoseconds."""
_MINUTE: Final = 60_000_000_000
_PLACE: Final = "https://tocsin.example"


@lru_cache(maxsize=1)
def sample_messages() -> Mapping[str, Message]:
    """Return state -> message, in the order of `STATES`."""
    writer = MessageWriter(trace_url=f"{_PLACE}/trace/{{trace_id}}", public_url=_PLACE)
    # As of a configuration that says neither where the page is nor where traces are.
    bare = MessageWriter()
    fired = _fired()
    over = replace(_resolved(fired), alert_id=f"alt_{2:032x}")
    others = (replace(fired, alert_id=f"alt_{1:032x}", group={"conversation": "conv-43"}), over)
    hold = Hold("inc_" + "0" * 32, "team=support", 0.0, 300.0)
    notice = replace(hold, name="silence sil_0 (maintenance) ended", notice=True)
    found = {
        "firing": writer.message_of(fired),
        "escalated": writer.message_of(replace(fired, escalated_from=Severity.MEDIUM)),
        "reminder": writer.message_of(_later(replace(fired, transition=Transition.REMINDER, suppressed=12))),
        "resolved": writer.message_of(_resolved(fired)),
        "no-data": bare.message_of(_silent(fired)),
        "incident": incident_message(writer, hold, (fired, *others), firing=2),
        "incident-resolved": incident_message(writer, hold, [_resolved(one) for one in (fired, *others)], firing=0),
        "silence-ended": incident_message(writer, notice, (fired, others[0]), firing=2),
        "test": writer.message_of(sample_event("sample", _AT)),
    }
    return {state: found[state] for state in STATES}


def _fired() -> AlertEvent:
    sample = sample_event("sample", _AT)
    rule = replace(
        sample.rule,
        name="runaway-conversation",
        description="One conversation burns money.",
        labels={"team": "support"},
        runbook_url=f"{_PLACE}/runbook",
    )
    return replace(
        sample,
        id="evt_" + "0" * 32,
        alert_id="alt_" + "0" * 32,
        transition=Transition.FIRING,
        rule=rule,
        severity=Severity.CRITICAL,
        event_to_arrival_ns=812_000_000,
        arrival_to_detection_ns=1_400_000,
    )


def _resolved(event: AlertEvent) -> AlertEvent:
    return replace(event, transition=Transition.RESOLVED, resolved_at=_AT + 12 * _MINUTE)


def _later(event: AlertEvent) -> AlertEvent:
    return replace(event, detected_at=_AT + 30 * _MINUTE)


def _silent(event: AlertEvent) -> AlertEvent:
    """Return an alert without a value, a group, a trace."""
    rule = replace(event.rule, condition=Condition.ABSENT, group_by=(), runbook_url=None, labels={})
    nothing = Evidence(nan, 0, _AT - 5 * _MINUTE, _AT)
    return replace(event, rule=rule, group={}, evidence=nothing, peak=nan, event_to_arrival_ns=None)
