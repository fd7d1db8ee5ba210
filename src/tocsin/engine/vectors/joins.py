"""Two vectors whose elements belong together by some of their labels: matching, and set operators with `on`.

Both sides are looked at through a projection onto the labels `on`. Where Prometheus ends the whole evaluation with an
error, because several elements match where one may, there is no element for those labels, and the others stay.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.vectors.moments import Moment, Touched, union
from tocsin.engine.vectors.nodes import LeafNode, Node
from tocsin.engine.vectors.numbers import Column, both, combined, kept
from tocsin.engine.vectors.spaces import Projection, Slots, Space
from tocsin.rules.vector import LogicalOperator, Operator

__all__ = ["Included", "ManyToOne", "MetOn", "OneToOne", "Side"]


class Side(NamedTuple):
    """One side of a match."""

    node: Node
    on: Projection
    """Of its labels onto those that must be equal."""

    def touched(self, touched: Touched) -> Slots | None:
        """Return the matches in which an element may have changed; None: all."""
        own = self.node.touched(touched)
        return None if own is None else np.unique(self.on.follow(own))

    def candidates(self) -> Slots:
        """Return the matches in which there may be an element."""
        return np.unique(self.on.follow(self.node.candidates()))

    def elements(self, matches: Slots, moment: Moment) -> tuple[Slots, Column, NDArray[np.intp]]:
        """Return the slots of some matches ([n], rising), their elements, and the number of each one's match."""
        members = self.on.members(matches)
        moment.cost += self.on.source.groups.used // 8
        return members, self.node.evaluate(members, moment), np.searchsorted(matches, self.on.of(members))

    def single(self, matches: Slots, moment: Moment) -> Column:
        """Return [n] the one element of each match; none where there are several."""
        _, column, place = self.elements(matches, moment)
        mask = column.mask
        values = np.zeros(len(matches))
        values[place[mask]] = column.values[mask]
        return Column(values, np.bincount(place[mask], minlength=len(matches)) == 1)

    def any(self, matches: Slots, moment: Moment) -> NDArray[np.bool_]:
        """Return [n] whether a match has an element."""
        _, column, place = self.elements(matches, moment)
        return np.bincount(place[column.mask], minlength=len(matches)) > 0


class _Joined(Node):
    """A node over two sides."""

    def __init__(self, left: Side, right: Side, space: Space) -> None:
        self._left = left
        self._right = right
        self.space = space
        self.is_local = False
        self.moves = left.node.moves or right.node.moves

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return [*self._left.node.leaves(), *self._right.node.leaves()]

    def _matches(self, touched: Touched) -> Slots | None:
        return union((self._left.touched(touched), self._right.touched(touched)))


class OneToOne(_Joined):
    """Two vectors by an operator, one element on either side; the result has the labels of the match."""

    def __init__(self, operator: Operator, left: Side, right: Side, *, returns_bool: bool) -> None:
        super().__init__(left, right, left.on.target)
        self._operator = operator
        self._returns_bool = returns_bool

    def touched(self, touched: Touched) -> Slots | None:
        """Return the matches in which an element may have changed."""
        return self._matches(touched)

    def candidates(self) -> Slots:
        """Return the matches that either side may have."""
        return np.union1d(self._left.candidates(), self._right.candidates())

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the operator's results."""
        left, right = self._left.single(slots, moment), self._right.single(slots, moment)
        return combined(self._operator, left, right, returns_bool=self._returns_bool)


class ManyToOne(_Joined):
    """Two vectors by an operator; several elements of one side may match one of the other. They keep their labels."""

    def __init__(self, operator: Operator, left: Side, right: Side, *, many_left: bool, returns_bool: bool) -> None:
        self._many, self._one = (left, right) if many_left else (right, left)
        super().__init__(left, right, self._many.node.space)
        self._operator = operator
        self._many_left = many_left
        self._returns_bool = returns_bool

    def touched(self, touched: Touched) -> Slots | None:
        """Return the elements of the many side that may have changed, or whose match may."""
        many, matches = self._many.node.touched(touched), self._one.touched(touched)
        if many is None or matches is None:
            return None
        self._many.on.follow(many)
        return union((many, self._many.on.members(matches)))

    def candidates(self) -> Slots:
        """Return those of the many side."""
        own = self._many.node.candidates()
        self._many.on.follow(own)
        self._one.candidates()
        return own

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the operator's results."""
        many = self._many.node.evaluate(slots, moment)
        one = _gathered(self._one, self._many.on.of(slots), moment)
        left, right = (many, one) if self._many_left else (one, many)
        return combined(self._operator, left, right, returns_bool=self._returns_bool)


def _gathered(one: Side, matches: Slots, moment: Moment) -> Column:
    """Return [n] the single element of each row's match; -1 has none."""
    distinct = np.unique(matches[matches >= 0])
    if not len(distinct):
        return Column(np.zeros(len(matches)), np.zeros(len(matches), np.bool_))
    found = one.single(distinct, moment)
    at = np.minimum(np.searchsorted(distinct, matches), len(distinct) - 1)
    return kept(found.at(at), matches >= 0)


class Included(_Joined):
    """The same, where the result has labels of the one side as well.

    A slot of the result is a pair: an element of the many side, and the labels that one of the one side brings.
    """

    def __init__(
        self,
        operator: Operator,
        sides: tuple[Side, Side],
        projections: "IncludedProjections",
        *,
        many_left: bool,
        returns_bool: bool,
    ) -> None:
        super().__init__(*sides, projections.many.source)
        self._many, self._one = sides if many_left else sides[::-1]
        self._of = projections
        self._operator = operator
        self._many_left = many_left
        self._returns_bool = returns_bool

    def touched(self, touched: Touched) -> Slots | None:
        """Return the pairs of the matches in which an element may have changed."""
        matches = self._matches(touched)
        return None if matches is None else self._pairs(matches)

    def candidates(self) -> Slots:
        """Return the pairs of all matches that both sides may have."""
        return self._pairs(np.intersect1d(self._left.candidates(), self._right.candidates()))

    def _pairs(self, matches: Slots) -> Slots:
        """Return the slots of pairs, making those that are new."""
        many, one = self._many.on.members(matches), self._one.on.members(matches)
        self._of.brought.follow(one)
        ones: dict[int, list[int]] = {}
        for slot, match in zip(one.tolist(), self._one.on.of(one).tolist(), strict=True):
            ones.setdefault(match, []).append(slot)
        groups, place = self.space.groups, self.space.place
        found: set[int] = set()
        for slot, match in zip(many.tolist(), self._many.on.of(many).tolist(), strict=True):
            own = dict(zip(self._many.node.space.place, self._many.node.space.groups.keys[slot] or (), strict=False))
            for other in ones.get(match, ()):
                values = dict(
                    zip(self._one.node.space.place, self._one.node.space.groups.keys[other] or (), strict=False)
                )
                pair = groups.slot(tuple(own.get(entry, values.get(entry, "")) for entry in place))
                latest = max(self._many.node.space.groups.last_time[slot], self._one.node.space.groups.last_time[other])
                groups.last_time[pair] = max(groups.last_time[pair], latest)
                found.add(pair)
        return np.array(sorted(found), np.int64)

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the operator's results."""
        mine = self._of.many.of(slots)
        distinct = np.unique(mine[mine >= 0])
        if not len(distinct):
            return Column(np.zeros(len(slots)), np.zeros(len(slots), np.bool_))
        at = np.minimum(np.searchsorted(distinct, mine), len(distinct) - 1)
        many = kept(self._many.node.evaluate(distinct, moment).at(at), mine >= 0)
        one = self._brought(self._many.on.of(mine), self._of.wanted.of(slots), moment)
        left, right = (many, one) if self._many_left else (one, many)
        return combined(self._operator, left, right, returns_bool=self._returns_bool)

    def _brought(self, matches: Slots, wanted: Slots, moment: Moment) -> Column:
        """Return [n] the single element of each row's match, where it brings the labels that the row has."""
        distinct = np.unique(matches[matches >= 0])
        if not len(distinct):
            return Column(np.zeros(len(matches)), np.zeros(len(matches), np.bool_))
        members, column, place = self._one.elements(distinct, moment)
        mask = column.mask
        values, brings = np.zeros(len(distinct)), np.full(len(distinct), -1, np.int64)
        values[place[mask]] = column.values[mask]
        brings[place[mask]] = self._of.brought.of(members[mask])
        single = np.bincount(place[mask], minlength=len(distinct)) == 1
        at = np.minimum(np.searchsorted(distinct, matches), len(distinct) - 1)
        return Column(values[at], single[at] & (matches >= 0) & (brings[at] == wanted) & (wanted >= 0))


class IncludedProjections(NamedTuple):
    """What a result with included labels is looked up by."""

    many: Projection
    """The result onto the many side's labels."""
    wanted: Projection
    """The result onto the labels of the match and the included ones."""
    brought: Projection
    """The one side onto the same."""


class MetOn(_Joined):
    """`and`, `or`, `unless` where the match is of some labels only."""

    def __init__(self, operator: LogicalOperator, left: Side, right: Side) -> None:
        super().__init__(left, right, left.node.space)
        self._operator = operator

    def touched(self, touched: Touched) -> Slots | None:
        """Return the elements of either side that may have changed, or whose match may."""
        left, right = self._left.node.touched(touched), self._right.node.touched(touched)
        if left is None or right is None:
            return None
        on_left, on_right = self._left.on.follow(left), self._right.on.follow(right)
        if self._operator is LogicalOperator.OR:
            return union((left, right, self._left.on.members(on_left)))
        return union((left, self._left.on.members(on_right)))

    def candidates(self) -> Slots:
        """Return the slots that may have an element."""
        left, right = self._left.node.candidates(), self._right.node.candidates()
        self._left.on.follow(left)
        self._right.on.follow(right)
        return np.union1d(left, right) if self._operator is LogicalOperator.OR else left

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements that are left."""
        matches = self._left.on.of(slots)
        distinct = np.unique(matches[matches >= 0])
        side = self._left if self._operator is LogicalOperator.OR else self._right
        there = np.append(side.any(distinct, moment), False)  # an element
        at = np.searchsorted(distinct, matches)
        at[matches < 0] = len(distinct)
        met = there[at]
        left = self._left.node.evaluate(slots, moment)
        match self._operator:
            case LogicalOperator.AND:
                return Column(left.values, both(left.present, met))
            case LogicalOperator.UNLESS:
                return kept(left, ~met)
            case LogicalOperator.OR:
                right = self._right.node.evaluate(slots, moment)
                mask = left.mask
                return Column(np.where(mask, left.values, right.values), mask | (right.mask & ~met))
