"""Evidence: which traces, models, tools, agents and prompt versions an alert comes from.

Recent samples are remembered once for all rules (trace and what it ran on) in a ring; each rule's window keeps, for the
samples that it took, the group's slot, time, value and place in the ring. Nothing is computed from them until an alert
changes. Both are bounded: of a very busy window the evidence is from its latest samples, the value from all.
"""

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.event import Driver, TraceShare
from tocsin.model.columns import TextColumn
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.narrow import narrowed

__all__ = ["DRIVERS", "Contributions", "Ring", "SampleLog"]

DRIVERS = ("model", "tool", "agent", "prompt_version")
"""Labels that are reported as drivers."""

_MAX_TEXTS = 50_000
_OTHER = "(other)"
_TOP_TRACES = 5
_BLOCK_ROWS = 4096
_MOST_FRESH = 256

_Block = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]
_START = 1024
_SEGMENTS = 32
_LAYOUT: dict[str, type[np.generic]] = {"hi": np.uint64, "lo": np.uint64, **dict.fromkeys(DRIVERS, np.uint16)}
"""Of a label the code of its text plus 1; 0 where it is absent."""
_Segment = dict[str, NDArray[Any]]
_COLUMNS: dict[str, type[np.generic]] = {"slots": np.int32, "times": np.int64, "values": np.float64, "places": np.int64}
"""Of a block."""


class Ring:
    """Trace id and driver labels of the latest samples; a place is a number that only grows.

    In segments, of which the oldest goes when all its samples may: what was written once is never written again, so
    that a frozen state need not copy it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = max(limit, _START)
        self.written = 0
        self._size = self.limit
        self._segment_rows = max(_START, self.limit // _SEGMENTS)
        self._first = 0
        """Number of the oldest segment; number n has the places from n * rows on."""
        self._segments: list[_Segment] = []
        self._texts: list[str] = []
        self._codes: dict[str, int] = {}
        self._logs: tuple[SampleLog, ...] = ()

    def read_by(self, logs: Iterable["SampleLog"]) -> None:
        """Keep what these logs may ask for, which are all that there are: what none of them has is let go."""
        self._logs = tuple(logs)

    def append(
        self, hi: NDArray[np.uint64], lo: NDArray[np.uint64], labels: dict[str, TextColumn | None]
    ) -> NDArray[np.int64]:
        """Remember samples; return [n] their places."""
        count = len(hi)
        if count > self._size:
            self._size = 1 << int(count).bit_length()
        columns: _Segment = {"hi": hi, "lo": lo}
        for label in DRIVERS:
            text = labels.get(label)
            columns[label] = np.zeros(count, np.uint16) if text is None or not len(text.values) else self._coded(text)
        places = np.arange(self.written, self.written + count)
        self._write(columns, count)
        return places

    def _write(self, columns: _Segment, count: int) -> None:
        begin = 0
        while begin < count:
            number, row = divmod(self.written, self._segment_rows)
            if number - self._first >= len(self._segments):
                self._add_segment(number, before=self.written - begin)
            end = min(count, begin + self._segment_rows - row)
            segment = self._segments[number - self._first]
            for name, column in columns.items():
                segment[name][row : row + end - begin] = column[begin:end]
            self.written += end - begin
            begin = end

    def _add_segment(self, number: int, before: int) -> None:
        """Add the segment of this number, and let go what nobody can ask for; places from `before` on are in use."""
        if not self._segments:
            self._first = number
        asked = [place for log in self._logs if (place := log.oldest_place) is not None]
        needed = max(self.written - self._size, min((before, *asked)) if self._logs else 0)
        while self._segments and (self._first + 1) * self._segment_rows <= needed:
            del self._segments[0]
            self._first += 1
        if self._segments:  # the last is full: labels that nobody has take no room, most others a byte
            self._segments[-1] = {name: narrowed(column) for name, column in self._segments[-1].items()}
        # Zeros from the system: they become real memory as they are written.
        self._segments.append({name: np.zeros(self._segment_rows, dtype) for name, dtype in _LAYOUT.items()})

    def _coded(self, text: TextColumn) -> NDArray[np.uint16]:
        used = text if len(text.values) <= 4 * len(text.code) + 16 else text.compacted()
        return np.array([*(self._code(value) + 1 for value in used.values), 0], np.uint16)[used.code]

    def _code(self, text: str) -> int:
        code = self._codes.get(text)
        if code is None:
            if len(self._codes) >= _MAX_TEXTS and text != _OTHER:
                return self._code(_OTHER)
            code = self._codes[text] = len(self._texts)
            self._texts.append(text)
        return code

    def _read(self, places: NDArray[np.int64], name: str) -> NDArray[Any]:
        number = places // self._segment_rows - self._first
        if len(places) and number[0] == number[-1] and (number == number[0]).all():
            return self._segments[int(number[0])][name][places % self._segment_rows]
        found = np.empty(len(places), _LAYOUT[name])
        for each in np.unique(number).tolist():
            rows = (number == each).nonzero()[0]
            found[rows] = self._segments[each][name][places[rows] % self._segment_rows]
        return found

    def freeze(self) -> Frozen:
        """Return what was written and may still be asked for."""
        oldest = max(0, self.written - self._size, self._first * self._segment_rows)
        segments, begin, rows = self._segments.copy(), oldest - self._first * self._segment_rows, self.written - oldest
        fields: dict[str, State] = {"written": self.written, "rows": rows, "size": self._size, "limit": self.limit}
        texts, known = self._texts, len(self._texts)

        def state() -> State:
            kept: dict[str, State] = {}
            for name, dtype in _LAYOUT.items():
                whole = np.concatenate([np.zeros(0, dtype), *(segment[name] for segment in segments)])
                kept[name] = packed(whole[begin : begin + rows])
            return {**fields, "columns": kept, "texts": texts[:known]}

        return state

    def thaw(self, section: Section) -> None:
        """Take the latest samples of a state, as many as there is room for."""
        written, rows = section.integer("written"), section.integer("rows", most=1 << 31)
        size = section.integer("size", 1, max(2 * self.limit, 1 << 22))
        if rows > min(written, size):
            raise section.unfit("has more samples than there can be")
        self._texts = section.texts("texts")
        self._codes = {text: code for code, text in enumerate(self._texts)}
        if section.integer("limit") == self.limit:
            self._size = size
        held, newest = section.part("columns"), min(rows, self._size)
        columns: _Segment = {}
        for name, dtype in _LAYOUT.items():
            bounds = (0, len(self._texts) + 1) if name in DRIVERS else (None, None)
            columns[name] = held.array(name, dtype, rows, least=bounds[0], below=bounds[1])[rows - newest :]
        self.written = written - newest
        self._write(columns, newest)

    def is_held(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [n] which places were written and are still there."""
        oldest = max(self.written - self._size, self._first * self._segment_rows)
        return (places >= oldest) & (places < self.written)

    def traces(self, places: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return [n, 2] trace ids."""
        return np.stack([self._read(places, "hi"), self._read(places, "lo")], axis=1)

    def texts(self, places: NDArray[np.int64], label: str) -> tuple[NDArray[np.int32], list[str]]:
        """Return [n] codes of a label, -1 where absent, and the texts they stand for."""
        return self._read(places, label).astype(np.int32) - 1, self._texts


class _Kept:
    """A block in fewer bytes: 12 or so a row instead of 28."""

    __slots__ = ("_from_place", "_from_time", "_places", "_slots", "_times", "_values")

    def __init__(self, block: _Block) -> None:
        slots, times, values, places = block
        self._slots, self._values = narrowed(slots), narrowed(values)
        self._from_time, self._from_place = (int(times.min()), int(places.min())) if len(times) else (0, 0)
        self._times, self._places = narrowed(times - self._from_time), narrowed(places - self._from_place)

    def __len__(self) -> int:
        return len(self._slots)

    def block(self, rows: NDArray[np.intp] | None = None) -> _Block:
        """Return some of the rows (None: all) as they came."""
        columns = self._slots, self._times, self._values, self._places
        slots, times, values, places = columns if rows is None else (column[rows] for column in columns)
        wide = np.int64 if values.dtype.kind in "iu" else np.float64
        return (
            slots.astype(np.int32),
            times.astype(np.int64) + self._from_time,
            values.astype(wide),
            places.astype(np.int64) + self._from_place,
        )

    @property
    def oldest_place(self) -> int:
        """The least of the places."""
        return self._from_place

    def of(self, slot: int) -> _Block:
        """Return the rows of a slot."""
        return self.block((self._slots == slot).nonzero()[0])


class SampleLog:
    """The latest samples of one window: slot, time, value and place in the ring, in blocks as they came."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._fresh: list[_Block] = []
        self._blocks: deque[_Kept] = deque()
        self._rows = 0
        self._fresh_rows = 0

    def append(
        self, slots: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[Any], places: NDArray[np.int64]
    ) -> None:
        """Remember samples; the arrays are kept, not copied."""
        block = slots, times, values, places
        self._rows += len(slots)
        if len(slots) >= _BLOCK_ROWS:
            self._blocks.append(_Kept(block))
        else:
            self._fresh.append(block)
            self._fresh_rows += len(slots)
            if self._fresh_rows >= _BLOCK_ROWS or len(self._fresh) >= _MOST_FRESH:
                self._blocks.append(_Kept(_joined(self._fresh)))
                self._fresh.clear()
                self._fresh_rows = 0
        while self._blocks and self._rows - len(self._blocks[0]) >= self.limit:
            self._rows -= len(self._blocks.popleft())

    @property
    def oldest_place(self) -> int | None:
        """The place of the oldest sample; None without any. Places rise from one sample to the next."""
        if self._blocks:
            return self._blocks[0].oldest_place
        return int(self._fresh[0][3][0]) if self._fresh and len(self._fresh[0][3]) else None

    def freeze(self) -> Frozen:
        """Return the samples; no block is ever changed."""
        kept, fresh = list(self._blocks), list(self._fresh)

        def state() -> State:
            blocks = [*(each.block() for each in kept), *fresh]
            columns = zip(_COLUMNS, zip(*blocks, strict=True), strict=False)
            return {
                "rows": np.array([len(slots) for slots, *_ in blocks], np.int64),
                "fresh": len(fresh),
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
        self._blocks = deque(map(_Kept, blocks[: len(blocks) - fresh]))
        self._fresh = blocks[len(blocks) - fresh :]

    def of(self, slot: int, after: int, until: int, ring: Ring) -> "Contributions":
        """Return the samples of a slot with event times in (after, until]."""
        places, values = [], []
        for slots, times, column, where in (*(kept.of(slot) for kept in self._blocks), *self._fresh):
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
