"""What rules mean, written down a second time: slow, obvious, and from the contract alone.

Every value is computed from the list of all samples, every decision from all spans that arrived. Only plain Python.
What the engine does fast is compared with this; see `tests/samples.py` for histories.

Where the contract leaves a choice, the one that is taken here is said at the place, marked `Choice:`.

- stddev is that of the population (division by n).
- rate is the sum per second of the window.
- A sum, count or rate of no samples is 0; every other aggregate of none is NaN.
- Choice: a span without the metric (no price, no such token count, no such attribute) is no sample of it. An unpriced
  call is counted beside the samples. A failed call for which no cost is due is a sample of 0 USD.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from oracle_alerts import Alert, Hits, Reading, Said
from samples import Span

from tocsin.model.batch import CostSource, SpanClass
from tocsin.rules.filters import Match
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Sampling, Scope

__all__ = ["Interval", "Oracle", "Sample", "aggregate_of", "pane_of"]

SECOND = 10**9
MAX_SKEW = 10 * SECOND
GRACE = 5 * SECOND
IDLE = 60 * SECOND
MAX_AGE = 3600 * SECOND
DEDUP = 600 * SECOND
QUANTILE_ERROR = 0.01

Group = tuple[str, ...]

_SCORES = (Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT)
_BILLED = (Metric.COST, Metric.COST_PER_TRACE, Metric.UNPRICED_RATIO, Metric.COST_MISMATCH)
_TOKENS = (
    Metric.TOKENS,
    Metric.INPUT_TOKENS,
    Metric.OUTPUT_TOKENS,
    Metric.CACHED_TOKENS,
    Metric.REASONING_TOKENS,
)
_ZERO_WHEN_EMPTY = (Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE)


@dataclass(frozen=True)
class Sample:
    """One value of a rule's metric, in the series of a group; `value` None: an unpriced call."""

    time: int
    value: Fraction | float | None
    trace: int
    weight: float = 1.0


@dataclass(frozen=True)
class Interval:
    """The values that are right: one number, or what the error of a sketch allows."""

    low: float
    high: float
    samples: int
    unpriced: int = 0

    def admits(self, value: float) -> bool:
        """Whether a float is right, to 1e-9 of its size."""
        if math.isnan(self.low):
            return math.isnan(value)
        slack = 1e-9 * max(abs(self.low), abs(self.high), 1e-9)
        return self.low - slack <= value <= self.high + slack


def pane_of(window_ns: int) -> int:
    """Return the longest pane that the contract allows."""
    return SECOND if window_ns <= 300 * SECOND else window_ns // 300


# --- values -----------------------------------------------------------------------------------------------------


def aggregate_of(rule: Rule, samples: Iterable[Sample]) -> Interval:
    """Return a rule's value over these samples, whatever their times."""
    everything = sorted(samples, key=lambda sample: sample.time)
    known = [sample for sample in everything if sample.value is not None]
    unpriced = len(everything) - len(known)
    values = [Fraction(sample.value) for sample in known if sample.value is not None]
    weights = [Fraction(sample.weight if rule.sampling is Sampling.ADJUST else 1) for sample in known]
    low, high = _bounds(rule, values, weights)
    return Interval(low, high, len(known), unpriced)


def _bounds(rule: Rule, values: list[Fraction], weights: list[Fraction]) -> tuple[float, float]:
    if not values:
        empty = 0.0 if rule.aggregate in _ZERO_WHEN_EMPTY else math.nan
        return empty, empty
    if rule.aggregate is Aggregate.QUANTILE:
        return _quantile(sorted(values), rule.quantile or 0.0)
    exact = _exact(rule, values, weights)
    return exact, exact


def _exact(rule: Rule, values: list[Fraction], weights: list[Fraction]) -> float:
    total = sum((value * weight for value, weight in zip(values, weights, strict=True)), Fraction(0))
    count = sum(weights, Fraction(0))
    mean = sum(values, Fraction(0)) / len(values)
    match rule.aggregate:
        case Aggregate.SUM:
            return float(total)
        case Aggregate.COUNT:
            return float(count)
        case Aggregate.RATE:
            return float(total / Fraction(rule.window_ns or SECOND, SECOND))
        case Aggregate.AVG:
            return float(total / count)
        case Aggregate.MIN:
            return float(min(values))
        case Aggregate.MAX:
            return float(max(values))
        case Aggregate.STDDEV:
            return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        case Aggregate.LAST:
            return float(values[-1])
        case _:
            raise AssertionError(rule.aggregate)


def _quantile(values: list[Fraction], rank: float) -> tuple[float, float]:
    # The sketch gives a value within 1 % of the sample at the rank; between two samples either is right.
    place = rank * (len(values) - 1)
    ends = [float(values[math.floor(place)]), float(values[math.ceil(place)])]
    low = min(end - abs(end) * QUANTILE_ERROR for end in ends)
    return low, max(end + abs(end) * QUANTILE_ERROR for end in ends)


def value_of_span(rule: Rule, span: Span) -> tuple[bool, Fraction | float | None]:
    """Return whether a span is a sample of the rule's metric, and its value in the metric's unit."""
    number: float | None
    match rule.metric:
        case Metric.COST | Metric.COST_PER_TRACE:
            if span.cost_source is CostSource.UNPRICED:
                return True, None
            return True, Fraction(span.cost_nano, 10**9)
        case Metric.UNPRICED_RATIO:
            return True, Fraction(span.cost_source is CostSource.UNPRICED)
        case Metric.LATENCY:
            return True, Fraction(span.latency, 10**6)
        case Metric.ERROR_RATE:
            return True, Fraction(span.failed)
        case Metric.SUCCESS_RATE:
            return True, Fraction(not span.failed)
        case Metric.COUNT:
            return True, Fraction(1)
        case Metric.TIME_TO_FIRST_TOKEN:
            return not math.isnan(span.ttft_ms), span.ttft_ms
        case _ if rule.metric in _TOKENS:
            return _tokens(rule.metric, span)
        case _:
            number = span.numbers.get(rule.attribute or rule.metric.value)
            return number is not None and math.isfinite(number), number


def _tokens(metric: Metric, span: Span) -> tuple[bool, Fraction]:
    if metric is Metric.TOKENS:
        # Choice: a side that is unknown counts as none, if the other is known.
        known = span.input_tokens >= 0 or span.output_tokens >= 0
        return known, Fraction(max(span.input_tokens, 0) + max(span.output_tokens, 0))
    count = {
        Metric.INPUT_TOKENS: span.input_tokens,
        Metric.OUTPUT_TOKENS: span.output_tokens,
        Metric.CACHED_TOKENS: span.cache_read_tokens,
        Metric.REASONING_TOKENS: span.reasoning_tokens,
    }[metric]
    return count >= 0, Fraction(count)


def is_sample_class(rule: Rule, span: Span) -> bool:
    """Whether the rule looks at spans of this class."""
    if span.span_class is SpanClass.DUPLICATE:
        return False
    if rule.spans is not None:
        return span.span_class in rule.spans
    if rule.metric in _SCORES or rule.metric is Metric.ATTRIBUTE:
        return True
    if rule.metric in _BILLED or rule.metric in _TOKENS:
        # Choice: what is billed is not only LLM calls ("no embeddings left out").
        return span.span_class in (SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.USAGE)
    return span.span_class is SpanClass.LLM


# --- spans and traces -------------------------------------------------------------------------------------------


@dataclass
class Trace:
    """The spans of one trace, in order of arrival."""

    id: int
    first_clock: int
    spans: list[Span] = field(default_factory=list)
    last_clock: int = 0
    completed: bool = False
    counted: set[int] = field(default_factory=set)
    """Ids of the LLM spans that are calls of their own."""

    def ancestors(self, span: Span) -> list[Span]:
        """Return the known ancestors, the nearest first; a chain ends where a span is missing (or repeats)."""
        by_id = {known.span: known for known in self.spans}
        chain: list[Span] = []
        seen = {span.span}
        parent = by_id.get(span.parent)
        while parent is not None and parent.span not in seen:
            chain.append(parent)
            seen.add(parent.span)
            parent = by_id.get(parent.parent)
        return chain

    def label(self, span: Span, name: str) -> str | None:
        """Return a label of a span: its own, that of its nearest ancestor, that of any span of the trace."""
        if name == "trace":
            return f"{self.id:032x}"
        for candidate in (span, *self.ancestors(span), *self.spans):
            if name in candidate.labels:
                return candidate.labels[name]
        return None

    def count_calls(self, batch: Sequence[Span]) -> None:
        """Decide which LLM spans of a batch are calls: of two nested ones, one.

        Choice: the inner one where both arrive together, else the one that arrived first.
        """
        calls = [span for span in batch if span.span_class is SpanClass.LLM]
        for span in sorted(calls, key=lambda span: -len(self.ancestors(span))):
            above = {ancestor.span for ancestor in self.ancestors(span)}
            below = {known.span for known in self.spans if span in self.ancestors(known)}
            if not (above | below) & self.counted:
                self.counted.add(span.span)

    def calls(self) -> list[Span]:
        """Return the spans whose usage is the trace's."""
        billed = (SpanClass.EMBEDDINGS, SpanClass.USAGE)
        return [span for span in self.spans if span.span in self.counted or span.span_class in billed]

    @property
    def root(self) -> Span | None:
        """The root span, once it arrived."""
        return next((span for span in self.spans if span.parent == 0), None)

    @property
    def time(self) -> int:
        """Choice: the event time of a trace is the end of its last span."""
        return max(span.time for span in self.spans)

    @property
    def complete_at(self) -> int:
        """The clock at which it will be complete if nothing more comes."""
        quiet = GRACE if self.root is not None else IDLE
        return min(self.last_clock + quiet, self.first_clock + MAX_AGE)

    def failed(self) -> bool:
        """Whether the root failed, or a call that no later attempt of the same parent made good."""
        if self.root is not None and self.root.failed:
            return True
        calls = [span for span in self.spans if span.span in self.counted]
        return any(
            span.failed
            and not any(other.parent == span.parent and other.time > span.time and not other.failed for other in calls)
            for span in calls
        )

    def latency_ns(self) -> int:
        """Return the root's duration, else the extent so far."""
        if self.root is not None:
            return self.root.latency
        return max(span.time for span in self.spans) - min(span.start for span in self.spans)


def value_of_trace(rule: Rule, trace: Trace) -> tuple[bool, Fraction | float | None, int]:
    """Return whether a trace is a sample, its value as far as known, and how many of its calls are unpriced."""
    match rule.metric:
        case Metric.LATENCY:
            return True, Fraction(trace.latency_ns(), 10**6), 0
        case Metric.ERROR_RATE:
            return True, Fraction(trace.failed()), 0
        case Metric.SUCCESS_RATE:
            return True, Fraction(not trace.failed()), 0
        case Metric.COUNT:
            return True, Fraction(1), 0
        case _:
            pass
    used = trace.spans if rule.metric in _SCORES or rule.metric is Metric.ATTRIBUTE else trace.calls()
    found = [value for there, value in (value_of_span(rule, span) for span in used) if there]
    known = [Fraction(value) for value in found if value is not None]
    if not found:
        return False, None, 0
    if rule.metric in _SCORES:
        return True, sum(known, Fraction(0)) / len(known), 0
    return True, sum(known, Fraction(0)), len(found) - len(known)


def grows_truer(rule: Rule) -> bool:
    """Whether the condition on a trace can only become truer as the trace grows."""
    above = rule.condition in (Condition.GT, Condition.GTE)
    if rule.metric is Metric.SUCCESS_RATE:
        return rule.condition in (Condition.LT, Condition.LTE)
    # Choice: an error counts at once, also where a later attempt may make it good.
    grows = (Metric.COST, Metric.LATENCY, Metric.ERROR_RATE, *_TOKENS)
    return above and rule.metric in grows


def is_sample(rule: Rule, span: Span, trace: Trace) -> bool:
    """Whether a span is a sample of a rule on spans: by its class, its value, and as no repeat of another call."""
    if not is_sample_class(rule, span) or not value_of_span(rule, span)[0]:
        return False
    scored = rule.metric in _SCORES or rule.metric is Metric.ATTRIBUTE
    return scored or span.span_class is not SpanClass.LLM or span.span in trace.counted


# --- the whole --------------------------------------------------------------------------------------------------


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
                trace.completed |= trace.complete_at <= moment
            for series in self.series.values():
                said += self._judge(series, moment)
            if moment == after:
                return said

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
        for group, samples in series.samples.items():
            if group not in series.alerts and all(sample.time > moment for sample in samples):
                continue  # not known yet
            alert = series.alerts.setdefault(group, Alert(rule, group))
            found = series.value(group, moment)
            said += alert.step(Reading(found.low, found.samples, found.unpriced), moment)
        return said

    def _trace_samples(self, series: _Series, moment: int) -> None:
        """Make the samples of a rule on traces anew, from the traces as they are."""
        rule = series.rule
        series.samples = {group: [] for group in series.samples}
        for trace in self.traces.values():
            if not (trace.completed or grows_truer(rule)) or not trace.spans:
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
                # One trace is one hit, and another only where it reaches a higher level.
                series.judged[trace.id] = level
                hits.offer(moment, value)
