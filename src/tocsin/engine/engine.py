"""The engine: priced spans in, alert events out. Pure: time is an argument, and nothing outside is touched.

Two clocks. Event time `T` is the greatest event time seen, never further ahead of the wall clock than `max_skew`; while
nothing arrives it goes on at the wall clock's pace. The wall clock is given with every call and serves only the
statement of how late an alert is.

Between two instants at which time alone changes something (a pane leaves, a `for` elapses, a trace completes) samples
are taken together; at each such instant the engine stops, so that a batch of an hour gives the alerts of an hour of
small ones.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import AlertState
from tocsin.engine.ancestry import Ancestry, Keys, keys_of
from tocsin.engine.batches import parted
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.evidence import Ring
from tocsin.engine.judge import Judge, Occasion
from tocsin.engine.leaf import Leaf, LeafKey
from tocsin.engine.plan import Plan, make_plan
from tocsin.engine.statistics import Counters, EngineStatistics, RuleKey, Usage
from tocsin.engine.tracerules import TraceRules, in_turn
from tocsin.engine.view import NUMBERS, View
from tocsin.engine.waiting import Parked, Waiting
from tocsin.engine.watch import Watch
from tocsin.model.batch import SpanBatch, SpanClass
from tocsin.model.sections import Section
from tocsin.model.settings import nanoseconds
from tocsin.model.state import Frozen, State
from tocsin.rules.needs import needs_of
from tocsin.rules.rule import Rule, Scope
from tocsin.windows.index import Secret, mix
from tocsin.windows.seen import SeenKeys
from tocsin.windows.sums import Samples
from tocsin.windows.traces import TraceTimes

__all__ = ["Engine"]

_SWEEP_NS = 1_000_000_000


class Engine:
    """Windows, traces and alert state for some rules."""

    FORMAT: Final = 2
    """Version of the state that `freeze` gives; `thaw` takes no other."""

    def __init__(
        self, rules: Sequence[Rule], trace: TraceConfig | None = None, limits: LimitsConfig | None = None
    ) -> None:
        self._limits = limits or LimitsConfig()
        settings = trace or TraceConfig()
        self._times = TraceTimes(*map(nanoseconds, (settings.grace, settings.idle, settings.max_age)))
        self._secret = Secret()
        self._rules = tuple(rules)
        self._seen = SeenKeys(nanoseconds(self._limits.dedup_window))
        self._waiting = Waiting(self._limits.waiting)
        self._judge = Judge(Ring(self._limits.evidence))
        self._max_skew = nanoseconds(self._limits.max_skew)
        self._time = 0
        self._moved_at = 0
        self._swept = 0
        """Up to which second of event time groups were forgotten."""
        self._schedule: list[tuple[int, int, LeafKey | None]] = []
        self._sequence = 0
        self._usage = Usage()
        self._counters = Counters()
        self._events: list[AlertEvent] = []
        self.heard: Callable[[Leaf, Samples], None] | None = None
        """Told of the samples that a leaf over spans takes; for a backtest's charts."""
        self._make(())

    def _make(self, inherited: tuple[str, ...]) -> None:
        """Make what follows from the rules, and from the labels that former rules had inherited."""
        self._plan = self._plan_of(self._rules, Plan(inherited=inherited))
        self._ancestry = Ancestry(self._plan.inherited, self._times, self._limits.traces, self._secret)
        self._trace_rules = TraceRules(self._judge, self._ancestry.traces)
        self._set_leaves()

    def _plan_of(self, rules: Sequence[Rule], old: Plan) -> Plan:
        return make_plan(rules, self._limits.groups, self._limits.evidence, self._secret, old)

    def _set_leaves(self) -> None:
        self._span_leaves = self._plan.of_scope(Scope.SPAN)
        self._trace_rules.follow(self._plan.of_scope(Scope.TRACE))
        self._ancestry.sums_wanted = bool(self._trace_rules.leaves)
        self._watches = [watch for leaf in self._plan.leaves.values() for watch in leaf.watches]
        self._ancestry.traces.follow_numbers(
            [
                leaf.key.attribute or leaf.key.metric.value
                for leaf in self._trace_rules.leaves
                if leaf.key.metric in NUMBERS
            ]
        )
        self._judge.reschedule(self._plan.leaves.values())
        self._judge.ring.read_by(leaf.log for leaf in self._plan.leaves.values())
        self._reach = min(self._ancestry.traces.times.grace, self._ancestry.traces.times.idle, *self._delays())

    def _delays(self) -> Iterable[int]:
        """Return how long after a sample something may happen without another one, at the soonest, nanoseconds."""
        yield _SWEEP_NS * 60
        for rule in self._rules:
            yield from filter(None, (rule.window_ns, rule.for_ns, rule.keep_firing_ns, rule.cooldown_ns))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are in force."""
        return self._rules

    @property
    def time(self) -> int:
        """Event time, Unix nanoseconds; 0 before the first sample."""
        return self._time

    @property
    def leaves(self) -> Collection[Leaf]:
        """What is evaluated, to be read between calls: windows, groups and the rules over them."""
        return self._plan.leaves.values()

    def ingest(self, batch: SpanBatch, now: int) -> list[AlertEvent]:
        """Count priced spans and return what changed because of them.

        Args:
            batch: spans in any order; not written to.
            now: wall clock, Unix nanoseconds.
        """
        self._judge.wall = now
        if not len(batch):
            return []
        self._elapse(self._time)  # what late spans made due comes first, whether the clock has ticked since or not
        batch, keys = self._deduplicated(self._clocked(batch, now))
        if len(batch) and int(batch.end[-1]) >= self._time:
            self._moved_at = now  # late spans alone do not hold up the clock, which goes on from where it was
        begin = 0
        while begin < len(batch):
            due = self._next_due()
            # What these samples make due themselves comes after the reach at the soonest.
            until = max(self._time + 1, int(batch.end[begin]) + self._reach)
            if due is not None:
                until = min(until, max(due, self._time + 1))
            end = len(batch) if batch.end[-1] < until else int(np.searchsorted(batch.end, until, side="left"))
            if end > begin:
                rows = slice(begin, end)
                whole = begin == 0 and end == len(batch)
                part = batch if whole else batch.take(np.arange(begin, end))
                self._judge.since = self._time
                self._time = max(self._time, int(batch.end[end - 1]))
                self._feed(part, keys if whole else keys.part(rows))
                self._sweep(self._time)
                begin = end
            else:
                self._elapse(min(max(due or 0, self._time), int(batch.end[begin])))
        return self._taken()

    def advance(self, now: int) -> list[AlertEvent]:
        """Let time pass without samples and return what changed; `now` is the wall clock, Unix nanoseconds."""
        self._judge.wall = now
        if self._time:
            self._elapse(self._time + max(0, now - self._moved_at))
        self._moved_at = now
        return self._taken()

    def replace_rules(self, rules: Sequence[Rule], now: int) -> list[AlertEvent]:
        """Put other rules in force and return what changed.

        Windows and alerts of rules whose measure is unchanged go on; what the new thresholds make true fires now. An
        alert whose rule is gone is resolved.
        """
        self._judge.wall = now
        self._elapse(self._time)
        old = self._plan
        former = [(leaf, watch) for leaf in old.leaves.values() for watch in leaf.watches]
        for _, watch in former:
            self._keep_counts(watch)
        self._plan = self._plan_of(rules, old)
        self._rules = tuple(rules)
        self._ancestry.extend(self._plan.inherited)
        needs = needs_of(rules)
        self._waiting.widen(needs.labels, needs.numbers)
        self._set_leaves()
        kept = {id(alert) for watch in self._watches for alert in watch.alerts.values()}
        for leaf, watch in former:
            for slot, alert in watch.alerts.items():
                if id(alert) not in kept:
                    self._events += self._judge.abandoned(leaf, watch, slot, alert, self._time)
        for leaf in self._plan.leaves.values():
            leaf.resize()
            leaf.scheduled = None
            self._schedule_expiry(leaf)
            if leaf.window is not None:
                live = np.flatnonzero(leaf.window.samples(np.arange(leaf.groups.capacity)) > 0)
                self._emit(self._judge.drained(leaf, live, self._time, only_active=False))
        return self._taken()

    # What is kept, and found again after a restart

    def freeze(self) -> dict[str, Frozen]:
        """Return the whole state as sections; to be called between other calls.

        This copies what is changed in place, and takes a few milliseconds. The sections' functions arrange the rest;
        they may be called later in another thread, one after another, while the engine goes on.
        """
        numbers = {key: number for number, key in enumerate(self._plan.leaves)}
        schedule = [(at, sequence, numbers.get(key, -1) if key else -1) for at, sequence, key in self._schedule]
        fields: dict[str, State] = {
            "format": self.FORMAT,
            "rules": _names(self._rules),
            "inherited": list(self._plan.inherited),
            "secret": int(self._secret.value),
            "time": self._time,
            "swept": self._swept,
            "sequence": self._sequence,
            "schedule": np.array(schedule, np.int64).reshape(-1, 3),
        }
        return {
            "engine": lambda: fields,
            "usage": self._usage.freeze(),
            "counters": self._counters.freeze(),
            "seen": self._seen.freeze(),
            "evidence": self._judge.ring.freeze(),
            "judge": self._judge.freeze(self._watches),
            "trace rules": self._trace_rules.freeze(),
            "waiting": self._waiting.freeze(),
            **self._ancestry.freeze(),
            **self._plan.freeze(),
        }

    def thaw(self, sections: Mapping[str, State], now: int) -> None:
        """Go on from a state; the engine is new, and of the same rules. Limits and `trace` may be others.

        Args:
            sections: what the functions of `freeze` returned; tuples may have become lists.
            now: wall clock, Unix nanoseconds. The time since the state was frozen does not pass.

        Raises:
            SnapshotError: it is of another format or other rules, or does not fit. The engine can't be used then.
        """
        state = Section(sections, "state")
        own = state.part("engine")
        if own.integer("format") != self.FORMAT:
            raise own.unfit(f"is of format {own.integer('format')}, and this program reads {self.FORMAT}")
        if own.text_lists("rules") != _names(self._rules):
            raise own.unfit("is of other rules")
        try:
            self._thaw(state, own)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise state.unfit(f"has what can't be: {error}") from error
        self.resume(now)

    def _thaw(self, state: Section, own: Section) -> None:
        self._secret.keep(own.integer("secret", most=(1 << 64) - 1))
        inherited = own.texts("inherited")
        self._make(tuple(inherited))
        if list(self._plan.inherited) != inherited:
            raise own.unfit("lacks labels that the rules inherit")
        self._usage.thaw(state.part("usage"))
        self._counters.thaw(state.part("counters"))
        self._seen.thaw(state.part("seen"))
        self._judge.ring.thaw(state.part("evidence"))
        self._plan.thaw(state)
        self._ancestry.thaw(state)
        traces = self._ancestry.traces.used
        self._trace_rules.thaw(state.part("trace rules"), traces)
        self._waiting.thaw(state.part("waiting"), traces)
        pairs = [(leaf, watch) for leaf in self._plan.leaves.values() for watch in leaf.watches]
        self._judge.thaw(state.part("judge"), pairs)
        self._time, self._swept = own.integer("time"), own.integer("swept")
        self._sequence = own.integer("sequence")
        keys = [*self._plan.leaves, None]
        schedule = own.array("schedule", np.int64, shape=(3,), least=-(1 << 62)).tolist()
        self._schedule = [(at, sequence, keys[number]) for at, sequence, number in schedule]
        heapq.heapify(self._schedule)
        if len({sequence for _, sequence, _ in self._schedule}) != len(self._schedule):
            raise own.unfit("has something due twice")

    def replay(
        self, wall: int, time: int, batch: SpanBatch | None = None, rules: Sequence[Rule] | None = None
    ) -> list[AlertEvent]:
        """Take what was taken before, and return what it changed then: the same events with the same ids.

        Args:
            wall: the wall clock of then, Unix nanoseconds.
            time: event time before it was taken; where neither batch nor rules are given, the time that was reached.
            batch: what `ingest` was given.
            rules: what `replace_rules` was given.
        """
        self._judge.wall = wall
        if time:
            self._elapse(max(time, self._time))
        if batch is not None:
            return self.ingest(batch, wall)
        return self._taken() if rules is None else self.replace_rules(rules, wall)

    def resume(self, now: int) -> None:
        """Let event time go on from here with the wall clock, as if none had passed since the last record."""
        self._moved_at = now

    # Taking in

    def _clocked(self, batch: SpanBatch, now: int) -> SpanBatch:
        """Return the batch ordered by time, with samples from too far in the future moved to the present."""
        ahead = batch.end > now + self._max_skew
        if ahead.any():
            self._counters.future += int(np.count_nonzero(ahead))
            present = max(self._time, int(batch.end[~ahead].max(initial=0))) or now
            batch = batch.take(np.arange(len(batch)))
            batch.end[ahead] = present
        if len(batch) > 1 and (np.diff(batch.end) < 0).any():
            batch = batch.take(np.argsort(batch.end, kind="stable"))
        return batch

    def _deduplicated(self, batch: SpanBatch) -> tuple[SpanBatch, Keys]:
        keys = keys_of(batch, self._secret)
        identity = keys.span
        results = np.flatnonzero(batch.span_class == SpanClass.EVALUATION)
        if len(results):
            # An evaluation has the id of the span that it judges: its time and score tell it from others.
            identity = identity.copy()
            score = batch.numbers.get("judge_score")
            bits = np.zeros(len(results), np.uint64) if score is None else score[results].view(np.uint64)
            identity[results] = mix(identity[results] ^ bits, batch.end[results].view(np.uint64), self._secret)
        fresh = self._seen.add(identity, max(self._time, int(batch.end[-1])))
        if fresh.all():
            return batch, keys
        self._counters.duplicates += int(np.count_nonzero(~fresh))
        rows = np.flatnonzero(fresh)
        return batch.take(rows), keys.part(rows)

    def _feed(self, batch: SpanBatch, keys: Keys) -> None:
        """Take in spans between which no due time lies."""
        before = self._judge.since
        times = np.maximum(batch.end, before)
        slots, repeated = self._ancestry.add(batch, keys, times)
        counted = ~repeated & (batch.span_class != SpanClass.DUPLICATE)
        paid = (
            (batch.span_class == SpanClass.LLM)
            | (batch.span_class == SpanClass.EMBEDDINGS)
            | (batch.span_class == SpanClass.USAGE)
        )
        billed = counted & paid
        self._usage.add(batch, billed)
        if not self._trace_rules.follow_growth:
            self._ancestry.contribute(batch, keys, slots, billed)
        batch, missing = self._ancestry.inherit(batch, keys, slots)
        self._evaluate(View(batch, counted, missing))
        self._judge.since = self._time
        self._retry(batch, slots)
        self._park(batch, keys, slots, counted, missing)
        if self._trace_rules.follow_growth:
            self._judge.since = before
            for rows in in_turn(slots):
                part, part_keys = parted(batch, rows), keys.part(rows)
                self._ancestry.contribute(part, part_keys, slots[rows], billed[rows])
                self._emit(self._trace_rules.grown(slots[rows], part, times[rows]))
            self._judge.since = self._time
            for leaf in self._trace_rules.leaves:
                self._schedule_expiry(leaf)

    def _evaluate(self, view: View) -> None:
        occasion = Occasion(view.batch, self._judge.ring)
        for leaf in self._span_leaves:
            taken = leaf.take(view)
            if taken is not None:
                samples, rows = taken
                if self.heard is not None:
                    self.heard(leaf, samples)
                self._emit(self._judge.counted(leaf, samples, rows, occasion, self._time))
                self._schedule_expiry(leaf)

    def _park(
        self,
        batch: SpanBatch,
        keys: Keys,
        slots: NDArray[np.int32],
        counted: NDArray[np.bool_],
        missing: NDArray[np.uint64] | None,
    ) -> None:
        """Keep the rows that some leaf waits for, and agents' own usage until it is known whose it is."""
        waits = self._agents_with_usage(batch)
        if missing is not None:
            for bits in {bits for leaf in self._span_leaves for bits in leaf.awaited}:
                waits = waits | ((missing & np.uint64(bits)) == bits)
            waits &= batch.span_class != SpanClass.DUPLICATE
            if not self._reads_others:
                waits &= batch.span_class != SpanClass.OTHER
        if not waits.any():
            return
        rows = np.flatnonzero(waits & self._ancestry.traces.column("open")[slots])
        closed = np.flatnonzero(waits & ~self._ancestry.traces.column("open")[slots])
        everything = Parked(
            batch, keys, slots, np.zeros(len(batch), np.uint64) if missing is None else missing, counted
        )
        if len(closed):
            self._release(everything.part(closed))
        if len(rows):
            over = self._waiting.park(everything.part(rows))
            if over and (released := self._waiting.release(over)) is not None:
                self._release(released)

    @property
    def _reads_others(self) -> bool:
        return any(SpanClass.OTHER in leaf.key.classes for leaf in self._span_leaves)

    @staticmethod
    def _agents_with_usage(batch: SpanBatch) -> NDArray[np.bool_]:
        agents = batch.span_class == SpanClass.AGENT
        if not agents.any():
            return agents
        return agents & ((batch.input_tokens > 0) | (batch.output_tokens > 0) | (batch.cost_nano > 0))

    def _retry(self, batch: SpanBatch, slots: NDArray[np.int32]) -> None:
        """Look again at rows whose trace brought something that they waited for."""
        held = self._waiting.holds(slots)
        if not held:
            return
        news = np.zeros(len(batch), np.bool_)
        for label in self._ancestry.labels:
            news |= batch.labels[label].code >= 0
        told = set(slots[news].tolist())
        parked = self._waiting.release([slot for slot in held if slot in told], batch)
        if parked is None:
            return
        found, missing = self._ancestry.inherit(parked.batch, parked.keys, parked.slots)
        before = parked.missing
        if missing is not None and (missing == before).all():
            self._waiting.park(parked)
            return
        self._evaluate(View(found, parked.counted, missing, before))
        left = np.zeros(len(found), np.uint64) if missing is None else missing
        rows = np.flatnonzero((left != 0) | self._agents_with_usage(found))
        if len(rows):
            self._waiting.park(Parked(found, parked.keys, parked.slots, left, parked.counted).part(rows))

    def _release(self, parked: Parked) -> None:
        """Count rows of which nothing more will become known, and the agents whose usage is nobody else's."""
        batch, missing = self._ancestry.inherit(parked.batch, parked.keys, parked.slots)
        if parked.missing.any():
            self._evaluate(View(batch, parked.counted, missing, parked.missing, final=True))
        agents = self._agents_with_usage(batch)
        if agents.any():
            own = agents & ~self._ancestry.lineage.has_call_below(parked.keys.span)
            rows = np.flatnonzero(own)
            if len(rows):
                mine, keys, slots = batch.take(rows), parked.keys.part(rows), parked.slots[rows]
                every = np.ones(len(rows), np.bool_)
                self._usage.add(mine, every)
                self._ancestry.traces.add_sums(slots, _usage_of(mine))
                self._ancestry.lineage.mark_billed(keys.parent)
                self._evaluate(View(mine, every, agents_only=True))

    # Time

    def _next_due(self) -> int | None:
        """Return the next event time at which time alone changes something."""
        times = [self._schedule[0][0]] if self._schedule else []
        if (trace_due := self._ancestry.traces.next_due) is not None:
            times.append(trace_due)
        if (alert_due := self._judge.next_due) is not None:
            times.append(alert_due)
        return min(times, default=None)

    def _schedule_expiry(self, leaf: Leaf) -> None:
        if leaf.window is None:
            return
        due = leaf.window.panes.next_expiry
        if due is not None and (leaf.scheduled is None or due < leaf.scheduled):
            leaf.scheduled = due
            self._sequence += 1
            heapq.heappush(self._schedule, (due, self._sequence, leaf.key))

    def _elapse(self, until: int) -> None:
        """Let event time pass, stopping at every instant at which something happens."""
        while (due := self._next_due()) is not None and due <= until:
            self._sweep(due)
            self._judge.since = self._time = max(self._time, due)
            self._expire(due)
            if (trace_due := self._ancestry.traces.next_due) is not None and trace_due <= due:
                self._complete(due)
            self._emit(self._judge.elapsed(due))
        self._time = max(self._time, until)
        self._sweep(self._time)

    def _expire(self, due: int) -> None:
        while self._schedule and self._schedule[0][0] <= due:
            at, _, key = heapq.heappop(self._schedule)
            leaf = None if key is None else self._plan.leaves.get(key)
            if leaf is None or leaf.window is None or leaf.scheduled != at:
                continue
            leaf.scheduled = None
            touched = leaf.window.expire(at)
            if touched:
                slots = np.unique(np.concatenate(touched))
                self._emit(self._judge.drained(leaf, slots, at, only_active=_only_falls(leaf)))
            self._schedule_expiry(leaf)

    def _complete(self, due: int) -> None:
        traces = self._ancestry.traces
        done = traces.complete(due)
        if traces.moved is not None:
            self._waiting.renumber(traces.moved)
            self._trace_rules.renumber(traces.moved)
            traces.moved = None
        if not len(done):
            return
        held = self._waiting.holds(done)
        if held and (parked := self._waiting.release(held)) is not None:
            self._release(parked)
        if self._trace_rules.leaves:
            self._emit(self._trace_rules.completed(done, self._time))
            for leaf in self._trace_rules.leaves:
                self._schedule_expiry(leaf)

    def _sweep(self, time: int) -> None:
        """Forget groups whose samples have all left, and cooldowns that are over, once for each second of event time.

        Which are forgotten before anything else happens hangs on event time alone, not on how often the clock ticks.
        """
        second = time // _SWEEP_NS * _SWEEP_NS
        if second <= self._swept:
            return
        self._swept = second
        for groups in self._plan.groups.values():
            leaves = self._plan.over(groups)
            watches = [watch for leaf in leaves for watch in leaf.watches]
            longest = max((leaf.key.window_ns or 0 for leaf in leaves), default=0)
            longest += max((leaf.window.panes.width_ns for leaf in leaves if leaf.window is not None), default=0)
            gone = groups.sweep(second - longest, lambda slot, held=watches: any(w.active[slot] for w in held))  # type: ignore[misc]  # a bound default
            if len(gone):
                for leaf in leaves:
                    leaf.resize()
                    if leaf.window is not None:
                        leaf.window.reset(gone)
                for watch in watches:
                    watch.forget(gone)
        for watch in self._watches:
            watch.forget_cooldowns(second)

    # Giving out

    def _emit(self, events: Iterable[AlertEvent]) -> None:
        self._events.extend(events)

    def _taken(self) -> list[AlertEvent]:
        events, self._events = self._events, []
        return events

    def _keep_counts(self, watch: Watch) -> None:
        counters = self._counters
        pasts = counters.samples, counters.late, counters.ungrouped
        for past, column in zip(pasts, (watch.samples, watch.late, watch.ungrouped), strict=True):
            for i, rule in enumerate(watch.rules):
                past[rule.key] = past.get(rule.key, 0) + int(column[i])

    @property
    def statistics(self) -> EngineStatistics:
        """What was counted since the start, and present sizes."""
        counters = self._counters
        samples, late, ungrouped = (dict(past) for past in (counters.samples, counters.late, counters.ungrouped))
        series: dict[RuleKey, int] = {}
        alerts = [alert for watch in self._watches for alert in watch.alerts.values()]
        for watch in self._watches:
            for i, rule in enumerate(watch.rules):
                for counts, column in (
                    (samples, watch.samples),
                    (late, watch.late),
                    (ungrouped, watch.ungrouped),
                ):
                    counts[rule.key] = counts.get(rule.key, 0) + int(column[i])
                series[rule.key] = len(watch.groups) if watch.dispatch is None else 1
        traces = self._ancestry.traces
        return EngineStatistics(
            samples,
            late,
            ungrouped,
            series,
            overflow=sum(groups.overflowed for groups in self._plan.groups.values()),
            duplicates=counters.duplicates,
            future=counters.future,
            late_in_trace=traces.late_spans,
            open_traces=len(traces),
            waiting=self._waiting.rows,
            firing=sum(alert.state is AlertState.FIRING for alert in alerts),
            pending=sum(alert.state is AlertState.PENDING for alert in alerts),
            cost_nano=dict(self._usage.cost_nano),
            tokens=dict(self._usage.tokens),
        )


def _names(rules: Iterable[Rule]) -> list[list[str]]:
    return [[rule.project, rule.name, rule.version] for rule in rules]


def _usage_of(batch: SpanBatch) -> dict[str, NDArray[np.int64]]:
    """Return what agent spans that are billed themselves add to their traces."""
    read, written = np.maximum(batch.input_tokens, 0), np.maximum(batch.output_tokens, 0)
    return {"cost": batch.cost_nano, "input_tokens": read, "output_tokens": written, "tokens": read + written}


def _only_falls(leaf: Leaf) -> bool:
    """Whether expiry can only end breaches, never begin one: only groups with an alert need be looked at then."""
    return leaf.key.storage == "integer" and all(
        watch.falls_to_zero and not watch.alerts_on_silence for watch in leaf.watches
    )
