"""What rules mean, written down a second time: slow, obvious, and from the contract alone.

Every value is computed from the list of all samples, every decision from all spans that arrived. Only plain Python.
What the engine does fast is compared with this; see `samples.py` for histories, `oracle_values.py`, `oracle_traces.py`
and `oracle_alerts.py` for the parts. Where the contract leaves a choice, the one that is taken is said at the place,
marked `Choice:`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from oracle_alerts import Alert, Hits, Reading, Said
from oracle_traces import Trace, counts_growth, grows_truer, is_sample, value_of_trace
from oracle_values import Interval, Sample, aggregate_of, pane_of, value_of_span
from samples import SECOND, Span

from tocsin.rules.filters import Match
from tocsin.rules.rule import Rule, Scope

__all__ = ["Group", "Oracle"]

MAX_SKEW = 10 * SECOND
DEDUP = 600 * SECOND

Group = tuple[str, ...]


@dataclass
class _Pending:
    span: Span
    trace: Trace


class _Series:
    """One rule: its samples by group, and an alert each."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.samples: dict[Group, list[Sample]] = {}
        self.alerts: dict[Group, Alert] = {}
        self.hits: dict[Group, Hits] = {}
        self.waiting: list[_Pending] = []
        self.judged: dict[int, int] = {}
        """Trace -> the level that it reached, for rules without a window."""
        self.grown: dict[int, tuple[Group, list[Sample]]] = {}
        """Trace -> its group and what it grew by, for rules that count growth."""

    def admit(self, trace: Trace, span: Span) -> Group | None:
        """Return the group of a sample, None where a label is not known yet; raises LookupError if filtered out."""
        for each in self.rule.filters:
            label = trace.label(span, each.label)
            if label is None and _needs_label(each.matches):
                return None
            if not each.accepts(label):
                raise LookupError
        # Choice: alternatives do not wait; the first that is known when the sample is counted counts.
        group = [
            next((label for name in names if (label := trace.label(span, name)) is not None), None)
            for names in self.rule.group_by
        ]
        return None if None in group else tuple(label for label in group if label is not None)

    def value(self, group: Group, clock: int, start: int | None = None) -> Interval:
        """Return the value of `(start, clock]`; `start` None: the exact window."""
        window = self.rule.window_ns or 0
        begin = clock - window if start is None else start
        inside = [sample for sample in self.samples.get(group, []) if begin < sample.time <= clock]
        return aggregate_of(self.rule, inside)


def _needs_label(matches: Sequence[Match]) -> bool:
    # Choice: a filter that only excludes does not wait for a label; a span without it passes.
    return any(not match.negated for match in matches)


class Oracle:
    """The engine's contract, by brute force: the same two calls."""

    def __init__(self, rules: Sequence[Rule], *, each_sample: bool = False) -> None:
        """Begin with nothing.

        Args:
            rules: names are distinct.
            each_sample: judge at the time of every sample, as if each span were a request of its own; else, as the
                contract says, at the clock after each batch, and at the moments when time alone changes something.
        """
        self.clock = 0
        self.each_sample = each_sample
        self.late: dict[str, tuple[int, int]] = {rule.name: (0, 0) for rule in rules}
        """Samples that came too late to count: surely, and at most (a pane may still have taken the others)."""
        self.traces: dict[int, Trace] = {}
        self.series = {rule.name: _Series(rule) for rule in rules}
        self.seen: dict[tuple[int, int], int] = {}
        self.duplicates = 0
        self.ungrouped = 0
        """Samples that never got a label that their rule groups or filters by."""

    def value(self, rule: Rule, group: Group = (), at: int | None = None) -> Interval:
        """Return the value of one series over the exact window that ends at `at` (None: now)."""
        return self.series[rule.name].value(group, self.clock if at is None else at)

    def admissible(self, rule: Rule, group: Group = (), at: int | None = None) -> list[Interval]:
        """Return the value for every start that panes may give the window: never later, earlier by at most a pane."""
        clock = self.clock if at is None else at
        window = rule.window_ns or 0
        latest, earliest = clock - window, clock - window - pane_of(window)
        times = {sample.time for sample in self.series[rule.name].samples.get(group, [])}
        starts = sorted({earliest, latest} | {time for time in times if earliest <= time <= latest})
        return [self.series[rule.name].value(group, clock, start) for start in starts]

    def ingest(self, spans: Sequence[Span], now: int) -> list[Said]:
        """Count a batch that arrived at `now`, wall clock, and return what is to be said."""
        before = self.clock
        fresh = [span for span in spans if self._first_time(span, now)]
        # A sample from too far in the future is counted at the clock, which it pulls no further than the skew.
        timely = [replace(span, time=min(span.time, now + MAX_SKEW)) for span in fresh]
        times = sorted(span.time for span in timely)
        self.clock = max([before, *times])
        first = max(before, times[0] - 1) if times else before
        said = self._pass_time(before, first) if before else []
        self._add(timely)
        for series in self.series.values():
            self._count(series, timely, before)
        return said + self._pass_time(first, self.clock, times if self.each_sample else ())

    def advance(self, now: int) -> list[Said]:
        """Let time pass without input."""
        before = self.clock
        self.clock = max(self.clock, now)
        return self._pass_time(before, self.clock)

    def _first_time(self, span: Span, now: int) -> bool:
        key = (span.trace, span.span)
        duplicate = key in self.seen and now - self.seen[key] <= DEDUP
        self.duplicates += duplicate
        if not duplicate:
            self.seen[key] = now
        return not duplicate

    def _add(self, spans: Sequence[Span]) -> None:
        touched: dict[int, list[Span]] = {}
        for span in spans:
            trace = self.traces.setdefault(span.trace, Trace(span.trace, self.clock))
            if trace.completed and any(series.rule.scope is Scope.TRACE for series in self.series.values()):
                continue  # it reopens nothing
            trace.spans.append(span)
            trace.last_clock = self.clock
            touched.setdefault(span.trace, []).append(span)
        for trace_id, batch in touched.items():
            self.traces[trace_id].count_calls(batch)

    def _count(self, series: _Series, spans: Sequence[Span], before: int) -> None:
        if series.rule.scope is Scope.TRACE:
            return  # traces are judged as they stand, in _trace_samples
        series.waiting += [
            _Pending(span, self.traces[span.trace])
            for span in spans
            if span.trace in self.traces and is_sample(series.rule, span, self.traces[span.trace])
        ]
        still: list[_Pending] = []
        ready: list[tuple[Group, Sample]] = []
        for pending in series.waiting:
            try:
                group = series.admit(pending.trace, pending.span)
            except LookupError:
                continue
            if group is None:
                still.append(pending)
                continue
            span, value = pending.span, value_of_span(series.rule, pending.span)[1]
            ready.append((group, Sample(span.time, value, span.trace, span.adjusted_count)))
        series.waiting = still
        for group, sample in sorted(ready, key=lambda each: each[1].time):
            if not self._too_late(series.rule, sample, before):
                series.samples.setdefault(group, []).append(sample)
                series.hits.setdefault(group, Hits(series.rule, group)).offer(sample.time, sample.value)

    def _too_late(self, rule: Rule, sample: Sample, before: int) -> bool:
        if rule.window_ns is None:
            return False
        # A batch that is longer than the window is late against itself, if at all, only by its own end.
        surely = sample.time <= before - rule.window_ns - pane_of(rule.window_ns)
        perhaps = sample.time <= self.clock - rule.window_ns
        least, most = self.late[rule.name]
        self.late[rule.name] = (least + surely, most + perhaps)
        return surely

    def _pass_time(self, before: int, after: int, stops: Iterable[int] = ()) -> list[Said]:
        """Say what happens in (before, after], moment by moment; judge at `after` in any case."""
        said: list[Said] = []
        moment = before
        while True:
            moment = min([after, *(due for due in (*self._dues(), *stops) if moment < due < after)])
            for trace in self.traces.values():
                if not trace.completed and trace.complete_at <= moment:
                    trace.completed = True
                    self._give_up(trace)
            for series in self.series.values():
                said += self._judge(series, moment)
            if moment == after:
                return said

    def _give_up(self, trace: Trace) -> None:
        """Choice: a sample waits for a label until its trace is complete; then it belongs to no group."""
        for series in self.series.values():
            kept = [pending for pending in series.waiting if pending.trace is not trace]
            self.ungrouped += len(series.waiting) - len(kept)
            series.waiting = kept

    def _dues(self) -> Iterable[int]:
        """Return the moments at which something may change without a new span."""
        for series in self.series.values():
            window = series.rule.window_ns
            for samples in series.samples.values() if window is not None else ():
                yield from (sample.time + (window or 0) for sample in samples)
            for alert in series.alerts.values():
                yield from alert.dues()
            for hits in series.hits.values():
                yield from hits.dues()
        yield from (trace.complete_at for trace in self.traces.values() if not trace.completed)

    def _judge(self, series: _Series, moment: int) -> list[Said]:
        rule = series.rule
        if rule.scope is Scope.TRACE:
            self._trace_samples(series, moment)
        said: list[Said] = []
        if rule.window_ns is None:
            for hits in series.hits.values():
                said += hits.step(moment)
            return said
        for group in series.samples:
            found = series.value(group, moment)
            if group not in series.alerts and not found.samples + found.unpriced:
                continue  # Choice: a series is known from its first sample that is not late.
            alert = series.alerts.setdefault(group, Alert(rule, group))
            said += alert.step(Reading(found.low, found.samples + found.unpriced), moment)
        return said

    def _trace_samples(self, series: _Series, moment: int) -> None:
        """Make the samples of a rule on traces anew, from the traces as they are."""
        rule = series.rule
        if counts_growth(rule):
            self._growth(series, moment)
            return
        series.samples = {group: [] for group in series.samples}
        for trace in self.traces.values():
            # Choice: in a window only sums count what is not complete (see `counts_growth`).
            early = rule.window_ns is None and grows_truer(rule, trace)
            if not (trace.completed or early) or not trace.spans:
                continue
            there, value, _ = value_of_trace(rule, trace)
            try:
                group = series.admit(trace, trace.root or trace.spans[0]) if there else None
            except LookupError:
                continue
            if group is None:
                continue
            sample = Sample(trace.time, value, trace.id)
            series.samples.setdefault(group, []).append(sample)
            hits = series.hits.setdefault(group, Hits(rule, group))
            level = hits.level_of(value)
            if level is not None and level > series.judged.get(trace.id, -1):
                # One trace is one hit, that of a higher level once it reaches that.
                hits.offer(moment, value, further=trace.id not in series.judged)
                series.judged[trace.id] = level
            elif level is not None and not trace.settled:
                hits.grown(value)
            trace.settled = trace.completed

    def _growth(self, series: _Series, moment: int) -> None:
        """Count what traces grew by since the last moment; a trace is one sample, at the time when it grew last."""
        for trace in self.traces.values():
            known = series.grown.get(trace.id)
            if known is None:
                try:
                    group = series.admit(trace, trace.root or trace.spans[0]) if trace.spans else None
                except LookupError:
                    continue
                if group is None:
                    continue
            else:
                group = known[0]
            parts = [] if known is None else known[1]
            value = value_of_trace(series.rule, trace)[1] or 0
            grown = Fraction(value) - sum((Fraction(part.value or 0) for part in parts), Fraction(0))
            if grown > 0 or known is None:
                parts = [*(replace(part, count=0) for part in parts), Sample(moment, grown, trace.id)]
            series.grown[trace.id] = group, parts
        series.samples = {group: [] for group in series.samples}
        for group, parts in series.grown.values():
            series.samples.setdefault(group, []).extend(parts)
