"""What is expected is as precise as it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.service.ruletests.amounts import amount_of


@pytest.mark.parametrize(
    ("written", "unit", "fitting", "others"),
    [
        ("27.18", "USD", [27.18, 27.1834, 27.175], [27.19, 27.1, 0, float("nan"), float("inf")]),
        ("$27.18", "USD", [27.1834], [27.19]),
        ("$5,000", "USD", [5000.4], [5001]),
        ("12.5%", "ratio", [0.125, 0.1254], [0.126, 12.5]),
        ("5%", "ratio", [0.05, 0.0549], [0.056]),
        ("3s", "ms", [3000, 3400], [3, 3600]),
        ("250ms", "ms", [250.4], [251]),
        ("1m30s", "ms", [90_000], [91_000]),
        ("240", "samples", [240], [241]),
        ("-1.5", "", [-1.5, -1.52], [1.5]),
        ("1e3", "", [1400], [1600]),
        ("27 ± 0.5", "USD", [26.5, 27.5], [26.4, 27.6]),
        ("$27 +- $2", "USD", [25, 29], [24.9]),
        ("100 ± 2%", "tokens", [98, 102], [97]),
        ("50% ± 2%", "ratio", [0.48, 0.52], [0.53]),
        ("> 25", "USD", [25.01], [25]),
        (">= $25", "USD", [25], [24.99]),
        ("< 5%", "ratio", [0.049], [0.05]),
        ("<= 3s", "ms", [3000], [3001]),
        ("0.5/s", "USD/s", [0.5], [0.6]),
    ],
)
def test_a_value_fits_what_is_rounded_to_it(written: str, unit: str, fitting: list[float], others: list[float]) -> None:
    amount = amount_of(written, unit)
    assert [each for each in fitting if not amount.fits(each)] == []
    assert [each for each in others if amount.fits(each)] == []


@pytest.mark.parametrize(
    ("written", "unit"), [("much", "USD"), ("5%", "USD"), ("$5", "ms"), ("27 ± some", "USD"), ("", "")]
)
def test_what_is_no_value_of_the_rule_is_refused(written: str, unit: str) -> None:
    with pytest.raises(ValueError, match="is no value of this rule"):
        amount_of(written, unit)


@given(st.floats(-1e9, 1e9, allow_subnormal=False), st.integers(0, 6))
def test_every_value_fits_itself_rounded(value: float, digits: int) -> None:
    assert amount_of(f"{value:.{digits}f}", "").fits(value)
