"""Alert events for tests: the runaway conversation of 03:14, and whatever a test changes of it."""

import dataclasses
import itertools
from typing import Any

from tocsin.alerts.event import AlertEvent, Driver, TraceShare, Transition
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.sample import sample_event
from tocsin.rules.rule import Rule, Severity

__all__ = ["AT", "MINUTE", "alert_event", "message_of", "rule_with"]

MINUTE = 60_000_000_000
AT = 1_767_669_250_123_456_789
"""2026-01-06T03:14:10.123456Z, Unix nanoseconds."""
_numbers = itertools.count()


def alert_event(
    transition: Transition = Transition.FIRING,
    *,
    evidence: dict[str, Any] | None = None,
    rule: dict[str, Any] | None = None,
    **changes: Any,  # noqa: ANN401  # fields of any type
) -> AlertEvent:
    """A firing alert, with fields of it, of its evidence and of its rule changed."""
    sample = sample_event("hook", AT)
    number = next(_numbers)
    made = dataclasses.replace(
        sample,
        id=f"evt_{number:032x}",
        alert_id=f"alt_{number:032x}",
        transition=transition,
        rule=rule_with(**(rule or {})),
        severity=Severity.CRITICAL,
        event_to_arrival_ns=812_000_000,
        arrival_to_detection_ns=1_400_000,
        evidence=dataclasses.replace(
            sample.evidence,
            traces=(TraceShare("0af7651916cd43dd8448eb211c80319c", 0.31),),
            drivers=(Driver("model", "claude-sonnet-4-5", 0.97),),
        ),
    )
    return dataclasses.replace(made, evidence=dataclasses.replace(made.evidence, **(evidence or {})), **changes)


def rule_with(**changes: Any) -> Rule:  # noqa: ANN401  # fields of any type
    """Cost over $25 in 5 minutes by conversation, changed."""
    base = sample_event("hook", AT).rule
    named = {
        "name": "runaway-conversation",
        "description": "One conversation burns money.",
        "labels": {"team": "support"},
    }
    return dataclasses.replace(base, **{**named, **changes})


def message_of(
    event: AlertEvent,
    *,
    trace_url: str = "https://jaeger.example/trace/{trace_id}",
    public_url: str = "https://tocsin.example",
) -> Message:
    """Its message, with trace links and links to the page."""
    return MessageWriter(trace_url=trace_url, public_url=public_url).message_of(event)
