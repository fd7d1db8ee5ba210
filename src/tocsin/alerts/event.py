"""What the engine says: one change of one alert, with its evidence. Everything a notification needs is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tocsin.rules.rule import Rule, Severity

__all__ = ["AlertEvent", "Driver", "Evidence", "TraceShare", "Transition"]


class Transition(StrEnum):
    """What happened; the `event` of the webhook body."""

    FIRING = "firing"
    """It fired, or its level changed (`escalated_from` is set then)."""
    RESOLVED = "resolved"
    REMINDER = "reminder"
    ACKNOWLEDGED = "acknowledged"
    """Somebody looks after it. Not of the engine: told only to receivers that follow each alert."""
    TEST = "test"


@dataclass(frozen=True, slots=True)
class TraceShare:
    """A trace that contributed, and how much of the value in the rule's unit."""

    trace_id: str
    """32 hex digits."""
    value: float


@dataclass(frozen=True, slots=True)
class Driver:
    """A value of an attribute that much of the breach comes from."""

    attribute: str
    value: str
    share: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why the alert is what it is, at the moment of the transition. Times in Unix nanoseconds."""

    value: float
    """In the rule's unit; NaN where there is none (no samples)."""
    samples: int
    window_from: int
    window_to: int
    """Event time; equal to `window_from` for a rule without a window."""
    traces: tuple[TraceShare, ...] = ()
    """Up to 5, the largest first."""
    drivers: tuple[Driver, ...] = ()
    """The largest share first."""
    unpriced_samples: int = 0
    """More than 0: a cost is a lower bound."""
    estimated: bool = False
    """Head-sampled spans were counted for those that were not sent."""


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One change of one alert (one rule and group). Times in Unix nanoseconds."""

    id: str
    """The same for the same event in any process: `evt_` and 32 hex digits."""
    alert_id: str
    """The same for all events of one episode: `alt_` and 32 hex digits. PagerDuty's dedup_key."""
    transition: Transition
    rule: Rule
    group: Mapping[str, str]
    """Label -> value; empty for a rule without `group_by`."""
    severity: Severity
    """Of the level that is reached, or that was for a RESOLVED."""
    threshold: float
    """Of that level, in the rule's unit."""
    escalated_from: Severity | None
    """The level before, where only the level changed."""
    notify: tuple[str, ...]
    """Contact points to tell; empty where the event is only recorded (cooldown, no contact point)."""
    evidence: Evidence
    peak: float
    """The worst value of the episode so far."""
    suppressed: int
    """Breaches since the last notification that were recorded and not notified."""
    started_at: int
    """Event time when the condition first held."""
    fired_at: int
    resolved_at: int | None
    detected_at: int
    """Wall clock."""
    event_to_arrival_ns: int | None
    """From the end of the span that caused it to its arrival here; None where time, not a span, caused it."""
    arrival_to_detection_ns: int | None
