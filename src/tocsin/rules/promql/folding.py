"""Trees in a simpler form: constants are computed once, and factors become part of a leaf."""

import math
from dataclasses import replace

import numpy as np

from tocsin.rules.measures import Aggregate
from tocsin.rules.vector import Apply, Binary, Function, Number, Operator, Series, Vector

__all__ = ["folded", "negated"]


def negated(vector: Vector) -> Vector:
    """Return a vector or scalar with the other sign."""
    match vector:
        case Number():
            return Number(-vector.value)
        case Series():
            return replace(vector, scale=-vector.scale)
        case _:
            return Apply(Function.NEGATE, vector)


def folded(binary: Binary) -> Vector:
    """Return an operator over a scalar in a simpler form, where it has one: constants, and factors of a leaf."""
    match binary.left, binary.right:
        case Number(left), Number(right):
            return _constant(binary, left, right)
        case Series() as leaf, Number(factor) if binary.operator is Operator.MUL:
            return _scaled(leaf, factor, binary)
        case Number(factor), Series() as leaf if binary.operator is Operator.MUL:
            return _scaled(leaf, factor, binary)
        case Series() as leaf, Number(divisor) if binary.operator is Operator.DIV and divisor:
            return _scaled(leaf, 1 / divisor, binary)
        case _:
            return binary


def _scaled(leaf: Series, factor: float, binary: Binary) -> Vector:
    scale = leaf.scale * factor
    if not math.isfinite(scale) or scale == 0:
        return binary
    if leaf.aggregate is Aggregate.RATE and scale * 1_000_000_000 == leaf.window_ns:
        # A rate times its range: money stays exact if it is not divided first.
        return replace(leaf, aggregate=Aggregate.SUM, scale=1.0)
    return replace(leaf, scale=scale)


def _constant(binary: Binary, left: float, right: float) -> Number:
    with np.errstate(all="ignore"):
        a, b = np.float64(left), np.float64(right)
        value: np.float64 | np.bool_
        match binary.operator:
            case Operator.ADD:
                value = a + b
            case Operator.SUB:
                value = a - b
            case Operator.MUL:
                value = a * b
            case Operator.DIV:
                value = a / b
            case Operator.MOD:
                value = np.fmod(a, b)
            case Operator.POW:
                value = np.power(a, b)
            case Operator.ATAN2:
                value = np.arctan2(a, b)
            case Operator.EQ:
                value = a == b
            case Operator.NE:
                value = a != b
            case Operator.GT:
                value = a > b
            case Operator.GTE:
                value = a >= b
            case Operator.LT:
                value = a < b
            case Operator.LTE:
                value = a <= b
    return Number(float(value))
