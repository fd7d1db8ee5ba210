"""Rules whose samples are traces.

A trace is judged as it grows where the condition can only become truer, else when it is complete.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import worse
from tocsin.engine.alarms import Span
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

__all__ = ["TraceRules", "in_turn"]


_RULE_PARTS = 2
_NEVER = np.iinfo(np.int64).min >> 1
"""When a trace that was not counted was: before every window."""
_TOP = 1_000
"""Stands for a rule's most severe level: a trace that reached it has nothing more to reach while it grows."""


class TraceRules:
    """The leaves over traces."""

    def __init__(self, judge: Judge, traces: Traces) -> None:
        self.leaves: Sequence[Leaf] = ()
        self._follow_growth = False
        self._judge = judge
        self._traces = traces
        self._judged: dict[tuple[RuleKey, int], tuple[int, Key]] = {}
        """(rule, trace slot) -> level at which the trace was found in breach, and its group's key."""
        self._counted: dict[LeafKey, dict[int, tuple[Key, int, int]]] = {}
        """Per growing leaf: trace slot -> its group's key, what was counted of it, and when last."""

    def follow(self, leaves: Sequence[Leaf]) -> None:
        """Judge by these from now on; what was counted for others is forgotten with their windows."""
        self.leaves = leaves
        self._follow_growth = any(
            leaf.key.growing or (leaf.window is None and any(map(_can_only_become_truer, leaf.watches)))
            for leaf in leaves
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

    @property
    def follow_growth(self) -> bool:
        """Whether traces are judged as they grow; else only once they are complete."""
        return self._follow_growth

    def grown(self, slots: NDArray[np.int32], batch: SpanBatch, times: NDArray[np.int64]) -> list[AlertEvent]:
        """Judge traces to each of which one span was added.

        Args:
            slots: [n] the traces, all different.
            batch: [n] the spans.
            times: [n] event times at which they came, never falling.
        """
        events: list[AlertEvent] = []
        judged = self._traces.column("open")[slots] & (self._traces.column("genai")[slots] > 0)
        rows = np.flatnonzero(judged)
        slots, ends, arrivals, times = slots[rows], batch.end[rows], batch.arrival[rows], times[rows]
        for leaf in self.leaves if len(rows) else ():
            if leaf.key.growing:
                events += self._count_growth(leaf, slots, times, (ends, arrivals), final=False)
            for watch in leaf.watches if leaf.window is None else ():
                if _can_only_become_truer(watch):
                    events += self._judge_growing(leaf, watch, slots, times, (ends, arrivals))
        return events

    def _count_growth(
        self,
        leaf: Leaf,
        slots: NDArray[np.int32],
        times: NDArray[np.int64],
        last: tuple[NDArray[np.int64], NDArray[np.int64]],
        *,
        final: bool,
    ) -> list[AlertEvent]:
        """Count what traces grew by since they were counted; `last` is end and arrival of each one's newest span."""
        values = self._traces.column(GROWING[leaf.key.metric])[slots]
        known = self._counted.setdefault(leaf.key, {})
        rows, groups, growth, since = [], [], [], []
        for row, (slot, value) in enumerate(zip(slots.tolist(), values.tolist(), strict=True)):
            held, before, at = known.get(slot, (None, 0, _NEVER))
            if held is not None and value <= before:
                continue
            # By its key: the group's own slot may have been given away since, if it was silent for a whole window.
            group = self._group(leaf, slot, final=final) if held is None else leaf.groups.slot(held)
            if group is not None:
                rows.append(row)
                groups.append(group)
                growth.append(value - before)
                since.append(at)
                known[slot] = (leaf.groups.keys[group] or (), value, int(times[row]))
        if not rows or leaf.window is None:
            return []
        leaf.resize()
        now, then = int(times[-1]), np.array(since, np.int64)
        again = ~leaf.window.panes.is_late(then, now)
        # A trace is one sample: of one that is counted already only the place of its count changes, afterwards.
        counts = (~again).astype(np.int64)
        samples = Samples(np.array(groups, np.int32), times[rows], np.array(growth, np.int64), counts)
        leaf.groups.seen(samples.slots, samples.times)
        occasion = _Completion(self._places(slots[rows]), last[0][rows], last[1][rows])
        events = self._judge.counted(leaf, samples, np.arange(len(rows)), occasion, now)
        if again.any():
            self._count_later(leaf.window, samples.part(again), then[again])
        return events

    @staticmethod
    def _count_later(window: Window, samples: Samples, then: NDArray[np.int64]) -> None:
        """Make traces that were samples at `then` samples of the time when they grew last."""
        order = np.argsort(then, kind="stable")
        nothing = np.zeros(len(then), np.int64)
        window.add(Samples(samples.slots[order], then[order], nothing, nothing - 1))
        window.add(Samples(samples.slots, samples.times, nothing, nothing + 1))

    def _judge_growing(
        self,
        leaf: Leaf,
        watch: Watch,
        slots: NDArray[np.int32],
        times: NDArray[np.int64],
        last: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> list[AlertEvent]:
        values = self._growing_values(leaf, slots)
        lines = [float(rule.levels[0].threshold) for rule in watch.rules]
        loosest = max(lines) if watch.condition in (Condition.LT, Condition.LTE) else min(lines)
        events: list[AlertEvent] = []
        for row in np.flatnonzero(watch.compare(values, loosest)).tolist():
            slot = int(slots[row])
            level, key = self._judged.get((watch.rules[0].key, slot), (-1, ())) if watch.dispatch is None else (-1, ())
            if level == _TOP:
                self._note_peak(watch, leaf.groups.find(key), float(values[row]))
                continue
            group = self._group(leaf, slot, final=False)
            if group is not None:
                span = Span(int(last[0][row]), int(last[1][row]))
                events += self._judge_one(leaf, watch, slot, group, float(values[row]), int(times[row]), span)
        return events

    def _growing_values(self, leaf: Leaf, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        traces, metric = self._traces, leaf.key.metric
        if metric is Metric.LATENCY:
            return traces.latency(slots) / leaf.scale
        if metric in (Metric.ERROR_RATE, Metric.SUCCESS_RATE):
            failed = traces.column("root_failed")[slots].astype(np.float64)
            return failed if metric is Metric.ERROR_RATE else 1.0 - failed
        sums = np.asarray(traces.column(GROWING[metric])[slots] / leaf.scale)
        if GROWING[metric] == "cost":
            sums[self._unpriced(slots)] = np.nan
        return sums

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
                events += self._count_growth(leaf, slots, times, (ends, arrivals), final=True)
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
            for row in rows.tolist():
                slot, group, value = int(slots[row]), int(groups[row]), float(values[row] / leaf.scale)
                for watch in leaf.watches:
                    judged = watch.rules[watch.rule_of(group)].key, slot
                    known = judged in self._judged
                    events += self._judge_one(leaf, watch, slot, group, value, now, None)
                    if not known and judged not in self._judged:
                        watch.count(watch.samples, groups[row : row + 1])
        finished = set(slots.tolist())
        self._judged = {key: level for key, level in self._judged.items() if key[1] not in finished}
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


def _thawed_counts(section: Section, slots_below: int, width: int) -> dict[int, tuple[Key, int, int]]:
    slots = section.array("slots", np.int64, least=0, below=slots_below).tolist()
    keys = section.text_lists("keys", len(slots))
    if any(len(key) != width for key in keys):
        raise section.unfit("has a group that can't be")
    values = section.array("values", np.int64, len(slots), shape=(2,)).tolist()
    return {slot: (tuple(key), value, at) for slot, key, (value, at) in zip(slots, keys, values, strict=True)}


def in_turn(slots: NDArray[np.int32]) -> Iterator[slice]:
    """Yield runs of rows, as long as can be, in none of which a trace ([n] slots) has two spans.

    A trace is judged after each of its spans, so that it crosses its threshold on the same one in any requests.
    """
    order = np.argsort(slots, kind="stable")
    same = np.flatnonzero(slots[order][1:] == slots[order][:-1])
    before = np.full(len(slots), -1)
    before[order[same + 1]] = order[same]
    begin = 0
    for row in np.flatnonzero(before >= 0).tolist():
        if before[row] >= begin:
            yield slice(begin, row)
            begin = row
    yield slice(begin, len(slots))


class _Completion(Occasion):
    """Traces that are complete, as the cause of an evaluation: their last spans, and no arrival of their own."""

    def __init__(self, places: NDArray[np.int64], ends: NDArray[np.int64], arrivals: NDArray[np.int64]) -> None:
        self.ends = ends
        self.arrivals = arrivals
        self._places = places

    def places(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return [n] where the rows are in the ring."""
        return self._places[rows]  # type: ignore[index]  # set above, never None here


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
