"""Histories of samples for windows, drawn in arrival order, and the plain list that every window must agree with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.windows.panes import Panes
from tocsin.windows.sums import Samples

__all__ = ["SECOND", "Listed", "Row", "Window", "arrivals", "samples_of", "stretched"]

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@dataclass(frozen=True)
class Row:
    """One sample."""

    slot: int
    time: int
    value: float
    weight: float = 1.0
    count: int = 1
    unpriced: bool = False


class Window(Protocol):
    """What all windows share."""

    panes: Panes  # type: ignore[type-arg]  # of any chunks

    def resize(self, capacity: int) -> None: ...
    def add(self, samples: Samples) -> None: ...
    def expire(self, now: int) -> list[NDArray[np.int32]]: ...
    def samples(self, slots: NDArray[np.int64]) -> NDArray[np.int64]: ...


@dataclass
class Listed:
    """The slow, obvious window: all rows in a list; beside it the window under test is fed the same."""

    window: Window
    rows: list[Row] = field(default_factory=list)
    now: int = START
    dtype: type = np.float64

    def feed(self, batch: Iterable[Row]) -> list[Row]:
        """Let time pass to the newest row, then add those that are not late; return them."""
        rows = sorted(batch, key=lambda row: row.time)
        self.pass_to(max(row.time for row in rows))
        rows = [row for row in rows if self._is_live(row)]
        if rows:
            self.window.add(samples_of(rows, self.dtype))
            self.rows += rows
        return rows

    def pass_to(self, now: int) -> None:
        """Let time pass."""
        self.now = max(self.now, now)
        self.window.expire(self.now)
        self.rows = [row for row in self.rows if self._is_live(row)]

    def _is_live(self, row: Row) -> bool:
        width, window_ns = self.window.panes.width_ns, self.window.panes.window_ns
        end_of_pane = (row.time // width + 1) * width - 1
        return end_of_pane > self.now - window_ns

    def of(self, slot: int) -> list[Row]:
        """The rows of a slot, in order of arrival."""
        return [row for row in self.rows if row.slot == slot]

    def values(self, slot: int) -> list[float]:
        return [row.value for row in self.of(slot)]


def samples_of(rows: Sequence[Row], dtype: type = np.float64) -> Samples:
    """Return rows, ordered by time, as a window takes them; optional columns only where they say something."""
    weighted = any(row.weight != 1.0 for row in rows)
    return Samples(
        np.array([row.slot for row in rows], np.int32),
        np.array([row.time for row in rows], np.int64),
        np.array([row.value for row in rows], dtype),
        np.array([row.count for row in rows], np.int64) if any(row.count != 1 for row in rows) else None,
        np.array([row.unpriced for row in rows]) if any(row.unpriced for row in rows) else None,
        np.array([row.weight for row in rows]) if weighted else None,
    )


@st.composite
def arrivals(draw: st.DrawFn, row: Callable[[int, int], st.SearchStrategy[Row]], *, slots: int = 3) -> list[list[Row]]:
    """Return batches in order of arrival; times mostly rise, some rows are late, and some gaps empty the window."""
    batches = []
    base = START
    for _ in range(draw(st.integers(1, 8))):
        base += draw(st.sampled_from([0, SECOND // 3, SECOND, 4 * SECOND, 11 * SECOND, 100 * SECOND]))
        size = draw(st.integers(1, 6))
        batch = []
        for _ in range(size):
            time = base - draw(st.sampled_from([0, 0, 1, SECOND // 2, 3 * SECOND, 9 * SECOND, 12 * SECOND]))
            batch.append(draw(row(draw(st.integers(0, slots - 1)), max(time, 1))))
        batches.append(batch)
    return batches


def stretched(batches: list[list[Row]], into: Sequence[int]) -> list[list[Row]]:
    """Return the same rows in the same order in batches of other sizes."""
    rows = [row for batch in batches for row in batch]
    result: list[list[Row]] = []
    begin = 0
    while begin < len(rows):
        size = into[len(result) % len(into)]
        result.append(rows[begin : begin + size])
        begin += size
    return result
