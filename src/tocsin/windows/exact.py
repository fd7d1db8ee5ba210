"""Sums of floats that do not drift: a running total as an unevaluated pair of doubles.

A window adds a pane's sum on arrival and subtracts the same number on expiry. In plain doubles the error of each step
stays behind; with the error kept beside the total (106 bits in all) what remains after any number of steps is below
1e-30 of the largest total seen. Sums over the rows of one batch are taken about the batch's own mean, so that they lose
nothing against the spread of the values, however small that is beside the values. Callers see to it that numpy does not
warn where a value is infinite or its square is.
Sources: Dekker, "A floating-point technique for extending the available precision", Numerische Mathematik 18, 1971
(TwoSum: Knuth, TAOCP 2, 4.2.2); Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
Statistician 37:3, 1983.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "add_pairs",
    "moments_of",
    "multiply_pairs",
    "running_pairs",
    "square_pairs",
    "variance_of",
    "weighted_powers",
]

_SPLITTER = 134217729.0  # 2 ** 27 + 1
_NOISE = 1e-30
"""A variance below this part of the squared mean is rounding, not spread."""

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]


def add_pairs(high: Floats, low: Floats | float, value: Floats, rest: Floats | float = 0.0) -> Pair:
    """Return (high, low) of `high + low + value + rest`, elementwise."""
    total = high + value
    shift = total - high
    low = low + ((high - (total - shift)) + (value - shift)) + rest
    result = total + low
    return result, low - (result - total)


def square_pairs(value: Floats) -> Pair:
    """Return (high, low) with `high + low == value ** 2` exactly, elementwise."""
    square = value * value
    head = _head(value)
    tail = value - head
    return square, ((head * head - square) + 2 * head * tail) + tail * tail


def multiply_pairs(left: Floats, right: Floats) -> Pair:
    """Return (high, low) with `high + low == left * right` exactly, elementwise."""
    product = left * right
    left_head, right_head = _head(left), _head(right)
    left_tail, right_tail = left - left_head, right - right_head
    error = left_head * right_head - product + left_head * right_tail + left_tail * right_head
    return product, error + left_tail * right_tail


def _head(value: Floats) -> Floats:
    """Return the upper half of the digits: two of them have an exact product."""
    scaled = _SPLITTER * value
    return scaled - (scaled - value)


def _multiply_short(short: Floats, value: Floats) -> Pair:
    """Return `multiply_pairs` where one side is only half as long."""
    product = short * value
    head = _head(value)
    return product, (short * head - product) + short * (value - head)


def moments_of(place: NDArray[np.intp], count: NDArray[np.int64], values: NDArray[Any], weights: Floats | None) -> Pair:
    """Return pairs [k, 3] of weight, value * weight and value ** 2 * weight, summed over the rows of each place.

    Args:
        place: [n] 0 to k - 1.
        count: [k] rows of each place, none of them 0.
        values: [n]
        weights: [n] above 0; None: 1 each.
    """
    values = values.astype(np.float64, copy=False)
    size = len(count)
    high, low = np.empty((size, 3)), np.zeros((size, 3))
    if weights is None:
        weight: Floats = count.astype(np.float64)
        center = _head(np.bincount(place, values, size) / weight)
        apart = weighed = values - center[place]
        product, rest = weight * center, np.zeros(size)  # exact: a short number, and a count
    else:
        weight = np.bincount(place, weights, size).astype(np.float64, copy=False)
        center = _head(np.bincount(place, values * weights, size) / weight)
        apart = values - center[place]
        weighed = apart * weights
        product, rest = _multiply_short(center, weight)
    drift = np.bincount(place, weighed, size).astype(np.float64, copy=False)
    spread = np.bincount(place, weighed * apart, size).astype(np.float64, copy=False)
    high[:, 0] = weight
    # sum(x) = weight * center + drift, and sum(x * x) = center * (weight * center + 2 * drift) + spread
    high[:, 1], low[:, 1] = add_pairs(product, rest, drift)
    double, double_rest = add_pairs(product, rest, 2 * drift)
    square, square_rest = _multiply_short(center, double)
    high[:, 2], low[:, 2] = add_pairs(square, square_rest + center * double_rest, spread)
    return high, low


def weighted_powers(values: NDArray[Any], weights: Floats | None) -> Pair:
    """Return pairs [n, 3] of each row's weight, value * weight and value ** 2 * weight."""
    values = values.astype(np.float64, copy=False)
    weight = np.ones(len(values)) if weights is None else weights
    square, square_rest = square_pairs(values)
    product, rest = multiply_pairs(values, weight)
    power, power_rest = multiply_pairs(square, weight)
    low = [np.zeros(len(values)), rest, power_rest + square_rest * weight]
    return np.stack([weight, product, power], axis=1), np.stack(low, axis=1)


def running_pairs(high: Floats, low: Floats) -> Pair:
    """Return [n, k] the sums of the first i + 1 rows of [n, k] pairs, in as many rounds as n has binary digits.

    Source: Hillis, Steele, "Data parallel algorithms", Communications of the ACM 29:12, 1986.
    """
    high, low = high.copy(), low.copy()
    step = 1
    while step < len(high):
        high[step:], low[step:] = add_pairs(high[step:], low[step:], high[:-step], low[:-step])
        step *= 2
    return high, low


def variance_of(high: Floats, low: Floats) -> Floats:
    """Return [n] population variances from pairs [n, 3] as `moments_of` makes them; NaN where the weight is 0."""
    (count, total, square_high), (rest_of_count, rest_of_total, square_low) = high.T, low.T
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        product, rest = square_pairs(total)
        rest = rest + 2 * total * rest_of_total
        scaled, scaled_rest = product / count, rest / count
        # product / count rounds; its error is recovered from scaled * count - product
        check, check_low = multiply_pairs(scaled, count)
        scaled_rest = scaled_rest + ((product - check) - check_low - scaled * rest_of_count) / count
        spread, spread_low = add_pairs(square_high, square_low, -scaled, -scaled_rest)
        variance = (spread + spread_low) / count
        return np.where(variance > _NOISE * (square_high / count), variance, np.where(np.isnan(variance), np.nan, 0.0))
