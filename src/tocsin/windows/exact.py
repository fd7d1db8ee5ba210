"""Sums of floats that do not drift: a running total as an unevaluated pair of doubles.

A window adds a pane's sum on arrival and subtracts the same number on expiry. In plain doubles the error of each step
stays behind; with the error kept beside the total (106 bits in all) what remains after any number of steps is below
1e-30 of the largest total seen. So a sum is the same double in any order and in any requests, and a mean that
is equal to its threshold is so for every delivery: what error is left decides how a sum rounds once in 1e13. Callers
see to it that numpy does not warn where a value is infinite or its square is.
Sources: Dekker, "A floating-point technique for extending the available precision", Numerische Mathematik 18, 1971
(TwoSum: Knuth, TAOCP 2, 4.2.2).
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
_DIGITS = 53
_WHOLE = 2.0**53
"""Below it every whole number is a double."""
_ROUNDS = 3
"""Of digits split off: 120 of a batch of thousands of rows, more than a pair keeps."""
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


def moments_of(place: NDArray[np.intp], count: NDArray[np.int64], values: NDArray[Any], weights: Floats | None) -> Pair:
    """Return pairs [k, 3] of weight, value * weight and value ** 2 * weight, summed over the rows of each place.

    Args:
        place: [n] 0 to k - 1.
        count: [k] rows of each place, none of them 0.
        values: [n]
        weights: [n] above 0; None: 1 each.
    """
    size = len(count)
    values = values.astype(np.float64, copy=False)
    if weights is None:
        return _unweighted(place, count, values)
    high, low = weighted_powers(values, weights)
    if size == len(values):
        alone = np.argsort(place)
        return high[alone], low[alone]
    return _sums_by_column(place, count, high, low)


def _unweighted(place: NDArray[np.intp], count: NDArray[np.int64], values: Floats) -> Pair:
    size = len(count)
    total, rest = np.empty((size, 3)), np.zeros((size, 3))
    total[:, 0] = count
    if _adds_up(values):
        total[:, 1], total[:, 2] = np.bincount(place, values, size), np.bincount(place, values * values, size)
        return total, rest
    square, square_rest = square_pairs(values)
    if size == len(values):
        total[place, 1], total[place, 2], rest[place, 2] = values, square, square_rest
        return total, rest
    found = _sums_by_column(place, count, np.stack([values, square], axis=1), square_rest[:, None])
    total[:, 1:], rest[:, 1:] = found
    return total, rest


def _sums_by_column(place: NDArray[np.intp], count: NDArray[np.int64], high: Floats, low: Floats) -> Pair:
    """Return pairs [k, m] of the sums of [n, m] pairs; of `low` the last columns may be all that are not 0."""
    size, columns, kept = len(count), high.shape[1], low.shape[1]
    # All columns at once: each is so many places further on.
    further = np.concatenate([place + size * column for column in range(columns)])
    total, rest = _sums_of(
        further,
        np.tile(count, columns),
        high.T.reshape(-1),
        further[(columns - kept) * len(place) :],
        low.T.reshape(-1),
    )
    return total.reshape(columns, size).T, rest.reshape(columns, size).T


def _added_up(place: NDArray[np.intp], column: Floats, size: int) -> Floats:
    return np.bincount(place, column, size)  # type: ignore[return-value]  # with weights they are floats


def _adds_up(values: Floats) -> bool:
    """Whether plain doubles add up values and their squares exactly: they are whole, and not large."""
    if not float(values[0]).is_integer():  # of fractions mostly
        return False
    largest = float(np.abs(values).max())
    return largest * largest * len(values) < _WHOLE and bool((np.rint(values) == values).all())


def _sums_of(
    place: NDArray[np.intp], count: NDArray[np.int64], high: Floats, low_place: NDArray[np.intp], low: Floats
) -> Pair:
    """Return pairs [k] of the sums of [n] numbers, and of much smaller ones beside them, over the rows of each place.

    Each round splits off the upper digits of every row, so few that adding them up is exact in any order.
    Source: Rump, Ogita, Oishi, "Accurate floating-point summation part I", SIAM J. Sci. Comput. 31:1, 2008.
    """
    size = len(count)
    largest = np.zeros(size)
    np.maximum.at(largest, place, np.abs(high))
    room = np.frexp(count + 2.0)[1]
    exponent = np.frexp(largest)[1] + room
    total, rest = np.zeros(size), _added_up(low_place, low, size)
    for turn in range(_ROUNDS):
        edge = np.ldexp(1.0, exponent)[place]
        part = (edge + high) - edge
        high = high - part
        sums = _added_up(place, part, size)
        total, rest = add_pairs(total, rest, sums) if turn else (sums, rest)
        if not high.any():
            break
        exponent += room - _DIGITS
    return add_pairs(total, rest, _added_up(place, high, size))


def weighted_powers(values: NDArray[Any], weights: Floats | None) -> Pair:
    """Return pairs [n, 3] of each row's weight, value * weight and value ** 2 * weight."""
    values = values.astype(np.float64, copy=False)
    square, square_rest = square_pairs(values)
    nothing = np.zeros(len(values))
    if weights is None:
        high, low = [np.ones(len(values)), values, square], [nothing, nothing, square_rest]
    else:
        product, rest = multiply_pairs(values, weights)
        power, power_rest = multiply_pairs(square, weights)
        high, low = [weights, product, power], [nothing, rest, power_rest + square_rest * weights]
    return np.stack(high, axis=1), np.stack(low, axis=1)


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
