"""Nodes of an expression that look at each label set alone, and what all nodes have in common.

A node answers three questions: which of its slots a change of some windows may have changed (`touched`), which slots
may have an element at all (`candidates`), and what the elements of some slots are (`evaluate`).
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.extents import EVERYTHING
from tocsin.engine.leaf import Leaf
from tocsin.engine.vectors.moments import Moment, Touched, union
from tocsin.engine.vectors.numbers import Column, applied, both, combined, kept, with_scalar
from tocsin.engine.vectors.ranges import Range, Times, apply, clipped, combine, united
from tocsin.engine.vectors.scalars import Scalar
from tocsin.engine.vectors.spaces import Slots, Space
from tocsin.rules.vector import Function, LogicalOperator, Operator, Series

__all__ = [
    "Applied",
    "Filled",
    "LeafNode",
    "Met",
    "Node",
    "Nulled",
    "Paced",
    "Paired",
    "WithScalar",
]


class Node(ABC):
    """A vector."""

    space: Space
    """Its slots are those of this space."""
    is_local: bool
    """Whether the element of a label set hangs on the windows' values for the same label set alone."""
    moves: bool
    """Whether elements change with time though no window does."""

    @abstractmethod
    def leaves(self) -> "list[LeafNode]":
        """Return the leaves below, from left to right."""

    @abstractmethod
    def touched(self, touched: Touched) -> Slots | None:
        """Return the slots, rising, whose element a change of windows may have changed; None: all."""

    @abstractmethod
    def candidates(self) -> Slots:
        """Return the slots, rising, that may have an element now."""

    @abstractmethod
    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements of slots; rising ones, unless the node is local."""

    def extent(self, times: Times) -> Range:
        """Return between which numbers all elements are from one instant to another; of a local node only."""
        return EVERYTHING


class LeafNode(Node):
    """A window."""

    def __init__(self, series: Series, leaf: Leaf, space: Space) -> None:
        self.series = series
        self.leaf = leaf
        self.space = space
        self.is_local = True
        self.moves = False
        self.measure = (series.aggregate, series.quantile, series.scale)
        leaf.extents.follow(self.measure[:2])

    def leaves(self) -> "list[LeafNode]":
        """Return the node itself."""
        return [self]

    def touched(self, touched: Touched) -> Slots | None:
        """Return the slots that had samples or lost some."""
        return touched.of(self.leaf)

    def candidates(self) -> Slots:
        """Return the slots with samples in the window."""
        self.leaf.resize()
        return np.flatnonzero(self.leaf.samples(np.arange(self.space.groups.used)) > 0)

    def extent(self, times: Times) -> Range:
        """Return the window's."""
        scale = self.measure[2]
        own = self.leaf.extents.of(self.measure[:2])
        return own if scale == 1.0 else combine(Operator.MUL, own, (scale, scale), returns_bool=False)

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the aggregates of slots."""
        return moment.read(self, slots)

    def present(self, slots: Slots) -> Column:
        """Return what the window says now."""
        return self.column(self.leaf.read(self.measure[0], self.measure[1], slots), self.leaf.samples(slots))

    def column(self, values: NDArray[np.float64], samples: NDArray[np.int64]) -> Column:
        """Return elements made of [n] values in the metric's unit and [n] numbers of samples."""
        present = (samples > 0) & ~np.isnan(values)
        scale = self.measure[2]
        return Column(values if scale == 1.0 else values * scale, None if present.all() else present)


class _Over(Node):
    """A node over one other with the same labels."""

    def __init__(self, argument: Node) -> None:
        self._argument = argument
        self.space = argument.space
        self.is_local = argument.is_local
        self.moves = argument.moves

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return self._argument.leaves()

    def touched(self, touched: Touched) -> Slots | None:
        """Return the argument's."""
        return self._argument.touched(touched)

    def candidates(self) -> Slots:
        """Return the argument's."""
        return self._argument.candidates()


class _ByScalars(_Over):
    """A node over one other and some scalars."""

    def __init__(self, argument: Node, scalars: list[Scalar]) -> None:
        super().__init__(argument)
        self._scalars = scalars
        self.is_local = argument.is_local and all(each.is_local for each in scalars)
        self.moves = argument.moves or any(each.moves for each in scalars)

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return [*self._argument.leaves(), *(leaf for each in self._scalars for leaf in each.leaves())]

    def touched(self, touched: Touched) -> Slots | None:
        """Return the argument's slots, or all where a scalar has changed."""
        changed = any(not each.is_local and each.is_touched(touched) for each in self._scalars)
        return None if changed else self._argument.touched(touched)


class Applied(_ByScalars):
    """A function of each element."""

    def __init__(self, function: Function, argument: Node, parameters: list[Scalar]) -> None:
        super().__init__(argument, parameters)
        self._function = function

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the function's values."""
        parameters = [each.value(moment) for each in self._scalars]
        return applied(self._function, self._argument.evaluate(slots, moment), parameters)

    def extent(self, times: Times) -> Range:
        """Return the extent of the function's values."""
        return apply(self._function, self._argument.extent(times), [each.extent(times) for each in self._scalars])


class WithScalar(_ByScalars):
    """A vector and a scalar by an operator."""

    def __init__(
        self, operator: Operator, argument: Node, scalar: Scalar, *, scalar_first: bool, returns_bool: bool
    ) -> None:
        super().__init__(argument, [scalar])
        self._operator = operator
        self._first = scalar_first
        self._returns_bool = returns_bool

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements that are left."""
        column = self._argument.evaluate(slots, moment)
        scalar = self._scalars[0].value(moment)
        return with_scalar(self._operator, column, scalar, first=self._first, returns_bool=self._returns_bool)

    def extent(self, times: Times) -> Range:
        """Return the extent of the elements that are left."""
        own, scalar = self._argument.extent(times), self._scalars[0].extent(times)
        if self._operator.compares and not self._returns_bool:
            return clipped(self._operator, own, scalar, mirrored=self._first)
        left, right = (scalar, own) if self._first else (own, scalar)
        return combine(self._operator, left, right, returns_bool=self._returns_bool)


class Nulled(_Over):
    """No element where it equals a number."""

    def __init__(self, argument: Node, number: float) -> None:
        super().__init__(argument)
        self._number = number

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements that are left."""
        column = self._argument.evaluate(slots, moment)
        return kept(column, column.values != self._number)

    def extent(self, times: Times) -> Range:
        """Return the argument's."""
        return self._argument.extent(times)


class Filled(_Over):
    """A number where a known label set has no element; it is known once a window below had a sample of it."""

    def __init__(self, argument: Node, number: float) -> None:
        super().__init__(argument)
        self._number = number
        place = set(self.space.place)
        self._sources = [node for node in argument.leaves() if place <= set(node.space.place)]
        for node in self._sources:
            node.leaf.remember_known()

    def _known(self) -> NDArray[np.bool_]:
        """Return [capacity] which slots are known."""
        known = np.zeros(self.space.groups.capacity, np.bool_)
        if not self.space.place:
            known[self.space.groups.slot(())] = True
            return known
        for node in self._sources:
            own = np.flatnonzero(node.leaf.known_slots())
            targets = self._targets(node, own)
            known[targets[targets >= 0]] = True
        return known

    def _targets(self, node: LeafNode, slots: Slots) -> Slots:
        if node.space is self.space:
            return slots
        return next(each for each in node.space.outer if each.target is self.space).follow(slots)

    def candidates(self) -> Slots:
        """Return the slots of all known label sets."""
        return np.union1d(self._argument.candidates(), np.flatnonzero(self._known()))

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements, and the number where there is none."""
        column = self._argument.evaluate(slots, moment)
        if column.present is None:
            return column
        values = np.where(column.present, column.values, self._number)
        return Column(values, column.present | self._known()[slots])

    def extent(self, times: Times) -> Range:
        """Return the argument's, and the number."""
        return united(self._argument.extent(times), (self._number, self._number))


class Paced(_Over):
    """What a calendar window will be at its period's end if it goes on as it did since the period began."""

    def __init__(self, argument: LeafNode, least_elapsed_ns: int) -> None:
        super().__init__(argument)
        self._least = least_elapsed_ns
        self._calendar = argument.series.calendar
        self._offset = argument.series.offset_ns
        self.moves = True

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the values, larger by what of the period is still to come."""
        column = self._argument.evaluate(slots, moment)
        if self._calendar is None:
            return column
        at = moment.now - self._offset
        begin, end = self._calendar.bounds(int(np.max(at, initial=0)))
        elapsed = np.asarray(at - begin, np.float64)
        enough = (elapsed >= self._least) & (elapsed > 0)
        values = column.values * ((end - begin) / np.where(enough, elapsed, 1.0))
        return kept(Column(values, column.present), np.broadcast_to(enough, values.shape))

    def extent(self, times: Times) -> Range:
        """Return the argument's, larger by what of the period was still to come."""
        if self._calendar is None:
            return self._argument.extent(times)
        first, last = times[0] - self._offset, times[1] - self._offset
        begin, end = self._calendar.bounds(last)
        if last - begin < max(self._least, 1):
            return None
        least, most = ((end - begin) / max(at - begin, self._least, 1) for at in (last, first))
        return combine(Operator.MUL, self._argument.extent(times), (least, most), returns_bool=False)


class _OfTwo(Node):
    """A node over two others whose elements belong together where they have one slot."""

    def __init__(self, left: Node, right: Node) -> None:
        self._left = left
        self._right = right
        self.space = left.space
        self.is_local = left.is_local and right.is_local
        self.moves = left.moves or right.moves

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return [*self._left.leaves(), *self._right.leaves()]

    def touched(self, touched: Touched) -> Slots | None:
        """Return the slots that either side has touched."""
        return union((self._left.touched(touched), self._right.touched(touched)))

    def candidates(self) -> Slots:
        """Return the slots that may have an element on the left."""
        return self._left.candidates()


class Paired(_OfTwo):
    """Two vectors by an operator; the match is of all labels, one to one."""

    def __init__(self, operator: Operator, left: Node, right: Node, *, returns_bool: bool) -> None:
        super().__init__(left, right)
        self._operator = operator
        self._returns_bool = returns_bool

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the operator's results."""
        left, right = self._left.evaluate(slots, moment), self._right.evaluate(slots, moment)
        return combined(self._operator, left, right, returns_bool=self._returns_bool)

    def extent(self, times: Times) -> Range:
        """Return the extent of the operator's results."""
        left, right = self._left.extent(times), self._right.extent(times)
        return combine(self._operator, left, right, returns_bool=self._returns_bool)


class Met(_OfTwo):
    """`and`, `or`, `unless` where the match is of all labels."""

    def __init__(self, operator: LogicalOperator, left: Node, right: Node) -> None:
        super().__init__(left, right)
        self._operator = operator

    def candidates(self) -> Slots:
        """Return the slots that may have an element."""
        own = self._left.candidates()
        return np.union1d(own, self._right.candidates()) if self._operator is LogicalOperator.OR else own

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements that are left."""
        left, right = self._left.evaluate(slots, moment), self._right.evaluate(slots, moment)
        match self._operator:
            case LogicalOperator.AND:
                return Column(left.values, both(left.present, right.present))
            case LogicalOperator.UNLESS:
                return kept(left, ~right.mask)
            case LogicalOperator.OR:
                if left.present is None:
                    return left
                values = np.where(left.present, left.values, right.values)
                return Column(values, left.present | right.mask)

    def extent(self, times: Times) -> Range:
        """Return the extent of the elements that are left."""
        left, right = self._left.extent(times), self._right.extent(times)
        if self._operator is LogicalOperator.OR:
            return united(left, right)
        return left if self._operator is LogicalOperator.UNLESS or right is not None else None
