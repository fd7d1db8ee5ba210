"""What a test expects, understood: rules found by name, values in their units, times in nanoseconds of the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tocsin.alerts.event import Transition
from tocsin.model.settings import Duration, nanoseconds
from tocsin.rules.document import Document
from tocsin.rules.importing.outcome import severity_of
from tocsin.rules.problems import KeyPath, Mistakes, closest
from tocsin.rules.rule import Rule, Severity
from tocsin.service.ruletests.amounts import Amount, amount_of
from tocsin.service.ruletests.config import AlertConfig, EventConfig, ExpectConfig, PromAlertTestConfig, TestConfig

__all__ = ["Alerts", "Events", "Expected", "ExpectedEvent", "Silence", "checks_of"]

_LATEST_NS: Final = 366 * 86_400 * 10**9
_NO_LABELS: Final = ("alertname", "severity")


@dataclass(frozen=True, slots=True)
class Expected:
    """One alert; what is None is not compared."""

    line: int
    group: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    """Of promtool, by the names of rules' labels: those that the alert's group has must be the same."""
    severity: Severity | None = None
    value: Amount | None = None
    threshold: Amount | None = None
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedEvent(Expected):
    """One thing that happens to an alert."""

    transition: Transition = Transition.FIRING
    at: int | None = None
    within: int = 0
    notified: bool | None = None


@dataclass(frozen=True, slots=True)
class Alerts:
    """All alerts of a rule that fire at an instant, or that began to fire in a stretch of time."""

    line: int
    rule: Rule
    alerts: tuple[Expected, ...]
    begin: int
    end: int
    is_instant: bool


@dataclass(frozen=True, slots=True)
class Events:
    """Everything that happens to the alerts of a rule, in order."""

    line: int
    rule: Rule
    events: tuple[ExpectedEvent, ...]


@dataclass(frozen=True, slots=True)
class Silence:
    """Rules of which nothing fires in a stretch of time."""

    line: int
    rules: tuple[Rule, ...]
    begin: int
    end: int | None
    """None: as long as the test goes on."""


Check = Alerts | Events | Silence


def checks_of(
    test: TestConfig,
    rules: Sequence[Rule],
    document: Document,
    path: KeyPath,
    mistakes: Mistakes,
    lacking: Sequence[str],
) -> list[Check]:
    """Return what a test expects.

    Args:
        test: as it was written.
        rules: that there are.
        document: where the test stands.
        path: of the test in it.
        mistakes: what is wrong is told here.
        lacking: why rules that are named may be missing.
    """
    return _Reader(rules, document, mistakes, lacking).checks(test, path)


@dataclass(slots=True)
class _Reader:
    rules: Sequence[Rule]
    document: Document
    mistakes: Mistakes
    lacking: Sequence[str]
    _events: dict[tuple[str, str], list[ExpectedEvent]] = field(default_factory=dict)

    def checks(self, test: TestConfig, path: KeyPath) -> list[Check]:
        found: list[Check] = []
        for at, expect in enumerate(test.expect):
            found += self._alerts(expect, (*path, "expect", at))
        found += self._all_events(test.events, (*path, "events"))
        found += self._silences(test, path)
        for at, prom in enumerate(test.alert_rule_test):
            found += self._prom(prom, (*path, "alert_rule_test", at))
        return found

    def _line(self, path: KeyPath) -> int:
        return self.document.at(path).line

    def _rule(self, name: str, path: KeyPath) -> Rule | None:
        found = [rule for rule in self.rules if name in (rule.name, f"{rule.project}/{rule.name}")]
        if len(found) == 1:
            return found[0]
        if found:
            self.mistakes.tell(path, f"several projects have a rule {name!r}; write {found[0].project}/{name}")
            return None
        why = next((f": {text}" for text in self.lacking if text.startswith(name)), "")
        near = closest(name, [rule.name for rule in self.rules]) or "; name one that is enabled"
        self.mistakes.tell(path, f"no rule {name[:80]!r}{why or near}")
        return None

    def _time(self, duration: Duration | None, path: KeyPath) -> int:
        at = 0 if duration is None else nanoseconds(duration)
        if at > _LATEST_NS:
            self.mistakes.tell(path, "later than a year after the start")
        return at

    def _alerts(self, expect: ExpectConfig, path: KeyPath) -> list[Check]:
        rule = self._rule(expect.rule, (*path, "rule"))
        if rule is None:
            return []
        alerts = tuple(self._expected(each, rule, (*path, "alerts", at)) for at, each in enumerate(expect.alerts))
        line = self._line(path)
        if expect.at is not None:
            at = self._time(expect.at, (*path, "at"))
            return [Alerts(line, rule, alerts, at, at, is_instant=True)]
        begin, end = (None, expect.by) if expect.between is None else expect.between
        times = self._time(begin, path), self._time(end, path)
        return [Alerts(line, rule, alerts, *times, is_instant=False)]

    def _expected(self, written: AlertConfig, rule: Rule, path: KeyPath) -> Expected:
        return Expected(self._line(path), **self._compared(written, rule, path))  # type: ignore[arg-type]  # by name

    def _compared(self, written: AlertConfig | EventConfig, rule: Rule, path: KeyPath) -> dict[str, object]:
        if written.group is not None:
            known = {label for entry in rule.group_by for label in entry}
            for label in written.group:
                if label not in known:
                    advice = closest(label, known) or f"; it has {', '.join(sorted(known)) or 'none'}"
                    self.mistakes.tell((*path, "group", label), f"no label {label!r} of the rule{advice}", at_key=True)
        return {
            "group": written.group,
            "severity": written.severity,
            "value": self._amount(written.value, rule, (*path, "value")),
            "threshold": self._amount(written.threshold, rule, (*path, "threshold")),
            "summary": None if written.summary is None else written.summary.strip(),
        }

    def _amount(self, text: str | None, rule: Rule, path: KeyPath) -> Amount | None:
        return None if text is None else self.mistakes.attempt(path, lambda: amount_of(text, rule.unit), None)

    def _all_events(self, events: Sequence[EventConfig], path: KeyPath) -> list[Check]:
        found: dict[tuple[str, str], tuple[int, Rule, list[ExpectedEvent]]] = {}
        for number, each in enumerate(events):
            place = (*path, number)
            rule = self._rule(each.rule, (*place, "rule"))
            if rule is None:
                continue
            event = ExpectedEvent(
                self._line(place),
                **self._compared(each, rule, place),  # type: ignore[arg-type]  # by name
                transition=each.event,
                at=None if each.at is None else self._time(each.at, (*place, "at")),
                within=nanoseconds(each.within),
                notified=each.notified,
            )
            found.setdefault(rule.key, (event.line, rule, []))[2].append(event)
        return [
            Events(line, rule, tuple(sorted(some, key=lambda event: event.at or 0) if _timed(some) else some))
            for line, rule, some in found.values()
        ]

    def _silences(self, test: TestConfig, path: KeyPath) -> list[Check]:
        found: list[Check] = []
        for at, silent in enumerate(test.silent):
            place = (*path, "silent", at)
            rules: list[Rule] = []
            for name in silent.rules:
                if name == "all":
                    rules += self.rules
                elif (rule := self._rule(name, place)) is not None:
                    rules.append(rule)
            begin, end = (None, None) if silent.between is None else silent.between
            until = None if end is None else self._time(end, place)
            found.append(Silence(self._line(place), tuple(rules), self._time(begin, place), until))
        return found

    def _prom(self, prom: PromAlertTestConfig, path: KeyPath) -> list[Check]:
        from tocsin.rules.promql.names import label_of  # loaded where it is needed

        rule = self._rule(prom.alertname, (*path, "alertname"))
        if rule is None:
            return []
        alerts = []
        for at, each in enumerate(prom.exp_alerts):
            place = (*path, "exp_alerts", at)
            severity = severity_of([each.exp_labels["severity"]]) if "severity" in each.exp_labels else None
            labels = {
                self.mistakes.attempt(place, lambda name=name: label_of(name, quoted=True), name): value  # type: ignore[misc]
                for name, value in each.exp_labels.items()
                if name not in _NO_LABELS and rule.labels.get(name) != value
            }
            alerts.append(
                Expected(self._line(place), labels=labels, severity=None if severity is None else Severity(severity))
            )
        when = self._time(prom.eval_time, (*path, "eval_time"))
        return [Alerts(self._line(path), rule, tuple(alerts), when, when, is_instant=True)]


def _timed(events: Sequence[ExpectedEvent]) -> bool:
    return all(event.at is not None for event in events)
