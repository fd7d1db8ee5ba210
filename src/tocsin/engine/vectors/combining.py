"""Aggregation over elements: `sum by`, `quantile`, `topk`, and what is made of all elements at once.

Only the groups that are asked for are computed, each anew from its members: a running total would depend on the order
in which elements changed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.vectors.moments import Moment, Touched
from tocsin.engine.vectors.nodes import LeafNode, Node
from tocsin.engine.vectors.numbers import NOTHING, Column, Floats
from tocsin.engine.vectors.scalars import Scalar
from tocsin.engine.vectors.spaces import Projection, Slots, Space
from tocsin.rules.vector import Combining

__all__ = ["AbsentNode", "Combined", "ScalarOf", "Top", "VectorOf"]

Place = NDArray[np.intp]


class _Wide(Node):
    """A node whose elements are made of several of another's."""

    def __init__(self, argument: Node, projection: Projection, parameter: Scalar | None) -> None:
        self._argument = argument
        self._projection = projection
        self._parameter = parameter
        self.is_local = False
        self.moves = argument.moves or (parameter is not None and parameter.moves)

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return [*self._argument.leaves(), *([] if self._parameter is None else self._parameter.leaves())]

    def _groups(self, touched: Touched) -> Slots | None:
        """Return the groups with a member that may have changed; None: all."""
        if self._parameter is not None and self._parameter.is_touched(touched):
            return None
        own = self._argument.touched(touched)
        return None if own is None else np.unique(self._projection.follow(own))

    def _members(self, groups: Slots, moment: Moment) -> tuple[Slots, Column, Place]:
        """Return [m] the members of groups ([n], rising), their elements, and [m] the number of each one's group."""
        members = self._projection.members(groups)
        moment.cost += self._projection.source.groups.used // 8 + len(members)
        column = self._argument.evaluate(members, moment)
        return members, column, np.searchsorted(groups, self._projection.of(members))


class Combined(_Wide):
    """Elements that are equal in some labels as one."""

    def __init__(
        self, combining: Combining, argument: Node, projection: Projection, parameter: Scalar | None = None
    ) -> None:
        super().__init__(argument, projection, parameter)
        self._combining = combining
        self.space = projection.target

    def touched(self, touched: Touched) -> Slots | None:
        """Return the groups with a member that may have changed."""
        return self._groups(touched)

    def candidates(self) -> Slots:
        """Return the groups that have members."""
        return np.unique(self._projection.follow(self._argument.candidates()))

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return one element a group."""
        _, column, place = self._members(slots, moment)
        values = column.values
        if column.present is not None:
            values, place = values[column.present], place[column.present]
        counts = np.bincount(place, minlength=len(slots))
        parameter = None if self._parameter is None else float(self._parameter.value(moment))
        with np.errstate(all="ignore"):
            return Column(_reduced(self._combining, values, place, counts, parameter), counts > 0)


def _reduced(
    combining: Combining, values: Floats, place: Place, counts: NDArray[np.int64], parameter: float | None
) -> Floats:
    match combining:
        case Combining.COUNT:
            return counts.astype(np.float64)
        case Combining.GROUP:
            return np.ones(len(counts))
        case Combining.SUM:
            return np.bincount(place, values, len(counts)).astype(np.float64, copy=False)
        case Combining.AVG:
            return np.bincount(place, values, len(counts)) / counts
        case Combining.MIN:
            return _folded(np.fmin, values, place, len(counts))
        case Combining.MAX:
            return _folded(np.fmax, values, place, len(counts))
        case Combining.STDDEV:
            return np.sqrt(_variance(values, place, counts))
        case Combining.STDVAR:
            return _variance(values, place, counts)
        case _:
            return _quantile(values, place, counts, np.nan if parameter is None else parameter)


def _folded(fold: np.ufunc, values: Floats, place: Place, size: int) -> Floats:
    found = np.full(size, np.nan)
    fold.at(found, place, values)
    return found


def _variance(values: Floats, place: Place, counts: NDArray[np.int64]) -> Floats:
    mean = np.bincount(place, values, len(counts)) / counts
    return np.bincount(place, (values - mean[place]) ** 2, len(counts)) / counts


def _quantile(values: Floats, place: Place, counts: NDArray[np.int64], rank: float) -> Floats:
    """Return PromQL's quantiles: linear between the two values beside the rank; NaN is less than all numbers."""
    if np.isnan(rank) or not 0 <= rank <= 1:
        return np.full(len(counts), np.nan if np.isnan(rank) else np.copysign(np.inf, rank))
    order = np.lexsort((values, ~np.isnan(values), place))
    ordered = np.append(values[order], np.nan)
    begin = np.cumsum(counts) - counts
    at = rank * np.maximum(counts - 1, 0)
    lower = np.floor(at).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    weight = at - lower
    return ordered[begin + lower] * (1 - weight) + ordered[begin + upper] * weight


class Top(_Wide):
    """The largest or the smallest elements of each group; they keep their labels.

    NaN comes last. Of equal ones those with the lesser labels are kept, so that it does not matter who came first.
    """

    def __init__(self, argument: Node, projection: Projection, parameter: Scalar, *, largest: bool) -> None:
        super().__init__(argument, projection, parameter)
        self._largest = largest
        self.space = argument.space

    def touched(self, touched: Touched) -> Slots | None:
        """Return all members of the groups with a member that may have changed."""
        groups = self._groups(touched)
        return None if groups is None else self._projection.members(groups)

    def candidates(self) -> Slots:
        """Return the argument's."""
        own = self._argument.candidates()
        self._projection.follow(own)
        return own

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the elements that are kept."""
        groups = np.unique(self._projection.of(slots))
        members, column, place = self._members(groups[groups >= 0], moment)
        if not len(members):
            return Column(np.zeros(len(slots)), np.zeros(len(slots), np.bool_))
        parameter = float(self._parameter.value(moment)) if self._parameter is not None else np.nan
        keeps = self._kept(members, column, place, parameter)
        at = np.minimum(np.searchsorted(members, slots), len(members) - 1)
        return Column(column.values[at], keeps[at] & (members[at] == slots))

    def _kept(self, members: Slots, column: Column, place: Place, parameter: float) -> NDArray[np.bool_]:
        keeps = np.zeros(len(members), np.bool_)
        rows = np.flatnonzero(column.mask)
        if np.isnan(parameter) or parameter < 1 or not len(rows):
            return keeps
        values = column.values[rows]
        rank = -values if self._largest else values
        order = np.lexsort((rank, np.isnan(rank), place[rows]))
        rows, rank, group = rows[order], rank[order], place[rows][order]
        begins = np.append(0, np.flatnonzero(np.diff(group)) + 1)
        sizes = np.diff(np.append(begins, len(group)))
        within = np.arange(len(rows)) - np.repeat(begins, sizes)
        most = int(min(parameter, len(rows)))
        keeps[rows[within < most]] = True
        for begin, size in zip(begins[sizes > most].tolist(), sizes[sizes > most].tolist(), strict=True):
            own, ranks = rows[begin : begin + size], rank[begin : begin + size]
            tied = own[ranks == ranks[most - 1]]
            if ranks[most] == ranks[most - 1]:
                free = int(np.count_nonzero(keeps[tied]))
                keeps[tied] = False
                by_labels = sorted(zip(self.space.keys(members[tied]), tied.tolist(), strict=True))
                keeps[[row for _, row in by_labels[:free]]] = True
        return keeps


class AbsentNode(Node):
    """One element without labels while the argument has none."""

    def __init__(self, argument: Node, space: Space) -> None:
        self._argument = argument
        self.space = space
        self.is_local = False
        self.moves = argument.moves

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return self._argument.leaves()

    def touched(self, touched: Touched) -> Slots | None:
        """Return the one slot, if anything was touched."""
        own = self._argument.touched(touched)
        return self.candidates() if own is None or len(own) else own

    def candidates(self) -> Slots:
        """Return the one slot."""
        return np.array([self.space.groups.slot(())])

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return 1 where the argument has no element."""
        is_absent = not _everything(self._argument, moment).mask.any()
        return Column(np.ones(len(slots)), np.full(len(slots), is_absent))


class VectorOf(Node):
    """A scalar as one element without labels."""

    def __init__(self, scalar: Scalar, space: Space) -> None:
        self._scalar = scalar
        self.space = space
        self.is_local = False
        self.moves = scalar.moves

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return self._scalar.leaves()

    def touched(self, touched: Touched) -> Slots | None:
        """Return the one slot, if the scalar may have changed."""
        return self.candidates() if self._scalar.is_touched(touched) else np.zeros(0, np.int64)

    def candidates(self) -> Slots:
        """Return the one slot."""
        return np.array([self.space.groups.slot(())])

    def evaluate(self, slots: Slots, moment: Moment) -> Column:
        """Return the scalar."""
        return Column(np.full(len(slots), float(self._scalar.value(moment))), None)


class ScalarOf(Scalar):
    """The one element of a vector; NaN where it has none or several."""

    is_local = False

    def __init__(self, argument: Node) -> None:
        self._argument = argument
        self.moves = argument.moves

    def leaves(self) -> list[LeafNode]:
        """Return the leaves below."""
        return self._argument.leaves()

    def value(self, moment: Moment) -> Any:  # noqa: ANN401  # a float
        """Return the element's value."""
        found = _everything(self._argument, moment)
        values = found.values[found.mask]
        return float(values[0]) if len(values) == 1 else float("nan")


def _everything(node: Node, moment: Moment) -> Column:
    slots = node.candidates()
    moment.cost += node.space.groups.used // 8
    return node.evaluate(slots, moment) if len(slots) else NOTHING
