"""Judging: samples into a window, and the window's values against conditions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent
from tocsin.engine.alarms import Alarms, Span
from tocsin.engine.course import Together
from tocsin.engine.evidence import DRIVERS, Ring
from tocsin.engine.leaf import Leaf, Window
from tocsin.engine.watch import Watch
from tocsin.model.batch import SpanBatch
from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

__all__ = ["Before", "Fed", "Judge", "Occasion"]


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


@dataclass(slots=True)
class Fed:
    """What a leaf that expressions read was given."""

    leaf: Leaf
    samples: Samples
    rows: NDArray[np.intp]
    """[n] the samples' rows in the occasion's batch."""
    occasion: Occasion
    before: "Before | None" = None
    """Of an extreme or a last value what it was; known once the window has the samples."""

    def remember(self, window: Window) -> None:
        """Remember what there is, as the window is about to have the samples."""
        self.before = Before.of(window, self.samples.slots)


@dataclass(frozen=True, slots=True)
class Before:
    """What an extreme or a last value was, before samples were added, in their groups."""

    values: NDArray[np.float64]
    """[n] by sample."""
    times: NDArray[np.int64] | None
    """[n] of last values when they were."""

    @classmethod
    def of(cls, window: Window, slots: NDArray[np.int32]) -> "Before | None":
        """Return what there was in the groups of some samples; None where it need not be known."""
        if isinstance(window, Extremes):
            return cls(window.extreme(slots), None)
        return cls(window.last(slots), window.times(slots)) if isinstance(window, LastValues) else None


class Judge(Alarms):
    """Evaluates watches over windows, and hands on to expressions what their windows were given."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring)
        self.fed: list[Fed] = []
        """What leaves that expressions read were given since the expressions were evaluated."""

    def counted(
        self, leaf: Leaf, samples: Samples, rows: NDArray[np.intp], occasion: Occasion, now: int
    ) -> list[AlertEvent]:
        """Count samples in a leaf and return what changed. `rows` are the samples' rows in the occasion's batch."""
        window = leaf.later.window
        if window is None:
            for watch in leaf.watches:
                watch.count(watch.samples, samples.slots)
            return self._hits(leaf, samples, rows, occasion)
        if samples.unpriced is not None and not isinstance(window, IntegerSums):
            # A cost that is not known is no value: only a sum can count it beside the others, as a lower bound.
            rows, samples = rows[~samples.unpriced], samples.part(~samples.unpriced)
            if not len(samples):
                return []
        if leaf.excludes is not None:
            excluded = leaf.excludes(samples.slots)
            rows, samples = rows[~excluded], samples.part(~excluded)
            if not len(samples):
                return []
        if leaf.key.opens:
            window.expire(max(self.since, int(samples.times[0])))
        if int(samples.times[0]) // window.panes.width_ns < window.panes.first_live(now):
            late = window.panes.is_late(samples.times, now)
            for watch in leaf.watches:
                watch.count(watch.late, samples.slots[late])
            for watch in leaf.listeners:
                watch.late[0] += np.count_nonzero(late)
            rows, samples = rows[~late], samples.part(~late)
            if not len(samples):
                return []
        together = Together(leaf, window, leaf.watches, samples) if leaf.watches else None
        fed = Fed(leaf, samples, rows, occasion) if leaf.readers else None
        leaf.later.give(samples, None if fed is None else fed.remember)
        if not leaf.may_wait(samples):
            leaf.later.settled()
            leaf.know(samples.slots)
        if leaf.is_logged:
            leaf.log.append(samples.slots, samples.times, samples.values, occasion.places(rows))
        for watch in leaf.leads:
            watch.samples[0] += len(samples)
        if fed is not None:
            self.fed.append(fed)
            if leaf.extents:
                leaf.extents.take(samples, window.seconds() if isinstance(window, IntegerSums | FloatSums) else 1.0)
        events: list[AlertEvent] = []
        for watch in leaf.watches:
            watch.count(watch.samples, samples.slots)
            if together is not None:
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
        if not watch.alerts and (together.is_calm(watch) or self._is_calm(leaf, window, watch, samples, together)):
            return []  # mostly: no threshold is near
        slots = self._suspects(leaf, window, watch, samples.slots)
        doubtful = together.doubtful(watch)
        if len(doubtful):
            slots = np.union1d(slots, doubtful)
        events: list[AlertEvent] = []
        for slot in slots.tolist():
            own = watch.part_of(samples, slot)
            values, counts = together.course(watch, slot, own)
            if not watch.active[slot] and not watch.held(slot, values, counts):
                continue
            # A late sample is judged when it arrives: event time never runs back.
            times = np.maximum(samples.times[own], self.since)
            for change, row in watch.step(slot, values, counts, times, hits=True):
                at = int(rows[own[row]])
                cause = Span(int(occasion.ends[at]), int(occasion.arrivals[at]))
                events.append(self.event(leaf, watch, slot, change, int(counts[row]), cause))
            self.settle(leaf, watch, slot)
        return events

    @staticmethod
    def _is_calm(leaf: Leaf, window: Window, watch: Watch, samples: Samples, together: Together) -> bool:
        """Whether the highest value of all groups is below every threshold, and none was higher on the way."""
        if watch.reach is None or (together.recedes(watch) and not isinstance(window, Sketches)):
            return False
        highest = leaf.highest(watch, window, samples.slots)
        return highest is not None and not watch.compare(highest, watch.reach)

    def _suspects(self, leaf: Leaf, window: Window, watch: Watch, slots: NDArray[np.int32]) -> NDArray[Any]:
        """Return the distinct slots whose condition holds or whose alert is not at rest."""
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
        events = [self.event(leaf, watch, slot, change, 1, cause) for change, _ in changes]
        self.settle(leaf, watch, slot)
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
                events += [self.event(leaf, watch, slot, change, int(counts[row]), None) for change, _ in changes]
                self.settle(leaf, watch, slot)
        return events
