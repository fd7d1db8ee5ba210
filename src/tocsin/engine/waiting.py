"""Rows that wait for their trace: for an attribute that a later span may bring, or for its end.

Bounded: past the limit the traces that have waited longest are let go as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.ancestry import Keys
from tocsin.engine.batches import conformed, parted, state_of, thawed_batch
from tocsin.model.batch import SpanBatch
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State

__all__ = ["Parked", "Waiting"]

_KEYS = ("trace", "span", "parent")


@dataclass(slots=True)
class Parked:
    """Rows with what they lacked when they were last looked at."""

    batch: SpanBatch
    keys: Keys
    slots: NDArray[np.int32]
    missing: NDArray[np.uint64]
    counted: NDArray[np.bool_]

    def part(self, rows: NDArray[np.intp]) -> "Parked":
        """Return some of the rows."""
        return Parked(
            self.batch.take(rows),
            self.keys.part(rows),
            self.slots[rows],
            self.missing[rows],
            self.counted[rows],
        )


class Waiting:
    """Parked rows by trace slot, in order of arrival."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parked: dict[int, list[Parked]] = {}
        self.rows = 0

    def park(self, parked: Parked) -> list[int]:
        """Keep rows; return the slots of traces that are over the limit, for the caller to release."""
        for slot in np.unique(parked.slots).tolist():
            self._parked.setdefault(slot, []).append(parked.part(np.flatnonzero(parked.slots == slot)))
        self.rows += len(parked.slots)
        excess, over = self.rows - self._limit, []
        for slot, parts in self._parked.items() if excess > 0 else ():
            if excess <= 0:
                break
            over.append(slot)
            excess -= sum(len(part.slots) for part in parts)
        return over

    def holds(self, slots: NDArray[np.int32]) -> list[int]:
        """Return which of these traces have parked rows."""
        return [slot for slot in np.unique(slots).tolist() if slot in self._parked] if self._parked else []

    def release(self, slots: list[int], like: SpanBatch | None = None) -> Parked | None:
        """Remove and return the rows of some traces as one; `like` has the labels and numbers to give them."""
        parts = [part for slot in slots for part in self._parked.pop(slot, ())]
        if not parts:
            return None
        self.rows -= sum(len(part.slots) for part in parts)
        pattern = like or parts[-1].batch
        batch = SpanBatch.concat([conformed(part.batch, pattern.labels, pattern.numbers) for part in parts])
        order = np.argsort(batch.end, kind="stable")
        keys = Keys(*(np.concatenate([getattr(part.keys, name) for part in parts]) for name in _KEYS))
        return Parked(
            batch,
            keys,
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.missing for part in parts]),
            np.concatenate([part.counted for part in parts]),
        ).part(order)

    def widen(self, labels: Iterable[str], numbers: Iterable[str]) -> None:
        """Give the rows these labels and numbers too, absent where they lack them: other rules read them now."""
        for part in (part for parts in self._parked.values() for part in parts):
            part.batch = conformed(part.batch, {*part.batch.labels, *labels}, {*part.batch.numbers, *numbers})

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow traces to their new slots."""
        parked = {}
        for slot, parts in self._parked.items():
            new = int(moved[slot])
            for part in parts:
                part.slots = np.full(len(part.slots), new, np.int32)  # who reads the old array goes on with it
            parked[new] = parts
        self._parked = parked

    def freeze(self) -> Frozen:
        """Return the rows that wait."""
        held = [(slot, parts.copy()) for slot, parts in self._parked.items()]

        def state() -> State:
            parts = [part for _, of_trace in held for part in of_trace]
            keys: dict[str, State] = {name: _joined([getattr(part.keys, name) for part in parts]) for name in _KEYS}
            return {
                "slots": np.array([slot for slot, _ in held], np.int64),
                "counts": np.array([sum(len(part.missing) for part in parts) for _, parts in held], np.int64),
                "batch": state_of([part.batch for part in parts]),
                "keys": keys,
                "missing": packed(_joined([part.missing for part in parts])),
                "counted": packed(_joined([part.counted for part in parts])),
            }

        return state

    def thaw(self, section: Section, slots_below: int) -> None:
        """Take the rows of a state; the rows of a trace come as one."""
        slots = section.array("slots", np.int64, least=0, below=slots_below)
        if len(np.unique(slots)) != len(slots):
            raise section.unfit("has a trace twice")
        if not len(slots):
            return
        ends = np.cumsum(section.array("counts", np.int64, len(slots), least=1, below=1 << 31)).tolist()
        batch, held = thawed_batch(section.part("batch")), section.part("keys")
        if len(batch) != ends[-1]:
            raise section.unfit("has another number of rows than it says")
        keys = Keys(*(held.array(name, np.uint64, len(batch)) for name in _KEYS))
        missing = section.array("missing", np.uint64, len(batch))
        counted = section.array("counted", np.bool_, len(batch))
        for slot, (begin, end) in zip(slots.tolist(), pairwise([0, *ends]), strict=True):
            rows = slice(begin, end)
            own = np.full(end - begin, slot, np.int32)
            self._parked[slot] = [Parked(parted(batch, rows), keys.part(rows), own, missing[rows], counted[rows])]
        self.rows = len(batch)


def _joined(columns: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    return np.concatenate(columns) if columns else np.zeros(0)
