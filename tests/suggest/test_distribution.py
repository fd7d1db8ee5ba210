"""Percentiles of values with weights, against sorting them all."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.service.suggest import distribution
from tocsin.service.suggest.candidates import rounded
from tocsin.service.suggest.distribution import Distribution

VALUES = st.lists(st.tuples(st.lists(st.floats(-1e6, 1e6), max_size=6), st.sampled_from([1, 2, 4])), max_size=8)


@given(VALUES, st.sampled_from([0, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999, 1]))
def test_a_percentile_is_the_nearest_rank_of_all_values_written_out(
    parts: list[tuple[list[float], int]], rank: float
) -> None:
    found = Distribution()
    for values, weight in parts:
        found.add(np.array(values, np.float64), weight)
    every = sorted(value for values, weight in parts for value in values * weight)
    if not every:
        assert math.isnan(found.quantile(rank))
        return
    at = max(0, math.ceil(rank * len(every) - 1e-9) - 1)
    assert found.quantile(rank) == every[at]
    assert found.count == sum(len(values) for values, _ in parts)


def test_of_very_many_values_four_digits_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_EXACT", 1000)
    found, values = Distribution(), np.random.default_rng(1).lognormal(size=20_000)
    for part in np.array_split(values, 50):
        found.add(part)
    for rank in (0.01, 0.5, 0.99):
        assert found.quantile(rank) == pytest.approx(np.quantile(values, rank, method="inverted_cdf"), rel=6e-4)
    assert (found.quantile(0), found.quantile(1)) == (values.min(), values.max())


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [(27.18, "28", "26"), (0.6034, "0.65", "0.6"), (1015.74, "1100", "1000"), (8740, "9000", "8500"), (0, "0", "0"),
     (-0.62, "-0.6", "-0.65"), (100, "100", "100"), (0.00431, "0.0044", "0.0042")],
)  # fmt: skip
def test_candidates_are_round_and_away_from_what_was(value: float, up: str, down: str) -> None:
    assert (rounded(value, up=True), rounded(value, up=False)) == (Decimal(up), Decimal(down))


@given(st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-9), st.booleans())
def test_a_round_number_is_near_and_on_its_side(value: float, up: bool) -> None:
    near = float(rounded(value, up=up))
    assert near >= value if up else near <= value
    assert abs(near - value) <= abs(value) * 0.1001


@given(st.floats(0.001, 1e9))
def test_whole_things_have_whole_thresholds(value: float) -> None:
    assert rounded(value, up=True, whole=True) == rounded(value, up=True, whole=True).to_integral_value()
