"""SQL's arithmetic, conditions and NULL over vectors.

A level is the rows of one SELECT: which label sets have a row. A value is a vector over these rows, a `Number` that is
the same in each, or None for NULL; a row without an element is one where the value is NULL. A truth is a vector whose
elements are the rows where a condition is true; where it is false or NULL there is none.
"""

import math
import operator as operator_module
from collections.abc import Callable
from dataclasses import dataclass

from tocsin.rules.vector import (
    Apply,
    Binary,
    Combine,
    Combining,
    Entry,
    Function,
    Logical,
    LogicalOperator,
    Matching,
    NullIf,
    Number,
    Operator,
    Otherwise,
    Vector,
    labels_of,
)

__all__ = ["Level", "Value", "apply", "both", "combine", "divide", "greatest", "operate", "scale", "without"]

Value = Vector | None

_CONSTANT: dict[Operator, Callable[[float, float], float]] = {
    Operator.ADD: operator_module.add,
    Operator.SUB: operator_module.sub,
    Operator.MUL: operator_module.mul,
    Operator.DIV: operator_module.truediv,
    Operator.MOD: math.fmod,
}
"""Of two constants; a divisor is never 0 here."""


@dataclass(frozen=True, slots=True)
class Level:
    """The rows of a SELECT."""

    labels: tuple[Entry, ...]
    rows: Vector | None
    """An element per row; None: there is exactly one, always: an aggregate without groups, or over the one bucket."""
    known: bool = False
    """A label set that once had a row keeps it: the outermost SELECT, where an empty bucket is a value too."""

    def zeros(self) -> Vector:
        """Return 0 for every row."""
        if self.rows is None:
            return Apply(Function.VECTOR, Number(0.0))
        zeros = self.rows if _is_zero(self.rows) else scale(self.rows, 0.0)
        return Otherwise(zeros, 0.0) if self.known else zeros

    def spread(self, value: Vector) -> Vector:
        """Return a value as a vector with this level's labels; a constant as one with an element in every row."""
        labels = labels_of(value)
        if labels == self.labels:
            return value
        if labels is None and isinstance(value, Number):
            return Apply(Function.VECTOR, value) if self.rows is None else scale(self.zeros(), 1.0, value.value)
        return _operated(Operator.ADD, self.zeros(), value)

    def filled(self, value: Value, by: Value) -> Value:
        """Return SQL's COALESCE of two values."""
        if value is None or by is None:
            return by if value is None else value
        if self._is_whole(value):
            return value
        if isinstance(by, Number) and self.rows is None:
            return Otherwise(self.spread(value), by.value)
        return Logical(LogicalOperator.OR, self.spread(value), self.spread(by), self.labels)

    def _is_whole(self, value: Vector) -> bool:
        """Whether a value is NULL in no row, as far as its form tells: nothing is put where nothing can be missing."""
        match value:
            case Number():
                return True
            case Otherwise():
                return self.rows is None or self.known
            case Logical():
                return value.operator is LogicalOperator.OR and self._is_whole(value.right)
            case Binary():
                return not value.operator.compares and self._is_whole(value.left) and self._is_whole(value.right)
            case Apply() if value.function is Function.VECTOR:
                return self.rows is None
            case _:
                return value == self.rows and not self.known

    def either(self, left: Vector, right: Vector) -> Vector:
        """Return where one of two truths is."""
        return Logical(LogicalOperator.OR, self.spread(left), self.spread(right), self.labels)

    def chosen(self, truth: Vector, then: Value, otherwise: Value) -> Value:
        """Return SQL's `CASE WHEN truth THEN then ELSE otherwise END`."""
        first = None if then is None else both(self.spread(then), truth)
        rest = None if otherwise is None else without(self.spread(otherwise), truth)
        if first is None or rest is None:
            return rest if first is None else first
        return Logical(LogicalOperator.OR, first, rest, self.labels)

    def missing(self, value: Vector) -> Vector:
        """Return where a value is NULL."""
        return without(self.zeros(), self.spread(value))


def _is_zero(value: Vector) -> bool:
    """Whether every element of a vector is 0 by its form."""
    match value:
        case Binary():
            return value.operator is Operator.MUL and value.right == Number(0.0)
        case Logical() if value.operator is LogicalOperator.AND:
            return _is_zero(value.left)
        case _:
            return False


def operate(operator: Operator, left: Value, right: Value) -> Value:
    """Return an operator's values; NULL where either side is. Labels are those of the side that has some."""
    return None if left is None or right is None else _operated(operator, left, right)


def _operated(operator: Operator, left: Vector, right: Vector) -> Vector:
    if isinstance(left, Number) and isinstance(right, Number) and operator in _CONSTANT:
        return Number(_CONSTANT[operator](left.value, right.value))
    of_left, of_right = labels_of(left), labels_of(right)
    if of_left is None or of_right is None:
        return Binary(operator, left, right)
    if of_left == of_right:
        return Binary(operator, left, right, Matching(of_left))
    many = "left" if of_left else "right"
    return Binary(operator, left, right, Matching((), many))


def divide(left: Value, right: Value, operator: Operator = Operator.DIV) -> Value:
    """Return a quotient or remainder; NULL where the divisor is 0, as where the row did not divide at all."""
    if isinstance(right, Number):
        return None if right.value == 0 else operate(operator, left, right)
    if right is None or (isinstance(right, NullIf) and right.value == 0):
        return operate(operator, left, right)
    return operate(operator, left, NullIf(right, 0.0))


def scale(value: Vector, factor: float, shift: float = 0.0) -> Vector:
    """Return `factor * value + shift`, without operations that do nothing."""
    found = value
    if factor != 1.0:
        found = _operated(Operator.MUL, found, Number(factor))
    if shift != 0.0:
        found = _operated(Operator.ADD, found, Number(shift))
    return found


def apply(function: Function, value: Value, *parameters: float) -> Value:
    """Return a function of each element."""
    if value is None:
        return None
    return Apply(function, value, tuple(Number(each) for each in parameters))


def both(left: Vector, right: Vector) -> Vector:
    """Return the elements of the left in whose rows the right has one."""
    on = labels_of(right) if labels_of(right) == labels_of(left) else ()
    return Logical(LogicalOperator.AND, left, right, on or ())


def without(left: Vector, right: Vector) -> Vector:
    """Return the elements of the left in whose rows the right has none."""
    on = labels_of(right) if labels_of(right) == labels_of(left) else ()
    return Logical(LogicalOperator.UNLESS, left, right, on or ())


def greatest(level: Level, operator: Operator, left: Value, right: Value) -> Value:
    """Return the greater (`>=`) or lesser (`<=`) of two values; NULL counts only where both are, as in PostgreSQL."""
    if left is None or right is None:
        return left if right is None else right
    if isinstance(left, Number) and isinstance(right, Number):
        larger = max(left.value, right.value) if operator is Operator.GTE else min(left.value, right.value)
        return Number(larger)
    if isinstance(left, Number):
        left, right = right, left
    if isinstance(right, Number):
        clamp = Function.CLAMP_MIN if operator is Operator.GTE else Function.CLAMP_MAX
        return level.filled(apply(clamp, left, right.value), right)
    wins = operate(operator, level.spread(left), level.spread(right))
    return level.filled(level.filled(wins, right), left)


def combine(combining: Combining, value: Vector, labels: tuple[Entry, ...], parameter: float | None = None) -> Vector:
    """Return an aggregate of the rows below, by the labels of those above."""
    return Combine(combining, value, labels, None if parameter is None else Number(parameter))
