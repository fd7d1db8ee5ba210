"""Panes: the slices of event time that a sliding window is made of.

A window `(T - window, T]` is kept as panes `[index * pane, (index + 1) * pane)`. A sample goes to one pane; a pane
leaves whole, once every instant in it is outside the window, so that a window is never shorter than asked and longer by
at most one pane. Panes are sparse: they hold only the groups that had samples.
Source: Li et al., "No Pane, No Gain", SIGMOD Record 34:1, 2005.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Panes", "merge_tail", "pane_width", "runs_of"]

_SECOND = 1_000_000_000
_FIVE_MINUTES = 300 * _SECOND

_MERGE_AT = 32
"""Chunks of one pane before some are merged: what a small batch costs against what a pane weighs."""

Chunk = TypeVar("Chunk", bound=tuple[Any, ...])
"""Columns of equal length, the first of which says what the rows are of."""


def pane_width(window_ns: int) -> int:
    """Return the width of a window's panes, nanoseconds: at most 1 s up to 5 minutes, at most window/300 above.

    A window shorter than 30 s has panes of a thirtieth of it, so that "longer by one pane" stays a small error.
    """
    if window_ns > _FIVE_MINUTES:
        return window_ns // 300
    return min(_SECOND, max(1, window_ns // 30))


def runs_of(sorted_panes: NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Yield (pane, rows) for each run of equal values."""
    if len(sorted_panes) == 0:
        return
    if sorted_panes[0] == sorted_panes[-1]:
        yield int(sorted_panes[0]), slice(0, len(sorted_panes))
        return
    cuts = [0, *(np.flatnonzero(np.diff(sorted_panes)) + 1).tolist(), len(sorted_panes)]
    for begin, end in pairwise(cuts):
        yield int(sorted_panes[begin]), slice(begin, end)


def merge_tail(chunks: list[Chunk], merge: Callable[[list[Chunk]], Chunk]) -> None:
    """Merge the last chunks of a pane in place where there are many.

    A chunk is left alone while it is more than twice as large as all after it, so that a row is merged a few times in
    all (the logarithm of its pane's size), however small the batches and however large the pane.
    """
    if len(chunks) < _MERGE_AT:
        return
    begin = len(chunks) - 1
    rows = len(chunks[begin][0])
    while begin and len(chunks[begin - 1][0]) <= 2 * rows:
        begin -= 1
        rows += len(chunks[begin][0])
    if begin < len(chunks) - 1:
        chunks[begin:] = [merge(chunks[begin:])]


class Panes(Generic[Chunk]):
    """The panes of one window; each holds chunks, which the window that owns them adds, merges and takes back."""

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self.width_ns = pane_width(window_ns)
        self.chunks: dict[int, list[Chunk]] = {}
        self._oldest: int | None = None

    def append(self, pane: int, chunk: Chunk) -> list[Chunk]:
        """Add a chunk to a pane and return all of the pane's chunks, for the caller to merge in place."""
        chunks = self.chunks.setdefault(pane, [])
        chunks.append(chunk)
        if self._oldest is None or pane < self._oldest:
            self._oldest = pane
        return chunks

    def is_late(self, times: NDArray[np.int64], now: int) -> NDArray[np.bool_]:
        """Return [n] whether a sample's pane has left the window at event time `now`."""
        return times // self.width_ns < self.first_live(now)

    def first_live(self, now: int) -> int:
        """Return the index of the oldest pane that is in the window at `now`."""
        return (now - self.window_ns + 1) // self.width_ns

    @property
    def next_expiry(self) -> int | None:
        """The event time at which the oldest pane leaves; None without panes."""
        return None if self._oldest is None else (self._oldest + 1) * self.width_ns - 1 + self.window_ns

    def expire(self, now: int) -> list[Chunk]:
        """Remove the panes that have left the window at `now` and return their chunks."""
        first = self.first_live(now)
        if self._oldest is None or self._oldest >= first:
            return []
        gone = [pane for pane in self.chunks if pane < first]
        removed = [chunk for pane in sorted(gone) for chunk in self.chunks.pop(pane)]
        self._oldest = min(self.chunks, default=None)
        return removed
