"""What the alert of one rule and group does, moment by moment: the contract's state machine, level by level.

Each level of a rule has its own condition that must hold for `for` and that lingers for `keep_firing_for`; the alert is
at the highest level that is active. Where the contract leaves a choice, it is said at the place, marked `Choice:`.
"""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from tocsin.alerts.event import Transition
from tocsin.rules.rule import Aggregate, Condition, Level, NoData, Rule, Severity

__all__ = ["Alert", "Hits", "Reading", "Said"]

_COMPARE = {
    Condition.GT: operator.gt,
    Condition.GTE: operator.ge,
    Condition.LT: operator.lt,
    Condition.LTE: operator.le,
    Condition.EQ: operator.eq,
    Condition.NE: operator.ne,
}
_ABOVE = (Condition.GT, Condition.GTE)


@dataclass(frozen=True)
class Said:
    """An alert event, as far as the contract decides it."""

    rule: str
    group: tuple[str, ...]
    transition: Transition
    severity: Severity
    notified: bool
    at: int
    """Event time of the transition."""
    started_at: int
    value: float
    peak: float
    suppressed: int
    """Breaches since the last notification that were only recorded."""
    escalated_from: Severity | None = None


@dataclass(frozen=True)
class Reading:
    """The value of a window at a moment."""

    value: float
    samples: int
    """Choice: unpriced calls are among them: a window that has only these is not empty."""


@dataclass
class _LevelState:
    since: int | None = None
    """When the condition began to hold, if it does."""
    active: bool = False
    ceased: int | None = None
    """When it ceased to hold, while still active."""


class _Notices:
    """Which of an alert's events are notified: the cooldown, the reminder, and what is only recorded."""

    def __init__(self, rule: Rule, group: tuple[str, ...]) -> None:
        self.rule = rule
        self.group = group
        self.last: int | None = None
        """The last notification of the group (a resolution is none: it starts no cooldown)."""
        self.notified = False
        """Whether anyone was told of this episode."""
        self.suppressed = 0
        self.peak = math.nan
        self.started_at = 0

    @property
    def reminder_due(self) -> int | None:
        if self.last is None or not self.rule.cooldown_ns:
            return None
        return self.last + self.rule.cooldown_ns

    def cooling(self, moment: int) -> bool:
        return self.last is not None and moment < self.last + self.rule.cooldown_ns

    def see(self, value: float) -> None:
        if math.isnan(self.peak) or _worse(self.rule, value, self.peak):
            self.peak = value

    def fired(self, level: Level, before: Level | None, moment: int, value: float) -> Said:
        # Choice: an escalation is told in spite of the cooldown; a de-escalation waits for no end of it.
        escalated = before is not None and level.severity.rank > before.severity.rank
        told = bool(level.notify) and (escalated or not self.cooling(moment))
        # Choice: the count that a notification carries is of what came before it.
        said = self._said(Transition.FIRING, level, moment, value, told=told, before=before)
        if told:
            self.last, self.notified, self.suppressed = moment, True, 0
        elif before is None:
            self.suppressed += 1
        return said

    def remind(self, level: Level, moment: int, value: float) -> Said | None:
        """Choice: a reminder is a notification, so it begins a cooldown, and at its end there is one again."""
        if self.reminder_due is None or moment < self.reminder_due or not level.notify:
            return None
        said = self._said(Transition.REMINDER, level, moment, value, told=True)
        self.last, self.notified, self.suppressed = moment, True, 0
        return said

    def resolved(self, level: Level, moment: int, value: float) -> Said:
        told = self.notified and self.rule.notify_resolved and bool(level.notify)
        said = self._said(Transition.RESOLVED, level, moment, value, told=told)
        self.notified, self.peak = False, math.nan
        return said

    def _said(
        self,
        transition: Transition,
        level: Level,
        moment: int,
        value: float,
        *,
        told: bool,
        before: Level | None = None,
    ) -> Said:
        return Said(
            self.rule.name,
            self.group,
            transition,
            level.severity,
            told,
            moment,
            self.started_at,
            value,
            self.peak,
            self.suppressed,
            before.severity if before else None,
        )


class Alert:
    """The alert of a rule with a window, for one group."""

    def __init__(self, rule: Rule, group: tuple[str, ...]) -> None:
        self.rule = rule
        self.notices = _Notices(rule, group)
        self.states = [_LevelState() for _ in rule.levels]
        self.level: int | None = None

    def dues(self) -> Iterable[int]:
        """The moments at which time alone may change something."""
        for state in self.states:
            if state.since is not None and not state.active:
                yield state.since + self.rule.for_ns
            if state.ceased is not None:
                yield state.ceased + self.rule.keep_firing_ns
        if self.level is not None and self.notices.reminder_due is not None:
            yield self.notices.reminder_due

    def step(self, reading: Reading, moment: int) -> list[Said]:
        """Judge the value at a moment."""
        for level, state in zip(self.rule.levels, self.states, strict=True):
            self._move(state, self._holds(level, state, reading), moment)
        active = [place for place, state in enumerate(self.states) if state.active]
        before, self.level = self.level, active[-1] if active else None
        return self._say(before, reading, moment)

    def _holds(self, level: Level, state: _LevelState, reading: Reading) -> bool:
        rule = self.rule
        if rule.condition is Condition.ABSENT:
            return reading.samples == 0
        if reading.samples == 0:
            match rule.no_data:
                case NoData.OK:
                    return False
                case NoData.ALERT:
                    return True
                case NoData.KEEP:
                    pass
            # Sums and counts above a threshold fall to zero on their own; all else that fires stays as it is.
            # Choice: silence lets nothing begin to fire, so what was pending is not any more.
            drained = rule.aggregate in (Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE)
            if drained and rule.condition in _ABOVE:
                return False
            return state.active and state.since is not None
        if reading.samples < rule.min_samples:
            return False
        # Choice: the recovery threshold counts while the condition of a firing level has not ceased.
        holding = state.active and state.ceased is None and level.recovery_threshold is not None
        bound = level.recovery_threshold if holding and level.recovery_threshold is not None else level.threshold
        return bool(_COMPARE[rule.condition](reading.value, float(bound)))

    def _move(self, state: _LevelState, holds: bool, moment: int) -> None:
        if holds:
            state.since = moment if state.since is None else state.since
            state.ceased = None
            state.active |= moment >= state.since + self.rule.for_ns
            return
        state.since = None
        if state.active:
            state.ceased = moment if state.ceased is None else state.ceased
            if moment >= state.ceased + self.rule.keep_firing_ns:
                state.active, state.ceased = False, None

    def _say(self, before: int | None, reading: Reading, moment: int) -> list[Said]:
        levels, notices, now = self.rule.levels, self.notices, self.level
        # Choice: the peak is the worst value of those that held, from when the condition first did.
        holding = [state.since for state in self.states if state.since is not None]
        if not holding and now is None and before is None:
            notices.peak = math.nan
        elif holding and (reading.samples or self.rule.no_data is NoData.ALERT):
            notices.see(reading.value)
        if now is None:
            return [] if before is None else [notices.resolved(levels[before], moment, reading.value)]
        if before is None:
            since = [state.since for state in self.states if state.active and state.since is not None]
            notices.started_at = min(since, default=moment)
        if before != now:
            known = None if before is None else levels[before]
            return [notices.fired(levels[now], known, moment, reading.value)]
        reminder = notices.remind(levels[now], moment, reading.value)
        return [reminder] if reminder else []


class Hits:
    """The alert of a rule without a window, for one group: every sample in breach is a hit."""

    def __init__(self, rule: Rule, group: tuple[str, ...]) -> None:
        self.rule = rule
        self.notices = _Notices(rule, group)
        self.queue: list[tuple[int, float, int, bool]] = []
        self.level: int | None = None
        self.last_hit = 0
        self.now = 0

    @property
    def quiet_at(self) -> int:
        return self.last_hit + max(self.rule.cooldown_ns, self.rule.keep_firing_ns)

    def level_of(self, value: Fraction | float | None) -> int | None:
        """Return the highest level that a sample reaches; None: no hit."""
        if value is None or self.rule.min_samples > 1:
            return None  # a sample alone is one sample
        reached = [
            place
            for place, level in enumerate(self.rule.levels)
            if _COMPARE[self.rule.condition](float(value), float(level.threshold))
        ]
        return reached[-1] if reached else None

    def offer(self, time: int, value: Fraction | float | None, *, further: bool = True) -> None:
        """Queue a sample; it counts when its time comes, or at once where that is past.

        Not `further`: it is a sample that hit before, and reached a higher level since.
        """
        level = self.level_of(value) if self.rule.window_ns is None else None
        if level is not None and value is not None:
            self.queue.append((time, float(value), level, further))

    def grown(self, value: Fraction | float | None) -> None:
        """Note that what hit has become more since."""
        if self.level is not None and value is not None:
            self.notices.see(float(value))

    def dues(self) -> Iterable[int]:
        """The moments at which time alone may change something."""
        yield from (time for time, *_ in self.queue)
        if self.level is not None:
            yield self.quiet_at
            if self.notices.reminder_due is not None:
                yield self.notices.reminder_due

    def step(self, moment: int) -> list[Said]:
        """Judge what is due at a moment; moments are given in order, none left out."""
        due = sorted(hit for hit in self.queue if hit[0] <= moment)
        self.queue = [hit for hit in self.queue if hit[0] > moment]
        said: list[Said] = []
        if self.level is not None and moment >= self.quiet_at:
            said.append(self.notices.resolved(self.rule.levels[self.level], moment, self.notices.peak))
            self.level = None
        for _, value, level, further in due:
            said += self._hit(value, level, moment, further=further)
        # Choice: without a hit since the last notification there is nothing to remind of.
        if self.level is not None and self.notices.suppressed:
            reminder = self.notices.remind(self.rule.levels[self.level], moment, self.notices.peak)
            said += [reminder] if reminder else []
        return said

    def _hit(self, value: float, level: int, moment: int, *, further: bool) -> list[Said]:
        before, self.last_hit = self.level, moment
        if before is None:
            self.notices.started_at = moment
        self.notices.see(value)
        if before is not None and level <= before:
            self.notices.suppressed += further
            return []
        self.level = level
        known = None if before is None else self.rule.levels[before]
        return [self.notices.fired(self.rule.levels[level], known, moment, value)]


def _worse(rule: Rule, value: float, than: float) -> bool:
    return value < than if rule.condition in (Condition.LT, Condition.LTE) else value > than
