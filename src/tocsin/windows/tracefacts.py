"""What traces add up to while they are open: ids, extent, root, sums and numbers, one row each, in columns.

A trace's row is another number than its slot: rows go back as soon as the trace is complete and judged, so that there
are no more of them than traces that were open at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen
from tocsin.windows.groups import grown

__all__ = ["SUMS", "TraceFacts"]

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
_TIMES = ("first_seen", "last_seen", "start", "end", "root_start", "root_end")
_FAR = np.iinfo(np.int64).max
_MOST_ROWS = 1 << 18
"""Rows to begin with, at the most."""
_FOLDS: dict[str, tuple[np.ufunc, float]] = {
    "count": (np.add, 0.0),
    "sum": (np.add, 0.0),
    "min": (np.minimum, np.inf),
    "max": (np.maximum, -np.inf),
}

Slots = NDArray[np.int32]


class _Column:
    """A column by slot; for reading."""

    __slots__ = ("_column", "_rows")

    def __init__(self, column: NDArray[Any], rows: NDArray[np.int32]) -> None:
        self._column = column
        self._rows = rows

    def __getitem__(self, slots: Any) -> Any:  # noqa: ANN401  # a slot or an array of them
        return self._column[self._rows[slots]]


class TraceFacts:
    """Facts by trace slot. Row 0 belongs to no trace: it is what complete traces have, and is never written to."""

    def __init__(self, capacity: int) -> None:
        self._rows = np.zeros(capacity, np.int32)
        """[slots] row of each trace."""
        self.numbers: tuple[str, ...] = ()
        self._size = min(capacity, _MOST_ROWS)
        self._columns: dict[str, NDArray[Any]] = {
            name: grown(np.zeros(0, dtype), self._size, fill) for name, (dtype, fill) in self._layout().items()
        }
        self._next = 1
        self._free = np.zeros(0, np.int32)
        self._has_sums = False
        """Whether sums were ever added: if not, their columns are zeros that need not become real."""

    def _layout(self) -> dict[str, tuple[Any, Any]]:
        return {
            **dict.fromkeys(("hi", "lo"), (np.uint64, 0)),
            **dict.fromkeys((*_TIMES, *SUMS), (np.int64, 0)),
            "root_failed": (np.bool_, False),
            **{f"{fold} {name}": (np.float64, fill) for name in self.numbers for fold, (_, fill) in _FOLDS.items()},
        }

    def column(self, name: str) -> _Column:
        """Return a column by name, to be asked by slots."""
        return _Column(self._columns[name], self._rows)

    def reserve(self, slots: int) -> None:
        """Make room for so many slots."""
        if slots > len(self._rows):
            self._rows = grown(self._rows, slots, 0)  # type: ignore[assignment]  # grown keeps the dtype

    def begin(self, slots: Slots, hi: NDArray[np.uint64], lo: NDArray[np.uint64], times: NDArray[np.int64]) -> None:
        """Give new traces, which began at `times`, their rows."""
        rows = self._taken(len(slots))
        self._rows[slots] = rows
        columns = self._columns
        columns["hi"][rows], columns["lo"][rows] = hi, lo
        columns["first_seen"][rows] = times
        columns["start"][rows] = _FAR

    def _taken(self, count: int) -> NDArray[np.int32]:
        reused = self._free[max(0, len(self._free) - count) :]
        self._free = self._free[: len(self._free) - len(reused)]
        end = self._next + count - len(reused)
        self._grow(end)
        rows = np.concatenate([reused, np.arange(self._next, end, dtype=np.int32)])
        self._next = end
        return rows

    def _grow(self, rows: int) -> None:
        if rows > self._size:
            while self._size < rows:
                self._size *= 2
            layout = self._layout()
            self._columns = {name: grown(held, self._size, layout[name][1]) for name, held in self._columns.items()}

    def end(self, slots: Slots) -> None:
        """Take back the rows of traces."""
        rows = self._rows[slots]
        rows = rows[rows > 0]
        self._rows[slots] = 0
        layout = self._layout()
        for name in layout if self._has_sums else layout.keys() - SUMS:
            self._columns[name][rows] = layout[name][1]
        self._free = np.concatenate([self._free, rows])

    def note_seen(self, slots: Slots, times: NDArray[np.int64]) -> None:
        """Note that traces were active at `times`, which never fall: of several the last stays."""
        self._columns["last_seen"][self._rows[slots]] = times

    def add(self, slots: Slots, start: NDArray[np.int64], end: NDArray[np.int64], sums: Mapping[str, Any]) -> None:
        """Add spans ([n]) to extents and sums; their traces are open."""
        rows = self._rows[slots]
        np.minimum.at(self._columns["start"], rows, start)
        np.maximum.at(self._columns["end"], rows, end)
        self._add_sums(rows, sums)

    def add_sums(self, slots: Slots, sums: Mapping[str, NDArray[np.int64]]) -> None:
        """Add to some of the sums alone; what is of complete traces is left out."""
        rows = self._rows[slots]
        here = rows > 0
        self._add_sums(rows[here], {name: column[here] for name, column in sums.items()})

    def _add_sums(self, rows: NDArray[np.int32], sums: Mapping[str, NDArray[np.int64]]) -> None:
        self._has_sums = True
        for name, column in sums.items():
            np.add.at(self._columns[name], rows, column)

    def add_roots(
        self, slots: Slots, start: NDArray[np.int64], end: NDArray[np.int64], failed: NDArray[np.bool_]
    ) -> None:
        """Note root spans ([n]); of several (a broken trace) the longest is taken, whichever came first."""
        rows, columns = self._rows[slots], self._columns
        here = rows > 0
        if not here.all():
            rows, start, end, failed = rows[here], start[here], end[here], failed[here]
        order = np.argsort(end - start, kind="stable")  # of several in one batch the last write, the longest, stays
        rows, start, end, failed = rows[order], start[order], end[order], failed[order]
        held = columns["root_end"][rows] - columns["root_start"][rows]
        longer = (columns["root_end"][rows] == 0) | (end - start > held)
        columns["root_start"][rows[longer]] = start[longer]
        columns["root_end"][rows[longer]] = end[longer]
        columns["root_failed"][rows[failed]] = True

    def latency(self, slots: Slots) -> NDArray[np.int64]:
        """Return [n] nanoseconds: of the root if it arrived, else from the first start to the last end."""
        columns, rows = self._columns, self._rows[slots]
        root = columns["root_end"][rows] - columns["root_start"][rows]
        extent = columns["end"][rows] - columns["start"][rows]
        return np.where(columns["root_end"][rows] > 0, root, extent)

    def follow_numbers(self, names: Sequence[str]) -> None:
        """Keep these numbers of spans per trace from now on."""
        for name in names:
            if name not in self.numbers:
                self._columns |= {f"{fold} {name}": np.full(self._size, fill) for fold, (_, fill) in _FOLDS.items()}
                self.numbers = (*self.numbers, name)

    def add_numbers(self, slots: Slots, numbers: Mapping[str, NDArray[np.float64]]) -> None:
        """Add the followed numbers of spans ([n], NaN where absent)."""
        for name in self.numbers:
            values = numbers.get(name)
            if values is None:
                continue
            rows = self._rows[slots]
            here = np.flatnonzero(np.isfinite(values) & (rows > 0))
            if len(here):
                for fold, (ufunc, _) in _FOLDS.items():
                    operand = np.ones(len(here)) if fold == "count" else values[here]
                    ufunc.at(self._columns[f"{fold} {name}"], rows[here], operand)

    def number(self, slots: Slots, name: str, fold: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return [n] a followed number of each trace by `sum`, `min`, `max` or `mean`, and [n] whether it has one."""
        rows = self._rows[slots]
        count = self._columns[f"count {name}"][rows]
        if fold != "mean":
            return self._columns[f"{fold} {name}"][rows], count > 0
        return self._columns[f"sum {name}"][rows] / np.maximum(count, 1), count > 0

    def compact(self, old: NDArray[np.intp], before: int) -> None:
        """Keep the slots `old`, in this order; `before` is how many there were."""
        self._rows[: len(old)] = self._rows[old]
        self._rows[len(old) : before] = 0

    def freeze(self, slots: NDArray[np.intp]) -> Frozen:
        """Return the facts of some traces."""
        rows = self._rows[slots]
        facts = {name: held[rows] for name, held in self._columns.items()}
        return lambda: {name: packed(column) for name, column in facts.items()}

    def thaw(self, section: Section, slots: NDArray[np.intp]) -> None:
        """Take the facts of these traces, which are all that there are; the numbers are followed already."""
        rows = self._taken(len(slots))
        self._rows[slots] = rows
        for name, column in self._columns.items():
            column[rows] = section.array(name, column.dtype, len(slots))
            self._has_sums |= name in SUMS and bool(column[rows].any())
