"""What rules measure and how: the words of the rule language as values."""

from enum import StrEnum

__all__ = ["Aggregate", "Condition", "Metric", "NoData", "Sampling", "Scope", "unit_text"]


class Scope(StrEnum):
    """What one sample of a rule is."""

    SPAN = "span"
    TRACE = "trace"


class Metric(StrEnum):
    """What is measured of a sample; units in the rule reference. ATTRIBUTE is any numeric one, by its key."""

    COST = "cost"
    LATENCY = "latency"
    ERROR_RATE = "error_rate"
    SUCCESS_RATE = "success_rate"
    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHED_TOKENS = "cached_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    COUNT = "count"
    COST_PER_TRACE = "cost_per_trace"
    TIME_TO_FIRST_TOKEN = "time_to_first_token"  # noqa: S105  # a metric's name, no secret
    JUDGE_SCORE = "judge_score"
    RELEVANCE_SCORE = "relevance_score"
    TOP_SCORE = "top_score"
    RETRIEVED_COUNT = "retrieved_count"
    UNPRICED_RATIO = "unpriced_ratio"
    COST_MISMATCH = "cost_mismatch"
    ATTRIBUTE = "attribute"
    EXPRESSION = "expression"
    """Not one of them: the rule has an `Expression`."""


class Aggregate(StrEnum):
    """How samples of a window become one value. QUANTILE is written p50 … p99.9, its rank is `quantile`."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    STDDEV = "stddev"
    RATE = "rate"
    LAST = "last"
    QUANTILE = "quantile"


class Condition(StrEnum):
    """How a value is compared with the threshold.

    ABSENT: a known series had no sample for the window. PRESENT: there is a value; what it is was compared before.
    """

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EQ = "eq"
    NE = "ne"
    ABSENT = "absent"
    PRESENT = "present"


class NoData(StrEnum):
    """What a window without samples means for an alert that was firing."""

    OK = "ok"
    ALERT = "alert"
    KEEP = "keep"


class Sampling(StrEnum):
    """Whether head-sampled spans count for those that were not sent."""

    ADJUST = "adjust"
    IGNORE = "ignore"


_UNITS = {
    Metric.COST: "USD",
    Metric.COST_PER_TRACE: "USD",
    Metric.LATENCY: "ms",
    Metric.TIME_TO_FIRST_TOKEN: "ms",
    Metric.ERROR_RATE: "ratio",
    Metric.SUCCESS_RATE: "ratio",
    Metric.UNPRICED_RATIO: "ratio",
    Metric.COST_MISMATCH: "ratio",
    Metric.COUNT: "samples",
    Metric.RETRIEVED_COUNT: "documents",
}


def unit_text(metric: Metric, aggregate: Aggregate) -> str:
    """Return the unit of an aggregate, for people.

    `USD`, `ms`, `ratio`, `tokens`, `samples` or nothing for attributes and scores; `/s` for rates.
    """
    base = "samples" if aggregate is Aggregate.COUNT else _UNITS.get(metric, "")
    if not base and metric.value.endswith("tokens"):
        base = "tokens"
    return f"{base}/s" if aggregate is Aggregate.RATE else base
