"""Hypothesis strategies for PromQL that means the same over spans as over series that are scraped of them.

Samples come every ten seconds, five after the instants at which expressions are judged, so that windows end alike
however they are cut. `g` and `h` are gauges, one sample a span. `c` is what spans add to counters: Prometheus sees the
counters `c_sum`, `c_total` and `c_count`, and what it extrapolates to a window's ends is exact because each series
grows by the same at each sample.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["GRID", "MODELS", "TENANTS", "Written", "expressions"]

GRID = 10
"""Seconds from sample to sample, and from instant to instant."""
MODELS = ("alpha", "beta", "gamma")
TENANTS = ("x", "y")

_RANGES = ("10s", "30s", "1m", "2m", "200s", "5m")
_OFFSETS = ("", "", "", " offset 30s", " offset 1m40s")
_MATCHERS = (
    *("", "", "", ""),
    '{model="alpha"}',
    '{model!="alpha"}',
    '{model=~"al.*|beta"}',
    '{tenant!~"x|z"}',
    '{model=~"be.*", tenant="y"}',
    '{model!="", region=""}',
    '{region!="eu"}',
)
_OVER_TIME = ("avg", "min", "max", "sum", "count", "stddev", "stdvar", "last", "present")
_BOTH = ("model", "tenant")


@dataclass(frozen=True)
class Written:
    """An expression's text, and the labels that its elements have."""

    text: str
    labels: frozenset[str]


@st.composite
def _leaves(draw: st.DrawFn) -> Written:
    matchers = draw(st.sampled_from(_MATCHERS))
    window = draw(st.sampled_from(_RANGES))
    offset = draw(st.sampled_from(_OFFSETS))
    gauge = draw(st.sampled_from("gh"))
    over_time = draw(st.sampled_from(_OVER_TIME))
    counter = draw(st.sampled_from(("c_sum", "c_total", "c_count")))
    # Prometheus reads nothing into a window with a single sample of a counter.
    wide = draw(st.sampled_from(_RANGES[1:]))
    text = draw(
        st.sampled_from(
            (
                f"{gauge}{matchers}{offset}",
                f"{over_time}_over_time({gauge}{matchers}[{window}]{offset})",
                f"{over_time}_over_time({gauge}{matchers}[{window}]{offset})",
                f"quantile_over_time({draw(st.sampled_from(('0', '0.25', '0.9', '1')))}, {gauge}{matchers}[{window}])",
                f"{draw(st.sampled_from(('rate', 'increase')))}({counter}{matchers}[{wide}]{offset})",
            )
        )
    )
    return Written(text, frozenset(_BOTH))


_NUMBERS = st.sampled_from(("0", "1", "2.7182", "-3.3317", "0.1234", "1e3", "NaN", "Inf", "0x1F", "(2 * 3.1)"))
_SCALARS = st.one_of(_NUMBERS, _NUMBERS, st.just("time() / 1e9"), st.just("scalar(sum(increase(c_sum[1m])))"))
_ARITHMETIC = st.sampled_from(("+", "-", "*", "/", "%", "^", "atan2"))
_COMPARISONS = st.sampled_from(("==", "!=", ">", "<", ">=", "<="))
_FUNCTIONS = ("abs", "ceil", "floor", "round", "sgn", "sqrt", "exp", "ln", "log2", "log10", "-", "sort")


@st.composite
def _of_one(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    vector = draw(inner)
    function = draw(st.sampled_from(_FUNCTIONS))
    low, high = draw(_NUMBERS), draw(_NUMBERS)
    text = draw(
        st.sampled_from(
            (
                f"{function}({vector.text})",
                f"{function}({vector.text})",
                f"round({vector.text}, 0.5)",
                f"clamp_min({vector.text}, {low})",
                f"clamp_max({vector.text}, {high})",
                f"clamp({vector.text}, {low}, {high})",
            )
        )
    )
    return Written(text, vector.labels)


@st.composite
def _aggregations(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    vector = draw(inner)
    named = draw(st.lists(st.sampled_from(_BOTH), unique=True, max_size=2))
    word = draw(st.sampled_from(("by", "without", "")))
    kept = {"by": vector.labels & set(named), "without": vector.labels - set(named), "": frozenset[str]()}[word]
    clause = f" {word} ({', '.join(named)})" if word else ""
    operator = draw(
        st.sampled_from(
            ("sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "quantile", "topk", "bottomk", "sum")
        )
    )
    parameter = {"quantile": "0.4, ", "topk": "1, ", "bottomk": "2, "}.get(operator, "")
    before = draw(st.booleans())
    text = (
        f"{operator}{clause} ({parameter}{vector.text})" if before else f"{operator}({parameter}{vector.text}){clause}"
    )
    return Written(text, vector.labels if operator in ("topk", "bottomk") else frozenset(kept))


@st.composite
def _with_scalar(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    vector = draw(inner)
    comparison = draw(st.booleans())
    operator = draw(_COMPARISONS if comparison else _ARITHMETIC)
    if comparison and draw(st.booleans()):
        operator += " bool"
    sides = (vector.text, draw(_SCALARS))
    left, right = sides if draw(st.booleans()) else sides[::-1]
    return Written(f"({left} {operator} {right})", vector.labels)


@st.composite
def _of_two(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    left, right = draw(inner), draw(inner)
    common = sorted(left.labels & right.labels)
    on = draw(st.lists(st.sampled_from(common), unique=True)) if common else []
    kind = draw(st.sampled_from(("set", "set", "arithmetic", "comparison", "comparison")))
    if kind == "set":
        operator = draw(st.sampled_from(("and", "or", "unless")))
        clause = draw(st.sampled_from(("", f" on ({', '.join(on)})", " ignoring (region)")))
        return Written(f"({left.text} {operator}{clause} {right.text})", left.labels)
    operator = draw(_ARITHMETIC if kind == "arithmetic" else _COMPARISONS)
    if kind == "comparison" and draw(st.booleans()):
        operator += " bool"
    if left.labels == right.labels and draw(st.booleans()):
        return Written(f"({left.text} {operator} {right.text})", left.labels)
    wanted = f" on ({', '.join(common)})"
    if left.labels == right.labels:
        return Written(f"({left.text} {operator}{wanted} {right.text})", left.labels)
    if left.labels > right.labels:
        ignored = sorted(left.labels - right.labels)
        clause = draw(st.sampled_from((wanted, f" ignoring ({', '.join(ignored)})")))
        return Written(f"({left.text} {operator}{clause} group_left () {right.text})", left.labels)
    if left.labels < right.labels:
        return Written(f"({left.text} {operator}{wanted} group_right () {right.text})", right.labels)
    # Neither side has the other's: the one side's label is brought over.
    given = ", ".join(sorted(right.labels - left.labels))
    return Written(f"({left.text} {operator}{wanted} group_left ({given}) {right.text})", left.labels | right.labels)


@st.composite
def _presence(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    vector = draw(inner)
    window = draw(st.sampled_from(_RANGES))
    absent = draw(
        st.sampled_from(
            (
                f"absent({vector.text} > 1e9)",
                f'absent_over_time(g{{model!~"{draw(st.sampled_from(("al.*", ".+")))}"}}[{window}])',
                "absent(h)",
                f"vector({draw(_SCALARS)})",
                "vector(scalar(g))",
            )
        )
    )
    gate = draw(st.sampled_from(("and", "unless")))
    return draw(
        st.sampled_from(
            (Written(f"({vector.text} {gate} on () {absent})", vector.labels), Written(f"({absent})", frozenset()))
        )
    )


expressions: st.SearchStrategy[Written] = st.recursive(
    _leaves(),
    lambda inner: st.one_of(
        _of_one(inner),
        _aggregations(inner),
        _aggregations(inner),
        _with_scalar(inner),
        _with_scalar(inner),
        _of_two(inner),
        _of_two(inner),
        _presence(inner),
    ),
    max_leaves=5,
)
"""Vectors. Some are refused: several elements may match one, or an aggregation has nothing to choose from."""
