"""An agenda: which traces are to be looked at when, on a grid of event time.

A trace that is active every millisecond must not be looked at every millisecond. Whole batches of slots are noted under
the first instant at which any of them could be due; what is not due then is noted again under its own instant. So a
span costs one note, however many traces are open.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

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
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int32)

    def renumber(self, moved: NDArray[np.int32]) -> None:
        """Follow slots to their new numbers, forgetting those that are -1."""
        for notes in self._notes.values():
            renamed = moved[np.concatenate(notes)]
            notes[:] = [renamed[renamed >= 0]]
