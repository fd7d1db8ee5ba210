"""What a rule's value is over some samples, and what one span's value is: by brute force, in fractions.

- stddev is that of the population (division by n).
- rate is the sum per second of the window.
- A sum, count or rate of no samples is 0; every other aggregate of none is NaN.
- Choice: a span without the metric (no price, no such token count, no such attribute) is no sample of it. An unpriced
  call is counted beside the samples of a sum, count, rate or mean; of all else it is no sample either. A failed call
  for which no cost is due is a sample of 0 USD.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from samples import SECOND, Span

from tocsin.model.batch import CostSource, SpanClass
from tocsin.rules.rule import Aggregate, Metric, Rule, Sampling

__all__ = [
    "SCORES",
    "TOKENS",
    "Interval",
    "Sample",
    "aggregate_of",
    "is_sample_class",
    "pane_of",
    "value_of_span",
]

QUANTILE_ERROR = 0.01
SCORES = (Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT)
TOKENS = (
    Metric.TOKENS,
    Metric.INPUT_TOKENS,
    Metric.OUTPUT_TOKENS,
    Metric.CACHED_TOKENS,
    Metric.REASONING_TOKENS,
)
_BILLED = (Metric.COST, Metric.COST_PER_TRACE, Metric.UNPRICED_RATIO, Metric.COST_MISMATCH)
_ZERO_WHEN_EMPTY = (Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE)
_BOUNDED_BY_UNPRICED = (*_ZERO_WHEN_EMPTY, Aggregate.AVG)


@dataclass(frozen=True)
class Sample:
    """One value of a rule's metric, in the series of a group; `value` None: an unpriced call."""

    time: int
    value: Fraction | float | None
    trace: int
    weight: float = 1.0
    count: int = 1
    """0 for what a trace grew by before it grew again: a trace is one sample, when it grew last."""


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


def aggregate_of(rule: Rule, samples: Iterable[Sample]) -> Interval:
    """Return a rule's value over these samples, whatever their times."""
    everything = sorted(samples, key=lambda sample: sample.time)
    known = [sample for sample in everything if sample.value is not None]
    unpriced = len(everything) - len(known)
    values = [Fraction(sample.value) for sample in known if sample.value is not None]
    weights = [Fraction(sample.weight if rule.sampling is Sampling.ADJUST else 1) for sample in known]
    low, high = _bounds(rule, values, weights)
    if rule.aggregate is Aggregate.COUNT:
        low = high = low + unpriced  # Choice: a call without a price is still a call.
    return Interval(low, high, sum(sample.count for sample in known), unpriced)


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
                return rule.window_ns is None or rule.aggregate in _BOUNDED_BY_UNPRICED, None
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
        case _ if rule.metric in TOKENS:
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
    if rule.metric in SCORES or rule.metric is Metric.ATTRIBUTE:
        return True
    if rule.metric in _BILLED or rule.metric in TOKENS:
        # Choice: what is billed is not only LLM calls ("no embeddings left out").
        return span.span_class in (SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.USAGE)
    return span.span_class is SpanClass.LLM
