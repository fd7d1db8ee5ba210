"""The state of one rule for one group: inactive, pending, firing, resolved.

Two functions move it: `observe` when the rule was evaluated, `elapse` when only time passed. Both get event time as an
argument and return what changed; who is told is part of the change, because cooldown is part of the state.

A rule with a window has a condition that holds or does not. A rule without one has hits: single samples that broke it.
A hit fires the alert, further ones are counted, and it resolves once a whole cooldown (or `keep_firing_for`, if longer)
passed without one.
"""

from dataclasses import dataclass
from enum import StrEnum

from tocsin.alerts.event import Transition
from tocsin.rules.rule import Condition, Level, Rule

__all__ = ["Alert", "AlertState", "Change", "due", "elapse", "observe", "worse"]


class AlertState(StrEnum):
    """As in Prometheus."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(slots=True)
class Alert:
    """One rule and group. Times are event times, Unix nanoseconds."""

    rule: Rule
    group: dict[str, str]
    state: AlertState = AlertState.INACTIVE
    level: int = -1
    """Index in `rule.levels` of the level that is reached."""
    started_at: int = 0
    fired_at: int = 0
    ceased_at: int | None = None
    """When the condition stopped holding, while firing."""
    last_hit: int = 0
    """When it last held."""
    peak: float = 0.0
    notified_at: int | None = None
    """The last notification, of this episode or an earlier one: the start of the cooldown."""
    notified: bool = False
    """Whether anybody was told of this episode."""
    told: tuple[str, ...] = ()
    """The contact points that were told of this episode."""
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A transition, and whom to tell of it."""

    transition: Transition
    at: int
    level: int
    value: float
    notify: tuple[str, ...]
    suppressed: int
    escalated_from: int | None = None


def worse(rule: Rule, left: float, right: float) -> float:
    """Return the value that is further beyond the threshold; NaN is better than everything."""
    if left != left or right != right:  # NaN is the one value that differs from itself
        return right if left != left else left  # as above
    return min(left, right) if rule.condition in (Condition.LT, Condition.LTE) else max(left, right)


def observe(alert: Alert, level: int, value: float, now: int, *, hits: int) -> list[Change]:
    """Return what an evaluation at `now` changes.

    Args:
        alert: the state; changed in place.
        level: index of the most severe level whose condition holds; -1 where none does. The caller has applied
            `min_samples`, `no_data` and the recovery thresholds.
        value: what was compared, in the rule's unit.
        now: event time.
        hits: how many samples in this evaluation found the condition holding; 0 where time, not a sample, led to it.
    """
    changes = elapse(alert, now, value)
    if level < 0:
        return changes + _cease(alert, value, now)
    if alert.state is AlertState.INACTIVE:
        alert.state = AlertState.PENDING
        alert.level, alert.started_at, alert.peak = level, now, value
        alert.notified, alert.told, alert.suppressed = False, (), 0
    alert.ceased_at = None
    alert.last_hit = now
    alert.peak = worse(alert.rule, alert.peak, value)
    if alert.state is AlertState.PENDING:
        alert.level = level
        if now - alert.started_at >= alert.rule.for_ns:
            changes += _fire(alert, value, now)
            hits -= 1
        else:
            return changes
    alert.suppressed += max(hits, 0)
    if level != alert.level:
        changes += _move(alert, level, value, now)
    if alert.rule.window_ns is None and _quiet_ns(alert.rule) == 0:
        changes += _resolve(alert, value, now)
    return changes


def elapse(alert: Alert, now: int, value: float) -> list[Change]:
    """Return what the passing of time up to `now` changes; `value` is the present one, for the record."""
    changes: list[Change] = []
    while (at := due(alert)) is not None and at <= now:
        if alert.state is AlertState.PENDING:
            changes += _fire(alert, value, at)
        elif _ends_at(alert) == at:
            changes += _resolve(alert, value, at)
        else:
            changes += _remind(alert, value, at)
    return changes


def due(alert: Alert) -> int | None:
    """Return the next event time at which time alone changes the state; None where nothing will."""
    if alert.state is AlertState.PENDING:
        return alert.started_at + alert.rule.for_ns
    if alert.state is not AlertState.FIRING:
        return None
    times = [at for at in (_ends_at(alert), _reminder_at(alert)) if at is not None]
    return min(times, default=None)


def _ends_at(alert: Alert) -> int | None:
    if alert.rule.window_ns is None:
        return alert.last_hit + _quiet_ns(alert.rule)
    return None if alert.ceased_at is None else alert.ceased_at + alert.rule.keep_firing_ns


def _reminder_at(alert: Alert) -> int | None:
    if alert.notified_at is None or alert.rule.cooldown_ns == 0:
        return None
    if alert.rule.window_ns is None and alert.suppressed == 0 and alert.notified:
        return None
    return max(alert.notified_at + alert.rule.cooldown_ns, alert.fired_at)


def _quiet_ns(rule: Rule) -> int:
    return max(rule.cooldown_ns, rule.keep_firing_ns)


def _fire(alert: Alert, value: float, at: int) -> list[Change]:
    alert.state = AlertState.FIRING
    alert.fired_at = at
    cooling = alert.notified_at is not None and at < alert.notified_at + alert.rule.cooldown_ns
    return [_change(alert, Transition.FIRING, value, at, tell=not cooling)]


def _move(alert: Alert, level: int, value: float, now: int) -> list[Change]:
    """Escalate, which is always told, or de-escalate, which is recorded."""
    before, alert.level = alert.level, level
    return [_change(alert, Transition.FIRING, value, now, tell=level > before, escalated_from=before)]


def _remind(alert: Alert, value: float, at: int) -> list[Change]:
    return [_change(alert, Transition.REMINDER, value, at, tell=True)]


def _cease(alert: Alert, value: float, now: int) -> list[Change]:
    if alert.rule.window_ns is None:
        return []
    if alert.state is AlertState.PENDING:
        alert.state = AlertState.INACTIVE
        return []
    if alert.state is AlertState.FIRING and alert.ceased_at is None:
        alert.ceased_at = now
        return elapse(alert, now, value)
    return []


def _resolve(alert: Alert, value: float, at: int) -> list[Change]:
    told = alert.told if alert.notified and alert.rule.notify_resolved else ()
    change = Change(Transition.RESOLVED, at, alert.level, value, told, alert.suppressed)
    alert.state = AlertState.INACTIVE
    alert.ceased_at = None
    return [change]


def _change(
    alert: Alert,
    transition: Transition,
    value: float,
    at: int,
    *,
    tell: bool,
    escalated_from: int | None = None,
) -> Change:
    level: Level = alert.rule.levels[alert.level]
    change = Change(transition, at, alert.level, value, level.notify if tell else (), alert.suppressed, escalated_from)
    if tell:
        alert.notified_at, alert.notified, alert.suppressed = at, True, 0
        alert.told = tuple(dict.fromkeys(alert.told + level.notify))
    return change
