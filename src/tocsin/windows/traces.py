"""Traces as they grow: cost, tokens, extent, failure and attributes of each, one slot a trace, in columns.

A trace is complete when its root arrived and nothing followed for `grace`, when it was idle for `idle`, or when it is
`max_age` old, all in event time, checked on a grid of 100 ms so that any process completes it at the same instant. It is
then remembered for a while, so that a span that comes later is known for what it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.windows.groups import grown
from tocsin.windows.index import KeyIndex

__all__ = ["SUMS", "Contribution", "TraceTimes", "Traces"]

GRID_NS = 100_000_000
_MAX_TEXTS = 8
"""Distinct values of one attribute that a trace remembers."""

Slots = NDArray[np.int32]
_FAR = np.iinfo(np.int64).max
_FOLDS: dict[str, tuple[np.ufunc, float]] = {
    "count": (np.add, 0.0),
    "sum": (np.add, 0.0),
    "min": (np.minimum, np.inf),
    "max": (np.maximum, -np.inf),
}


@dataclass(frozen=True, slots=True)
class TraceTimes:
    """When a trace is complete, nanoseconds."""

    grace: int
    idle: int
    max_age: int


@dataclass(slots=True)
class Contribution:
    """What spans add to their traces; [n] columns, model calls and others alike (0 for what is not theirs)."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    is_root: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    is_call: NDArray[np.bool_]
    parent: NDArray[np.uint64]
    sums: dict[str, NDArray[np.int64]]
    """cost, tokens, input_tokens, output_tokens, cached_tokens, reasoning_tokens, calls, unpriced, genai (spans of any GenAI class)."""


SUMS = (
    "cost",
    "tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "calls",
    "unpriced",
    "genai",
)


class Traces:
    """Open and recently completed traces by mixed trace id."""

    def __init__(self, labels: Sequence[str], times: TraceTimes, limit: int) -> None:
        self.labels = tuple(labels)
        self.times = times
        self.limit = limit
        self.capacity = 256
        self.late_spans = 0
        """Spans that came after their trace was complete."""
        self._index = KeyIndex()
        self._numbers: tuple[str, ...] = ()
        self._columns: dict[str, NDArray[Any]] = {
            name: np.full(self.capacity, fill, dtype) for name, (dtype, fill) in self._layout().items()
        }
        self._failures: dict[int, dict[int, int]] = {}
        self._used = 0
        self._next_due = _FAR

    def _layout(self) -> dict[str, tuple[Any, Any]]:
        integers = {"first_seen": 0, "last_seen": 0, "start": _FAR, "end": 0, "root_start": 0, "root_end": 0}
        return {
            "hi": (np.uint64, 0),
            "lo": (np.uint64, 0),
            **{name: (np.int64, fill) for name, fill in integers.items()},
            **dict.fromkeys(SUMS, (np.int64, 0)),
            "open": (np.bool_, False),
            "held": (np.bool_, False),
            "root_failed": (np.bool_, False),
            **{f"label {label}": (object, None) for label in self.labels},
            **{f"{fold} {name}": (np.float64, fill) for name in self._numbers for fold, (_, fill) in _FOLDS.items()},
        }

    def extend(self, labels: Sequence[str]) -> None:
        """Follow more labels from now on."""
        self.labels += tuple(labels)
        self._columns |= {f"label {label}": np.full(self.capacity, None, object) for label in labels}

    def __len__(self) -> int:
        """Return how many traces are open."""
        return int(np.count_nonzero(self._columns["open"][: self._used]))

    def column(self, name: str) -> NDArray[Any]:
        """Return [capacity] a column by name; for reading."""
        return self._columns[name]

    def slots(self, keys: NDArray[np.uint64], hi: NDArray[np.uint64], lo: NDArray[np.uint64], now: int) -> Slots:
        """Return [n] the slot of each span's trace, new where it was not known; notes that it was active at `now`."""
        slots, fresh = self._index.find_or_insert(keys)
        self._used = self._index.rows
        self._reserve(self._used)
        columns = self._columns
        new = slots[fresh]
        columns["hi"][new], columns["lo"][new] = hi[fresh], lo[fresh]
        columns["first_seen"][new] = now
        columns["open"][new] = True
        columns["held"][new] = True
        live = columns["open"][slots]
        if not live.all():
            self.late_spans += int(np.count_nonzero(~live))
            columns["last_seen"][slots[live]] = now
        else:
            columns["last_seen"][slots] = now
        self._next_due = min(self._next_due, _on_grid(now + min(self.times.grace, self.times.idle)))
        return slots

    def _reserve(self, rows: int) -> None:
        if rows <= self.capacity:
            return
        while self.capacity < rows:
            self.capacity *= 2
        layout = self._layout()
        self._columns = {name: grown(held, self.capacity, layout[name][1]) for name, held in self._columns.items()}

    def add(self, slots: Slots, spans: Contribution) -> None:
        """Add spans to their traces; spans of completed traces change nothing."""
        columns = self._columns
        live = columns["open"][slots]
        if not live.all():
            rows = np.flatnonzero(live)
            slots = slots[rows]
            spans = Contribution(
                **{name: getattr(spans, name)[rows] for name in Contribution.__slots__ if name != "sums"},
                sums={name: column[rows] for name, column in spans.sums.items()},
            )
        np.minimum.at(columns["start"], slots, spans.start)
        np.maximum.at(columns["end"], slots, spans.end)
        for name, column in spans.sums.items():
            np.add.at(columns[name], slots, column)
        roots = np.flatnonzero(spans.is_root)
        if len(roots):
            # Of several roots (a broken trace) the longest is taken, whichever came first.
            for row in roots.tolist():
                self._add_root(int(slots[row]), int(spans.start[row]), int(spans.end[row]), bool(spans.failed[row]))
        self._note_failures(slots, spans)

    def _add_root(self, slot: int, start: int, end: int, failed: bool) -> None:  # noqa: FBT001  # a column's value
        columns = self._columns
        held = int(columns["root_end"][slot] - columns["root_start"][slot])
        if columns["root_end"][slot] == 0 or end - start > held:
            columns["root_start"][slot], columns["root_end"][slot] = start, end
        columns["root_failed"][slot] |= failed

    def _note_failures(self, slots: Slots, spans: Contribution) -> None:
        """Keep calls that failed until a later attempt of the same parent makes them good."""
        failed = np.flatnonzero(spans.failed & spans.is_call)
        for row in failed.tolist():
            held = self._failures.setdefault(int(slots[row]), {})
            parent = int(spans.parent[row])
            held[parent] = max(held.get(parent, 0), int(spans.end[row]))
        if not self._failures:
            return
        good = np.flatnonzero(~spans.failed & spans.is_call)
        for row in good.tolist():
            attempts = self._failures.get(int(slots[row]))
            parent = int(spans.parent[row])
            if attempts and parent in attempts and attempts[parent] <= int(spans.end[row]):
                del attempts[parent]

    def learn(self, slots: Slots, label: str, texts: NDArray[np.object_]) -> None:
        """Note the values ([n] str or None) of a label on spans; several distinct ones are all kept, up to 8."""
        rows = np.flatnonzero(texts != None)  # noqa: E711  # elementwise
        if not len(rows):
            return
        column = self._columns[f"label {label}"]
        slots, texts = slots[rows], texts[rows]
        held = column[slots]
        unknown = held == None  # noqa: E711  # elementwise
        # Backwards, so that of several values in one batch the first is the one that stays.
        column[slots[unknown][::-1]] = texts[unknown][::-1]
        for row in np.flatnonzero(column[slots] != texts).tolist():
            slot, text = int(slots[row]), texts[row]
            known = column[slot]
            values = known if isinstance(known, tuple) else (known,)
            if text not in values and len(values) < _MAX_TEXTS:
                column[slot] = (*values, text)

    def known(self, slots: Slots, label: str) -> NDArray[np.object_]:
        """Return [n] the label of each trace as its first known value; None where it has none."""
        held = self._columns[f"label {label}"][slots]
        for row in [row for row, text in enumerate(held) if isinstance(text, tuple)]:
            held[row] = held[row][0]
        return held

    def texts(self, slot: int, label: str) -> tuple[str, ...]:
        """Return all known values of a trace's label, in order of arrival."""
        held = self._columns[f"label {label}"][slot]
        return held if isinstance(held, tuple) else () if held is None else (held,)

    def latency(self, slots: Slots) -> NDArray[np.int64]:
        """Return [n] nanoseconds: of the root if it arrived, else from the first start to the last end."""
        columns = self._columns
        root = columns["root_end"][slots] - columns["root_start"][slots]
        extent = columns["end"][slots] - columns["start"][slots]
        return np.where(columns["root_end"][slots] > 0, root, extent)

    def failed(self, slots: Slots) -> NDArray[np.bool_]:
        """Return [n] whether the root failed, or a model call did that no later attempt made good."""
        failures = self._failures
        calls = np.array([bool(failures.get(slot)) for slot in slots.tolist()], np.bool_) if failures else False
        return self._columns["root_failed"][slots] | calls

    def add_sums(self, slots: Slots, sums: dict[str, NDArray[np.int64]]) -> None:
        """Add to some of the sums alone: spans whose own usage turned out to count."""
        for name, column in sums.items():
            np.add.at(self._columns[name], slots, column)

    def follow_numbers(self, names: Sequence[str]) -> None:
        """Keep these numbers of spans per trace from now on."""
        for name in names:
            if f"count {name}" not in self._columns:
                self._columns |= {f"{fold} {name}": np.full(self.capacity, fill) for fold, (_, fill) in _FOLDS.items()}
                self._numbers = (*self._numbers, name)

    def add_numbers(self, slots: Slots, numbers: Mapping[str, NDArray[np.float64]]) -> None:
        """Add the followed numbers of spans ([n], NaN where absent)."""
        for name in self._numbers:
            values = numbers.get(name)
            if values is None:
                continue
            rows = np.flatnonzero(~np.isnan(values))
            if len(rows):
                for fold, (ufunc, _) in _FOLDS.items():
                    operand = np.ones(len(rows)) if fold == "count" else values[rows]
                    ufunc.at(self._columns[f"{fold} {name}"], slots[rows], operand)

    def number(self, slots: Slots, name: str, fold: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return [n] a followed number of each trace by `sum`, `min`, `max` or `mean`, and [n] whether it has one."""
        count = self._columns[f"count {name}"][slots]
        if fold != "mean":
            return self._columns[f"{fold} {name}"][slots], count > 0
        return self._columns[f"sum {name}"][slots] / np.maximum(count, 1), count > 0

    def trace_id(self, slot: int) -> str:
        """Return 32 hex digits."""
        return f"{int(self._columns['hi'][slot]):016x}{int(self._columns['lo'][slot]):016x}"

    @property
    def next_due(self) -> int | None:
        """An event time before which no trace will be complete; None without open traces."""
        return None if self._next_due == _FAR else self._next_due

    def complete(self, now: int) -> Slots:
        """Close the traces that are complete at event time `now` and return their slots; their facts stay readable
        until the next call.
        """
        self._forget(now)
        columns = self._columns
        used = slice(0, self._used)
        is_open = columns["open"][used]
        due = self._due_times(used)
        done = is_open & (due <= now)
        crowd = int(np.count_nonzero(is_open)) - int(np.count_nonzero(done)) - self.limit
        if crowd > 0:
            rest = np.flatnonzero(is_open & ~done)
            quiet = rest[np.argpartition(columns["last_seen"][rest], crowd - 1)[:crowd]]
            done[quiet] = True
        slots = np.flatnonzero(done).astype(np.int32)
        columns["open"][slots] = False
        columns["last_seen"][slots] = now
        rest_due = due[is_open & ~done]
        self._next_due = max(now + 1, int(rest_due.min())) if len(rest_due) else _FAR
        return slots

    def _due_times(self, used: slice) -> NDArray[np.int64]:
        columns, times = self._columns, self.times
        wait = np.where(columns["root_end"][used] > 0, times.grace, times.idle)
        due = np.minimum(columns["last_seen"][used] + wait, columns["first_seen"][used] + times.max_age)
        return -(-due // GRID_NS) * GRID_NS

    def _forget(self, now: int) -> None:
        """Drop traces that have been complete for `idle`, once they are most of the table."""
        columns = self._columns
        used = slice(0, self._used)
        closed = columns["held"][used] & ~columns["open"][used] & (columns["last_seen"][used] + self.times.idle < now)
        for slot in np.flatnonzero(closed).tolist() if self._failures else ():
            self._failures.pop(slot, None)
        columns["held"][used] &= ~closed
        keep = columns["held"][used]
        kept = int(np.count_nonzero(keep))
        if self._used > 1024 and kept * 2 < self._used:
            self.moved = self._compact(keep)

    moved: NDArray[np.int32] | None = None
    """[old slots] where each slot went in the compaction of the last `complete`, -1 where it was dropped; whoever keeps
    slots reads it after `complete` and sets it back to None."""

    def _compact(self, keep: NDArray[np.bool_]) -> NDArray[np.int32]:
        old = np.flatnonzero(keep)
        moved = np.full(len(keep), -1, np.int32)
        moved[old] = np.arange(len(old), dtype=np.int32)
        layout = self._layout()
        self.capacity = max(256, 1 << int(len(old) * 2).bit_length())
        self._columns = {name: grown(held[old], self.capacity, layout[name][1]) for name, held in self._columns.items()}
        self._index.renumber(moved)
        self._failures = {int(moved[slot]): held for slot, held in self._failures.items() if moved[slot] >= 0}
        self._used = len(old)
        return moved


def _on_grid(time: int) -> int:
    return -(-time // GRID_NS) * GRID_NS
