"""Evidence: which traces, models, tools, agents and prompt versions an alert comes from.

Recent samples are remembered once for all rules (trace and what it ran on) in a ring; each rule's window keeps, for the
samples that it took, the group's slot, time, value and place in the ring. Nothing is computed from them until an alert
changes. Both are bounded: of a very busy window the evidence is from its latest samples, the value from all.
"""

from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import Driver, TraceShare
from tocsin.model.columns import TextColumn
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State

__all__ = ["DRIVERS", "Contributions", "Ring", "SampleLog"]

DRIVERS = ("model", "tool", "agent", "prompt_version")
"""Labels that are reported as drivers."""

_MAX_TEXTS = 50_000
_OTHER = "(other)"
_TOP_TRACES = 5
_BLOCK_ROWS = 512
_MOST_FRESH = 256

_Block = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]
_START = 1024
_COLUMNS: dict[str, type[np.generic]] = {"slots": np.int32, "times": np.int64, "values": np.float64, "places": np.int64}
"""Of a block."""


class Ring:
    """Trace id and driver labels of the latest samples; a place is a number that only grows."""

    def __init__(self, limit: int) -> None:
        self.limit = max(limit, _START)
        self.written = 0
        self._size = self.limit
        # Zeros from the system: they become real memory as they are written.
        self._columns: dict[str, NDArray[Any]] = {
            "hi": np.zeros(self._size, np.uint64),
            "lo": np.zeros(self._size, np.uint64),
            **{label: np.zeros(self._size, np.int32) for label in DRIVERS},
        }
        self._texts: list[str] = []
        self._codes: dict[str, int] = {}

    def append(
        self, hi: NDArray[np.uint64], lo: NDArray[np.uint64], labels: dict[str, TextColumn | None]
    ) -> NDArray[np.int64]:
        """Remember samples; return [n] their places."""
        count = len(hi)
        self._reserve(count)
        places = np.arange(self.written, self.written + count)
        self.written += count
        at = places % self._size
        self._columns["hi"][at], self._columns["lo"][at] = hi, lo
        for label in DRIVERS:
            text = labels.get(label)
            self._columns[label][at] = -1 if text is None or not len(text.values) else self._coded(text)
        return places

    def _coded(self, text: TextColumn) -> NDArray[np.int32]:
        used = text if len(text.values) <= 4 * len(text.code) + 16 else text.compacted()
        return np.array([*map(self._code, used.values), -1], np.int32)[used.code]

    def _code(self, text: str) -> int:
        code = self._codes.get(text)
        if code is None:
            if len(self._codes) >= _MAX_TEXTS and text != _OTHER:
                return self._code(_OTHER)
            code = self._codes[text] = len(self._texts)
            self._texts.append(text)
        return code

    def _reserve(self, count: int) -> None:
        """Make room for a batch that is larger than the ring."""
        if count <= self._size:
            return
        size = 1 << int(count).bit_length()
        oldest = max(0, self.written - self._size)
        held = np.arange(oldest, self.written)
        columns = {}
        for name, column in self._columns.items():
            columns[name] = np.zeros(size, column.dtype)
            columns[name][held % size] = column[held % self._size]
        self._columns, self._size = columns, size

    def freeze(self) -> Frozen:
        """Return what was written and not overwritten."""
        held = min(self.written, self._size)
        columns = {name: column[:held].copy() for name, column in self._columns.items()}
        fields: dict[str, State] = {"written": self.written, "size": self._size, "limit": self.limit}
        texts, known = self._texts, len(self._texts)

        def state() -> State:
            kept: dict[str, State] = {name: packed(column) for name, column in columns.items()}
            return {**fields, "columns": kept, "texts": texts[:known]}

        return state

    def thaw(self, section: Section) -> None:
        """Take the latest samples of a state, as many as there is room for."""
        self.written, size = section.integer("written"), section.integer("size", 1, max(2 * self.limit, 1 << 22))
        self._texts = section.texts("texts")
        self._codes = {text: code for code, text in enumerate(self._texts)}
        if section.integer("limit") == self.limit:
            self._size = size
        held = section.part("columns")
        rows = min(self.written, size)
        newest = np.arange(max(0, self.written - min(rows, self._size)), self.written)
        for name, column in self._columns.items():
            bounds = (-1, len(self._texts)) if name in DRIVERS else (None, None)
            kept = held.array(name, column.dtype, rows, least=bounds[0], below=bounds[1])
            self._columns[name] = np.zeros(self._size, column.dtype)
            self._columns[name][newest % self._size] = kept[newest % size]

    def is_held(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [n] which places were not overwritten."""
        return places >= self.written - self._size

    def traces(self, places: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return [n, 2] trace ids."""
        at = places % self._size
        return np.stack([self._columns["hi"][at], self._columns["lo"][at]], axis=1)

    def texts(self, places: NDArray[np.int64], label: str) -> tuple[NDArray[np.int32], list[str]]:
        """Return [n] codes of a label, -1 where absent, and the texts they stand for."""
        return self._columns[label][places % self._size], self._texts


class SampleLog:
    """The latest samples of one window: slot, time, value and place in the ring, in blocks as they came."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._fresh: list[_Block] = []
        self._blocks: deque[_Block] = deque()
        self._rows = 0
        self._fresh_rows = 0

    def append(
        self, slots: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[Any], places: NDArray[np.int64]
    ) -> None:
        """Remember samples; the arrays are kept, not copied."""
        block = slots, times, values, places
        self._rows += len(slots)
        if len(slots) >= _BLOCK_ROWS:
            self._blocks.append(block)
        else:
            self._fresh.append(block)
            self._fresh_rows += len(slots)
            if self._fresh_rows >= _BLOCK_ROWS or len(self._fresh) >= _MOST_FRESH:
                self._blocks.append(_joined(self._fresh))
                self._fresh.clear()
                self._fresh_rows = 0
        while self._blocks and self._rows - len(self._blocks[0][0]) >= self.limit:
            self._rows -= len(self._blocks.popleft()[0])

    def freeze(self) -> Frozen:
        """Return the samples; no block is ever changed."""
        blocks, fresh = [*self._blocks, *self._fresh], len(self._fresh)

        def state() -> State:
            columns = zip(_COLUMNS, zip(*blocks, strict=True), strict=False)
            return {
                "rows": np.array([len(slots) for slots, *_ in blocks], np.int64),
                "fresh": fresh,
                "columns": {name: packed(np.concatenate(column)) for name, column in columns},
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take the samples of a state."""
        sizes = section.array("rows", np.int64, least=0, below=1 << 31)
        fresh = section.integer("fresh", most=len(sizes))
        if not len(sizes):
            return
        self._rows, held = int(sizes.sum()), section.part("columns")
        self._fresh_rows = int(sizes[len(sizes) - fresh :].sum())
        columns = [held.array(name, dtype, self._rows) for name, dtype in _COLUMNS.items()]
        if held.is_whole("values"):
            columns[2] = held.array("values", np.int64, self._rows)
        bounds = pairwise([0, *np.cumsum(sizes).tolist()])
        blocks: list[_Block] = [tuple(column[begin:end].copy() for column in columns) for begin, end in bounds]  # type: ignore[misc]  # four columns
        self._blocks, self._fresh = deque(blocks[: len(blocks) - fresh]), blocks[len(blocks) - fresh :]

    def of(self, slot: int, after: int, until: int, ring: Ring) -> "Contributions":
        """Return the samples of a slot with event times in (after, until]."""
        places, values = [], []
        for slots, times, column, where in (*self._blocks, *self._fresh):
            rows = ((slots == slot) & (times > after) & (times <= until)).nonzero()[0]
            if len(rows):
                held = rows[ring.is_held(where[rows])]
                places.append(where[held])
                values.append(column[held].astype(np.float64))
        if not places:
            return Contributions(ring, np.zeros(0, np.int64), np.zeros(0))
        return Contributions(ring, np.concatenate(places), np.concatenate(values))


def _joined(blocks: list[_Block]) -> _Block:
    slots, times, values, places = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return slots, times, values, places


class Contributions:
    """Samples behind an alert."""

    def __init__(self, ring: Ring, places: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self._ring = ring
        self._places = places
        self._values = values

    def traces(self, scale: float, *, summed: bool, lowest: bool) -> tuple[TraceShare, ...]:
        """Return up to 5 traces: those with the largest sum, or else with the most extreme sample."""
        if not len(self._places):
            return ()
        ids, place = np.unique(self._ring.traces(self._places), axis=0, return_inverse=True)
        place = place.reshape(-1)
        if summed:
            totals = np.zeros(len(ids))
            np.add.at(totals, place, self._values)
        else:
            totals = np.full(len(ids), np.inf if lowest else -np.inf)
            (np.minimum if lowest else np.maximum).at(totals, place, self._values)
        order = np.argsort(totals if lowest else -totals, kind="stable")[:_TOP_TRACES]
        return tuple(
            TraceShare(f"{int(ids[i][0]):016x}{int(ids[i][1]):016x}", float(totals[i] / scale)) for i in order.tolist()
        )

    def drivers(self, *, summed: bool) -> tuple[Driver, ...]:
        """Return the value with the largest share for each driver label: of the sum, or else of the samples."""
        weights = np.abs(self._values) if summed else np.ones(len(self._places))
        whole = float(weights.sum())
        found = []
        for label in DRIVERS if whole > 0 else ():
            codes, texts = self._ring.texts(self._places, label)
            known = codes >= 0
            if known.any():
                shares = np.bincount(codes[known], weights=weights[known])
                top = int(shares.argmax())
                found.append(Driver(label, texts[top], round(float(shares[top]) / whole, 4)))
        return tuple(sorted((driver for driver in found if driver.share > 0), key=lambda driver: -driver.share))
