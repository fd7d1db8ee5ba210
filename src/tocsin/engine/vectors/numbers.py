"""Arithmetic of vectors, element by element, with PromQL's meaning for floats.

Source: Prometheus, promql/engine.go (`scalarBinop`, `vectorElemBinop`) and promql/functions.go.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.rules.vector import Function, Operator

__all__ = [
    "NOTHING",
    "Column",
    "Floats",
    "Mask",
    "applied",
    "arithmetic",
    "both",
    "combined",
    "compared",
    "kept",
    "with_scalar",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Column(NamedTuple):
    """The elements of some label sets; nobody writes to one."""

    values: Floats
    """[n]; anything where there is no element."""
    present: Mask | None
    """[n] whether there is an element; None: everywhere."""

    @property
    def mask(self) -> Mask:
        """[n] whether there is an element."""
        return np.ones(len(self.values), np.bool_) if self.present is None else self.present

    def at(self, rows: NDArray[Any]) -> "Column":
        """Return the elements of some rows."""
        return Column(self.values[rows], None if self.present is None else self.present[rows])


NOTHING: Final = Column(np.zeros(0), np.zeros(0, np.bool_))

_COMPARISONS: Final[dict[Operator, Callable[[Any, Any], Any]]] = {
    Operator.EQ: np.equal,
    Operator.NE: np.not_equal,
    Operator.GT: np.greater,
    Operator.GTE: np.greater_equal,
    Operator.LT: np.less,
    Operator.LTE: np.less_equal,
}
_ARITHMETIC: Final[dict[Operator, Callable[[Any, Any], Any]]] = {
    Operator.ADD: np.add,
    Operator.SUB: np.subtract,
    Operator.MUL: np.multiply,
    Operator.DIV: np.divide,
    Operator.MOD: np.fmod,
    Operator.POW: np.power,
    Operator.ATAN2: np.arctan2,
}
_FUNCTIONS: Final[dict[Function, Callable[[Any], Any]]] = {
    Function.ABS: np.abs,
    Function.CEIL: np.ceil,
    Function.FLOOR: np.floor,
    Function.SQRT: np.sqrt,
    Function.EXP: np.exp,
    Function.LN: np.log,
    Function.LOG2: np.log2,
    Function.LOG10: np.log10,
    Function.SGN: np.sign,
    Function.NEGATE: np.negative,
}


def both(left: Mask | None, right: Mask | None) -> Mask | None:
    """Return where both masks hold; None holds everywhere."""
    if left is None or right is None:
        return left if right is None else right
    return left & right


def kept(column: Column, holds: Mask) -> Column:
    """Return a column without the elements where something does not hold."""
    return Column(column.values, both(column.present, holds))


def arithmetic(operator: Operator, left: Any, right: Any) -> Any:  # noqa: ANN401  # floats or arrays of them
    """Return the result of an operator, of a comparison 0 or 1; floats, or arrays of one length."""
    comparison = _COMPARISONS.get(operator)
    with np.errstate(all="ignore"):
        if comparison is not None:
            return np.asarray(comparison(left, right), np.float64)[()]
        return _ARITHMETIC[operator](np.float64(left) if isinstance(left, float) else left, right)


def compared(operator: Operator, left: Any, right: Any) -> Mask:  # noqa: ANN401  # floats or arrays of them
    """Return [n] whether a comparison holds."""
    return np.asarray(_COMPARISONS[operator](left, right))


def combined(operator: Operator, left: Column, right: Column, *, returns_bool: bool) -> Column:
    """Return the elements of two columns that belong together, row by row."""
    present = both(left.present, right.present)
    if operator.compares and not returns_bool:
        return Column(left.values, both(present, compared(operator, left.values, right.values)))
    return Column(arithmetic(operator, left.values, right.values), present)


def with_scalar(operator: Operator, column: Column, scalar: Any, *, first: bool, returns_bool: bool) -> Column:  # noqa: ANN401  # a float, or [n] one a row
    """Return a column and a scalar by an operator; `first` says that the scalar stands on the left."""
    left, right = (scalar, column.values) if first else (column.values, scalar)
    if operator.compares and not returns_bool:
        return kept(column, compared(operator, left, right))
    return Column(arithmetic(operator, left, right), column.present)


def applied(function: Function, column: Column, parameters: list[Any]) -> Column:
    """Return a function of each element; parameters are floats, or [n] one a row."""
    simple = _FUNCTIONS.get(function)
    values = column.values
    with np.errstate(all="ignore"):
        if simple is not None:
            return Column(simple(values), column.present)
        match function:
            case Function.ROUND:
                inverse = 1.0 / np.float64(parameters[0]) if parameters else 1.0
                return Column(np.floor(values * inverse + 0.5) / inverse, column.present)
            case Function.CLAMP_MIN:
                return Column(np.maximum(values, parameters[0]), column.present)
            case Function.CLAMP_MAX:
                return Column(np.minimum(values, parameters[0]), column.present)
            case Function.CLAMP:
                low, high = parameters
                clamped = np.maximum(low, np.minimum(high, values))
                return kept(Column(clamped, column.present), np.broadcast_to(~np.less(high, low), values.shape))
            case _:
                raise ValueError(f"{function.value} is no function of each element")
