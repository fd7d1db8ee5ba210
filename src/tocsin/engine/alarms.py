"""What becomes of alerts: events with their evidence, and what is due by time alone."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tocsin.alerts.event import AlertEvent, Evidence, Transition
from tocsin.alerts.identity import alert_id, event_id
from tocsin.alerts.state import Alert, Change, abandon, elapse
from tocsin.engine.evidence import Ring
from tocsin.engine.leaf import Leaf
from tocsin.engine.view import label_of
from tocsin.engine.watch import Watch
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule
from tocsin.windows.sums import FloatSums

__all__ = ["Alarms", "Span", "Subject", "evidence_of", "group_of"]

_SUMMED = frozenset({Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE})


@dataclass(frozen=True, slots=True)
class Span:
    """The span that caused a change."""

    end: int
    arrival: int


class Subject(Protocol):
    """What a watch's alerts are of, where it is no window."""

    def present(self, slot: int, now: int) -> tuple[float, int]:
        """Return a group's value at event time `now` and its number of samples."""

    def threshold(self, slot: int, level: int, now: int) -> float:
        """Return what a group's value is compared with at a level."""

    def group(self, slot: int) -> dict[str, str]:
        """Return a group's labels and values."""

    def evidence(self, ring: Ring, slot: int, alert: Alert, change: Change, count: int) -> Evidence:
        """Return why an alert changed."""


class Alarms:
    """Makes the events of alerts, and holds what is due by time alone."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.wall = 0
        """Wall clock of the present call, Unix nanoseconds."""
        self.since = 0
        """Event time before the samples that are being judged."""
        self._due: list[tuple[int, int, Leaf | Subject, Watch, int]] = []
        self._sequence = 0

    @property
    def next_due(self) -> int | None:
        """The next event time at which an alert changes without a sample (or a little earlier)."""
        return self._due[0][0] if self._due else None

    def reschedule(self, watches: Iterable[tuple[Leaf | Subject, Watch]]) -> None:
        """Find anew what is due: the watches were replaced."""
        self._due.clear()
        for subject, watch in watches:
            watch.scheduled.clear()
            for slot in watch.alerts:
                self._schedule(subject, watch, slot)

    def _schedule(self, subject: Leaf | Subject, watch: Watch, slot: int) -> None:
        at = watch.due(slot)
        if at is not None and at < watch.scheduled.get(slot, at + 1):
            watch.scheduled[slot] = at
            self._sequence += 1
            heapq.heappush(self._due, (at, self._sequence, subject, watch, slot))

    def freeze(self, watches: Iterable[Watch]) -> Frozen:
        """Return what is due; `watches` are all that there are, in an order that their rules decide."""
        numbers = {id(watch): number for number, watch in enumerate(watches)}
        due = [(at, sequence, numbers[id(watch)], slot) for at, sequence, _, watch, slot in self._due]
        fields: dict[str, State] = {"wall": self.wall, "since": self.since, "sequence": self._sequence}
        return lambda: {**fields, "due": np.array(due, np.int64).reshape(-1, 4)}

    def thaw(self, section: Section, watches: Sequence[tuple[Leaf | Subject, Watch]]) -> None:
        """Take what is due; it names watches by their numbers in `watches`."""
        self.wall, self.since = section.integer("wall"), section.integer("since", -(1 << 63))
        self._sequence = section.integer("sequence")
        self._due = []
        for at, sequence, number, slot in section.array("due", np.int64, least=-(1 << 63), shape=(4,)).tolist():
            if not 0 <= number < len(watches) or not 0 <= slot < watches[number][1].groups.used:
                raise section.unfit("has something due of a rule that is none")
            self._due.append((at, sequence, *watches[number], slot))
        heapq.heapify(self._due)
        if len({sequence for _, sequence, *_ in self._due}) != len(self._due):
            raise section.unfit("has something due twice")

    def elapsed(self, now: int) -> list[AlertEvent]:
        """Return what the passing of time up to `now` changes in alerts."""
        events: list[AlertEvent] = []
        while self._due and self._due[0][0] <= now:
            at, _, subject, watch, slot = heapq.heappop(self._due)
            if watch.scheduled.get(slot) != at:
                continue
            del watch.scheduled[slot]
            alert = watch.alerts.get(slot)
            if alert is None or watch.due(slot) != at:
                self._schedule(subject, watch, slot)
                continue
            value, count = _present(subject, watch, slot, alert, at)
            changes = elapse(alert, at, value)
            events += [self.event(subject, watch, slot, change, count, None) for change in changes]
            watch.settle(slot, alert)
            self._schedule(subject, watch, slot)
        return events

    def settle(self, subject: Leaf | Subject, watch: Watch, slot: int) -> None:
        """Keep what an alert needs after a step, and note what is due of it."""
        alert = watch.alerts.get(slot)
        if alert is not None:
            watch.settle(slot, alert)
            self._schedule(subject, watch, slot)

    def abandoned(self, subject: Leaf | Subject, watch: Watch, slot: int, alert: Alert, now: int) -> list[AlertEvent]:
        """Return the end of an alert whose rule was removed."""
        watch.alerts.setdefault(slot, alert)
        return [self.event(subject, watch, slot, change, 0, None) for change in abandon(alert, now)]

    def event(
        self, subject: Leaf | Subject, watch: Watch, slot: int, change: Change, count: int, cause: Span | None
    ) -> AlertEvent:
        """Return the event of a change of the alert of a slot; `cause` is None where time led to it."""
        alert = watch.alerts[slot]
        rule = alert.rule
        level = rule.levels[change.level]
        if isinstance(subject, Leaf):
            alert.group = group_of(rule, watch, slot)
            threshold, evidence = float(level.threshold), _of_leaf(subject, self.ring, slot, alert, change, count)
        else:
            alert.group = subject.group(slot)
            threshold = subject.threshold(slot, change.level, change.at)
            evidence = subject.evidence(self.ring, slot, alert, change, count)
        episode = alert_id(rule, alert.group, change.started_at)
        return AlertEvent(
            id=event_id(episode, change.transition, change.at, change.level),
            alert_id=episode,
            transition=change.transition,
            rule=rule,
            group=alert.group,
            severity=level.severity,
            threshold=threshold,
            escalated_from=None if change.escalated_from is None else rule.levels[change.escalated_from].severity,
            notify=change.notify,
            evidence=evidence,
            peak=change.peak,
            suppressed=change.suppressed,
            started_at=change.started_at,
            fired_at=change.fired_at,
            resolved_at=change.at if change.transition is Transition.RESOLVED else None,
            detected_at=self.wall,
            event_to_arrival_ns=None if cause is None else cause.arrival - cause.end,
            arrival_to_detection_ns=None if cause is None else max(0, self.wall - cause.arrival),
        )


def _present(subject: Leaf | Subject, watch: Watch, slot: int, alert: Alert, now: int) -> tuple[float, int]:
    if not isinstance(subject, Leaf):
        return subject.present(slot, now)
    if subject.window is None:
        return alert.peak, alert.suppressed
    slots = np.array([slot])
    return float(subject.values(watch, subject.window, slots)[0]), int(subject.window.samples(slots)[0])


def group_of(rule: Rule, watch: Watch, slot: int) -> dict[str, str]:
    """Return the labels and values of a group of a rule over fields."""
    key = watch.groups.keys[slot] or ()
    own = key[1:] if watch.dispatch is not None else key
    return dict(label_of(entry, value) for entry, value in zip(rule.group_by, own, strict=False))


def _of_leaf(leaf: Leaf, ring: Ring, slot: int, alert: Alert, change: Change, count: int) -> Evidence:
    rule = alert.rule
    begin, _ = leaf.bounds(change.at)
    after = begin if leaf.window is not None else change.started_at - 1
    summed = rule.aggregate in _SUMMED or rule.metric in (Metric.ERROR_RATE, Metric.UNPRICED_RATIO)
    return evidence_of(
        leaf,
        ring,
        slot,
        change,
        count,
        bounds=(begin, change.at),
        logged=(after, max(change.at, after + 1)),
        summed=summed and leaf.window is not None,
        lowest=rule.condition in (Condition.LT, Condition.LTE),
        group=alert.group,
    )


def evidence_of(
    leaf: Leaf,
    ring: Ring,
    slot: int,
    change: Change,
    count: int,
    *,
    bounds: tuple[int, int],
    logged: tuple[int, int],
    summed: bool,
    lowest: bool,
    group: Mapping[str, str],
) -> Evidence:
    """Return why an alert changed: what the samples behind a group of a leaf say.

    Args:
        leaf: the window.
        ring: where the samples' traces and labels are.
        slot: the group in the leaf's grouping.
        change: what happened.
        count: samples in the window.
        bounds: of the window, event time.
        logged: of the samples to look at, after the first up to and with the second.
        summed: whether traces and labels count by their sum, else by the most extreme sample.
        lowest: whether the lowest sample is the most extreme.
        group: labels that are no news.
    """
    found, window, slots = leaf.log.of(slot, *logged, ring), leaf.window, np.array([slot])
    adjusted: Any = window if isinstance(window, FloatSums) and leaf.key.adjusted else None
    return Evidence(
        value=change.value,
        samples=count,
        window_from=bounds[0],
        window_to=bounds[1],
        traces=found.traces(leaf.scale, summed=summed, lowest=lowest),
        drivers=tuple(driver for driver in found.drivers(summed=summed) if driver.attribute not in group),
        unpriced_samples=0 if window is None else int(window.unpriced(slots)[0]),
        estimated=adjusted is not None and float(adjusted.count(slots)[0]) != float(adjusted.samples(slots)[0]),
    )
