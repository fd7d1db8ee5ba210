"""Nodes of an expression that are one number."""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from tocsin.engine.extents import EVERYTHING, Extent
from tocsin.engine.vectors.moments import Moment, Touched
from tocsin.engine.vectors.numbers import Column, applied, arithmetic
from tocsin.engine.vectors.ranges import Times, combine
from tocsin.rules.vector import Function, Operator

if TYPE_CHECKING:
    from tocsin.engine.vectors.nodes import LeafNode

__all__ = ["Clock", "Constant", "Scalar", "ScalarFunction", "ScalarPair"]

_SECOND = 1_000_000_000


class Scalar(ABC):
    """A number without labels."""

    @abstractmethod
    def value(self, moment: Moment) -> Any:  # noqa: ANN401  # a float, or [n] one a row
        """Return the number."""

    def leaves(self) -> "list[LeafNode]":
        """Return the leaves below."""
        return []

    def extent(self, times: Times) -> Extent:
        """Return between which numbers it is from one instant to another."""
        return EVERYTHING

    is_local = True
    """Whether no window is behind it."""
    moves = False
    """Whether it changes with time alone."""

    def is_touched(self, touched: Touched) -> bool:
        """Return whether it may have changed."""
        return any(id(node.leaf) in touched for node in self.leaves())


class Constant(Scalar):
    """A number as it is written."""

    def __init__(self, number: float) -> None:
        self._number = float(number)

    def value(self, moment: Moment) -> float:  # the same at each
        """Return the number."""
        return self._number

    def extent(self, times: Times) -> Extent:
        """Return the number; of NaN, which nothing is compared with, everything."""
        return EVERYTHING if math.isnan(self._number) else (self._number, self._number)


class Clock(Scalar):
    """Event time in Unix seconds."""

    moves = True

    def value(self, moment: Moment) -> Any:  # noqa: ANN401  # a float, or [n] one a row
        """Return the time."""
        return moment.now / _SECOND

    def extent(self, times: Times) -> Extent:
        """Return the times."""
        return times[0] / _SECOND, times[1] / _SECOND


class ScalarPair(Scalar):
    """Two scalars by an operator."""

    def __init__(self, operator: Operator, left: Scalar, right: Scalar) -> None:
        self._operator, self._left, self._right = operator, left, right
        self.is_local = left.is_local and right.is_local
        self.moves = left.moves or right.moves

    def leaves(self) -> "list[LeafNode]":
        """Return the leaves below."""
        return [*self._left.leaves(), *self._right.leaves()]

    def value(self, moment: Moment) -> Any:  # noqa: ANN401  # a float, or [n] one a row
        """Return the number."""
        return arithmetic(self._operator, self._left.value(moment), self._right.value(moment))

    def extent(self, times: Times) -> Extent:
        """Return the extent of the operator's results."""
        left, right = self._left.extent(times), self._right.extent(times)
        return combine(self._operator, left, right, returns_bool=True) or EVERYTHING


class ScalarFunction(Scalar):
    """A function of a scalar."""

    def __init__(self, function: Function, scalars: list[Scalar]) -> None:
        self._function = function
        self._scalars = scalars
        self.is_local = all(each.is_local for each in scalars)
        self.moves = any(each.moves for each in scalars)

    def leaves(self) -> "list[LeafNode]":
        """Return the leaves below."""
        return [leaf for each in self._scalars for leaf in each.leaves()]

    def value(self, moment: Moment) -> Any:  # noqa: ANN401  # a float, or [n] one a row
        """Return the number; NaN where a vector would have no element."""
        own, *parameters = (each.value(moment) for each in self._scalars)
        column = applied(self._function, Column(np.atleast_1d(np.asarray(own, np.float64)), None), parameters)
        found = np.where(column.mask, column.values, np.nan)
        return found if np.ndim(own) else float(found[0])
