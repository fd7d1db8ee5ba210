"""The event behind a test notification: as full as a real one, and marked as a test everywhere."""

import secrets
from decimal import Decimal

from tocsin.alerts.event import AlertEvent, Driver, Evidence, TraceShare, Transition
from tocsin.rules.rule import (
    Aggregate,
    Condition,
    Level,
    Metric,
    NoData,
    Rule,
    Sampling,
    Scope,
    Severity,
)

__all__ = ["sample_event"]

_MINUTE = 60_000_000_000


def sample_event(contact_point: str, now_ns: int) -> AlertEvent:
    """Return a TEST event for one contact point, with ids that were never used."""
    return AlertEvent(
        id=f"evt_{secrets.token_hex(16)}",
        alert_id=f"alt_{secrets.token_hex(16)}",
        transition=Transition.TEST,
        rule=_sample_rule(contact_point),
        group={"conversation": "conv-42"},
        severity=Severity.LOW,
        threshold=25.0,
        escalated_from=None,
        notify=(contact_point,),
        evidence=Evidence(
            value=27.31,
            samples=240,
            window_from=now_ns - 5 * _MINUTE,
            window_to=now_ns,
            traces=(TraceShare("0af7651916cd43dd8448eb211c80319c", 0.31),),
            drivers=(Driver("model", "claude-sonnet-4-5", 0.97),),
        ),
        peak=27.31,
        suppressed=0,
        started_at=now_ns,
        fired_at=now_ns,
        resolved_at=None,
        detected_at=now_ns,
        event_to_arrival_ns=None,
        arrival_to_detection_ns=None,
    )


def _sample_rule(contact_point: str) -> Rule:
    return Rule(
        project="default",
        name="test-notification",
        description="Sent by hand to see that a contact point works.",
        scope=Scope.SPAN,
        spans=None,
        metric=Metric.COST,
        attribute=None,
        aggregate=Aggregate.SUM,
        quantile=None,
        window_ns=5 * _MINUTE,
        group_by=(("conversation",),),
        filters=(),
        condition=Condition.GT,
        levels=(Level(Severity.LOW, Decimal(25), None, (contact_point,)),),
        min_samples=1,
        for_ns=0,
        keep_firing_ns=0,
        cooldown_ns=30 * _MINUTE,
        notify_resolved=True,
        no_data=NoData.KEEP,
        sampling=Sampling.IGNORE,
        runbook_url=None,
        dashboard_url=None,
        summary=None,
        labels={},
        actions=(),
        version="0" * 16,
    )
