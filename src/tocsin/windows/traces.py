"""Traces as they grow: cost, tokens, extent, failure and attributes of each, one slot a trace, in columns.

A trace is complete when its root arrived and nothing followed for `grace`, when it was idle for `idle`, or when it is
`max_age` old, all in event time, checked on a grid of 100 ms so that any process completes it at the same instant. It
is then remembered for a while, so that a span that comes later is known for what it is.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, coded, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.agenda import Agenda
from tocsin.windows.groups import grown
from tocsin.windows.index import KeyIndex, Secret, mix, thawed_index

__all__ = ["SUMS", "Contribution", "TraceTimes", "Traces"]

GRID_NS = 100_000_000
_MOST_AT_ONCE = 1 << 20
"""Rows to begin with, at the most."""
_FIRST_TEXTS = 1 << 12
"""Rows of a column of objects to begin with: numpy makes all of it real at once."""
_MAX_TEXTS = 8
"""Distinct values of one attribute that a trace remembers."""

Slots = NDArray[np.int32]
_GOOD_CALLS = 1 << 18
_FAR = np.iinfo(np.int64).max
_FAILURES = {"slot": np.int64, "parent": np.uint64, "end": np.int64}
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
    """By the names of SUMS; `genai` counts the spans of any GenAI class."""


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
        # Room for all that can be held, so that nothing is copied while spans wait; zeros become real as they are used.
        self.capacity = max(256, min(1 << int(4 * limit).bit_length(), _MOST_AT_ONCE))
        self.late_spans = 0
        """Spans that came after their trace was complete."""
        self._index = KeyIndex()
        self._numbers: tuple[str, ...] = ()
        self._columns: dict[str, NDArray[Any]] = {
            name: grown(np.zeros(0, dtype), _FIRST_TEXTS if dtype is object else self.capacity, fill)
            for name, (dtype, fill) in self._layout().items()
        }
        self._soonest = min(times.grace, times.idle, times.max_age)
        self._failures: dict[int, dict[int, int]] = {}
        self._good = _GoodCalls()
        self._used = 0
        self._open = 0
        self._dropped = 0
        """Rows that no trace has any more (of the index, some never had one)."""
        self._agenda = Agenda(GRID_NS)
        self._closed: deque[tuple[int, Slots]] = deque()
        """When traces were completed, and which; no more of them than may be open."""
        self._closed_rows = 0

    def _layout(self) -> dict[str, tuple[Any, Any]]:
        integers = {"first_seen": 0, "last_seen": 0, "start": 0, "end": 0, "root_start": 0, "root_end": 0}
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
        self._columns |= {f"label {label}": np.full(max(self._used, _FIRST_TEXTS), None, object) for label in labels}

    def __len__(self) -> int:
        """Return how many traces are open."""
        return self._open

    @property
    def used(self) -> int:
        """How many slots are given out; they are the first ones."""
        return self._used

    def column(self, name: str) -> NDArray[Any]:
        """Return [used or more] a column by name; for reading."""
        return self._columns[name]

    def slots(self, keys: NDArray[np.uint64], hi: NDArray[np.uint64], lo: NDArray[np.uint64], now: int) -> Slots:
        """Return [n] the slot of each span's trace, new where it was not known; notes that it was active at `now`."""
        slots, fresh = self._index.find_or_insert(keys)
        new = slots[fresh]
        self._dropped += self._index.rows - self._used - len(new)
        self._open += len(new)
        self._used = self._index.rows
        self._reserve(self._used)
        columns = self._columns
        columns["hi"][new], columns["lo"][new] = hi[fresh], lo[fresh]
        columns["first_seen"][new] = now
        columns["start"][new] = _FAR
        columns["open"][new] = True
        columns["held"][new] = True
        live = columns["open"][slots]
        if not live.all():
            self.late_spans += int(np.count_nonzero(~live))
            columns["last_seen"][slots[live]] = now
        else:
            columns["last_seen"][slots] = now
        self._agenda.note(slots, now if self._open > self.limit else now + self._soonest)
        return slots

    def _reserve(self, rows: int) -> None:
        if rows > self.capacity:
            while self.capacity < rows:
                self.capacity *= 2
            layout = self._layout()
            for name, held in self._columns.items():
                self._columns[name] = held if held.dtype == object else grown(held, self.capacity, layout[name][1])
        for label in self.labels:
            texts = self._columns[f"label {label}"]
            if len(texts) < rows:
                self._columns[f"label {label}"] = grown(texts, 1 << (rows - 1).bit_length(), None)

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
        self.add_roots(slots, spans.start, spans.end, spans.failed, spans.is_root)
        self._note_failures(slots, spans)

    def add_roots(
        self,
        slots: Slots,
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        failed: NDArray[np.bool_],
        is_root: NDArray[np.bool_],
    ) -> None:
        """Note which spans ([n]) are roots; of several (a broken trace) the longest is taken, whichever came first."""
        roots = np.flatnonzero(is_root)
        if not len(roots):
            return
        columns = self._columns
        length = end[roots] - start[roots]
        order = np.argsort(length, kind="stable")  # of several in one batch the last write, the longest, stays
        roots, length = roots[order], length[order]
        places = slots[roots]
        held = columns["root_end"][places] - columns["root_start"][places]
        longer = (columns["root_end"][places] == 0) | (length > held)
        columns["root_start"][places[longer]] = start[roots[longer]]
        columns["root_end"][places[longer]] = end[roots[longer]]
        columns["root_failed"][places[failed[roots]]] = True

    def _note_failures(self, slots: Slots, spans: Contribution) -> None:
        """Keep calls that failed until a later attempt of the same parent makes them good, whichever came first."""
        calls = spans.is_call & (spans.parent != 0)  # a root that failed has failed its trace already
        good = np.flatnonzero(calls & ~spans.failed)
        self._good.note(spans.parent[good], spans.end[good])
        if len(good) < len(calls):
            failed = np.flatnonzero(calls & spans.failed)
            failed = failed[self._good.latest(spans.parent[failed]) < spans.end[failed]]
            for row in failed.tolist():
                held = self._failures.setdefault(int(slots[row]), {})
                parent = int(spans.parent[row])
                held[parent] = max(held.get(parent, 0), int(spans.end[row]))
        for row in good.tolist() if self._failures else ():
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
            rows = np.flatnonzero(np.isfinite(values))
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
        return self._agenda.next_time

    def complete(self, now: int) -> Slots:
        """Close the traces that are complete at event time `now` and return their slots.

        Their facts stay readable until the next call.
        """
        self._forget(now)
        columns = self._columns
        slots = self._agenda.take(now)
        slots = slots[columns["open"][slots]]
        due = self._due_times(slots)
        done = due <= now
        self._agenda.note_each(slots[~done], due[~done])
        slots = slots[done]
        columns["open"][slots] = False
        self._open -= len(slots)
        if self._open > self.limit:
            slots = np.union1d(slots, self._quietest(self._open - self.limit + self.limit // 16))
        columns["last_seen"][slots] = now
        if len(slots):
            self._closed.append((now, slots))
            self._closed_rows += len(slots)
        return slots

    def _quietest(self, count: int) -> Slots:
        """Close the traces that were quiet for longest, where too many are open."""
        columns = self._columns
        candidates = np.flatnonzero(columns["open"][: self._used]).astype(np.int32)
        quiet = candidates[np.argpartition(columns["last_seen"][candidates], count - 1)[:count]]
        columns["open"][quiet] = False
        self._open -= len(quiet)
        return quiet

    def _due_times(self, slots: Slots) -> NDArray[np.int64]:
        columns, times = self._columns, self.times
        wait = np.where(columns["root_end"][slots] > 0, times.grace, times.idle)
        due = np.minimum(columns["last_seen"][slots] + wait, columns["first_seen"][slots] + times.max_age)
        return -(-due // GRID_NS) * GRID_NS

    def _forget(self, now: int) -> None:
        """Drop traces that have been complete for `idle`, once they are most of the table."""
        columns = self._columns
        while self._closed and (self._closed[0][0] + self.times.idle < now or self._closed_rows > self.limit):
            _, slots = self._closed.popleft()
            self._closed_rows -= len(slots)
            columns["held"][slots] = False
            self._dropped += len(slots)
            for slot in slots.tolist() if self._failures else ():
                self._failures.pop(slot, None)
        if self._used > 1024 and self._dropped * 2 > self._used:
            self.moved = self._compact(columns["held"][: self._used])

    moved: NDArray[np.int32] | None = None
    """[old slots] where each slot went in the compaction of the last `complete`, -1 where it was dropped; whoever keeps
    slots reads it after `complete` and sets it back to None."""

    def _compact(self, keep: NDArray[np.bool_]) -> NDArray[np.int32]:
        old = np.flatnonzero(keep)
        moved = np.full(len(keep), -1, np.int32)
        moved[old] = np.arange(len(old), dtype=np.int32)
        layout = self._layout()
        for name, held in self._columns.items():
            if held.dtype == object or held[: self._used].any():  # else not touched: zeros become real as they are used
                # In place: a new table would be many pages to be made real at once.
                held[: len(old)] = held[old]
                held[len(old) : self._used] = layout[name][1]
        self._index.renumber(moved)
        self._failures = {int(moved[slot]): held for slot, held in self._failures.items() if moved[slot] >= 0}
        self._used = len(old)
        self._dropped = 0
        self._agenda.renumber(moved)
        renamed = ((time, moved[slots]) for time, slots in self._closed)
        self._closed = deque((time, slots[slots >= 0]) for time, slots in renamed)
        self._closed_rows = sum(len(slots) for _, slots in self._closed)
        return moved

    def freeze(self) -> Frozen:
        """Return the traces' state."""
        # Of a trace that is complete nobody asks more than its id and its labels.
        lasting = ("hi", "lo", "held", *(f"label {label}" for label in self.labels))
        columns = {name: self._columns[name][: self._used].copy() for name in lasting}
        live = np.flatnonzero(self._columns["open"][: self._used])
        facts = {name: held[live] for name, held in self._columns.items() if name not in columns and name != "open"}
        failures = {slot: held.copy() for slot, held in self._failures.items()}
        closed, late_spans, numbers = list(self._closed), self.late_spans, list(self._numbers)
        good, agenda, used = self._good.freeze(), self._agenda.freeze(), self._used

        def state() -> State:
            kept: dict[str, State] = {}
            for name, column in columns.items():
                if column.dtype != object:
                    kept[name] = packed(column)
                    continue
                codes, values = coded(column.tolist())
                texts = [list(value) if isinstance(value, tuple) else [value] for value in values]
                kept[name] = {"code": packed(codes), "texts": texts}
            rows = [(slot, parent, end) for slot, held in failures.items() for parent, end in held.items()]
            failed = zip(("slot", "parent", "end"), zip(*rows, strict=True), strict=False)
            return {
                "used": used,
                "late_spans": late_spans,
                "numbers": numbers,
                "columns": kept,
                "open": packed(live),
                "facts": {name: packed(column) for name, column in facts.items()},
                "failures": {name: np.array(column, _FAILURES[name]) for name, column in failed},
                "closed": {
                    "times": np.array([time for time, _ in closed], np.int64),
                    "counts": np.array([len(slots) for _, slots in closed], np.int64),
                    "slots": np.concatenate([np.zeros(0, np.int32), *(slots for _, slots in closed)]),
                },
                "good": good(),
                "agenda": agenda(),
            }

        return state

    def thaw(self, section: Section, secret: Secret) -> None:
        """Take the traces of a state with the same labels; `secret` is what their keys were made with."""
        names = section.texts("numbers")
        if not set(self._numbers) <= set(names):
            raise section.unfit("lacks numbers that the rules follow")
        self.follow_numbers(names)
        self._numbers = tuple(dict.fromkeys(names))
        self._used = section.integer("used", most=np.iinfo(np.int32).max)
        self._reserve(self._used)
        kept, facts = section.part("columns"), section.part("facts")
        live = section.array("open", np.int64, least=0, below=self._used)
        for name, column in self._columns.items():
            if column.dtype == object:
                self._thaw_texts(kept.part(name), column)
            elif name in ("hi", "lo", "held"):
                column[: self._used] = kept.array(name, column.dtype, self._used)
            elif name != "open":
                column[live] = facts.array(name, column.dtype, len(live))
        self._columns["open"][live] = True
        _, fresh = self._index.find_or_insert(
            mix(self._columns["hi"][: self._used], self._columns["lo"][: self._used], secret)
        )
        if not fresh.all():
            raise section.unfit("has a trace twice")
        self.late_spans = section.integer("late_spans")
        self._open = int(np.count_nonzero(self._columns["open"]))
        self._dropped = self._used - int(np.count_nonzero(self._columns["held"]))
        self._thaw_closed(section.part("closed"))
        self._thaw_failures(section.part("failures"))
        self._good.thaw(section.part("good"))
        self._agenda.thaw(section.part("agenda"), self._used)

    def _thaw_texts(self, section: Section, column: NDArray[np.object_]) -> None:
        texts = section.text_lists("texts")
        if not all(texts):
            raise section.unfit("has a label without a value")
        table = np.empty(len(texts) + 1, object)
        for i, each in enumerate(texts):
            table[i] = each[0] if len(each) == 1 else tuple(each)
        column[: self._used] = table[section.array("code", np.int32, self._used, least=-1, below=len(texts))]

    def _thaw_closed(self, section: Section) -> None:
        times = section.array("times", np.int64).tolist()
        ends = np.cumsum(section.array("counts", np.int64, len(times), least=0, below=1 << 31))
        slots = section.array("slots", np.int32, int(ends[-1]) if times else 0, least=0, below=self._used)
        parts = np.split(slots, ends[:-1]) if times else []
        self._closed = deque((time, part.copy()) for time, part in zip(times, parts, strict=True))
        self._closed_rows = len(slots)

    def _thaw_failures(self, section: Section) -> None:
        if not section.names():
            return
        slots = section.array("slot", np.int64, least=0, below=self._used).tolist()
        parents, ends = (section.array(name, _FAILURES[name], len(slots)).tolist() for name in ("parent", "end"))
        for slot, parent, end in zip(slots, parents, ends, strict=True):
            self._failures.setdefault(slot, {})[parent] = end


class _GoodCalls:
    """When the last call of a parent succeeded, for at least the last 262,144 parents."""

    def __init__(self) -> None:
        self._new, self._end = KeyIndex(), np.zeros(1024, np.int64)
        self._old, self._old_end = KeyIndex(), np.zeros(1, np.int64)

    def note(self, parents: NDArray[np.uint64], ends: NDArray[np.int64]) -> None:
        """Remember calls ([n] keys of their parents, none of them 0)."""
        if self._new.rows > _GOOD_CALLS:
            self._old, self._old_end = self._new, self._end
            self._new, self._end = KeyIndex(), np.zeros(1024, np.int64)
        rows, _ = self._new.find_or_insert(parents)
        if self._new.rows > len(self._end):
            self._end = grown(self._end, 1 << self._new.rows.bit_length(), 0)  # type: ignore[assignment]  # grown keeps the dtype
        np.maximum.at(self._end, rows, ends)

    def latest(self, parents: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return [n] the end of each parent's last call that succeeded; -1 where none is known."""
        new, old = self._new.find(parents), self._old.find(parents)
        return np.maximum(np.where(new < 0, -1, self._end[new]), np.where(old < 0, -1, self._old_end[old]))

    def freeze(self) -> Frozen:
        new, old = self._new.freeze(), self._old.freeze()
        end, old_end = self._end[: self._new.rows].copy(), self._old_end[: self._old.rows]  # the old is never changed
        return lambda: {"new": new(), "old": old(), "end": end, "old_end": old_end}

    def thaw(self, section: Section) -> None:
        self._new, self._old = thawed_index(section, "new"), thawed_index(section, "old")
        self._end = grown(section.array("end", np.int64, self._new.rows), max(1024, self._new.rows), 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._old_end = grown(section.array("old_end", np.int64, self._old.rows), max(1, self._old.rows), 0)  # type: ignore[assignment]  # as above
