import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.notify.wording import clean, counted, duration, percent, plain_number, quantity, usd


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (27.31, "$27.31"),
        (1204.5, "$1,204.50"),
        (0.0043, "$0.0043"),
        (0.0, "$0.00"),
        (-3.2, "-$3.20"),
        (1e-7, "$0.00000010"),
    ],
)
def test_dollars_show_the_digits_that_count(value: float, text: str) -> None:
    assert usd(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (3.2, "3.2s"),
        (300, "5m"),
        (5400, "1h 30m"),
        (90_061, "1d 1h"),
        (-60, "-1m"),
        (0.0014, "1.4ms"),
    ],
)
def test_durations_show_their_two_largest_parts(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.05, "ratio", "5 %"),
        (3000, "ms", "3s"),
        (1.5, "USD/s", "$1.50/s"),
        (12, "samples", "12 samples"),
        (1, "tokens", "1 token"),
        (0.55, "", "0.55"),
        (math.nan, "USD", "no value"),
    ],
)
def test_quantities_carry_their_unit(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@given(st.floats())
def test_every_number_has_a_text(value: float) -> None:
    for text in (usd(value), percent(value), duration(value), plain_number(value), counted(value, "calls")):
        assert text
        assert len(text) < 60


@given(st.text(st.characters()), st.integers(2, 300))
def test_clean_text_is_one_encodable_line_of_limited_length(text: str, limit: int) -> None:
    line = clean(text, limit)
    assert len(line) <= limit
    assert line.isprintable() or all(char.isprintable() or char > "\x9f" for char in line)
    assert not set(line) & set("\r\n\t\x1b\x00\x7f\u2028\u202e")
    line.encode()
    assert clean(line, limit) == line
