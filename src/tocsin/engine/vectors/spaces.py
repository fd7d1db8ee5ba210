"""Label sets across groupings: which group of one grouping the groups of another belong to.

All vectors with the same labels share one `Groups`, whatever they are computed from, so that elements with equal
labels have one slot. A projection says for each slot of one grouping the slot that has its labels in a coarser one; it
is found again from the keys, and of a state it needs only which label sets it knew.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.rules.vector import Entry
from tocsin.windows.groups import Groups, grown

__all__ = ["Place", "Projection", "Space", "Spaces", "place_of"]

Slots = NDArray[Any]
Place = tuple[Entry, ...]
_UNKNOWN = -1


def place_of(labels: Iterable[Entry]) -> Place:
    """Return labels in the order in which groupings of expressions have them."""
    return tuple(sorted(set(labels)))


class Space:
    """The label sets of one grouping, each with a slot."""

    def __init__(self, place: Place, groups: Groups) -> None:
        self.place = place
        self.groups = groups
        self.inner: list[Projection] = []
        """The projections onto this space."""
        self.outer: list[Projection] = []
        """The projections of this space onto others."""

    def keys(self, slots: Slots) -> list[tuple[str, ...]]:
        """Return the label values of slots."""
        keys = self.groups.keys
        return [keys[slot] or () for slot in slots.tolist()]

    def known(self) -> Slots:
        """Return the slots of all label sets that are known, rising."""
        keys = self.groups.keys
        return np.array([slot for slot in range(self.groups.used) if keys[slot] is not None], np.int64)

    def forget(self, gone: Slots) -> None:
        """Slots are to be used for other label sets."""
        for projection in self.outer:
            projection.forget_source(gone)
        for projection in self.inner:
            projection.forget_target(gone)


class Projection:
    """The slots of a space by those of another that has more labels."""

    def __init__(self, source: Space, target: Space) -> None:
        self.source = source
        self.target = target
        self.is_identity = source is target
        self._picks = [source.place.index(entry) if entry in source.place else None for entry in target.place]
        self._of = np.full(16, _UNKNOWN, np.int64)
        if not self.is_identity:
            source.outer.append(self)
            target.inner.append(self)
            self._add(source.known(), create=False)

    def _key(self, key: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("" if pick is None else key[pick] for pick in self._picks)

    def _reserve(self) -> None:
        if len(self._of) < self.source.groups.capacity:
            self._of = grown(self._of, self.source.groups.capacity, _UNKNOWN)  # type: ignore[assignment]  # grown keeps the dtype

    def _add(self, slots: Slots, *, create: bool) -> None:
        self._reserve()
        groups = self.target.groups
        for slot, key in zip(slots.tolist(), self.source.keys(slots), strict=True):
            found = groups.slot(self._key(key)) if create else groups.find(self._key(key))
            if found is not None:
                self._of[slot] = found

    def follow(self, slots: Slots) -> Slots:
        """Return [n] the target of slots that had samples, which lives on with them; a new one where there was none."""
        if self.is_identity:
            return slots
        self._reserve()
        found = self._of[slots]
        if (found < 0).any():
            self._add(np.unique(slots[found < 0]), create=True)
            found = self._of[slots]
        groups = self.target.groups
        np.maximum.at(groups.last_time, found, self.source.groups.last_time[slots])
        return found

    def of(self, slots: Slots) -> Slots:
        """Return [n] the target of each slot, -1 where it is not known."""
        if self.is_identity:
            return slots
        self._reserve()
        found = self._of[slots]
        if (found < 0).any():
            self._add(np.unique(slots[found < 0]), create=False)
            found = self._of[slots]
        return found

    def members(self, targets: Slots) -> Slots:
        """Return the slots of the source that belong to any of some targets, rising."""
        if self.is_identity:
            return np.unique(targets)
        self._reserve()
        wanted = np.zeros(self.target.groups.capacity + 1, np.bool_)
        wanted[targets[targets >= 0]] = True
        return np.flatnonzero(wanted[self._of[: self.source.groups.used]])

    def forget_source(self, gone: Slots) -> None:
        """Slots of the source are to be used for other label sets."""
        self._reserve()
        self._of[gone] = _UNKNOWN

    def forget_target(self, gone: Slots) -> None:
        """Slots of the target are to be used for other label sets."""
        taken = np.zeros(self.target.groups.capacity + 1, np.bool_)
        taken[gone] = True
        self._of[taken[self._of]] = _UNKNOWN

    def freeze(self) -> NDArray[np.bool_]:
        """Return [used] which slots of the source have a target; which one it is, their keys say."""
        self._reserve()
        return self._of[: self.source.groups.used] >= 0

    def thaw(self, mapped: NDArray[np.bool_]) -> None:
        """Find the targets of [used] slots again, now that the groups were read from a state."""
        self._of = np.full(self.source.groups.capacity, _UNKNOWN, np.int64)
        known = set(self.source.known().tolist())
        self._add(np.array([slot for slot in np.flatnonzero(mapped).tolist() if slot in known], np.int64), create=False)


class Spaces:
    """The spaces of a plan, by their labels, and the projections between them."""

    def __init__(self) -> None:
        self._spaces: dict[Place, Space] = {}
        self._projections: dict[tuple[Place, Place], Projection] = {}

    def add(self, place: Place, groups: Groups) -> Space:
        """Return the space of a place; its groups are those given, the same each time."""
        space = self._spaces.get(place)
        if space is None:
            space = self._spaces[place] = Space(place, groups)
        return space

    def __getitem__(self, place: Place) -> Space:
        """Return the space of a place that was added."""
        return self._spaces[place]

    def projection(self, source: Space, target: Space) -> Projection:
        """Return the one projection of a space onto another."""
        key = source.place, target.place
        found = self._projections.get(key)
        if found is None:
            found = self._projections[key] = Projection(source, target)
        return found

    def outer(self, place: Place) -> "list[Projection]":
        """Return the projections of a place's space onto others."""
        return self._spaces[place].outer

    def _kept(self) -> list[Projection]:
        return [each for each in self._projections.values() if not each.is_identity]

    def freeze(self) -> Frozen:
        """Return which label sets projections know: which are looked at when others change hangs on it."""
        mapped: list[State] = [packed(each.freeze()) for each in self._kept()]
        return lambda: {str(number): each for number, each in enumerate(mapped)}

    def thaw(self, section: Section) -> None:
        """Take a state of the same rules; the groups have theirs already."""
        for number, each in enumerate(self._kept()):
            each.thaw(section.array(str(number), np.bool_, each.source.groups.used))
