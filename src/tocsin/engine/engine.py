"""The engine: priced spans in, alert events out. Pure: time is an argument, and nothing outside is touched.

Two clocks. Event time `T` is the greatest event time seen, never further ahead of the wall clock than `max_skew`; while
nothing arrives it goes on at the wall clock's pace. The wall clock is given with every call and serves only the
statement of how late an alert is.

Between two instants at which time alone changes something (a pane leaves, a `for` elapses, a trace completes) samples
are taken together; at each such instant the engine stops, so that a batch of an hour gives the alerts of an hour of
small ones.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import AlertState
from tocsin.engine.ancestry import Ancestry, Keys, keys_of
from tocsin.engine.batches import ALWAYS, conformed
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.evidence import Ring
from tocsin.engine.expiries import Expiries
from tocsin.engine.growth import Growth
from tocsin.engine.judge import Judge, Occasion
from tocsin.engine.leaf import Leaf
from tocsin.engine.parking import Parking
from tocsin.engine.plan import Plan, make_plan
from tocsin.engine.spend import FOLLOWED, Spend
from tocsin.engine.statistics import Counters, EngineStatistics, Usage
from tocsin.engine.tracerules import TraceRules
from tocsin.engine.values import GroupValue, values_of
from tocsin.engine.vectors.expressions import Expressions
from tocsin.engine.view import NUMBERS, View
from tocsin.engine.waiting import Waiting
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
_LOOK_AHEAD = 4096
"""Rows whose traces are looked up first, to see whether any is complete by then."""


class Engine:
    """Windows, traces and alert state for some rules."""

    FORMAT: Final = 3
    """Version of the state that `freeze` gives; `thaw` takes no other."""

    def __init__(
        self,
        rules: Sequence[Rule],
        trace: TraceConfig | None = None,
        limits: LimitsConfig | None = None,
        spend: Spend | None = None,
    ) -> None:
        """Make an engine.

        Args:
            rules: to put in force.
            trace: when a trace is complete.
            limits: what memory follows.
            spend: counts live spend, of this engine alone; None: it is not counted.
        """
        self._limits = limits or LimitsConfig()
        settings = trace or TraceConfig()
        self._times = TraceTimes(*map(nanoseconds, (settings.grace, settings.idle, settings.max_age)))
        self._secret = Secret()
        self._rules = tuple(rules)
        self._seen = SeenKeys(nanoseconds(self._limits.dedup_window))
        self._waiting = Waiting(self._limits.waiting)
        self._usage = Usage()
        self.spend = spend
        self._parking = Parking(self._waiting, self._bill, self._evaluate)
        self._judge = Judge(Ring(self._limits.evidence))
        self._max_skew = nanoseconds(self._limits.max_skew)
        self._time = 0
        self._moved_at = 0
        self._swept = 0
        """Up to which second of event time groups were forgotten."""
        self._expiries = Expiries()
        self._expressions = Expressions(self._judge)
        self._counters = Counters()
        self._events: list[AlertEvent] = []
        self.heard: Callable[[Leaf, Samples], None] | None = None
        """Told of the samples that a leaf over spans takes; for a backtest's charts."""
        self._make(())

    def _make(self, inherited: tuple[str, ...], followed: tuple[str, ...] | None = None) -> None:
        """Make what follows from the rules, and from the labels that former rules had inherited.

        `followed` are labels that a state knows of traces; None: those that are to be.
        """
        self._plan = self._plan_of(self._rules, Plan(inherited=inherited))
        self._ancestry = Ancestry(
            self._plan.inherited,
            self._times,
            self._limits.traces,
            self._secret,
            self._followed if followed is None else followed,
        )
        if self.spend is not None:
            self.spend.follow(self._ancestry)
        self._trace_rules = TraceRules(self._judge, self._ancestry.traces)
        self._set_leaves()

    @property
    def _followed(self) -> tuple[str, ...]:
        return () if self.spend is None else FOLLOWED

    def _plan_of(self, rules: Sequence[Rule], old: Plan) -> Plan:
        return make_plan(rules, self._limits.groups, self._limits.evidence, self._secret, old)

    def _set_leaves(self) -> None:
        needs = needs_of(self._rules)
        # What former rules inherited is followed on; requests may lack it by now.
        self._labels = dict.fromkeys((*ALWAYS, *self._ancestry.followed, *sorted(needs.labels)))
        self._numbers = dict.fromkeys(sorted(needs.numbers))
        self._span_leaves = self._plan.of_scope(Scope.SPAN)
        self._trace_rules.follow(self._plan.of_scope(Scope.TRACE))
        self._ancestry.sums_wanted = bool(self._trace_rules.leaves)
        self._parking.follow(self._ancestry, self._span_leaves)
        self._watches = [watch for _, watch in self._plan.watches()]
        self._expressions.follow(self._plan.expressions, self._time)
        self._calendars = {leaf.key.calendar for leaf in self._plan.leaves.values() if leaf.key.calendar is not None}
        self._ancestry.traces.follow_numbers(
            [
                leaf.key.attribute or leaf.key.metric.value
                for leaf in self._trace_rules.leaves
                if leaf.key.metric in NUMBERS
            ]
        )
        self._judge.reschedule(self._plan.watches())
        self._judge.ring.read_by(leaf.log for leaf in self._plan.leaves.values())
        self._reach = min(self._ancestry.traces.times.grace, self._ancestry.traces.times.idle, *self._delays())

    def _delays(self) -> Iterable[int]:
        """Return how long after a sample something may happen without another one, at the soonest, nanoseconds."""
        yield _SWEEP_NS * 60
        for rule in self._rules:
            yield from filter(None, (rule.for_ns, rule.keep_firing_ns, rule.cooldown_ns))
        for leaf in self._plan.leaves.values():
            yield leaf.reacts_ns

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
        batch = conformed(batch, self._labels, self._numbers)  # more is recorded than rules read
        self._elapse(self._time)  # what late spans made due comes first, whether the clock has ticked since or not
        batch, keys = self._deduplicated(self._clocked(batch, now))
        if len(batch) and int(batch.end[-1]) >= self._time:
            self._moved_at = now  # late spans alone do not hold up the clock, which goes on from where it was
        if len(batch):
            self._expressions.begin(max(self._time, int(batch.end[0])))
        begin = 0
        while begin < len(batch):
            due, until = self._next_due(), self._until(batch, keys, begin)
            end = len(batch) if batch.end[-1] < until else int(np.searchsorted(batch.end, until, side="left"))
            if end > begin:
                rows = slice(begin, end)
                whole = begin == 0 and end == len(batch)
                part = batch if whole else batch.take(np.arange(begin, end))
                self._judge.since = self._time
                self._time = max(self._time, int(batch.end[end - 1]))
                self._feed(part, keys if whole else keys.part(rows))
                if due is not None and due <= self._time:
                    self._close(self._time)
                self._sweep(self._time)
                begin = end
            else:
                self._elapse(min(max(due or 0, self._time), int(batch.end[begin])))
        if self.spend is not None:
            self.spend.elapse(self._time)
        return self._taken()

    def advance(self, now: int) -> list[AlertEvent]:
        """Let time pass without samples and return what changed; `now` is the wall clock, Unix nanoseconds."""
        self._judge.wall = now
        if self._time:
            self._elapse(self._time + max(0, now - self._moved_at))
            if self.spend is not None:
                self.spend.elapse(self._time)
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
        former = old.watches()
        for _, watch in former:
            self._counters.keep(watch)
        self._plan = self._plan_of(rules, old)
        self._rules = tuple(rules)
        self._ancestry.extend(self._plan.inherited, self._followed)
        needs = needs_of(rules)
        self._waiting.widen(needs.labels, needs.numbers)
        self._set_leaves()
        kept = {id(alert) for watch in self._watches for alert in watch.alerts.values()}
        for subject, watch in former:
            for slot, alert in list(watch.alerts.items()):
                if id(alert) not in kept:
                    self._emit(self._judge.abandoned(subject, watch, slot, alert, self._time))
        for leaf in self._plan.leaves.values():
            leaf.resize()
            leaf.scheduled = None
            self._expiries.note(leaf)
            if leaf.window is not None:
                live = np.flatnonzero(leaf.window.samples(np.arange(leaf.groups.capacity)) > 0)
                self._emit(self._judge.drained(leaf, live, self._time, only_active=False))
        self._emit(self._expressions.restarted(self._time))
        return self._taken()

    # What is kept, and found again after a restart

    def freeze(self) -> dict[str, Frozen]:
        """Return the whole state as sections; to be called between other calls.

        This copies what is changed in place, and takes a few milliseconds. The sections' functions arrange the rest;
        they may be called later in another thread, one after another, while the engine goes on.
        """
        fields: dict[str, State] = {
            "format": self.FORMAT,
            "rules": _names(self._rules),
            "inherited": list(self._plan.inherited),
            "followed": list(self._ancestry.followed),
            "secret": int(self._secret.value),
            "time": self._time,
            "swept": self._swept,
        }
        return {
            "engine": lambda: fields,
            "usage": self._usage.freeze(),
            "counters": self._counters.freeze(),
            "seen": self._seen.freeze(),
            "evidence": self._judge.ring.freeze(),
            "judge": self._judge.freeze(self._watches),
            "trace rules": self._trace_rules.freeze(),
            "expiries": self._expiries.freeze(self._plan.leaves),
            "expressions": self._expressions.freeze(),
            "waiting": self._waiting.freeze(),
            **self._ancestry.freeze(),
            **self._plan.freeze(),
            **({} if self.spend is None else {"spend": self.spend.freeze()}),
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
        # A state from before live spend was counted, or without it, knows no labels but those that are inherited.
        self._make(tuple(inherited), tuple(own.texts("followed") if "followed" in own.names() else inherited))
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
        self._judge.thaw(state.part("judge"), self._plan.watches())
        self._time, self._swept = own.integer("time"), own.integer("swept")
        self._expiries.thaw(state.part("expiries"), self._plan.leaves)
        self._expressions.thaw(state.part("expressions"))
        if self.spend is not None:
            if "spend" in state.names():
                self.spend.thaw(state.part("spend"))
            self._ancestry.extend(self._plan.inherited, self._followed)
            self._set_leaves()

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
        slots, repeated, codes = self._ancestry.add(batch, keys, times)
        counted = ~repeated & (batch.span_class != SpanClass.DUPLICATE)
        paid = (
            (batch.span_class == SpanClass.LLM)
            | (batch.span_class == SpanClass.EMBEDDINGS)
            | (batch.span_class == SpanClass.USAGE)
        )
        billed = counted & paid
        self._bill(batch, keys, billed, codes)
        if not self._trace_rules.followed:
            self._ancestry.contribute(batch, keys, slots, billed)
        batch, missing = self._ancestry.inherit(batch, keys, slots)
        self._evaluate(View(batch, counted, missing))
        self._judge.since = self._time
        self._parking.retry(batch, slots)
        self._parking.park(batch, keys, slots, counted, missing)
        if self._trace_rules.followed:
            self._judge.since = before
            growth = Growth(self._ancestry.traces, slots, self._trace_rules.followed)
            self._ancestry.contribute(batch, keys, slots, billed, growth)
            self._emit(self._trace_rules.grown(growth, batch, times))
            self._emit(self._expressions.sampled(self._time))
            self._judge.since = self._time
            for leaf in self._trace_rules.leaves:
                self._expiries.note(leaf)

    def _bill(
        self,
        batch: SpanBatch,
        keys: Keys,
        billed: NDArray[np.bool_],
        codes: Mapping[str, NDArray[np.int32]] | None = None,
    ) -> None:
        """Count the rows of a batch that stand for paid calls; `codes` are of the ancestry's labels."""
        self._usage.add(batch, billed)
        if self.spend is not None:
            self.spend.take(batch, billed, keys, self._ancestry.codes_of(batch) if codes is None else codes)

    def _evaluate(self, view: View) -> None:
        occasion = Occasion(view.batch, self._judge.ring)
        for leaf in self._span_leaves:
            taken = leaf.take(view)
            if taken is not None:
                samples, rows = taken
                if self.heard is not None:
                    self.heard(leaf, samples)
                self._emit(self._judge.counted(leaf, samples, rows, occasion, self._time))
                self._expiries.note(leaf)
        self._emit(self._expressions.sampled(self._time))

    # Time

    def _next_due(self) -> int | None:
        """Return the next event time at which time alone changes something."""
        parts = self._expiries, self._expressions, self._ancestry.traces, self._judge
        return min((due for part in parts if (due := part.next_due) is not None), default=None)

    def _until(self, batch: SpanBatch, keys: Keys, row: int) -> int:
        """Return the event time before which samples from a row on may be taken together: time changes nothing."""
        # What these samples make due themselves comes after the reach at the soonest, or at an instant of the clock's.
        begin = int(batch.end[row])
        parts = self._expiries, self._expressions, self._judge
        periods = (calendar.bounds(max(begin, self._time))[1] for calendar in self._calendars)
        marks = (self._expressions.horizon(max(begin, self._time)), *(part.next_due for part in parts), *periods)
        until = min((begin + self._reach, *(mark for mark in marks if mark is not None)))
        due = self._ancestry.traces.next_due
        if due is not None and due < until:
            until = self._steady_until(batch, keys, row, due, until)
        return max(self._time + 1, until)

    def _steady_until(self, batch: SpanBatch, keys: Keys, row: int, due: int, until: int) -> int:
        """Return the event time before which samples from a row on may be taken though a trace is `due` before it.

        Where no rule is over traces, one that nobody waits for is complete without a consequence but for spans that
        come after its end: such a one is taken by itself.
        """
        end = int(np.searchsorted(batch.end, until, side="left"))
        if self._trace_rules.leaves or end <= row or batch.end[end - 1] < due:
            return due
        traces, ahead = self._ancestry.traces, row
        while True:  # mostly as far as that, and if not, little was looked up in vain
            ahead = min(end, row + max(_LOOK_AHEAD, 4 * (ahead - row)))
            goal = until if ahead == end else int(batch.end[ahead])
            times = np.maximum(batch.end[row:ahead], self._time)
            steady = traces.steady_until(keys.trace[row:ahead], times, goal, self._waiting.holds)
            if steady < goal or ahead == end:
                return max(due, steady)

    def _close(self, until: int) -> None:
        """Close the traces that were complete while samples up to `until` were taken, each at its instant."""
        traces = self._ancestry.traces
        while (due := traces.next_due) is not None and due <= until:
            self._complete(due)

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
        for leaf, at in self._expiries.reach(due, self._plan.leaves):
            touched = leaf.window.expire(at) if leaf.window is not None else []
            if touched:
                slots = np.unique(np.concatenate(touched))
                leaf.know(slots)
                leaf.widen(slots)
                self._emit(self._judge.drained(leaf, slots, at, only_active=_only_falls(leaf)))
                self._expressions.changed(leaf, slots)
        self._emit(self._expressions.elapsed(due))

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
            self._parking.release(parked)
        if self._trace_rules.leaves:
            self._emit(self._trace_rules.completed(done, self._time))
            self._emit(self._expressions.sampled(self._time))
            for leaf in self._trace_rules.leaves:
                self._expiries.note(leaf)

    def _sweep(self, time: int) -> None:
        """Forget groups whose samples have all left, and cooldowns that are over, once for each second of event time.

        Which are forgotten before anything else happens hangs on event time alone, not on how often the clock ticks.
        """
        second = time // _SWEEP_NS * _SWEEP_NS
        if second <= self._swept:
            return
        self._swept = second
        self._plan.forget(second)
        for watch in self._watches:
            watch.forget_cooldowns(second)

    # Giving out

    def _emit(self, events: Iterable[AlertEvent]) -> None:
        self._events.extend(events)

    def _taken(self) -> list[AlertEvent]:
        events, self._events = self._events, []
        return events

    @property
    def statistics(self) -> EngineStatistics:
        """What was counted since the start, and present sizes."""
        traces = self._ancestry.traces
        return self._counters.summed(
            self._watches,
            self._usage,
            overflow=sum(groups.overflowed for groups in self._plan.groups.values()),
            late_in_trace=traces.late_spans,
            open_traces=len(traces),
            waiting=self._waiting.rows,
        )

    def standing(self) -> dict[tuple[str, str], set[AlertState]]:
        """Return the states of the alerts of each rule (project, name) that has any which are not at rest."""
        found: dict[tuple[str, str], set[AlertState]] = {}
        for watch in self._watches:
            for alert in watch.alerts.values():
                found.setdefault(alert.rule.key, set()).add(alert.state)
        return found

    def values(self, now: int | None = None) -> Iterator[GroupValue]:
        """Yield what every rule with a window compares, group by group; to be read before the engine goes on.

        Args:
            now: event time, Unix nanoseconds, at which expressions that change with time alone are asked; None: the
                engine's. Windows are as they are.
        """
        return values_of(self._plan, self._time if now is None else now)


def _names(rules: Iterable[Rule]) -> list[list[str]]:
    return [[rule.project, rule.name, rule.version] for rule in rules]


def _only_falls(leaf: Leaf) -> bool:
    """Whether expiry can only end breaches, never begin one: only groups with an alert need be looked at then."""
    return leaf.key.storage == "integer" and all(
        watch.falls_to_zero and not watch.alerts_on_silence for watch in leaf.watches
    )
