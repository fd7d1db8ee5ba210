"""What a trace is while it grows, when it is done, and what of it is inherited: by walking all its spans each time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile

from oracle_values import SCORES, TOKENS, is_sample_class, value_of_span
from samples import SECOND, Span

from tocsin.model.batch import CostSource, SpanClass
from tocsin.rules.rule import Aggregate, Condition, Metric, Rule, Scope

__all__ = ["Trace", "counts_growth", "grows_truer", "is_sample", "value_of_trace"]

GRACE = 5 * SECOND
IDLE = 60 * SECOND
MAX_AGE = 3600 * SECOND
_COSTS = (Metric.COST, Metric.COST_PER_TRACE)


@dataclass
class Trace:
    """The spans of one trace, in order of arrival."""

    id: int
    first_clock: int
    spans: list[Span] = field(default_factory=list)
    last_clock: int = 0
    completed: bool = False
    settled: bool = False
    """It was judged as complete: it grows no more."""
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

        Choice: the inner one where both arrive together, else the one that arrived first. What a tool or an agent
        calls by itself repeats nothing that is above it.
        """
        calls = [span for span in batch if span.span_class is SpanClass.LLM]
        for span in sorted(calls, key=lambda span: -len(self.ancestors(span))):
            above = {ancestor.span for ancestor in self._around(span)}
            below = {known.span for known in self.spans if span in self._around(known)}
            if not (above | below) & self.counted:
                self.counted.add(span.span)

    def _around(self, span: Span) -> list[Span]:
        """Return the ancestors that may repeat a span's usage: those below the nearest tool or agent."""
        own = (SpanClass.TOOL, SpanClass.AGENT)
        return list(takewhile(lambda ancestor: ancestor.span_class not in own, self.ancestors(span)))

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
            and not any(other.parent == span.parent and other.time >= span.time and not other.failed for other in calls)
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
    used = trace.spans if rule.metric in SCORES or rule.metric is Metric.ATTRIBUTE else trace.calls()
    found = [value for there, value in (value_of_span(rule, span) for span in used) if there]
    known = [Fraction(value) for value in found if value is not None]
    if not found and (rule.metric in SCORES or rule.metric is Metric.ATTRIBUTE):
        return False, None, 0
    scored = rule.metric in SCORES
    if scored or rule.metric is Metric.ATTRIBUTE:
        # "sum, mean, min, max by `aggregate`", for scores "mean, min". Choice: mean where the aggregate is another.
        match rule.aggregate:
            case Aggregate.SUM if not scored:
                return True, sum(known, Fraction(0)), 0
            case Aggregate.MIN:
                return True, min(known), 0
            case Aggregate.MAX if not scored:
                return True, max(known), 0
            case _:
                return True, sum(known, Fraction(0)) / len(known), 0
    total = sum(known, Fraction(0))
    unpriced = sum(span.cost_source is CostSource.UNPRICED for span in used) if rule.metric in _COSTS else 0
    if unpriced and not total and rule.metric in _COSTS:
        # Choice: a trace of which no call has a price is unpriced itself, never 0 USD.
        first = next(span for span in used if span.cost_source is CostSource.UNPRICED)
        return value_of_span(rule, first)[0], None, unpriced
    # Choice: every trace is a sample of cost and tokens; the sum over no calls is 0.
    return True, total, unpriced


def counts_growth(rule: Rule) -> bool:
    """Whether a rule over traces in a window counts what a trace grows by, as it grows.

    Choice: so it is for sums of what only grows, above a threshold; each other value of a trace counts at its end.
    """
    rising = rule.aggregate is Aggregate.SUM and rule.condition in (Condition.GT, Condition.GTE)
    return rule.scope is Scope.TRACE and rule.window_ns is not None and rising and rule.metric in (*_COSTS, *TOKENS)


def grows_truer(rule: Rule, trace: Trace) -> bool:
    """Whether the condition on a trace can only become truer as the trace grows."""
    above = rule.condition in (Condition.GT, Condition.GTE)
    below = rule.condition in (Condition.LT, Condition.LTE)
    if (rule.metric is Metric.ERROR_RATE and above) or (rule.metric is Metric.SUCCESS_RATE and below):
        # Choice: a failed root is final; the failure of a call is not, for a later attempt may make it good.
        return trace.root is not None and trace.root.failed
    return above and rule.metric in (Metric.COST, Metric.LATENCY, *TOKENS)


def is_sample(rule: Rule, span: Span, trace: Trace) -> bool:
    """Whether a span is a sample of a rule on spans: by its class, its value, and as no repeat of another call."""
    if not is_sample_class(rule, span) or not value_of_span(rule, span)[0]:
        return False
    scored = rule.metric in SCORES or rule.metric is Metric.ATTRIBUTE
    return scored or span.span_class is not SpanClass.LLM or span.span in trace.counted
