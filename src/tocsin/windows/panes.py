"""Panes: the slices of event time that a sliding window is made of.

A window `(T - window, T]` is kept as panes `[index * pane, (index + 1) * pane)`. A sample goes to one pane; a pane
leaves whole, once every instant in it is outside the window, so that a window is never shorter than asked and longer by
at most one pane. Panes are sparse: they hold only the groups that had samples. A pane that time has passed is merged
into one chunk of narrow columns; samples that come for it later are chunks beside it until it is merged again.
Source: Li et al., "No Pane, No Gain", SIGMOD Record 34:1, 2005.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice, pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.narrow import narrowed

__all__ = ["Layout", "Panes", "merge_tail", "pane_width", "parts_of", "runs_of"]

_SECOND = 1_000_000_000
_FIVE_MINUTES = 300 * _SECOND

_MERGE_AT = 32
"""Chunks of one pane before some are merged: what a small batch costs against what a pane weighs."""

_OPEN_NS = 8 * _SECOND
"""Panes that ended this long before the newest begins are at rest: exporters send every few seconds."""
_REST_EVERY = 16
"""Chunks added between two looks for panes at rest."""
_REST_ROWS = 20_000
"""About so many rows are merged at a look: a millisecond."""

Chunk = TypeVar("Chunk", bound=tuple[Any, ...])
"""Columns of equal length, the first of which says what the rows are of."""

Layout = Mapping[str, tuple[DTypeLike, tuple[int, ...]]]
"""The columns of a chunk by name: type, and shape of a row."""


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


def parts_of(times: NDArray[np.int64], width_ns: int) -> Iterator[tuple[int, slice | None]]:
    """Yield (pane, rows) for each pane that rising times fall into; None for all rows, as it is mostly."""
    first = int(times[0]) // width_ns
    if first == int(times[-1]) // width_ns:
        yield first, None
    else:
        yield from runs_of(times // width_ns)


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
        self._newest = -1
        self._open_panes = max(1, _OPEN_NS // self.width_ns)
        self._loose: set[int] = set()
        """Panes that were added to since they were merged into one chunk."""
        self._turn = next(_turns)

    def add(self, pane: int, chunk: Chunk, merge: Callable[[list[Chunk]], Chunk]) -> None:
        """Add a chunk to a pane and merge what is due; `merge` must give the same whatever was merged before."""
        merge_tail(self.append(pane, chunk), merge)
        self._loose.add(pane)
        self._newest = max(self._newest, pane)
        self._turn += 1
        if self._turn % _REST_EVERY == 0:
            self._lay_to_rest(merge)

    def _lay_to_rest(self, merge: Callable[[list[Chunk]], Chunk]) -> None:
        rows = 0
        for pane in sorted(pane for pane in self._loose if pane < self._newest - self._open_panes):
            self._loose.discard(pane)
            chunks = self.chunks.get(pane)
            if chunks:
                rows += sum(len(chunk[0]) for chunk in chunks)
                chunks[:] = [_narrow(merge(chunks))]
            if rows > _REST_ROWS:
                return

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

    def freeze(self, layout: Layout, columns_of: Callable[[Chunk], tuple[NDArray[Any], ...]]) -> Frozen:
        """Return the panes' state; no chunk is ever changed, so that lists of them are all that is copied."""
        held = [(pane, chunks.copy()) for pane, chunks in self.chunks.items()]
        newest, loose = self._newest, list(self._loose)

        def state() -> State:
            rows = [columns_of(chunk) for _, chunks in held for chunk in chunks]
            columns = [
                np.concatenate(column, dtype=dtype)
                for column, (dtype, _) in zip(zip(*rows, strict=True), layout.values(), strict=False)
            ]
            return {
                "newest": newest,
                "loose": np.array(loose, np.int64),
                "panes": np.array([pane for pane, _ in held], np.int64),
                "chunks": np.array([len(chunks) for _, chunks in held], np.int64),
                "rows": np.array([len(columns[0]) for columns in rows], np.int64),
                "columns": {name: packed(column) for name, column in zip(layout, columns, strict=False)},
            }

        return state

    def thaw(
        self, section: Section, layout: Layout, below: int, chunk_of: Callable[[list[NDArray[Any]]], Chunk]
    ) -> None:
        """Take the panes of a state.

        The first column says what the rows are of, and is from 0 to `below` - 1. Each chunk gets arrays of its own, so
        that its memory goes when its pane leaves.
        """
        panes = section.array("panes", np.int64)
        if len(np.unique(panes)) != len(panes):
            raise section.unfit("has a pane twice")
        counts = section.array("chunks", np.int64, len(panes), least=1, below=1 << 31)
        ends = np.cumsum(section.array("rows", np.int64, int(counts.sum()), least=1, below=1 << 31)).tolist()
        size, held = (ends[-1] if ends else 0), section.part("columns")
        columns: list[NDArray[Any]] = []
        for name, (dtype, shape) in layout.items() if size else ():
            bounds = {} if columns else {"least": 0, "below": below}
            columns.append(held.array(name, dtype, size, shape=shape, **bounds))
        chunks = (chunk_of([_own(column[begin:end]) for column in columns]) for begin, end in pairwise([0, *ends]))
        pairs = zip(panes.tolist(), counts.tolist(), strict=True)
        self.chunks = {pane: list(islice(chunks, count)) for pane, count in pairs}
        self._oldest = min(self.chunks, default=None)
        self._newest = section.integer("newest", -1)
        self._loose = set(section.array("loose", np.int64).tolist())


_turns = count()
"""Windows look for panes at rest one after the other, not all at the same chunk."""


def _narrow(chunk: Any) -> Any:  # noqa: ANN401  # a chunk, or columns within one
    return tuple(_narrow(each) for each in chunk) if isinstance(chunk, tuple) else narrowed(chunk)


def _own(column: NDArray[Any]) -> NDArray[Any]:
    narrow = narrowed(column)
    return column.copy() if narrow is column else narrow
