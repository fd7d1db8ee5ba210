"""Pairs of doubles against exact fractions."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.windows.exact import (
    add_pairs,
    moments_of,
    multiply_pairs,
    running_pairs,
    square_pairs,
    variance_of,
    weighted_powers,
)

numbers = st.one_of(
    st.floats(1e-6, 1e15),
    st.floats(-1e15, 1e15).filter(lambda number: number == 0 or abs(number) > 1e-12),
    st.integers(-(10**6), 10**6).map(float),
)
weights = st.one_of(st.integers(1, 2**20).map(float), st.floats(1, 1e6))


def exact(high: object, low: object) -> Fraction:
    return Fraction(float(high)) + Fraction(float(low))  # type: ignore[arg-type]  # numpy scalars


@given(numbers)
def test_a_square_is_exact(value: float) -> None:
    high, low = square_pairs(np.array([value]))
    assert exact(high[0], low[0]) == Fraction(value) ** 2


@given(numbers, numbers)
def test_a_product_is_exact(left: float, right: float) -> None:
    high, low = multiply_pairs(np.array([left]), np.array([right]))
    assert exact(high[0], low[0]) == Fraction(left) * Fraction(right)


@given(st.lists(numbers, min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_a_total_that_was_added_and_taken_back_leaves_nothing_behind(values: list[float], random: object) -> None:
    high, low = np.zeros(1), np.zeros(1)
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    for value in values:
        high, low = add_pairs(high, low, np.array([value]))
    scale = sum(abs(Fraction(value)) for value in values)
    total = sum(Fraction(value) for value in values)
    assert abs(exact(high[0], low[0]) - total) <= scale * Fraction(1, 10**28)
    for value in shuffled:
        high, low = add_pairs(high, low, np.array([-value]))
    assert abs(exact(high[0], low[0])) <= scale * Fraction(1, 10**28)


@given(st.lists(st.tuples(st.integers(0, 2), numbers, weights), min_size=1, max_size=40), st.booleans())
def test_moments_are_those_of_the_values(rows: list[tuple[int, float, float]], weighted: bool) -> None:
    places, place = np.unique([row[0] for row in rows], return_inverse=True)
    values = np.array([row[1] for row in rows])
    held = np.array([row[2] for row in rows]) if weighted else None
    count = np.bincount(place)
    high, low = moments_of(place, count, values, held)
    for row, slot in enumerate(places.tolist()):
        own = [(Fraction(value), Fraction(weight) if weighted else 1) for at, value, weight in rows if at == slot]
        size = max(abs(value) for value, _ in own)
        for power in range(3):
            wanted = sum(value**power * weight for value, weight in own)
            allowed = size**power * sum(weight for _, weight in own) / 10**28
            assert abs(exact(high[row, power], low[row, power]) - wanted) <= allowed


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-(2**27), 2**27).map(float)), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.5]),
)
def test_moments_of_whole_numbers_are_exact_whatever_else_is_among_them(
    rows: list[tuple[int, float]], other: float
) -> None:
    rows = [*rows, (0, other)]
    places, place = np.unique([row[0] for row in rows], return_inverse=True)
    high, low = moments_of(place, np.bincount(place), np.array([value for _, value in rows]), None)
    for row, slot in enumerate(places.tolist()):
        own = [Fraction(value) for at, value in rows if at == slot]
        found = [exact(high[row, power], low[row, power]) for power in range(3)]
        assert found == [sum(value**power for value in own) for power in range(3)]


@given(
    st.floats(1, 1e12),
    st.floats(1e-7, 1e3),
    st.lists(st.floats(-1, 1).filter(lambda part: part == 0 or abs(part) > 1e-3), min_size=2, max_size=30),
    st.booleans(),
)
def test_a_spread_is_found_however_small_beside_the_mean(
    mean: float, share: float, parts: list[float], weighted: bool
) -> None:
    values = np.array([mean + mean * share * part for part in parts])
    held = np.arange(1.0, len(values) + 1) if weighted else np.ones(len(values))
    pairs = moments_of(np.zeros(len(values), np.intp), np.array([len(values)]), values, held if weighted else None)
    rows = list(zip((Fraction(value) for value in values.tolist()), map(Fraction, held.tolist()), strict=True))
    total = sum(weight for _, weight in rows)
    center = sum(value * weight for value, weight in rows) / total
    variance = sum((value - center) ** 2 * weight for value, weight in rows) / total
    found = float(np.sqrt(variance_of(*pairs))[0])
    assert math.isclose(found, math.sqrt(variance), rel_tol=1e-9, abs_tol=mean * 1e-15)


@given(numbers, st.integers(1, 50))
def test_equal_values_have_no_spread_at_all(value: float, count: int) -> None:
    high, low = moments_of(np.zeros(count, np.intp), np.array([count]), np.full(count, value), None)
    assert variance_of(high, low).tolist() == [0.0]


def test_no_weight_has_no_variance() -> None:
    assert np.isnan(variance_of(np.zeros((1, 3)), np.zeros((1, 3)))).all()


@given(st.lists(st.tuples(numbers, weights), min_size=1, max_size=40))
def test_running_pairs_are_the_sums_so_far(rows: list[tuple[float, float]]) -> None:
    values, held = (np.array(column) for column in zip(*rows, strict=True))
    high, low = running_pairs(*weighted_powers(values, held))
    for power in range(3):
        terms = [Fraction(value) ** power * Fraction(weight) for value, weight in rows]
        for i in range(len(rows)):
            scale = sum(map(abs, terms[: i + 1]))
            assert abs(exact(high[i, power], low[i, power]) - sum(terms[: i + 1])) <= scale * Fraction(1, 10**28)
