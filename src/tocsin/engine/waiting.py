"""Rows that wait for their trace: for an attribute that a later span may bring, or for its end.

Bounded: past the limit the traces that have waited longest are let go as they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.ancestry import Keys
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn

__all__ = ["Parked", "Waiting"]


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
        batch = SpanBatch.concat([_conformed(part.batch, pattern) for part in parts])
        order = np.argsort(batch.end, kind="stable")
        keys = Keys(
            *(np.concatenate([getattr(part.keys, name) for part in parts]) for name in ("trace", "span", "parent"))
        )
        return Parked(
            batch,
            keys,
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.missing for part in parts]),
            np.concatenate([part.counted for part in parts]),
        ).part(order)

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow traces to their new slots."""
        parked = {}
        for slot, parts in self._parked.items():
            new = int(moved[slot])
            for part in parts:
                part.slots[:] = new
            parked[new] = parts
        self._parked = parked


def _conformed(batch: SpanBatch, pattern: SpanBatch) -> SpanBatch:
    """Return the batch with the labels and numbers of another; those it lacks (rules were edited) are absent."""
    if batch.labels.keys() == pattern.labels.keys() and batch.numbers.keys() == pattern.numbers.keys():
        return batch
    absent = TextColumn(np.full(len(batch), -1, np.int32), [])
    labels = {label: batch.labels.get(label, absent) for label in pattern.labels}
    numbers = {name: batch.numbers.get(name, np.full(len(batch), np.nan)) for name in pattern.numbers}
    return batch.conformed(labels, numbers)
