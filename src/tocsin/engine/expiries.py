"""When windows change by time alone: a pane leaves or comes in, a bucket ends, a period begins."""

import heapq
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tocsin.engine.leaf import Leaf
from tocsin.engine.leafkeys import LeafKey
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State

__all__ = ["Expiries"]


class Expiries:
    """The next change of each leaf's window."""

    def __init__(self) -> None:
        self._schedule: list[tuple[int, int, LeafKey | None]] = []
        self._sequence = 0

    @property
    def next_due(self) -> int | None:
        """The next event time at which a window changes (or a little earlier)."""
        return self._schedule[0][0] if self._schedule else None

    def note(self, leaf: Leaf) -> None:
        """Note when a leaf's window changes next."""
        window = leaf.later.window  # what it is still to have changes nothing sooner
        if window is None:
            return
        due = window.panes.next_change
        if due is not None and (leaf.scheduled is None or due < leaf.scheduled):
            leaf.scheduled = due
            self._sequence += 1
            heapq.heappush(self._schedule, (due, self._sequence, leaf.key))

    def reach(self, due: int, leaves: Mapping[LeafKey, Leaf]) -> Iterator[tuple[Leaf, int]]:
        """Yield the leaves whose windows change by `due`, and when; what each says next is noted once it has moved."""
        while self._schedule and self._schedule[0][0] <= due:
            at, _, key = heapq.heappop(self._schedule)
            leaf = None if key is None else leaves.get(key)
            if leaf is not None and leaf.window is not None and leaf.scheduled == at:
                leaf.scheduled = None
                yield leaf, at
                self.note(leaf)

    def freeze(self, leaves: Iterable[LeafKey]) -> Frozen:
        """Return what is noted; leaves are named by their numbers."""
        numbers = {key: number for number, key in enumerate(leaves)}
        schedule = [(at, sequence, numbers.get(key, -1) if key else -1) for at, sequence, key in self._schedule]
        sequence = self._sequence

        def state() -> State:
            return {"sequence": sequence, "schedule": np.array(schedule, np.int64).reshape(-1, 3)}

        return state

    def thaw(self, section: Section, leaves: Iterable[LeafKey]) -> None:
        """Take a state of the same leaves."""
        keys = [*leaves, None]
        self._sequence = section.integer("sequence")
        schedule = section.array("schedule", np.int64, shape=(3,), least=-(1 << 62)).tolist()
        self._schedule = [(at, sequence, keys[number]) for at, sequence, number in schedule]
        heapq.heapify(self._schedule)
        if len({sequence for _, sequence, _ in self._schedule}) != len(self._schedule):
            raise section.unfit("has something due twice")
