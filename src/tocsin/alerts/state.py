"""The state of one rule for one group: inactive, pending, firing, resolved.

Two functions move it: `observe` when the rule was evaluated, `elapse` when only time passed. Both get event time as an
argument and return what changed; who is told is part of the change, because cooldown is part of the state.

A rule with a window has a condition that holds or does not. A rule without one has hits: single samples that broke it.
A hit fires the alert, further ones are counted, and it resolves once a whole cooldown (or `keep_firing_for`, if longer)
passed without one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any

import numpy as np

from tocsin.alerts.event import Transition
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.rule import Condition, Level, Rule

__all__ = ["Alert", "AlertState", "Change", "abandon", "due", "elapse", "freeze", "observe", "thaw", "worse"]

_INTEGERS = ("level", "started_at", "fired_at", "ceased_at", "last_hit", "notified_at", "suppressed")
_OPTIONAL = ("ceased_at", "notified_at")
_OTHERS = ("state", "peak", "notified", "told", "group")
_NEVER = np.iinfo(np.int64).min
"""Stands for None where times are kept."""


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
    """A transition, whom to tell of it, and its episode as it was then: one evaluation may end it and begin another."""

    transition: Transition
    at: int
    level: int
    value: float
    notify: tuple[str, ...]
    suppressed: int
    started_at: int
    fired_at: int
    peak: float
    escalated_from: int | None = None


def freeze(alerts: Mapping[int, Alert]) -> Frozen:
    """Return the state of the alerts of some slots."""
    slots, rows = list(alerts), [*map(attrgetter(*_INTEGERS, *_OTHERS), alerts.values())]

    def state() -> State:
        columns: dict[str, Any] = dict(zip((*_INTEGERS, *_OTHERS), zip(*rows, strict=True), strict=False))
        if not rows:
            return {"slots": np.zeros(0, np.int64)}
        kept: dict[str, State] = {
            name: np.array([_NEVER if each is None else each for each in columns[name]], np.int64) for name in _INTEGERS
        }
        return {
            **kept,
            "slots": np.array(slots, np.int64),
            "state": [each.value for each in columns["state"]],
            "peak": np.array(columns["peak"], np.float64),
            "notified": np.array(columns["notified"], np.bool_),
            "told": [list(each) for each in columns["told"]],
            "group": [dict(each) for each in columns["group"]],
        }

    return state


def thaw(section: Section, rules: Mapping[int, Rule]) -> dict[int, Alert]:
    """Return the alerts of a state; `rules` has the rule of each slot that may have an alert."""
    slots = section.array("slots", np.int64).tolist()
    if not slots:
        return {}
    columns = {name: section.array(name, np.int64, len(slots)).tolist() for name in _INTEGERS}
    states, told = section.texts("state", len(slots)), section.text_lists("told", len(slots))
    peaks = section.array("peak", np.float64, len(slots)).tolist()
    notified = section.array("notified", np.bool_, len(slots)).tolist()
    groups = section.parts("group", len(slots))
    alerts: dict[int, Alert] = {}
    for row, slot in enumerate(slots):
        rule = rules.get(slot)
        level = columns["level"][row]
        if rule is None or slot in alerts or not 0 <= level < len(rule.levels) or states[row] not in _AWAKE:
            raise section.unfit(f"has an alert for slot {slot} that no rule can have")
        integers = {name: columns[name][row] for name in _INTEGERS}
        integers |= {name: None for name in _OPTIONAL if integers[name] == _NEVER}
        group = {label: groups[row].text(label) for label in groups[row].names()}
        others = {"peak": peaks[row], "notified": notified[row], "told": tuple(told[row])}
        alerts[slot] = Alert(rule, group, AlertState(states[row]), **others, **integers)
    return alerts


_AWAKE = (AlertState.PENDING, AlertState.FIRING)


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
    # An evaluation says what holds at its own instant; what is due by time at that same instant follows it. A rule
    # without a window has ended by then: a hit says nothing about the time before it.
    ended = alert.rule.judges_each and alert.state is AlertState.FIRING and _ends_at(alert) == now
    changes = elapse(alert, now if ended else now - 1, value)
    if level < 0:
        _cease(alert, now)
    else:
        changes += _hold(alert, level, value, now, hits)
    return changes + elapse(alert, now, value)


def _hold(alert: Alert, level: int, value: float, now: int, hits: int) -> list[Change]:
    if alert.state is AlertState.INACTIVE:
        alert.state = AlertState.PENDING
        alert.level, alert.started_at, alert.peak = level, now, value
        alert.notified, alert.told, alert.suppressed = False, (), 0
    alert.ceased_at = None
    alert.last_hit = now
    alert.peak = worse(alert.rule, alert.peak, value)
    changes: list[Change] = []
    if alert.state is AlertState.PENDING:
        alert.level = level
        if now - alert.started_at < alert.rule.for_ns:
            return changes
        changes = _fire(alert, value, now)
    elif level > alert.level or (level < alert.level and not alert.rule.judges_each):
        changes = _move(alert, level, value, now)
    told = bool(changes and changes[0].notify)
    alert.suppressed += max(hits - told, 0)
    return changes


def elapse(alert: Alert, now: int, value: float) -> list[Change]:
    """Return what the passing of time up to `now` changes; `value` is the present one, for the record.

    Of several reminders that became due meanwhile only the newest is given.
    """
    changes: list[Change] = []
    while (at := due(alert)) is not None and at <= now:
        if alert.state is AlertState.PENDING:
            changes += _fire(alert, value, at)
        elif (end := _ends_at(alert)) == at:
            changes += _resolve(alert, value, at)
        else:
            changes += _remind(alert, value, _newest_reminder(alert, at, now if end is None else min(now, end - 1)))
    return changes


def abandon(alert: Alert, now: int) -> list[Change]:
    """Return the end of an alert whose rule was removed at event time `now`; it is not to be used any more."""
    return _resolve(alert, math.nan, now) if alert.state is AlertState.FIRING else []


def due(alert: Alert) -> int | None:
    """Return the next event time at which time alone changes the state; None where nothing will."""
    if alert.state is AlertState.PENDING:
        return alert.started_at + alert.rule.for_ns
    if alert.state is not AlertState.FIRING:
        return None
    times = [at for at in (_ends_at(alert), _reminder_at(alert)) if at is not None]
    return min(times, default=None)


def _ends_at(alert: Alert) -> int | None:
    if alert.rule.judges_each:
        return max(alert.last_hit + _quiet_ns(alert.rule), alert.fired_at)
    return None if alert.ceased_at is None else alert.ceased_at + alert.rule.keep_firing_ns


def _reminder_at(alert: Alert) -> int | None:
    if alert.notified_at is None or alert.rule.cooldown_ns == 0 or not alert.rule.levels[alert.level].notify:
        return None
    if alert.rule.judges_each and alert.suppressed == 0 and alert.notified:
        return None
    # Without a window there is nothing to remind of before a further hit: one after the cooldown is told at once.
    since = alert.fired_at if not alert.rule.judges_each else max(alert.fired_at, alert.last_hit)
    return max(alert.notified_at + alert.rule.cooldown_ns, since)


def _newest_reminder(alert: Alert, at: int, until: int) -> int:
    """Return when the last of the reminders from `at` to `until` is due; without a window there is no second one."""
    cooldown = alert.rule.cooldown_ns
    return at if alert.rule.judges_each else at + (until - at) // cooldown * cooldown


def _quiet_ns(rule: Rule) -> int:
    return max(rule.cooldown_ns, rule.keep_firing_ns)


def _fire(alert: Alert, value: float, at: int) -> list[Change]:
    alert.state = AlertState.FIRING
    alert.fired_at = at
    return [_change(alert, Transition.FIRING, value, at, tell=not _is_cooling(alert, at))]


def _is_cooling(alert: Alert, at: int) -> bool:
    return alert.notified_at is not None and at < alert.notified_at + alert.rule.cooldown_ns


def _move(alert: Alert, level: int, value: float, now: int) -> list[Change]:
    """Escalate, which is told in spite of the cooldown, or de-escalate, which is recorded during it."""
    before, alert.level = alert.level, level
    tell = level > before or not _is_cooling(alert, now)
    return [_change(alert, Transition.FIRING, value, now, tell=tell, escalated_from=before)]


def _remind(alert: Alert, value: float, at: int) -> list[Change]:
    return [_change(alert, Transition.REMINDER, value, at, tell=True)]


def _cease(alert: Alert, now: int) -> None:
    """Note that the condition does not hold; what follows from that is due by time.

    A rule without a window has hits instead, and they cease by themselves.
    """
    if not alert.rule.judges_each:
        if alert.state is AlertState.PENDING:
            alert.state = AlertState.INACTIVE
        elif alert.state is AlertState.FIRING and alert.ceased_at is None:
            alert.ceased_at = now


def _resolve(alert: Alert, value: float, at: int) -> list[Change]:
    told = alert.told if alert.notified and alert.rule.notify_resolved else ()
    change = _changed(alert, Transition.RESOLVED, at, value, told)
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
    tell = tell and bool(level.notify) and not alert.rule.shadow
    change = _changed(alert, transition, at, value, level.notify if tell else (), escalated_from)
    if tell:
        alert.notified_at, alert.notified, alert.suppressed = at, True, 0
        alert.told = tuple(dict.fromkeys(alert.told + level.notify))
    return change


def _changed(
    alert: Alert,
    transition: Transition,
    at: int,
    value: float,
    notify: tuple[str, ...],
    escalated_from: int | None = None,
) -> Change:
    return Change(
        transition,
        at,
        alert.level,
        value,
        notify,
        alert.suppressed,
        alert.started_at,
        alert.fired_at,
        alert.peak,
        escalated_from,
    )
