"""Values in few characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.terminal.wording import age, amount, count, group_text, printable, usd


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (9999, "9999"), (10_000, "10.0k"), (123_456, "123k"), (2_500_000, "2.5M"), (3e9, "3.0G")],
)
def test_counts_are_short(number: float, text: str) -> None:
    assert count(number) == text


@given(st.floats(0, 1e12))
def test_no_count_is_long(number: float) -> None:
    assert len(count(number)) <= 6


def test_amounts_have_their_unit() -> None:
    assert usd(0.0123) == "$0.0123"
    assert usd(1234.5) == "$1,234.50"
    assert usd(0) == "$0.00"
    assert amount(0.052, "ratio") == "5.2%"
    assert amount(4794.2, "ms") == "4794 ms"
    assert amount(2_500_000, "tokens") == "2.5M tokens"
    assert amount(None) == "-"
    assert amount(2.0) == "2"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59, "59s"), (61, "1m01s"), (3725, "1h02m"), (90_000, "1d01h")]
)
def test_ages_have_two_parts(seconds: int, text: str) -> None:
    assert age("1970-01-01T00:00:00Z", seconds) == text


def test_groups_are_one_line() -> None:
    assert group_text({}) == "-"
    assert group_text({"a": "x\n", "b": "y"}) == "a=x\\n, b=y"


@given(st.text())
def test_nothing_printable_moves_the_cursor(text: str) -> None:
    assert printable(text).isprintable()
