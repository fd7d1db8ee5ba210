"""Rules whose samples are traces.

A trace is judged as it grows where the condition can only become truer, else when it is complete.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import worse
from tocsin.engine.alarms import Span
from tocsin.engine.growth import Course, Growth, Held, counted_rows
from tocsin.engine.judge import Judge, Occasion
from tocsin.engine.leaf import Leaf, Window
from tocsin.engine.leafkeys import GROWING, NOT_INHERITED, LeafKey
from tocsin.engine.statistics import RuleKey
from tocsin.engine.view import labelled
from tocsin.engine.watch import Watch
from tocsin.model.batch import SpanBatch
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.rules.filters import Filter
from tocsin.rules.rule import Condition, Metric
from tocsin.windows.groups import Key
from tocsin.windows.sums import Samples
from tocsin.windows.traces import Traces

__all__ = ["TraceRules"]


_RULE_PARTS = 2
_NEVER = np.iinfo(np.int64).min >> 1
"""When a trace that was not counted was: before every window."""
_TOP = 1_000
"""Stands for a rule's most severe level: a trace that reached it has nothing more to reach while it grows."""


class TraceRules:
    """The leaves over traces."""

    def __init__(self, judge: Judge, traces: Traces) -> None:
        self.leaves: Sequence[Leaf] = ()
        self.followed: frozenset[Metric] = frozenset()
        """Metrics by which traces are judged as they grow; without one they are only once they are complete."""
        self._judge = judge
        self._traces = traces
        self._judged: dict[tuple[RuleKey, int], tuple[int, Key]] = {}
        """(rule, trace slot) -> level at which the trace was found in breach, and its group's key."""
        self._counted: dict[LeafKey, dict[int, Held]] = {}
        """Per growing leaf: trace slot -> its group's key, what was counted of it, and when last."""

    def follow(self, leaves: Sequence[Leaf]) -> None:
        """Judge by these from now on; what was counted for others is forgotten with their windows."""
        self.leaves = leaves
        self.followed = frozenset(
            leaf.key.metric
            for leaf in leaves
            if leaf.key.growing or (leaf.window is None and any(map(_can_only_become_truer, leaf.watches)))
        )
        growing = {leaf.key for leaf in leaves if leaf.key.growing}
        self._counted = {key: known for key, known in self._counted.items() if key in growing}

    def freeze(self) -> Frozen:
        """Return what was judged and counted of traces that are open."""
        judged = self._judged.copy()
        numbers = {leaf.key: number for number, leaf in enumerate(self.leaves)}
        counted = {numbers[key]: known.copy() for key, known in self._counted.items()}

        def state() -> State:
            return {
                "rules": [list(rule) for rule, _ in judged],
                "slots": np.array([slot for _, slot in judged], np.int64),
                "levels": np.array([level for level, _ in judged.values()], np.int64),
                "keys": [list(key) for _, key in judged.values()],
                "counted": {
                    str(number): {
                        "slots": np.array(list(known), np.int64),
                        "keys": [list(key) for key, _, _ in known.values()],
                        "values": np.array([(value, at) for _, value, at in known.values()], np.int64).reshape(-1, 2),
                    }
                    for number, known in counted.items()
                },
            }

        return state

    def thaw(self, section: Section, slots_below: int) -> None:
        """Take a state of the same leaves."""
        slots = section.array("slots", np.int64, least=0, below=slots_below).tolist()
        rules, keys = section.text_lists("rules", len(slots)), section.text_lists("keys", len(slots))
        levels = section.array("levels", np.int64, len(slots)).tolist()
        if any(len(rule) != _RULE_PARTS for rule in rules):
            raise section.unfit("has a rule that is not named by project and name")
        self._judged = {
            ((rule[0], rule[1]), slot): (level, tuple(key))
            for rule, slot, level, key in zip(rules, slots, levels, keys, strict=True)
        }
        counted = section.part("counted")
        for name in counted.names():
            leaf = dict(enumerate(self.leaves)).get(int(name)) if name.isdecimal() else None
            if leaf is None or not leaf.key.growing:
                raise section.unfit(f"has a count of traces for leaf {name}, which has none")
            self._counted[leaf.key] = _thawed_counts(counted.part(name), slots_below, leaf.groups.width)

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow traces to their new slots."""
        self._judged = {
            (rule, int(moved[slot])): level for (rule, slot), level in self._judged.items() if moved[slot] >= 0
        }
        self._counted = {
            key: {int(moved[slot]): held for slot, held in known.items() if moved[slot] >= 0}
            for key, known in self._counted.items()
        }

    def grown(self, growth: Growth, batch: SpanBatch, times: NDArray[np.int64]) -> list[AlertEvent]:
        """Judge traces to which spans were added, as they were after each of them.

        Args:
            growth: of the traces of [n] spans.
            batch: [n] the spans.
            times: [n] event times at which they came, never falling.
        """
        events: list[AlertEvent] = []
        rows = (self._traces.column("open")[growth.slots] & (growth.sum("genai") > 0)).nonzero()[0]
        slots, times, last = growth.slots[rows], times[rows], (batch.end[rows], batch.arrival[rows])
        for leaf in self.leaves if len(rows) else ():
            if leaf.key.growing:
                sums = growth.sum(GROWING[leaf.key.metric])[rows]
                events += self._count_growth(leaf, slots, sums, times, last, final=False)
            for watch in leaf.watches if leaf.window is None else ():
                if _can_only_become_truer(watch):
                    values = self._after_each(leaf, growth)[rows]
                    events += self._judge_growing(leaf, watch, slots, values, times, last)
        return events

    def _count_growth(
        self,
        leaf: Leaf,
        slots: NDArray[np.int32],
        values: NDArray[np.int64],
        times: NDArray[np.int64],
        last: tuple[NDArray[np.int64], NDArray[np.int64]],
        *,
        final: bool,
    ) -> list[AlertEvent]:
        """Count what traces grew by since they were counted.

        Args:
            leaf: the window.
            slots: [n] the traces, in order of time.
            values: [n] what each had added up to.
            times: [n] event times.
            last: [n] ends and [n] arrivals of each one's newest span.
            final: whether the traces are complete.
        """
        known = self._counted.setdefault(leaf.key, {})
        course = Course(slots)
        held = [known.get(slot) for slot in slots[course.firsts()].tolist()]
        growth, rows = counted_rows(course, values, held)
        traces = course.key_of()[rows]
        groups = self._counted_groups(leaf, slots, course, held, traces, final=final)
        grouped = groups >= 0
        if not grouped.all():
            rows, traces, groups = rows[grouped], traces[grouped], groups[grouped]
        if not len(rows) or leaf.window is None:
            return []
        leaf.resize()
        now = int(times[-1])
        own, first = np.unique(traces, return_index=True)
        then = np.array([_NEVER if (was := held[trace]) is None else was[2] for trace in own.tolist()], np.int64)
        again = ~leaf.window.panes.is_late(then, now)
        # A trace is one sample: of one that is counted already only the place of its count changes, afterwards.
        counts = np.zeros(len(rows), np.int64)
        counts[first[~again]] = 1
        samples = Samples(groups, times[rows], growth[rows], counts)
        leaf.groups.seen(samples.slots, samples.times)
        occasion = _Completion(self._places(slots[rows]), last[0][rows], last[1][rows])
        events = self._judge.counted(leaf, samples, np.arange(len(rows)), occasion, now)
        newest = np.zeros(len(held), np.intp)
        newest[traces] = np.arange(len(rows))  # of several the last stays
        newest = newest[own]
        keys = leaf.groups.keys
        states = zip(slots[rows[newest]].tolist(), groups[newest].tolist(), values[rows[newest]].tolist(), strict=True)
        for (slot, group, value), at in zip(states, times[rows[newest]].tolist(), strict=True):
            known[slot] = (keys[group] or (), value, at)
        self._count_later(leaf.window, samples.part(newest), np.where(again, then, samples.times[first]))
        return events

    def _counted_groups(
        self,
        leaf: Leaf,
        slots: NDArray[np.int32],
        course: Course,
        held: Sequence[Held | None],
        traces: NDArray[np.intp],
        *,
        final: bool,
    ) -> NDArray[np.int32]:
        """Return [n] the groups of rows of these traces ([n] numbers), -1 where there is none (yet)."""
        found: dict[int, int] = {}
        own = slots[course.firsts()].tolist()
        for trace in dict.fromkeys(traces.tolist()):
            was = held[trace]
            # By its key: the group's own slot may have been given away since, if it was silent for a whole window.
            group = self._group(leaf, own[trace], final=final) if was is None else leaf.groups.slot(was[0])
            found[trace] = -1 if group is None else group
        every = np.full(len(held), -1, np.int32)
        every[list(found)] = list(found.values())
        return every[traces]

    @staticmethod
    def _count_later(window: Window, samples: Samples, then: NDArray[np.int64]) -> None:
        """Make traces that were samples at `then` samples of the time when they grew last."""
        width = window.panes.width_ns
        moved = (then // width != samples.times // width).nonzero()[0]
        if not len(moved):
            return
        nothing = np.zeros(len(moved), np.int64)
        for times, count in ((then, nothing - 1), (samples.times, nothing + 1)):
            rows = moved[np.argsort(times[moved], kind="stable")]
            window.add(Samples(samples.slots[rows], times[rows], nothing, count))

    def _judge_growing(
        self,
        leaf: Leaf,
        watch: Watch,
        slots: NDArray[np.int32],
        values: NDArray[np.float64],
        times: NDArray[np.int64],
        last: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        groups: dict[int, int | None] = {}
        for row in _may_be_breached(watch, values).tolist():
            slot = int(slots[row])
            level, key = self._judged.get((watch.rules[0].key, slot), (-1, ())) if watch.dispatch is None else (-1, ())
            if level == _TOP:
                self._note_peak(watch, leaf.groups.find(key), float(values[row]))
                continue
            if slot not in groups:
                groups[slot] = self._group(leaf, slot, final=False)
            group = groups[slot]
            if group is not None:
                span = Span(int(last[0][row]), int(last[1][row]))
                events += self._judge_one(leaf, watch, slot, group, float(values[row]), int(times[row]), span)
        return events

    def _after_each(self, leaf: Leaf, growth: Growth) -> NDArray[np.float64]:
        """Return [n] what a trace is judged by after each span, in the metric's unit; NaN where it is not known."""
        metric = leaf.key.metric
        if metric is Metric.LATENCY:
            return growth.latency() / leaf.scale
        if metric in (Metric.ERROR_RATE, Metric.SUCCESS_RATE):
            failed = growth.failed().astype(np.float64)
            return failed if metric is Metric.ERROR_RATE else 1.0 - failed
        sums = growth.sum(GROWING[metric])
        values = np.asarray(sums / leaf.scale)
        if GROWING[metric] == "cost":
            values[(growth.sum("unpriced") > 0) & (sums == 0)] = np.nan
        return values

    def _judge_one(
        self, leaf: Leaf, watch: Watch, slot: int, group: int, value: float, now: int, span: Span | None
    ) -> list[AlertEvent]:
        leaf.resize()
        index = watch.rule_of(group)
        if index < 0:
            return []
        reached, _ = watch.effective_levels(index, np.array([value]), np.ones(1, np.int64))
        level = int(reached[0])
        judged = watch.rules[index].key, slot
        before, _ = self._judged.get(judged, (-1, ()))
        if level < 0:
            return []
        if level <= before:
            self._note_peak(watch, group, value)
            return []
        found = level if level < len(watch.rules[index].levels) - 1 else _TOP
        self._judged[judged] = found, leaf.groups.keys[group] or ()
        if before < 0:
            watch.count(watch.samples, np.array([group]))
            self._log(leaf, slot, group, value, now)
        here = np.array([now])
        return self._judge.hit(leaf, watch, group, np.array([value]), here, span, further=before < 0)

    @staticmethod
    def _note_peak(watch: Watch, group: int | None, value: float) -> None:
        alert = None if group is None else watch.alerts.get(group)
        if alert is not None:
            alert.peak = worse(alert.rule, alert.peak, value)

    def _log(self, leaf: Leaf, slot: int, group: int, value: float, now: int) -> None:
        place = self._places(np.array([slot]))
        leaf.log.append(np.array([group], np.int32), np.array([now]), np.array([value * leaf.scale]), place)

    def _places(self, slots: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.int64]:
        hi, lo = self._traces.column("hi")[slots], self._traces.column("lo")[slots]
        return self._judge.ring.append(hi, lo, {})

    def completed(self, slots: NDArray[np.int32], now: int) -> list[AlertEvent]:
        """Judge traces that are complete."""
        events: list[AlertEvent] = []
        slots = slots[self._traces.column("genai")[slots] > 0]
        for leaf in self.leaves if len(slots) else ():
            if leaf.key.growing:
                ends = self._traces.column("end")[slots]
                times, arrivals = np.full(len(slots), now), np.full(len(slots), self._judge.wall)
                sums = self._traces.column(GROWING[leaf.key.metric])[slots]
                events += self._count_growth(leaf, slots, sums, times, (ends, arrivals), final=True)
                for slot in slots.tolist():
                    self._counted[leaf.key].pop(slot, None)
                continue
            values, valid = self._values(leaf, slots)
            groups = np.array(
                [self._final_group(leaf, slot) if ok else -1 for slot, ok in zip(slots.tolist(), valid, strict=True)],
                np.int32,
            )
            leaf.resize()
            rows = np.flatnonzero(groups >= 0)
            if leaf.window is not None:
                events += self._count(leaf, slots[rows], groups[rows], values[rows], now)
                continue
            for watch in leaf.watches:
                events += self._judge_completed(leaf, watch, slots[rows], groups[rows], values[rows] / leaf.scale, now)
        finished = set(slots.tolist())
        self._judged = {key: level for key, level in self._judged.items() if key[1] not in finished}
        return events

    def _judge_completed(
        self,
        leaf: Leaf,
        watch: Watch,
        slots: NDArray[np.int32],
        groups: NDArray[np.int32],
        values: NDArray[np.float64],
        now: int,
    ) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        counted = np.zeros(len(slots), np.bool_)
        if self._judged:
            indexes = np.broadcast_to(watch.rule_indexes(groups), len(slots)).tolist()
            pairs = zip(indexes, slots.tolist(), strict=True)
            counted[:] = [(watch.rules[index].key, slot) in self._judged for index, slot in pairs]
        for row in _may_be_breached(watch, values).tolist():
            slot, group = int(slots[row]), int(groups[row])
            events += self._judge_one(leaf, watch, slot, group, float(values[row]), now, None)
            counted[row] |= (watch.rules[watch.rule_of(group)].key, slot) in self._judged
        watch.count(watch.samples, groups[~counted])
        return events

    def _count(
        self,
        leaf: Leaf,
        slots: NDArray[np.int32],
        groups: NDArray[np.int32],
        values: NDArray[np.float64] | NDArray[np.int64],
        now: int,
    ) -> list[AlertEvent]:
        if not len(slots):
            return []
        times = self._traces.column("end")[slots]
        order = np.argsort(times, kind="stable")
        unpriced = None
        if leaf.key.metric in (Metric.COST, Metric.COST_PER_TRACE):
            unpriced = self._unpriced(slots[order])
        samples = Samples(groups[order], times[order], values[order], None, unpriced)
        leaf.groups.seen(samples.slots, samples.times)
        occasion = _Completion(self._places(slots[order]), samples.times, np.full(len(slots), self._judge.wall))
        return self._judge.counted(leaf, samples, np.arange(len(slots)), occasion, now)

    def _unpriced(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return [n] which traces have calls, and a price for none: their cost is not known, and never 0."""
        return np.asarray((self._traces.column("unpriced")[slots] > 0) & (self._traces.column("cost")[slots] == 0))

    def _values(
        self, leaf: Leaf, slots: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64] | NDArray[np.int64], NDArray[np.bool_]]:
        """Return [n] raw values and [n] whether a trace has one."""
        traces, metric = self._traces, leaf.key.metric
        every = np.ones(len(slots), np.bool_)
        match metric:
            case Metric.LATENCY:
                return traces.latency(slots), every
            case Metric.ERROR_RATE:
                return traces.failed(slots).astype(np.int64), every
            case Metric.SUCCESS_RATE:
                return (~traces.failed(slots)).astype(np.int64), every
            case Metric.COUNT:
                return np.ones(len(slots), np.int64), every
            case Metric.UNPRICED_RATIO:
                return (traces.column("unpriced")[slots] > 0).astype(np.int64), traces.column("calls")[slots] > 0
            case Metric.COST | Metric.COST_PER_TRACE if leaf.window is None:
                return traces.column("cost")[slots], ~self._unpriced(slots)
            case _ if metric in GROWING:
                return traces.column(GROWING[metric])[slots], every
            case _:
                return traces.number(slots, leaf.key.attribute or metric.value, leaf.key.fold)

    def _final_group(self, leaf: Leaf, slot: int) -> int:
        group = self._group(leaf, slot, final=True)
        return -1 if group is None else group

    def _group(self, leaf: Leaf, slot: int, *, final: bool) -> int | None:
        """Return the slot of a trace's group; None where it does not pass, or not yet, or has no group."""
        for each in leaf.key.filters:
            texts = self._texts(slot, each.label)
            if not texts and not final and each.label not in NOT_INHERITED:
                return None
            if not _passes(each, texts):
                return None
        key = []
        for entry in leaf.key.grouping:
            known = next(((label, texts[0]) for label in entry if (texts := self._texts(slot, label))), None)
            if known is None:
                if final:
                    for watch in leaf.watches:
                        watch.ungrouped[:-1] += 1
                return None
            key.append(labelled(*known) if len(entry) > 1 else known[1])
        return leaf.groups.slot(tuple(key))

    def _texts(self, slot: int, label: str) -> tuple[str, ...]:
        return (self._traces.trace_id(slot),) if label == "trace" else self._traces.texts(slot, label)


def _thawed_counts(section: Section, slots_below: int, width: int) -> dict[int, Held]:
    slots = section.array("slots", np.int64, least=0, below=slots_below).tolist()
    keys = section.text_lists("keys", len(slots))
    if any(len(key) != width for key in keys):
        raise section.unfit("has a group that can't be")
    values = section.array("values", np.int64, len(slots), shape=(2,)).tolist()
    return {slot: (tuple(key), value, at) for slot, key, (value, at) in zip(slots, keys, values, strict=True)}


class _Completion(Occasion):
    """Traces that are complete, as the cause of an evaluation: their last spans, and no arrival of their own."""

    def __init__(self, places: NDArray[np.int64], ends: NDArray[np.int64], arrivals: NDArray[np.int64]) -> None:
        self.ends = ends
        self.arrivals = arrivals
        self._places = places

    def places(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return [n] where the rows are in the ring."""
        return self._places[rows]  # type: ignore[index]  # set above, never None here


def _may_be_breached(watch: Watch, values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows whose values ([n]) hold the condition of any of a watch's rules."""
    lines = [float(rule.levels[0].threshold) for rule in watch.rules]
    if watch.condition in (Condition.GT, Condition.GTE):
        return watch.compare(values, min(lines)).nonzero()[0]
    if watch.condition in (Condition.LT, Condition.LTE):
        return watch.compare(values, max(lines)).nonzero()[0]
    return np.arange(len(values))


def _can_only_become_truer(watch: Watch) -> bool:
    rule = watch.rules[0]
    if rule.metric is Metric.SUCCESS_RATE:
        return rule.condition in (Condition.LT, Condition.LTE)
    growing = rule.metric in GROWING or rule.metric in (Metric.LATENCY, Metric.ERROR_RATE)
    return growing and rule.condition in (Condition.GT, Condition.GTE)


def _passes(one: Filter, texts: tuple[str, ...]) -> bool:
    """Whether a trace passes: one of its values does, or none is among those excluded."""
    if not texts:
        return one.accepts(None)
    if all(match.negated for match in one.matches):
        return all(one.accepts(text) for text in texts)
    return any(one.accepts(text) for text in texts)
