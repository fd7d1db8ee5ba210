"""From alert events to what a report says of a rule, and of two versions of one."""

import math
from collections.abc import Sequence
from typing import Final

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.sentence import default_summary
from tocsin.rules.rule import Condition, Rule, Severity
from tocsin.service.backtest.replay import Outcome
from tocsin.service.backtest.report import Comparison, Difference, Interval, Line, RuleReport, Sending, time_of
from tocsin.service.backtest.values import judges_samples

__all__ = ["compared", "rule_report"]

MOST_LISTED: Final = 1000
"""Intervals and sendings of a rule in a report."""


def rule_report(rule: Rule, outcome: Outcome, notes: Sequence[str] = ()) -> RuleReport:
    """Return what one rule did."""
    events = outcome.events.get(rule.key, [])
    episodes: dict[str, list[AlertEvent]] = {}
    for event in events:
        episodes.setdefault(event.alert_id, []).append(event)
    for alert_id, event in outcome.unfinished.items():
        # It fired before the period began, and nothing was said of it since.
        if event.rule.key == rule.key and alert_id not in episodes:
            episodes[alert_id] = [event]
    intervals = sorted(
        (_interval(own, outcome.unfinished.get(alert_id)) for alert_id, own in episodes.items()),
        key=lambda each: (each.fired_at, each.alert_id),
    )
    sendings = [_sending(event) for event in events if event.notify]
    statistics, key = outcome.statistics, rule.key
    follower = outcome.followers.get(key)
    return RuleReport(
        project=rule.project,
        name=rule.name,
        version=rule.version,
        description=rule.description,
        condition=rule.condition.value,
        unit=rule.unit,
        window_seconds=None if rule.window_ns is None else rule.window_ns / 1e9,
        group_by=tuple(" or ".join(entry) for entry in rule.group_by),
        lines=tuple(Line(level.severity.value, float(level.threshold)) for level in rule.levels),
        breached=sum(each.breaches for each in intervals),
        notified=sum(each.notified for each in intervals),
        sent=len(sendings),
        samples=statistics.samples.get(key, 0),
        late=statistics.late.get(key, 0),
        ungrouped=statistics.ungrouped.get(key, 0),
        intervals=tuple(intervals[:MOST_LISTED]),
        sendings=tuple(sendings[:MOST_LISTED]),
        series=() if follower is None else follower.series(),
        left_out=max(0, len(intervals) - MOST_LISTED) + max(0, len(sendings) - MOST_LISTED),
        notes=tuple(notes),
    )


def compared(a: str, b: str, first: RuleReport, second: RuleReport) -> Comparison:
    """Return two versions of a rule side by side; `a` and `b` are what people call them."""
    both = [each for each in first.intervals if any(_overlap(each, other) for other in second.intervals)]
    only_a = [each for each in first.intervals if each not in both]
    only_b = [each for each in second.intervals if not any(_overlap(each, other) for other in first.intervals)]
    differences = [*(Difference("a", each) for each in only_a), *(Difference("b", each) for each in only_b)]
    return Comparison(
        a,
        b,
        first,
        second,
        both=len(both),
        only_a=len(only_a),
        only_b=len(only_b),
        differences=tuple(sorted(differences, key=lambda each: (each.interval.fired_at, each.version))),
        left_out=first.left_out + second.left_out,
    )


def _overlap(one: Interval, other: Interval) -> bool:
    """Whether two breaches are of one group and touch in time; the texts of times sort as the times do."""
    return (
        one.group == other.group
        and (other.resolved_at is None or one.started_at <= other.resolved_at)
        and (one.resolved_at is None or other.started_at <= one.resolved_at)
    )


def _interval(events: Sequence[AlertEvent], unfinished: AlertEvent | None) -> Interval:
    fired = next((event for event in events if event.transition is Transition.FIRING), events[0])
    last = unfinished or events[-1]
    peaks = [event.peak for event in (*events, last) if math.isfinite(event.peak)]
    resolved = next((event.resolved_at for event in events if event.transition is Transition.RESOLVED), None)
    worst = max((event.severity for event in events), key=_rank)
    return Interval(
        alert_id=fired.alert_id,
        group=dict(fired.group),
        severity=worst.value,
        started_at=time_of(fired.started_at),
        fired_at=time_of(fired.fired_at),
        resolved_at=None if resolved is None or unfinished is not None else time_of(resolved),
        value=_finite(fired.evidence.value),
        threshold=fired.threshold,
        peak=_finite(peaks and _worst(fired.rule, peaks)),
        samples=fired.evidence.samples,
        breaches=_breaches(events, unfinished),
        notified=any(event.notify and event.transition is Transition.FIRING for event in events),
        event_ids=tuple(event.id for event in events if event is not unfinished),
    )


def _rank(severity: Severity) -> int:
    return severity.rank


def _worst(rule: Rule, peaks: Sequence[float]) -> float:
    return min(peaks) if rule.condition in (Condition.LT, Condition.LTE) else max(peaks)


def _breaches(events: Sequence[AlertEvent], unfinished: AlertEvent | None) -> int:
    """Return how often a rule was broken: an alert over a window once, one of single samples by each of them."""
    rule = events[0].rule
    if not judges_samples(rule):
        return 1
    told = sum(event.transition is Transition.FIRING and bool(event.notify) for event in events)
    ends = [event for event in events if event.transition is not Transition.FIRING or event.escalated_from is not None]
    if unfinished is not None:
        ends = [*(event for event in ends if event is not unfinished), unfinished]
    return max(1, told + sum(event.suppressed for event in ends))


def _sending(event: AlertEvent) -> Sending:
    return Sending(
        at=time_of(event.evidence.window_to),
        event_id=event.id,
        alert_id=event.alert_id,
        transition=event.transition.value,
        severity=event.severity.value,
        group=dict(event.group),
        contact_points=tuple(event.notify),
        value=_finite(event.evidence.value),
        summary=default_summary(event),
    )


def _finite(value: float | Sequence[float]) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None
