"""Rows that wait for their trace: for an attribute that a later span may bring, or for its end.

Bounded: past the limit the traces that have waited longest are let go as they are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.ancestry import Keys
from tocsin.engine.batches import conformed, state_of, thawed_batch
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
    """Parked rows by trace slot, in order of arrival.

    Rows that came together stay together as columns; a trace knows which of them are its own. A row costs a microsecond
    so, where columns for each trace cost fifty.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: dict[int, Parked] = {}
        """By number, in order of arrival; of a row that is not waiting any more the slot is -1."""
        self._live: dict[int, int] = {}
        """How many rows of each chunk still wait."""
        self._next = 0
        self._parked: dict[int, list[tuple[int, NDArray[np.intp]]]] = {}
        """Trace slot -> (chunk, rows of it) in order of arrival."""
        self.rows = 0

    def park(self, parked: Parked) -> list[int]:
        """Keep rows; return the slots of traces that are over the limit, for the caller to release."""
        number, self._next = self._next, self._next + 1
        self._chunks[number] = replace(parked, slots=parked.slots.copy())
        self._live[number] = len(parked.slots)
        for slot, rows in _by_slot(parked.slots):
            self._parked.setdefault(slot, []).append((number, rows))
        self.rows += len(parked.slots)
        excess, over = self.rows - self._limit, []
        for slot, pieces in self._parked.items() if excess > 0 else ():
            if excess <= 0:
                break
            over.append(slot)
            excess -= sum(len(rows) for _, rows in pieces)
        return over

    def holds(self, slots: NDArray[np.int32]) -> list[int]:
        """Return which of these traces have parked rows."""
        return [slot for slot in np.unique(slots).tolist() if slot in self._parked] if self._parked else []

    def release(self, slots: list[int], like: SpanBatch | None = None) -> Parked | None:
        """Remove and return the rows of some traces as one; `like` has the labels and numbers to give them."""
        pieces: dict[int, list[NDArray[np.intp]]] = {}
        turns: dict[int, list[NDArray[np.intp]]] = {}
        newest = -1
        for place, slot in enumerate(slots):
            for number, rows in self._parked.pop(slot, ()):
                pieces.setdefault(number, []).append(rows)
                turns.setdefault(number, []).append(np.full(len(rows), place))
                newest = number
        if not pieces:
            return None
        pattern = like or self._chunks[newest].batch
        parts = []
        numbers = sorted(pieces)
        for number in numbers:
            rows = np.concatenate(pieces[number])
            parts.append(self._chunks[number].part(rows))
            self._let_go(number, rows)
        whole = _joined(parts, pattern.labels, pattern.numbers)
        # By time, and of one time by trace in the order asked for, and by arrival.
        turn = np.concatenate([turn for number in numbers for turn in turns[number]])
        return whole.part(np.lexsort((turn, whole.batch.end)))

    def _let_go(self, number: int, rows: NDArray[np.intp]) -> None:
        """Forget rows of a chunk, and the chunk once most of it is forgotten, so that it holds no memory for few."""
        self.rows -= len(rows)
        self._live[number] -= len(rows)
        chunk = self._chunks[number]
        chunk.slots[rows] = -1
        if not self._live[number]:
            del self._chunks[number], self._live[number]
        elif self._live[number] * 2 < len(chunk.slots):
            kept = self._chunks[number] = chunk.part(np.flatnonzero(chunk.slots >= 0))
            for slot, own in _by_slot(kept.slots):
                self._parked[slot] = [(each, own if each == number else held) for each, held in self._parked[slot]]

    def widen(self, labels: Iterable[str], numbers: Iterable[str]) -> None:
        """Give the rows these labels and numbers too, absent where they lack them: other rules read them now."""
        for chunk in self._chunks.values():
            chunk.batch = conformed(chunk.batch, {*chunk.batch.labels, *labels}, {*chunk.batch.numbers, *numbers})

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow traces to their new slots."""
        self._parked = {int(moved[slot]): pieces for slot, pieces in self._parked.items()}
        for chunk in self._chunks.values():
            chunk.slots = np.where(chunk.slots >= 0, moved[chunk.slots], np.int32(-1))

    def freeze(self) -> Frozen:
        """Return the rows that wait."""
        held = [(slot, pieces.copy()) for slot, pieces in self._parked.items()]
        chunks = {number: replace(chunk) for number, chunk in self._chunks.items()}

        def state() -> State:
            whole = _whole(list(chunks.values()))
            begins = dict(zip(chunks, np.cumsum([0, *(len(each.missing) for each in chunks.values())]), strict=False))
            rows = [begins[number] + rows for _, pieces in held for number, rows in pieces]
            waiting = None if whole is None else whole.part(np.concatenate(rows))
            nothing = np.zeros(0)
            keys: dict[str, State] = {
                name: nothing if waiting is None else getattr(waiting.keys, name) for name in _KEYS
            }
            return {
                "slots": np.array([slot for slot, _ in held], np.int64),
                "counts": np.array([sum(len(rows) for _, rows in pieces) for _, pieces in held], np.int64),
                "batch": None if waiting is None else state_of([waiting.batch]),
                "keys": keys,
                "missing": packed(nothing if waiting is None else waiting.missing),
                "counted": packed(nothing if waiting is None else waiting.counted),
            }

        return state

    def thaw(self, section: Section, slots_below: int) -> None:
        """Take the rows of a state; they come as one chunk."""
        slots = section.array("slots", np.int64, least=0, below=slots_below)
        if len(np.unique(slots)) != len(slots):
            raise section.unfit("has a trace twice")
        if not len(slots):
            return
        counts = section.array("counts", np.int64, len(slots), least=1, below=1 << 31)
        batch, held = thawed_batch(section.part("batch")), section.part("keys")
        if len(batch) != int(counts.sum()):
            raise section.unfit("has another number of rows than it says")
        keys = Keys(*(held.array(name, np.uint64, len(batch)) for name in _KEYS))
        missing = section.array("missing", np.uint64, len(batch))
        counted = section.array("counted", np.bool_, len(batch))
        number, self._next = self._next, self._next + 1
        own = np.repeat(slots.astype(np.int32), counts)
        self._chunks[number] = Parked(batch, keys, own, missing, counted)
        self._live[number] = self.rows = len(batch)
        parts = np.split(np.arange(len(batch)), np.cumsum(counts)[:-1])
        self._parked = {slot: [(number, rows)] for slot, rows in zip(slots.tolist(), parts, strict=True)}


def _by_slot(slots: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each distinct slot, rising, with its rows."""
    order = np.argsort(slots, kind="stable")
    rising = slots[order]
    cuts = np.flatnonzero(np.diff(rising)) + 1
    yield from zip(rising[[0, *cuts]].tolist(), np.split(order, cuts), strict=True)


def _whole(parts: list[Parked]) -> Parked | None:
    """Return rows as one, with the labels and numbers of all."""
    if not parts:
        return None
    labels = dict.fromkeys(label for part in parts for label in part.batch.labels)
    return _joined(parts, labels, dict.fromkeys(name for part in parts for name in part.batch.numbers))


def _joined(parts: list[Parked], labels: Iterable[str], numbers: Iterable[str]) -> Parked:
    """Return rows as one, with these labels and numbers."""
    labels, numbers = tuple(labels), tuple(numbers)
    return Parked(
        SpanBatch.concat([conformed(part.batch, labels, numbers) for part in parts]),
        Keys(*(np.concatenate([getattr(part.keys, name) for part in parts]) for name in _KEYS)),
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.missing for part in parts]),
        np.concatenate([part.counted for part in parts]),
    )
