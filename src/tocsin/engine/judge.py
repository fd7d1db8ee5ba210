"""Judging: samples into a window, the window's values against conditions, what changed into events with evidence."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent, Evidence, Transition
from tocsin.alerts.identity import alert_id, event_id
from tocsin.alerts.state import Alert, Change, abandon, elapse
from tocsin.engine.course import Together
from tocsin.engine.evidence import DRIVERS, Ring
from tocsin.engine.leaf import Leaf, Window
from tocsin.engine.view import label_of
from tocsin.engine.watch import Watch
from tocsin.model.batch import SpanBatch
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

__all__ = ["Judge", "Occasion", "Span"]

_SUMMED = frozenset({Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE})


class Occasion:
    """The rows that cause an evaluation; remembered as evidence when the first rule takes some of them."""

    def __init__(self, batch: SpanBatch, ring: Ring) -> None:
        self.ends = batch.end
        self.arrivals = batch.arrival
        self._batch = batch
        self._ring = ring
        self._places: NDArray[np.int64] | None = None

    def places(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return [n] where the rows are in the ring."""
        if self._places is None:
            batch = self._batch
            labels = {label: batch.labels.get(label) for label in DRIVERS}
            self._places = self._ring.append(batch.trace_hi, batch.trace_lo, labels)
        return self._places if len(rows) == len(self._places) else self._places[rows]


@dataclass(frozen=True, slots=True)
class Span:
    """The span that caused a change."""

    end: int
    arrival: int


class Judge:
    """Evaluates watches and makes events; holds what is due by time alone."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.wall = 0
        """Wall clock of the present call, Unix nanoseconds."""
        self.since = 0
        """Event time before the samples that are being judged."""
        self._due: list[tuple[int, int, Leaf, Watch, int]] = []
        self._sequence = 0

    @property
    def next_due(self) -> int | None:
        """The next event time at which an alert changes without a sample (or a little earlier)."""
        return self._due[0][0] if self._due else None

    def reschedule(self, leaves: Iterable[Leaf]) -> None:
        """Find anew what is due: the watches were replaced."""
        self._due.clear()
        for leaf in leaves:
            for watch in leaf.watches:
                watch.scheduled.clear()
                for slot in watch.alerts:
                    self._schedule(leaf, watch, slot)

    def _schedule(self, leaf: Leaf, watch: Watch, slot: int) -> None:
        at = watch.due(slot)
        if at is not None and at < watch.scheduled.get(slot, at + 1):
            watch.scheduled[slot] = at
            self._sequence += 1
            heapq.heappush(self._due, (at, self._sequence, leaf, watch, slot))

    def freeze(self, watches: Iterable[Watch]) -> Frozen:
        """Return what is due; `watches` are all that there are, in an order that their rules decide."""
        numbers = {id(watch): number for number, watch in enumerate(watches)}
        due = [(at, sequence, numbers[id(watch)], slot) for at, sequence, _, watch, slot in self._due]
        fields: dict[str, State] = {"wall": self.wall, "since": self.since, "sequence": self._sequence}
        return lambda: {**fields, "due": np.array(due, np.int64).reshape(-1, 4)}

    def thaw(self, section: Section, watches: Sequence[tuple[Leaf, Watch]]) -> None:
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
            at, _, leaf, watch, slot = heapq.heappop(self._due)
            if watch.scheduled.get(slot) != at:
                continue
            del watch.scheduled[slot]
            alert = watch.alerts.get(slot)
            if alert is None or watch.due(slot) != at:
                self._schedule(leaf, watch, slot)
                continue
            value, count = self._present(leaf, watch, slot, alert)
            changes = elapse(alert, at, value)
            events += [self._event(leaf, watch, slot, alert, change, count, None) for change in changes]
            watch.settle(slot, alert)
            self._schedule(leaf, watch, slot)
        return events

    @staticmethod
    def _present(leaf: Leaf, watch: Watch, slot: int, alert: Alert) -> tuple[float, int]:
        if leaf.window is None:
            return alert.peak, alert.suppressed
        slots = np.array([slot])
        return float(leaf.values(watch, leaf.window, slots)[0]), int(leaf.window.samples(slots)[0])

    def counted(
        self, leaf: Leaf, samples: Samples, rows: NDArray[np.intp], occasion: Occasion, now: int
    ) -> list[AlertEvent]:
        """Count samples in a leaf and return what changed. `rows` are the samples' rows in the occasion's batch."""
        window = leaf.window
        if window is None:
            for watch in leaf.watches:
                watch.count(watch.samples, samples.slots)
            return self._hits(leaf, samples, rows, occasion)
        if samples.unpriced is not None and not isinstance(window, IntegerSums):
            # A cost that is not known is no value: only a sum can count it beside the others, as a lower bound.
            rows, samples = rows[~samples.unpriced], samples.part(~samples.unpriced)
            if not len(samples):
                return []
        if int(samples.times[0]) // window.panes.width_ns < window.panes.first_live(now):
            late = window.panes.is_late(samples.times, now)
            for watch in leaf.watches:
                watch.count(watch.late, samples.slots[late])
            rows, samples = rows[~late], samples.part(~late)
            if not len(samples):
                return []
        together = Together(leaf, window, leaf.watches, samples)
        window.add(samples)
        leaf.log.append(samples.slots, samples.times, samples.values, occasion.places(rows))
        events: list[AlertEvent] = []
        for watch in leaf.watches:
            watch.count(watch.samples, samples.slots)
            events += self._judged(leaf, window, watch, samples, together, rows, occasion)
        return events

    def _judged(
        self,
        leaf: Leaf,
        window: Window,
        watch: Watch,
        samples: Samples,
        together: Together,
        rows: NDArray[np.intp],
        occasion: Occasion,
    ) -> list[AlertEvent]:
        slots = self._suspects(leaf, window, watch, samples.slots)
        doubtful = together.doubtful(watch, samples)
        if len(doubtful):
            slots = np.union1d(slots, doubtful)
        events: list[AlertEvent] = []
        for slot in slots.tolist():
            own = watch.part_of(samples, slot)
            values, counts = together.course(watch, slot, samples, own)
            if not watch.active[slot] and not watch.held(slot, values, counts):
                continue
            # A late sample is judged when it arrives: event time never runs back.
            times = np.maximum(samples.times[own], self.since)
            for change, row in watch.step(slot, values, counts, times, hits=True):
                at = int(rows[own[row]])
                cause = Span(int(occasion.ends[at]), int(occasion.arrivals[at]))
                events.append(self._event(leaf, watch, slot, watch.alerts[slot], change, int(counts[row]), cause))
            self._settle(leaf, watch, slot)
        return events

    def _suspects(self, leaf: Leaf, window: Window, watch: Watch, slots: NDArray[np.int32]) -> NDArray[Any]:
        """Return the distinct slots whose condition holds or whose alert is not at rest."""
        if watch.reach is not None and not watch.alerts:
            highest = leaf.highest(watch, window, slots)
            if highest is not None and not watch.compare(highest, watch.reach):
                return slots[:0]  # mostly: no threshold is near
        if isinstance(window, Sketches):
            slots = np.unique(slots)
            possible = watch.may_exceed(slots, window.at_most(slots) / leaf.scale)
            slots = slots[possible | watch.active[slots]]
        if not len(slots):
            return slots
        breached = watch.is_breached(slots, leaf.values(watch, window, slots), window.samples)
        if watch.alerts:
            breached = breached | watch.active[slots]
        return np.unique(slots[breached]) if breached.any() else slots[:0]

    def _hits(self, leaf: Leaf, samples: Samples, rows: NDArray[np.intp], occasion: Occasion) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        values = samples.values / leaf.scale
        ones = np.ones(len(samples), np.int64)
        if samples.unpriced is not None:
            ones[samples.unpriced] = 0
        # A late sample hits when it arrives: event time never runs back.
        times = np.maximum(samples.times, self.since)
        for watch in leaf.watches:
            hit = np.flatnonzero(watch.is_breached(samples.slots, values, lambda _: ones))
            if not len(hit):
                continue
            leaf.log.append(samples.slots[hit], times[hit], samples.values[hit], occasion.places(rows[hit]))
            for position in hit.tolist():
                slot, at = int(samples.slots[position]), int(rows[position])
                if watch.absorbs(slot, float(values[position]), int(times[position])):
                    continue
                cause = Span(int(occasion.ends[at]), int(occasion.arrivals[at]))
                here = slice(position, position + 1)
                events += self.hit(leaf, watch, slot, values[here], times[here], cause)
        return events

    def hit(
        self,
        leaf: Leaf,
        watch: Watch,
        slot: int,
        values: NDArray[np.float64],
        times: NDArray[np.int64],
        cause: Span | None,
        *,
        further: bool = True,
    ) -> list[AlertEvent]:
        """Judge one sample ([1] values and times) of a rule without a window.

        `further` says that it was not judged before; a trace that has grown was.
        """
        changes = watch.step(slot, values, np.ones(1, np.int64), times, hits=further)
        events = [self._event(leaf, watch, slot, watch.alerts[slot], change, 1, cause) for change, _ in changes]
        self._settle(leaf, watch, slot)
        return events

    def drained(self, leaf: Leaf, slots: NDArray[Any], now: int, *, only_active: bool) -> list[AlertEvent]:
        """Judge groups again from which samples have left, at event time `now`."""
        window = leaf.window
        events: list[AlertEvent] = []
        for watch in leaf.watches if window is not None else ():
            watch.resize()
            own = slots[watch.active[slots]] if only_active else slots
            if not len(own) or window is None:
                continue
            values, counts = leaf.values(watch, window, own), window.samples(own)
            rows = watch.is_breached(own, values, window.samples) | watch.active[own]
            if watch.alerts_on_silence:
                rows |= counts == 0
            for row in np.flatnonzero(rows).tolist():
                slot, here = int(own[row]), slice(row, row + 1)
                changes = watch.step(slot, values[here], counts[here], np.array([now]), hits=False)
                events += [
                    self._event(leaf, watch, slot, watch.alerts[slot], change, int(counts[row]), None)
                    for change, _ in changes
                ]
                self._settle(leaf, watch, slot)
        return events

    def _settle(self, leaf: Leaf, watch: Watch, slot: int) -> None:
        alert = watch.alerts.get(slot)
        if alert is not None:
            watch.settle(slot, alert)
            self._schedule(leaf, watch, slot)

    def abandoned(self, leaf: Leaf, watch: Watch, slot: int, alert: Alert, now: int) -> list[AlertEvent]:
        """Return the end of an alert whose rule was removed."""
        return [self._event(leaf, watch, slot, alert, change, 0, None) for change in abandon(alert, now)]

    # Events

    def _event(
        self,
        leaf: Leaf,
        watch: Watch,
        slot: int,
        alert: Alert,
        change: Change,
        count: int,
        cause: Span | None,
    ) -> AlertEvent:
        rule = alert.rule
        group = _group_of(rule, watch, slot)
        alert.group = group
        level = rule.levels[change.level]
        episode = alert_id(rule, group, change.started_at)
        return AlertEvent(
            id=event_id(episode, change.transition, change.at, change.level),
            alert_id=episode,
            transition=change.transition,
            rule=rule,
            group=group,
            severity=level.severity,
            threshold=float(level.threshold),
            escalated_from=None if change.escalated_from is None else rule.levels[change.escalated_from].severity,
            notify=change.notify,
            evidence=self._evidence(leaf, rule, slot, alert, change, count),
            peak=change.peak,
            suppressed=change.suppressed,
            started_at=change.started_at,
            fired_at=change.fired_at,
            resolved_at=change.at if change.transition is Transition.RESOLVED else None,
            detected_at=self.wall,
            event_to_arrival_ns=None if cause is None else cause.arrival - cause.end,
            arrival_to_detection_ns=None if cause is None else max(0, self.wall - cause.arrival),
        )

    def _evidence(self, leaf: Leaf, rule: Rule, slot: int, alert: Alert, change: Change, count: int) -> Evidence:
        window = leaf.window
        begin = change.at if rule.window_ns is None else change.at - rule.window_ns
        after = begin if window is not None else change.started_at - 1
        found = leaf.log.of(slot, after, max(change.at, after + 1), self.ring)
        summed = rule.aggregate in _SUMMED or rule.metric in (Metric.ERROR_RATE, Metric.UNPRICED_RATIO)
        summed &= window is not None
        lowest = rule.condition in (Condition.LT, Condition.LTE)
        slots = np.array([slot])
        adjusted = isinstance(window, FloatSums) and leaf.key.adjusted
        return Evidence(
            value=change.value,
            samples=count,
            window_from=begin,
            window_to=change.at,
            traces=found.traces(leaf.scale, summed=summed, lowest=lowest),
            drivers=tuple(driver for driver in found.drivers(summed=summed) if driver.attribute not in alert.group),
            unpriced_samples=0 if window is None else int(window.unpriced(slots)[0]),
            estimated=adjusted and float(window.count(slots)[0]) != float(window.samples(slots)[0]),  # type: ignore[union-attr]  # adjusted says it
        )


def _group_of(rule: Rule, watch: Watch, slot: int) -> dict[str, str]:
    key = watch.groups.keys[slot] or ()
    own = key[1:] if watch.dispatch is not None else key
    return dict(label_of(entry, value) for entry, value in zip(rule.group_by, own, strict=False))
