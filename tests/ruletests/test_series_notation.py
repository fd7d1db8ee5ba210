"""The notation of series, by the examples of promtool's documentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.service.ruletests.notation import MOST_VALUES, is_series, series_of


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("-2+4x3", (-2, 2, 6, 10)),
        (" 1-2x4", (1, -1, -3, -5, -7)),
        ("1x4", (1, 1, 1, 1, 1)),
        ("4x1", (4, 4)),
        (" 1 _x3 stale", (1, None, None, None, None)),
        ("1 _ 3", (1, None, 3)),
        ("0.8x1 0.4", (0.8, 0.8, 0.4)),
        ("1e3", (1000,)),
        ("5x0", (5,)),
        ("-0.5+.25x2", (-0.5, -0.25, 0)),
    ],
)
def test_a_series_is_read_as_promtool_reads_it(written: str, values: tuple[float | None, ...]) -> None:
    assert series_of(written) == values


@given(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.sampled_from("+-"), st.integers(0, 50))
def test_steps_are_what_counting_gives(first: float, by: float, sign: str, count: int) -> None:
    direction = 1 if sign == "+" else -1
    assert series_of(f"{first!r}{sign}{by!r}x{count}") == tuple(first + direction * by * n for n in range(count + 1))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "no values"),
        ("1 two", "'two' is no value"),
        ("1x", "'1x' is no value"),
        ("{{schema:1}}", "histograms have no equivalent"),
        (f"1x{MOST_VALUES}", "more than 100,000"),
        ("1x999999999999", "more than 100,000"),
    ],
)
def test_what_is_no_series_is_refused_with_what_would_be(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        series_of(written)


@pytest.mark.parametrize(
    ("text", "meant"), [("0.8x3", True), ("1 2", True), ("_", True), ("gpt-4o", False), ("5", False)]
)
def test_an_attribute_is_a_series_only_where_it_looks_like_one(text: str, meant: bool) -> None:
    assert is_series(text) is meant
