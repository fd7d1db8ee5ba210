"""An agenda: which traces are to be looked at when, on a grid of event time.

A trace that is active every millisecond must not be looked at every millisecond. Whole batches of slots are noted under
the first instant at which any of them could be due; what is not due then is noted again under its own instant. So a
span costs one note, however many traces are open.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State

__all__ = ["Agenda"]

Slots = NDArray[np.int32]


class Agenda:
    """Slots by time."""

    def __init__(self, grid_ns: int) -> None:
        self._grid_ns = grid_ns
        self._notes: dict[int, list[Slots]] = {}
        self._times: list[int] = []

    def on_grid(self, time: int) -> int:
        """Return the first instant of the grid that is not before `time`."""
        return -(-time // self._grid_ns) * self._grid_ns

    def note(self, slots: Slots, time: int) -> None:
        """Look at slots at `time`, which is put on the grid; the array is kept."""
        at = self.on_grid(time)
        notes = self._notes.get(at)
        if notes is None:
            notes = self._notes[at] = []
            heapq.heappush(self._times, at)
        notes.append(slots)

    def note_each(self, slots: Slots, times: NDArray[np.int64]) -> None:
        """Look at each slot at its own time."""
        at = -(-times // self._grid_ns)
        order = np.argsort(at, kind="stable")
        cuts = np.flatnonzero(np.diff(at[order])) + 1
        for part in np.split(order, cuts) if len(order) else ():
            self.note(slots[part], int(times[part].max()))

    @property
    def next_time(self) -> int | None:
        """The earliest instant with notes; None without any."""
        return self._times[0] if self._times else None

    def take(self, now: int) -> Slots:
        """Remove and return the slots, each once, that are to be looked at by `now`."""
        found: list[Slots] = []
        while self._times and self._times[0] <= now:
            found += self._notes.pop(heapq.heappop(self._times))
        return _distinct(found)

    def before(self, time: int) -> Slots:
        """Return the slots, each once, that are to be looked at before `time`."""
        found = [slots for at, notes in self._notes.items() if at < time for slots in notes]
        return _distinct(found)

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow slots to their new numbers, forgetting those that are -1."""
        for notes in self._notes.values():
            renamed = moved[np.concatenate(notes)]
            notes[:] = [renamed[renamed >= 0]]

    def freeze(self) -> Frozen:
        """Return the agenda's state; arrays of slots are never changed."""
        notes = [(at, slots.copy()) for at, slots in self._notes.items()]

        def state() -> State:
            # What is noted for one time is taken as one, each slot once.
            joined = [np.unique(np.concatenate(slots)) for _, slots in notes]
            return {
                "times": np.array([at for at, _ in notes], np.int64),
                "counts": np.array([len(slots) for slots in joined], np.int64),
                "slots": np.concatenate(joined) if joined else np.zeros(0, np.int32),
            }

        return state

    def thaw(self, section: Section, slots_below: int) -> None:
        """Take the notes of a state."""
        times = section.array("times", np.int64).tolist()
        ends = np.cumsum(section.array("counts", np.int64, len(times), least=0, below=1 << 31))
        slots = section.array("slots", np.int32, int(ends[-1]) if times else 0, least=0, below=slots_below)
        parts = np.split(slots, ends[:-1]) if times else []
        self._notes = {at: [part.copy()] for at, part in zip(times, parts, strict=True)}
        self._times = sorted(self._notes)  # which is a heap

    def overdue(self, slots: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [n] which slots are not to be looked at by their own time; costs as much as all notes are long."""
        earliest = np.full(int(slots.max(initial=-1)) + 1, np.iinfo(np.int64).max)
        for at, notes in self._notes.items():
            for noted in notes:
                here = noted[noted < len(earliest)]
                earliest[here] = np.minimum(earliest[here], at)
        missed: NDArray[np.bool_] = earliest[slots] > times
        return missed


def _distinct(notes: list[Slots]) -> Slots:
    """Return the slots of some notes, each once, rising: sorted, as `np.unique` is several times as slow for these."""
    if not notes:
        return np.zeros(0, np.int32)
    slots = np.sort(np.concatenate(notes))
    first = np.ones(len(slots), np.bool_)
    np.not_equal(slots[1:], slots[:-1], out=first[1:])
    return slots[first]
