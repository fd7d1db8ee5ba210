"""Calls of a trace that failed and that no later attempt made good, whichever of the two came first."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.groups import grown
from tocsin.windows.index import KeyIndex, thawed_index

__all__ = ["Failures"]

_GOOD_CALLS = 1 << 18
_COLUMNS = {"slot": np.int64, "parent": np.uint64, "end": np.int64}

Slots = NDArray[np.int32]


class Failures:
    """Per trace slot the parents of failed calls, and when the last attempt of each ended."""

    def __init__(self) -> None:
        self._held: dict[int, dict[int, int]] = {}
        self._good = _GoodCalls()

    def note(
        self,
        slots: Slots,
        parents: NDArray[np.uint64],
        ends: NDArray[np.int64],
        failed: NDArray[np.bool_],
        is_call: NDArray[np.bool_],
    ) -> None:
        """Learn from spans ([n]); `parents` are the keys of their parents, 0 for a root."""
        calls = is_call & (parents != 0)  # a root that failed has failed its trace already
        good = np.flatnonzero(calls & ~failed)
        self._good.note(parents[good], ends[good])
        if len(good) < len(calls):
            bad = np.flatnonzero(calls & failed)
            bad = bad[self._good.latest(parents[bad]) < ends[bad]]
            for row in bad.tolist():
                held = self._held.setdefault(int(slots[row]), {})
                parent = int(parents[row])
                held[parent] = max(held.get(parent, 0), int(ends[row]))
        for row in good.tolist() if self._held else ():
            attempts = self._held.get(int(slots[row]))
            parent = int(parents[row])
            if attempts and parent in attempts and attempts[parent] <= int(ends[row]):
                del attempts[parent]

    def of(self, slots: Slots) -> NDArray[np.bool_]:
        """Return [n] whether a call of the trace failed for good."""
        held = self._held
        if not held:
            return np.zeros(len(slots), np.bool_)
        return np.array([bool(held.get(slot)) for slot in slots.tolist()], np.bool_)

    def forget(self, slots: Slots) -> None:
        """Nobody asks for these traces any more."""
        for slot in slots.tolist() if self._held else ():
            self._held.pop(slot, None)

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow traces to their new slots, forgetting those that are -1."""
        self._held = {int(moved[slot]): held for slot, held in self._held.items() if moved[slot] >= 0}

    def freeze(self) -> Frozen:
        """Return the state of the failures."""
        failures = {slot: held.copy() for slot, held in self._held.items()}
        good = self._good.freeze()

        def state() -> State:
            rows = [(slot, parent, end) for slot, held in failures.items() for parent, end in held.items()]
            columns: Iterable[tuple[str, tuple[int, ...]]] = zip(_COLUMNS, zip(*rows, strict=True), strict=False)
            return {"good": good(), "bad": {name: np.array(column, _COLUMNS[name]) for name, column in columns}}

        return state

    def thaw(self, section: Section, slots_below: int) -> None:
        """Take the failures of a state."""
        self._good.thaw(section.part("good"))
        bad = section.part("bad")
        if not bad.names():
            return
        slots = bad.array("slot", np.int64, least=0, below=slots_below).tolist()
        parents, ends = (bad.array(name, _COLUMNS[name], len(slots)).tolist() for name in ("parent", "end"))
        for slot, parent, end in zip(slots, parents, ends, strict=True):
            self._held.setdefault(slot, {})[parent] = end


class _GoodCalls:
    """When the last call of a parent succeeded, for at least the last 262,144 parents."""

    def __init__(self) -> None:
        self._new, self._end = KeyIndex(), np.zeros(1024, np.int64)
        self._old, self._old_end = KeyIndex(), np.zeros(1, np.int64)

    def note(self, parents: NDArray[np.uint64], ends: NDArray[np.int64]) -> None:
        """Remember calls ([n] keys of their parents, none of them 0)."""
        if self._new.rows > _GOOD_CALLS:
            self._old, self._old_end = self._new, self._end
            self._new, self._end = KeyIndex(), np.zeros(1024, np.int64)
        rows, _ = self._new.find_or_insert(parents)
        if self._new.rows > len(self._end):
            self._end = grown(self._end, 1 << self._new.rows.bit_length(), 0)  # type: ignore[assignment]  # grown keeps the dtype
        np.maximum.at(self._end, rows, ends)

    def latest(self, parents: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return [n] the end of each parent's last call that succeeded; -1 where none is known."""
        new, old = self._new.find(parents), self._old.find(parents)
        return np.maximum(np.where(new < 0, -1, self._end[new]), np.where(old < 0, -1, self._old_end[old]))

    def freeze(self) -> Frozen:
        new, old = self._new.freeze(), self._old.freeze()
        end, old_end = self._end[: self._new.rows].copy(), self._old_end[: self._old.rows]  # the old is never changed
        return lambda: {"new": new(), "old": old(), "end": end, "old_end": old_end}

    def thaw(self, section: Section) -> None:
        self._new, self._old = thawed_index(section, "new"), thawed_index(section, "old")
        self._end = grown(section.array("end", np.int64, self._new.rows), max(1024, self._new.rows), 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._old_end = grown(section.array("old_end", np.int64, self._old.rows), max(1, self._old.rows), 0)  # type: ignore[assignment]  # as above
