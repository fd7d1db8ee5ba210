"""Whatever is written, it compiles or is refused with a place in the text; nothing else happens."""

import string

import promql_parser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from promql_strategies import Written, expressions

from tocsin.rules.promql import compile_promql
from tocsin.rules.promql.functions import SUPPORTED, advice_for
from tocsin.rules.promql.reading import _Reader
from tocsin.rules.promql.tokens import tokens_of
from tocsin.rules.refusals import QueryError, Refusal

WORDS = (
    *("sum", "topk", "by", "without", "(", ")", "{", "}", "[5m]", "[1h:5m]", "offset", "5m", "@", "bool", "on", "and"),
    *("or", "unless", "ignoring", "group_left", "rate", "absent", "quantile_over_time", "0.5", ",", "x", "latency"),
    *('a="b"', 'le=~"1"', "+", "-", "/", ">", "==", "NaN", "Inf", "time", "vector", "scalar", "#c\n", '"', "'", "`"),
    *("start", "end", "fill", "count", "x_sum", "x_bucket", "histogram_quantile", "{", "=~", "é", "\x00", "1e999"),
)


def compiles_or_is_refused(text: str) -> None:
    refused: tuple[Refusal | None, ...] = ()
    try:
        compile_promql(text, (("model",),))
    except QueryError as error:
        refused = error.refusals or (None,)
    for refusal in refused:
        assert refusal is not None
        assert 0 <= refusal.begin <= refusal.end <= len(text)
        assert refusal.text


@settings(deadline=None)
@given(st.text(max_size=60))
@example("-" * 900 + "x")
@example('{"\\xff"}')
def test_any_text(text: str) -> None:
    compiles_or_is_refused(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_words_of_promql(text: str) -> None:
    compiles_or_is_refused(text)


@settings(max_examples=300, deadline=None)
@given(expressions, st.integers(0, 200), st.sampled_from((*string.punctuation, "", "offset -1m", "[5m:1m]", "@ 5")))
def test_an_expression_with_something_in_it(written: Written, place: int, inserted: str) -> None:
    text = written.text
    place = min(place, len(text))
    compiles_or_is_refused(text[:place] + inserted + text[place:])


@settings(max_examples=300, deadline=None)
@given(expressions)
def test_places_are_found_in_everything_that_the_parser_takes(written: Written) -> None:
    text = written.text
    reader = _Reader(text, tokens_of(text))
    reader.node(promql_parser.parse(text), 0)
    assert not reader.lost
    assert reader.at == len(reader.words)


def test_every_function_of_the_parser_is_supported_or_has_advice() -> None:
    """A later parser may know more functions; each has to be thought about."""
    for name in _functions_of_the_parser():
        assert name in SUPPORTED or "has no equivalent" in advice_for(name), name


def _functions_of_the_parser() -> list[str]:
    """Functions have no list, so those of Prometheus' documentation are asked for."""
    documented = """
    abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max clamp_min
    cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv
    double_exponential_smoothing end exp first_over_time floor histogram_avg histogram_count histogram_fraction
    histogram_quantile histogram_quantiles histogram_stddev histogram_stdvar histogram_sum hour idelta increase info
    irate label_join label_replace last_over_time ln log10 log2 mad_over_time max_over_time min_over_time minute month
    pi predict_linear present_over_time quantile_over_time rad range rate resets round scalar sgn sin sinh sort
    sort_by_label sort_by_label_desc sort_desc sqrt start stddev_over_time stdvar_over_time step sum_over_time tan tanh
    time timestamp ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time vector year
    """
    return documented.split()
