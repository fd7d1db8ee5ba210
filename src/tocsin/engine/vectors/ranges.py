"""Arithmetic of extents: between which numbers the elements of a node are, given those of what is below it.

None is the extent of no elements at all. An element that is NaN lies in every extent: it holds no comparison but `!=`.
"""

import math
from collections.abc import Iterable

from tocsin.engine.extents import EVERYTHING, Extent
from tocsin.rules.measures import Condition
from tocsin.rules.vector import Function, Operator

__all__ = ["Range", "Times", "apply", "clipped", "combine", "misses", "united"]

Range = Extent | None
Times = tuple[int, int]
"""Two instants of event time, Unix nanoseconds."""

_MIRRORED = {
    Operator.GT: Operator.LT,
    Operator.GTE: Operator.LTE,
    Operator.LT: Operator.GT,
    Operator.LTE: Operator.GTE,
}


def _over(numbers: Iterable[float]) -> Extent:
    found = list(numbers)
    return EVERYTHING if any(map(math.isnan, found)) else (min(found), max(found))


def united(left: Range, right: Range) -> Range:
    """Return the extent of elements of either side."""
    if left is None or right is None:
        return right if left is None else left
    return min(left[0], right[0]), max(left[1], right[1])


def clipped(operator: Operator, own: Range, other: Range, *, mirrored: bool = False) -> Range:
    """Return the extent of the elements that a comparison with others leaves; `mirrored`: they stand on the right."""
    if own is None or other is None:
        return None
    match _MIRRORED.get(operator, operator) if mirrored else operator:
        case Operator.GT | Operator.GTE:
            low, high = max(own[0], other[0]), own[1]
        case Operator.LT | Operator.LTE:
            low, high = own[0], min(own[1], other[1])
        case Operator.EQ:
            low, high = max(own[0], other[0]), min(own[1], other[1])
        case _:
            return own
    return (low, high) if low <= high else None


def combine(operator: Operator, left: Range, right: Range, *, returns_bool: bool) -> Range:
    """Return the extent of an operator's results; of a comparison without `bool` that of the left."""
    if left is None or right is None:
        return None
    if operator.compares:
        return (0.0, 1.0) if returns_bool else clipped(operator, left, right)
    match operator:
        case Operator.ADD:
            return _over((left[0] + right[0], left[1] + right[1]))
        case Operator.SUB:
            return _over((left[0] - right[1], left[1] - right[0]))
        case Operator.MUL:
            return _over(a * b for a in left for b in right)
        case Operator.DIV if right[0] > 0 or right[1] < 0:
            return _over(a / b for a in left for b in right)
        case _:
            return EVERYTHING


def apply(function: Function, own: Range, parameters: list[Extent]) -> Range:
    """Return the extent of a function of each element."""
    if own is None:
        return None
    low, high = own
    match function:
        case Function.ABS:
            return 0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))
        case Function.NEGATE:
            return -high, -low
        case Function.CEIL | Function.FLOOR:
            return low - 1.0, high + 1.0
        case Function.SGN:
            return -1.0, 1.0
        case Function.SQRT:
            return math.sqrt(max(low, 0.0)), math.sqrt(max(high, 0.0))
        case Function.CLAMP_MIN:
            return max(low, parameters[0][0]), max(high, parameters[0][1])
        case Function.CLAMP_MAX:
            return min(low, parameters[0][0]), min(high, parameters[0][1])
        case _:
            return EVERYTHING


def misses(condition: Condition, own: Range, limit: Range) -> bool:
    """Whether a condition can hold for no element."""
    if own is None or limit is None:
        return True
    match condition:
        case Condition.GT:
            return own[1] <= limit[0]
        case Condition.GTE:
            return own[1] < limit[0]
        case Condition.LT:
            return own[0] >= limit[1]
        case Condition.LTE:
            return own[0] > limit[1]
        case _:
            return False
