"""Sums of floats that do not drift: a running total as an unevaluated pair of doubles.

A window adds a pane's sum on arrival and subtracts the same number on expiry. In plain doubles the error of each step
stays behind; with the error kept beside the total (106 bits in all) what remains after any number of steps is below 1e-30
of the largest total seen. Source: Dekker, "A floating-point technique for extending the available precision", Numerische
Mathematik 18, 1971 (TwoSum: Knuth, TAOCP 2, 4.2.2).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_pairs", "square_pairs", "variance_of"]

_SPLITTER = 134217729.0  # 2 ** 27 + 1

Floats = NDArray[np.float64]


def add_pairs(high: Floats, low: Floats, value: Floats, rest: Floats | float = 0.0) -> tuple[Floats, Floats]:
    """Return (high, low) of `high + low + value + rest`, elementwise."""
    total = high + value
    shift = total - high
    error = (high - (total - shift)) + (value - shift)
    low = low + error + rest
    result = total + low
    return result, low - (result - total)


def square_pairs(value: Floats) -> tuple[Floats, Floats]:
    """Return (high, low) with `high + low == value ** 2` exactly, elementwise."""
    square = value * value
    scaled = _SPLITTER * value
    head = scaled - (scaled - value)
    tail = value - head
    return square, ((head * head - square) + 2 * head * tail) + tail * tail


def variance_of(count: Floats, high: Floats, low: Floats, square_high: Floats, square_low: Floats) -> Floats:
    """Return the population variance from count, sum and sum of squares, without cancellation below 1e-25."""
    with np.errstate(invalid="ignore", divide="ignore"):
        product, rest = square_pairs(high)
        rest = rest + 2 * high * low
        scaled, scaled_rest = product / count, rest / count
        # product / count rounds; its error is recovered from scaled * count - product
        check, check_low = _multiply(scaled, count)
        scaled_rest = scaled_rest + ((product - check) - check_low) / count
        spread, spread_low = add_pairs(square_high, square_low, -scaled, -scaled_rest)
        return np.maximum((spread + spread_low) / count, 0.0)


def _multiply(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    product = left * right
    scaled_left, scaled_right = _SPLITTER * left, _SPLITTER * right
    left_head = scaled_left - (scaled_left - left)
    right_head = scaled_right - (scaled_right - right)
    left_tail, right_tail = left - left_head, right - right_head
    error = left_head * right_head - product + left_head * right_tail + left_tail * right_head + left_tail * right_tail
    return product, error
