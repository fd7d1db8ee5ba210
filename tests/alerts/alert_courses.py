"""Courses of one alert, drawn as text: one character a minute."""

from collections.abc import Iterator
from decimal import Decimal

from tocsin.alerts.event import Transition
from tocsin.alerts.state import Alert, AlertState, Change, elapse, observe
from tocsin.rules.rule import Aggregate, Condition, Level, Metric, NoData, Rule, Sampling, Scope, Severity

__all__ = ["MINUTE", "START", "Course", "notices", "rule_of", "states"]

MINUTE = 60_000_000_000
START = 28_000_000 * MINUTE
_LETTERS = {AlertState.PENDING: "p", AlertState.FIRING: "f", AlertState.RESOLVED: "r"}
_MARKS = {Transition.FIRING: "f", Transition.RESOLVED: "r", Transition.REMINDER: "m"}


def rule_of(
    *,
    window: int | None = 5,
    before: int = 0,
    keep: int = 0,
    cooldown: int = 0,
    condition: Condition = Condition.GT,
    notify_resolved: bool = True,
    notify: tuple[tuple[str, ...], ...] = (("oncall",),),
) -> Rule:
    """Return a rule; times in minutes, `notify` of each level."""
    severities = (Severity.LOW, Severity.HIGH, Severity.CRITICAL)
    return Rule(
        project="default", name="rule", description="", scope=Scope.SPAN, spans=None, metric=Metric.COST,
        attribute=None, aggregate=Aggregate.SUM, quantile=None,
        window_ns=None if window is None else window * MINUTE,
        group_by=(("tenant",),), filters=(), condition=condition,
        levels=tuple(Level(severities[i], Decimal(i + 1), None, names) for i, names in enumerate(notify)),
        min_samples=1, for_ns=before * MINUTE, keep_firing_ns=keep * MINUTE, cooldown_ns=cooldown * MINUTE,
        notify_resolved=notify_resolved, no_data=NoData.KEEP, sampling=Sampling.IGNORE, runbook_url=None,
        dashboard_url=None, summary=None, labels={}, actions=(), version="0123456789abcdef",
    )  # fmt: skip


class Course:
    """One alert over minutes, evaluated once in each."""

    def __init__(self, rule: Rule) -> None:
        self.alert = Alert(rule, {"tenant": "acme"})
        self.changes: list[Change] = []
        self.minute = -1
        self._was_firing = False

    def run(self, drawn: str) -> Iterator[tuple[AlertState, list[Change]]]:
        """Yield the state after each minute, and what changed in it.

        `.` is an evaluation that finds nothing, `#` one that finds level 0, a digit that level, a space only lets time
        pass (a rule without a window is not told of what is no hit).
        """
        for mark in drawn:
            self.minute += 1
            now = START + self.minute * MINUTE
            windowless = self.alert.rule.window_ns is None
            if mark == " " or (mark == "." and windowless):
                found = elapse(self.alert, now, 0.0)
            else:
                level = -1 if mark == "." else 0 if mark == "#" else int(mark)
                found = observe(self.alert, level, float(level + 1), now, hits=int(level >= 0))
            self.changes += found
            yield self._seen(found), found

    def _seen(self, found: list[Change]) -> AlertState:
        ended = self.alert.state is AlertState.INACTIVE and any(
            change.transition is Transition.RESOLVED for change in found
        )
        return AlertState.RESOLVED if ended else self.alert.state


def states(rule: Rule, drawn: str) -> str:
    """Return a letter a minute: inactive, pending, firing, and resolved from then on until it is pending again."""
    letters, resolved = "", False
    for state, _ in Course(rule).run(drawn):
        resolved = state is AlertState.RESOLVED or (resolved and state is AlertState.INACTIVE)
        letters += "r" if resolved else _LETTERS.get(state, "i")
    return letters


def notices(rule: Rule, drawn: str) -> str:
    """Return a letter a minute: what anyone was told (f fired, r resolved, m reminded); capitals: only recorded.

    Of several in a minute the last that was told counts.
    """
    letters = ""
    for _, found in Course(rule).run(drawn):
        told = [_MARKS[change.transition] for change in found if change.notify]
        silent = [_MARKS[change.transition].upper() for change in found if not change.notify]
        letters += (told or silent or ["."])[-1]
    return letters
