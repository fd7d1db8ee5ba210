"""Thresholds with units."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.rules.rule import Aggregate, Metric
from tocsin.rules.thresholds import parse_threshold

COST, LATENCY, ERRORS, TOKENS = Metric.COST, Metric.LATENCY, Metric.ERROR_RATE, Metric.TOKENS


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("25", COST, "25"),
        ("$0.50", COST, "0.5"),
        ("$ 5,000", COST, "5000"),
        ("1_000", COST, "1000"),
        (".5", COST, "0.5"),
        ("1e3", TOKENS, "1000"),
        ("3000", LATENCY, "3000"),
        ("3s", LATENCY, "3000"),
        ("250ms", LATENCY, "250"),
        ("1.5s", LATENCY, "1500"),
        ("1m30s", LATENCY, "90000"),
        ("100us", LATENCY, "0.1"),
        ("5%", ERRORS, "0.05"),
        ("0.5 %", ERRORS, "0.005"),
        ("100%", ERRORS, "1"),
        ("0.05", ERRORS, "0.05"),
        ("1", ERRORS, "1"),
        ("-0.2", Metric.JUDGE_SCORE, "-0.2"),
        ("-20%", Metric.COST_MISMATCH, "-0.2"),
        ("250%", Metric.COST_MISMATCH, "2.5"),
        ("100", Metric.COUNT, "100"),
    ],
)
def test_is_exact_and_in_the_unit_of_its_metric(text: str, metric: Metric, value: str) -> None:
    found = parse_threshold(text, metric, Aggregate.AVG)
    assert (found, str(found)) == (Decimal(value), value)


@pytest.mark.parametrize(
    ("text", "metric", "says"),
    [
        ("5%", COST, "'5%' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        ("3s", COST, "'3s' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        ("$5", LATENCY, "'$5' is no threshold for latency, in milliseconds; write 3000, 3s or 250ms"),
        ("5%", LATENCY, "'5%' is no threshold for latency, in milliseconds; write 3000, 3s or 250ms"),
        ("$5", ERRORS, "'$5' is no threshold for error_rate, a ratio; write 5% or 0.05"),
        ("5", ERRORS, "'5' is more than all; error_rate is a ratio from 0 to 1: did you mean 5%?"),
        ("101%", ERRORS, "'101%' is more than all; error_rate is at most 100%"),
        ("-1", COST, "'-1' is negative, which cost never is; write 0.50 or $0.50"),
        ("5%", Metric.ATTRIBUTE, "'5%' is no threshold for the attribute, measured as it is sent; write 0.7"),
        ("10ms", TOKENS, "'10ms' is no threshold for tokens, in tokens; write 100000"),
        (".inf", COST, "'.inf' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        ("nan", COST, "'nan' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        ("0,500", COST, "'0,500' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        ("", COST, "'' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        ("$1/s", COST, "'$1/s' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
    ],
)
def test_says_what_would_be_right(text: str, metric: Metric, says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared whole
        parse_threshold(text, metric, Aggregate.AVG)
    assert str(caught.value) == says


def test_a_rate_may_say_that_it_is_one() -> None:
    assert parse_threshold("$0.10/s", COST, Aggregate.RATE) == Decimal("0.1")


def test_counts_samples_whatever_the_metric() -> None:
    assert parse_threshold("10", ERRORS, Aggregate.COUNT) == 10
    with pytest.raises(ValueError, match="in samples"):
        parse_threshold("$10", COST, Aggregate.COUNT)


numbers = st.decimals(min_value=0, max_value=10**9, places=6)


@given(numbers)
def test_dollars_come_back_as_they_were_written(number: Decimal) -> None:
    assert parse_threshold(f"${number:f}", COST, Aggregate.SUM) == number


@given(numbers)
def test_percent_is_a_hundredth(number: Decimal) -> None:
    assert parse_threshold(f"{number:f}%", Metric.COST_MISMATCH, Aggregate.AVG) * 100 == number


@given(st.integers(0, 10**6), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]))
def test_durations_are_milliseconds(number: int, unit: tuple[str, int]) -> None:
    assert parse_threshold(f"{number}{unit[0]}", LATENCY, Aggregate.AVG) == number * unit[1]


@given(st.text(max_size=12), st.sampled_from(Metric), st.sampled_from(Aggregate))
def test_any_text_is_a_finite_number_or_refused(text: str, metric: Metric, aggregate: Aggregate) -> None:
    try:
        value = parse_threshold(text, metric, aggregate)
    except ValueError:
        return
    assert value.is_finite()
