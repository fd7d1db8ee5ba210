"""Panes: the slices of event time that a window is made of.

A window is kept as panes `[index * width, (index + 1) * width)`; which of them are in it at an instant is its reach's
(`tocsin.windows.reach`). A sample goes to one pane. Where the window lies in the past or moves by whole buckets, a pane
waits first, counted in no total, until it comes into the window; it leaves whole. Panes are sparse: they hold only the
groups that had samples. A pane that time has passed is merged into one chunk of narrow columns; samples that come for
it later are chunks beside it until it is merged again.
Source: Li et al., "No Pane, No Gain", SIGMOD Record 34:1, 2005.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice, pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.narrow import narrowed
from tocsin.windows.reach import ALWAYS, Reach, Sliding

__all__ = ["Layout", "Panes", "merge_tail", "panes_over", "parts_of", "runs_of"]

_SECOND = 1_000_000_000

_MERGE_AT = 32
"""Chunks of one pane before some are merged: what a small batch costs against what a pane weighs."""

_OPEN_NS = 8 * _SECOND
"""Panes that ended this long before the newest begins are at rest: exporters send every few seconds."""
_REST_EVERY = 16
"""Chunks added between two looks for panes at rest."""
_REST_ROWS = 20_000
"""About so many rows are merged at a look: a millisecond."""
_NEVER = -(1 << 62)
_ALL = slice(None)

Chunk = TypeVar("Chunk", bound=tuple[Any, ...])
"""Columns of equal length, the first of which says what the rows are of."""

Layout = Mapping[str, tuple[DTypeLike, tuple[int, ...]]]
"""The columns of a chunk by name: type, and shape of a row."""


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

    def __init__(self, window: int | Reach) -> None:
        """`window` is a reach, or the length of a sliding window, nanoseconds."""
        self.reach: Reach = Sliding(window) if isinstance(window, int) else window
        self.window_ns = self.reach.window_ns
        self.width_ns = self.reach.width_ns
        self.chunks: dict[int, list[Chunk]] = {}
        """What counts, by pane."""
        self.waiting: dict[int, list[Chunk]] = {}
        """What is still to come into the window, by pane."""
        self._moved = _NEVER
        self.counts_below = self.reach.counts_below(0)
        """The pane below which samples count at once."""
        self.waits = self.counts_below != ALWAYS
        """Whether samples may have to wait."""
        self._queue: list[int] = []
        """A heap of the panes that wait: an offset of a day may be 86,400 of them."""
        self._oldest: int | None = None
        self._newest = -1
        self._open_panes = max(1, _OPEN_NS // self.width_ns)
        self._loose: set[int] = set()
        """Panes that were added to since they were merged into one chunk."""
        self._turn = next(_turns)
        self.rests = False
        """Whether the owner merges what came to rest itself (`resting`), at instants of event time."""
        self._rested = _NEVER
        self._delay = min(_OPEN_NS, self.width_ns)

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
            for chunks in self._chunks_of(pane):
                rows += sum(len(chunk[0]) for chunk in chunks)
                chunks[:] = [_narrow(merge(chunks))]
            if rows > _REST_ROWS:
                return

    def _chunks_of(self, pane: int) -> list[list[Chunk]]:
        return [held[pane] for held in (self.chunks, self.waiting) if pane in held]

    def append(self, pane: int, chunk: Chunk) -> list[Chunk]:
        """Add a chunk to a pane and return those of the pane that count, or wait, with it; the caller merges them."""
        if self.rests:
            self._loose.add(pane)
        if pane >= self.counts_below:
            if pane not in self.waiting:
                heapq.heappush(self._queue, pane)
            chunks = self.waiting.setdefault(pane, [])
        else:
            chunks = self.chunks.setdefault(pane, [])
            if self._oldest is None or pane < self._oldest:
                self._oldest = pane
        chunks.append(chunk)
        return chunks

    def counted(self, times: NDArray[np.int64]) -> slice:
        """Return which rows of rising times count at once: all, without offset and buckets."""
        if not self.waits:
            return _ALL
        return slice(0, int(np.searchsorted(times // self.width_ns, self.counts_below)))

    def late_before(self, now: int) -> int:
        """Return the event time before which samples are late at event time `now`; nothing older counts any more."""
        return self.first_live(now) * self.width_ns

    def is_late(self, times: NDArray[np.int64], now: int) -> NDArray[np.bool_]:
        """Return [n] whether a sample's pane is over for good at event time `now`."""
        return times // self.width_ns < self.first_live(now)

    def first_live(self, now: int) -> int:
        """Return the index of the oldest pane whose samples are not late at `now`."""
        return self.reach.first_live(now)

    @property
    def next_change(self) -> int | None:
        """The event time at which the next pane leaves, comes in or is to be laid to rest; None without panes."""
        due = None if self._oldest is None else self.reach.leaves(self._oldest)
        if self._queue:
            enters = self.reach.enters(self._queue[0], self._moved)
            due = enters if due is None or enters < due else due
        if self.rests and self._loose:
            rests = max(min(self._loose), self._rested) + 1
            due = min(rests * self.width_ns + self._delay, due or ALWAYS)
        return due

    def change_by(self, first: int, last: int) -> int:
        """Return the event time at which samples in panes from `first` to `last` would change something next."""
        below = self.counts_below
        due = self.reach.leaves(first) if first < below else self.reach.enters(first, self._moved)
        if first < below <= last:
            due = min(due, self.reach.enters(below, self._moved))
        if self.rests:
            due = min(due, (max(first, self._rested) + 1) * self.width_ns + self._delay)
        return due

    def begins_anew(self, now: int) -> bool:
        """Return whether everything returns to nothing at `now`."""
        return False

    def move_to(self, now: int) -> tuple[list[Chunk], list[Chunk]]:
        """Move the window to event time `now` and return the chunks that came into it and those that left it.

        What came in and left since the last move was never in a total and is in neither.
        """
        entered = self._taken_in(now) if self.waits else []
        first = self.reach.first(now)
        if self._oldest is None or self._oldest >= first:
            return entered, []
        gone = [pane for pane in self.chunks if pane < first]
        removed = [chunk for pane in sorted(gone) for chunk in self.chunks.pop(pane)]
        self._oldest = min(self.chunks, default=None)
        return entered, removed

    def _taken_in(self, now: int) -> list[Chunk]:
        moved = self.reach.moved_at(now)
        if moved <= self._moved:
            return []
        self._moved, self.counts_below = moved, self.reach.counts_below(moved)
        first, last = self.reach.first(moved), self.reach.last(moved)
        entered: list[Chunk] = []
        while self._queue and self._queue[0] <= last:
            pane = heapq.heappop(self._queue)
            chunks = self.waiting.pop(pane)
            if pane >= first:
                entered += chunks
                self.chunks.setdefault(pane, []).extend(chunks)
                self._oldest = pane if self._oldest is None else min(self._oldest, pane)
        return entered

    def resting(self, now: int) -> list[tuple[list[Chunk], bool]]:
        """Return the chunks of panes that came to rest by `now`, to be merged in place, and whether they count.

        A pane rests once it has ended and a few seconds are over; what comes for it later, at the end of the next.
        """
        first = (now - self._delay) // self.width_ns
        if first <= self._rested:
            return []
        self._rested = first
        ended = sorted(pane for pane in self._loose if pane < first)
        self._loose.difference_update(ended)
        return [
            (held[pane], held is self.chunks) for pane in ended for held in (self.chunks, self.waiting) if pane in held
        ]

    def freeze(self, layout: Layout, columns_of: Callable[[Chunk], tuple[NDArray[Any], ...]]) -> Frozen:
        """Return the panes' state; no chunk is ever changed, so that lists of them are all that is copied."""
        counted = _frozen(self.chunks, layout, columns_of)
        waiting = _frozen(self.waiting, layout, columns_of) if self.waits else None
        newest, loose, moved, rested = self._newest, list(self._loose), self._moved, self._rested

        def state() -> State:
            held = {"newest": newest, "loose": np.array(loose, np.int64), **counted()}
            if self.rests:
                held["rested"] = rested
            return held if waiting is None else {**held, "moved": moved, "waiting": waiting()}

        return state

    def thaw(
        self, section: Section, layout: Layout, below: int, chunk_of: Callable[[list[NDArray[Any]]], Chunk]
    ) -> None:
        """Take the panes of a state.

        The first column says what the rows are of, and is from 0 to `below` - 1. Each chunk gets arrays of its own, so
        that its memory goes when its pane leaves.
        """
        self.chunks = _thawed(section, layout, below, chunk_of)
        self._oldest = min(self.chunks, default=None)
        self._newest = section.integer("newest", -1)
        self._loose = set(section.array("loose", np.int64).tolist())
        if self.rests:
            self._rested = section.integer("rested", _NEVER)
        if self.waits:
            self.waiting = _thawed(section.part("waiting"), layout, below, chunk_of)
            self._queue = sorted(self.waiting)  # which is a heap
            self._moved = section.integer("moved", _NEVER)
            self.counts_below = self.reach.counts_below(self._moved)


def panes_over(window: "int | Reach | Panes[Chunk]") -> "Panes[Chunk]":
    """Return panes as they are, or those of a reach or of a sliding window's length in nanoseconds."""
    return window if isinstance(window, Panes) else Panes(window)


def _frozen(
    panes: Mapping[int, list[Chunk]], layout: Layout, columns_of: Callable[[Chunk], tuple[NDArray[Any], ...]]
) -> Callable[[], dict[str, State]]:
    held = [(pane, chunks.copy()) for pane, chunks in panes.items()]

    def state() -> dict[str, State]:
        rows = [columns_of(chunk) for _, chunks in held for chunk in chunks]
        columns = [
            np.concatenate(column, dtype=dtype)
            for column, (dtype, _) in zip(zip(*rows, strict=True), layout.values(), strict=False)
        ]
        return {
            "panes": np.array([pane for pane, _ in held], np.int64),
            "chunks": np.array([len(chunks) for _, chunks in held], np.int64),
            "rows": np.array([len(columns[0]) for columns in rows], np.int64),
            "columns": {name: packed(column) for name, column in zip(layout, columns, strict=False)},
        }

    return state


def _thawed(
    section: Section, layout: Layout, below: int, chunk_of: Callable[[list[NDArray[Any]]], Chunk]
) -> dict[int, list[Chunk]]:
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
    return {pane: list(islice(chunks, count)) for pane, count in pairs}


_turns = count()
"""Windows look for panes at rest one after the other, not all at the same chunk."""


def _narrow(chunk: Any) -> Any:  # noqa: ANN401  # a chunk, or columns within one
    return tuple(_narrow(each) for each in chunk) if isinstance(chunk, tuple) else narrowed(chunk)


def _own(column: NDArray[Any]) -> NDArray[Any]:
    narrow = narrowed(column)
    return column.copy() if narrow is column else narrow
