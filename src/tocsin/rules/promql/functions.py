"""PromQL's functions: what each becomes, and why the others can't be.

Source: Prometheus documentation, "Query functions".
"""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from tocsin.rules.measures import Aggregate
from tocsin.rules.vector import Combining, Function

__all__ = ["COMBINING", "ELEMENTWISE", "OVER_TIME", "REFUSED_AGGREGATIONS", "SUPPORTED", "advice_for"]

OVER_TIME: Mapping[str, Aggregate] = MappingProxyType(
    {
        "avg_over_time": Aggregate.AVG,
        "min_over_time": Aggregate.MIN,
        "max_over_time": Aggregate.MAX,
        "sum_over_time": Aggregate.SUM,
        "count_over_time": Aggregate.COUNT,
        "stddev_over_time": Aggregate.STDDEV,
        "last_over_time": Aggregate.LAST,
        "increase": Aggregate.SUM,
        "rate": Aggregate.RATE,
    }
)
"""Functions of a range that are one aggregate of its samples."""

ELEMENTWISE: Mapping[str, Function] = MappingProxyType(
    {
        "abs": Function.ABS,
        "ceil": Function.CEIL,
        "floor": Function.FLOOR,
        "round": Function.ROUND,
        "clamp_min": Function.CLAMP_MIN,
        "clamp_max": Function.CLAMP_MAX,
        "clamp": Function.CLAMP,
        "sqrt": Function.SQRT,
        "exp": Function.EXP,
        "ln": Function.LN,
        "log2": Function.LOG2,
        "log10": Function.LOG10,
        "sgn": Function.SGN,
        "vector": Function.VECTOR,
        "scalar": Function.SCALAR,
    }
)
"""Functions of one vector, and scalars."""

COMBINING: Mapping[str, Combining] = MappingProxyType({combining.value: combining for combining in Combining})
"""Aggregations."""

REFUSED_AGGREGATIONS: Mapping[str, str] = MappingProxyType(
    {
        "count_values": "its labels are numbers that nobody named; compare with each value: count(… == 1)",
        "limitk": "it keeps any elements; use topk or bottomk, which say which",
        "limit_ratio": "it keeps any elements; use topk or bottomk, which say which",
    }
)

SUPPORTED: tuple[str, ...] = (
    *OVER_TIME,
    *ELEMENTWISE,
    *("stdvar_over_time", "quantile_over_time", "present_over_time", "absent_over_time", "absent"),
    *("histogram_quantile", "time", "pi", "sort", "sort_desc"),
)

_RESETS = "a span's number is no counter that is scraped; use rate or increase, which see every span"
_SLOPE = "no window keeps a line through its samples; compare two windows, the second with offset"
_CLOCK = "a rule is judged whatever the time is; use mute timings of contact points"
_TRIGONOMETRY = "rules have no trigonometry; of these functions there are abs, sqrt, exp, ln, log2 and log10"
_LABELS = "labels keep the names that spans give them; use short names, or `attributes:` in the configuration"
_HISTOGRAM = "spans have values, not histograms; use histogram_quantile or quantile_over_time"
_INSTANTS = "no window keeps when its samples came; use absent_over_time, or last_over_time"

_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "irate": "the last two samples are two calls, not two scrapes; use rate over a short range, like rate(…[1m])",
        "idelta": "the last two samples are two calls, not two scrapes; compare avg_over_time of two windows",
        "delta": "samples are single calls, no gauge's course; compare avg_over_time(…[5m]) with the same and offset",
        "deriv": _SLOPE,
        "predict_linear": f"{_SLOPE}; for budgets there is `forecast: true`",
        "double_exponential_smoothing": "no window smooths; use avg_over_time, or `baseline:`",
        "holt_winters": "no window smooths; use avg_over_time, or `baseline:`",
        "changes": _RESETS,
        "resets": _RESETS,
        "label_replace": _LABELS,
        "label_join": _LABELS,
        "mad_over_time": "use stddev_over_time, or quantile_over_time(0.75, …) - quantile_over_time(0.25, …)",
        "first_over_time": "no window keeps its first sample; use last_over_time with offset",
        "timestamp": _INSTANTS,
        **dict.fromkeys(
            (
                "ts_of_max_over_time",
                "ts_of_min_over_time",
                "ts_of_last_over_time",
                "ts_of_first_over_time",
            ),
            _INSTANTS,
        ),
        **dict.fromkeys(
            ("day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"), _CLOCK
        ),
        **dict.fromkeys(
            (
                *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
                *("deg", "rad"),
            ),
            _TRIGONOMETRY,
        ),
        **dict.fromkeys(
            (
                *("histogram_avg", "histogram_count", "histogram_sum", "histogram_fraction", "histogram_quantiles"),
                *("histogram_stddev", "histogram_stdvar"),
            ),
            _HISTOGRAM,
        ),
        "sort_by_label": "the order of elements means nothing in a rule; leave it out",
        "sort_by_label_desc": "the order of elements means nothing in a rule; leave it out",
        "info": "there are no info metrics; spans have their resource's attributes, so name them as labels",
        **dict.fromkeys(("start", "end", "range", "step"), "a rule is judged at one instant; write the duration out"),
    }
)


def advice_for(name: str) -> str:
    """Return why a function can't be used in a rule, and what can."""
    if name in _ADVICE:
        return f"{name}() has no equivalent: {_ADVICE[name]}"
    near = get_close_matches(name, (*SUPPORTED, *COMBINING), n=1)
    hint = f"did you mean {near[0]}()?" if near else f"there are {', '.join(sorted(SUPPORTED))}"
    return f"no function is called {name}(); {hint}"
