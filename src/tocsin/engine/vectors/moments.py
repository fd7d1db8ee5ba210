"""What a question to the nodes of an expression is about: which groups have changed, and at which instant."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tocsin.engine.leaf import Leaf
from tocsin.engine.vectors.numbers import Column
from tocsin.engine.vectors.spaces import Slots

if TYPE_CHECKING:
    from tocsin.engine.vectors.nodes import LeafNode

__all__ = ["Moment", "Touched", "union"]


class Touched:
    """Which slots of which windows have changed since an expression was looked at."""

    def __init__(self, slots: Mapping[int, Sequence[Slots]]) -> None:
        self._slots = slots
        self._unions: dict[frozenset[int], Slots] = {}

    def of(self, leaf: Leaf) -> Slots:
        """Return the slots of a leaf, rising."""
        return self.of_any(frozenset((id(leaf),)))

    def of_any(self, leaves: frozenset[int]) -> Slots:
        """Return the slots of some leaves (their ids), rising; one array for the same leaves."""
        found = self._unions.get(leaves)
        if found is None:
            own = [slots for leaf in leaves for slots in self._slots.get(leaf, ())]
            found = np.unique(np.concatenate(own)) if own else np.zeros(0, np.int64)
            self._unions[leaves] = found
        return found

    def __contains__(self, leaf: int) -> bool:
        """Whether a leaf (its id) has changed."""
        return leaf in self._slots


def union(parts: Iterable[Slots | None]) -> Slots | None:
    """Return slots that stand in any of some arrays, rising; None where one of them is, which means all."""
    own: list[Slots] = []
    for part in parts:
        if part is None:
            return None
        if len(part):
            own.append(part)
    if not own:
        return np.zeros(0, np.int64)
    return own[0] if len(own) == 1 else np.unique(np.concatenate(own))


class Moment:
    """An instant of event time at which nodes are asked; what a window said is remembered for all who ask."""

    def __init__(self, now: int) -> None:
        self.now: Any = now
        """Unix nanoseconds; [n] where each row has its own."""
        self.cost = 0
        """How many elements were looked at."""
        self._read: dict[tuple[object, ...], tuple[Slots, Column]] = {}

    def read(self, node: "LeafNode", slots: Slots) -> Column:
        """Return the elements of a leaf."""
        key = (id(node.leaf), node.measure, id(slots))
        self.cost += len(slots)
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = slots, node.present(slots)
        return found[1]
