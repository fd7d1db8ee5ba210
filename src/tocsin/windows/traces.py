"""Traces as they grow: cost, tokens, extent, failure and attributes of each, one slot a trace, in columns.

A trace is complete when its root arrived and nothing followed for `grace`, when it was idle for `idle`, or when it is
`max_age` old, all in event time, checked on a grid of 100 ms so that any process completes it at the same instant. It
is then remembered for a while, so that a span that comes later is known for what it is.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.agenda import Agenda
from tocsin.windows.failures import Failures
from tocsin.windows.groups import grown
from tocsin.windows.index import KeyIndex, thawed_index
from tocsin.windows.texts import Codes, Texts
from tocsin.windows.tracefacts import SUMS, TraceFacts
from tocsin.windows.tracelabels import TraceLabels

__all__ = ["SUMS", "Contribution", "TraceTimes", "Traces"]

GRID_NS = 100_000_000
_MOST_AT_ONCE = 1 << 20
"""Rows to begin with, at the most."""
_SPARE = 3
"""Rows that no trace has any more are taken out once they are one in so many."""

Slots = NDArray[np.int32]


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


class Traces:
    """Open and recently completed traces by mixed trace id.

    What a trace adds up to is kept while it is open (`TraceFacts`); of one that is complete its labels stay, by which
    late spans are judged.
    """

    def __init__(self, labels: Sequence[str], times: TraceTimes, limit: int, texts: Texts | None = None) -> None:
        self.times = times
        self.limit = limit
        # Room for all that can be held, so that nothing is copied while spans wait; zeros become real as they are used.
        self.capacity = max(256, min(1 << int(4 * limit).bit_length(), _MOST_AT_ONCE))
        self.late_spans = 0
        """Spans that came after their trace was complete."""
        self._index = KeyIndex()
        self._facts = TraceFacts(self.capacity)
        self.known_texts = Texts() if texts is None else texts
        """What numbers of texts stand for."""
        self._labels = TraceLabels(labels, self.known_texts)
        self._is_open = np.zeros(self.capacity, np.bool_)
        self._held = np.zeros(self.capacity, np.bool_)
        self._marks = np.zeros(self.capacity, np.int32)
        """Of `steady_until`; zeros between its calls."""
        self._soonest = min(times.grace, times.idle, times.max_age)
        self._failures = Failures()
        self._used = 0
        self._open = 0
        self._dropped = 0
        """Rows that no trace has any more."""
        self._agenda = Agenda(GRID_NS)
        self._closed: deque[tuple[int, Slots]] = deque()
        """When traces were completed, and which; no more of them than may be open."""
        self._closed_rows = 0
        self._leaving = np.zeros(0, np.int32)
        """Traces of the last `complete`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are followed."""
        return self._labels.labels

    def extend(self, labels: Sequence[str]) -> None:
        """Follow more labels from now on."""
        self._labels.extend(labels, self._used)

    def __len__(self) -> int:
        """Return how many traces are open."""
        return self._open

    @property
    def used(self) -> int:
        """How many slots are given out; they are the first ones."""
        return self._used

    def column(self, name: str) -> Any:  # noqa: ANN401  # an array, or what is asked like one
        """Return a column by name, to be asked by slots: `open`, or a fact, which complete traces have none of."""
        return self._is_open if name == "open" else self._facts.column(name)

    def slots(
        self, keys: NDArray[np.uint64], hi: NDArray[np.uint64], lo: NDArray[np.uint64], times: NDArray[np.int64]
    ) -> Slots:
        """Return [n] the slot of each span's trace, new where it was not known; notes that it was active then.

        `times` ([n], never falling) are event times at which the spans came: a trace is complete at the same instant
        whatever came in the same request.
        """
        slots, fresh = self._index.find_or_insert(keys)
        new = slots[fresh]
        self._open += len(new)
        self._used = self._index.rows
        self._reserve(self._used)
        if len(new):
            self._facts.begin(new, hi[fresh], lo[fresh], times[fresh])
            self._is_open[new] = True
            self._held[new] = True
        live = self._is_open[slots]
        self.late_spans += len(slots) - int(np.count_nonzero(live))
        self._facts.note_seen(slots[live], times[live])
        self._agenda.note(slots, int(times[-1]) if self._open > self.limit else int(times[0]) + self._soonest)
        return slots

    def find(self, keys: NDArray[np.uint64]) -> Slots:
        """Return [n] the slots of traces, -1 where one is not known."""
        return self._index.find(keys)

    def _reserve(self, rows: int) -> None:
        if rows > self.capacity:
            while self.capacity < rows:
                self.capacity *= 2
            self._is_open = grown(self._is_open, self.capacity, False)  # type: ignore[assignment]  # noqa: FBT003  # a fill value
            self._held = grown(self._held, self.capacity, False)  # type: ignore[assignment]  # noqa: FBT003  # a fill value
            self._marks = np.zeros(self.capacity, np.int32)
            self._facts.reserve(self.capacity)
        self._labels.reserve(rows)

    def add(self, slots: Slots, spans: Contribution) -> None:
        """Add spans to their traces; spans of completed traces change nothing."""
        live = self._is_open[slots]
        if not live.all():
            rows = np.flatnonzero(live)
            slots = slots[rows]
            spans = Contribution(
                **{name: getattr(spans, name)[rows] for name in Contribution.__slots__ if name != "sums"},
                sums={name: column[rows] for name, column in spans.sums.items()},
            )
        self._facts.add(slots, spans.start, spans.end, spans.sums)
        self.add_roots(slots, spans.start, spans.end, spans.failed, spans.is_root)
        self._failures.note(slots, spans.parent, spans.end, spans.failed, spans.is_call)

    def add_roots(
        self,
        slots: Slots,
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        failed: NDArray[np.bool_],
        is_root: NDArray[np.bool_],
    ) -> None:
        """Note which spans ([n]) are roots; of several (a broken trace) the longest is taken, whichever came first."""
        roots = is_root.nonzero()[0]
        if len(roots):
            self._facts.add_roots(slots[roots], start[roots], end[roots], failed[roots])

    def add_sums(self, slots: Slots, sums: dict[str, NDArray[np.int64]]) -> None:
        """Add to some of the sums alone: spans whose own usage turned out to count."""
        self._facts.add_sums(slots, sums)

    def learn(self, slots: Slots, label: str, codes: NDArray[np.int32]) -> None:
        """Note the values of a label on spans ([n] numbers of texts, 0 where absent); up to 8 distinct ones stay."""
        self._labels.learn(slots, label, codes)

    def known(self, slots: Slots, label: str) -> Codes:
        """Return [n] the label of each trace as the number of its first known value; 0 where it has none."""
        return self._labels.first(slots, label)

    def texts(self, slot: int, label: str) -> tuple[str, ...]:
        """Return all known values of a trace's label, in order of arrival."""
        return self._labels.all(slot, label)

    def mark_texts(self, used: NDArray[np.bool_]) -> None:
        """See `Texts.sweep`."""
        self._labels.mark(used, self._used)

    def latency(self, slots: Slots) -> NDArray[np.int64]:
        """Return [n] nanoseconds: of the root if it arrived, else from the first start to the last end."""
        return self._facts.latency(slots)

    def failed(self, slots: Slots) -> NDArray[np.bool_]:
        """Return [n] whether the root failed, or a model call did that no later attempt made good."""
        failed: NDArray[np.bool_] = self.column("root_failed")[slots] | self._failures.of(slots)
        return failed

    def follow_numbers(self, names: Sequence[str]) -> None:
        """Keep these numbers of spans per trace from now on."""
        self._facts.follow_numbers(names)

    def add_numbers(self, slots: Slots, numbers: Mapping[str, NDArray[np.float64]]) -> None:
        """Add the followed numbers of spans ([n], NaN where absent)."""
        self._facts.add_numbers(slots, numbers)

    def number(self, slots: Slots, name: str, fold: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return [n] a followed number of each trace by `sum`, `min`, `max` or `mean`, and [n] whether it has one."""
        return self._facts.number(slots, name, fold)

    def trace_id(self, slot: int) -> str:
        """Return 32 hex digits; of a trace that is open, or was until the last `complete`."""
        return f"{int(self.column('hi')[slot]):016x}{int(self.column('lo')[slot]):016x}"

    @property
    def next_due(self) -> int | None:
        """An event time before which no trace will be complete; None without open traces."""
        return self._agenda.next_time

    def steady_until(
        self, keys: NDArray[np.uint64], times: NDArray[np.int64], until: int, waits: Callable[[Slots], list[int]]
    ) -> int:
        """Return the event time before which spans may be taken although traces are complete by then.

        These are closed afterwards, each at its own instant, as if every span had come at its time: before what is
        returned none of them has a span after its end, and nobody waits for it.

        Args:
            keys: [n] traces of spans that come in turn.
            times: [n] when, never falling.
            until: no need to look further.
            waits: says which of some traces are waited for.
        """
        until = min(until, int(times[0]) + self._soonest)
        known = self._index.find(keys)
        new = (known < 0).nonzero()[0]
        room = max(0, self.limit - self._open)
        if len(new) > room:  # past the limit some are closed before their time
            until = min(until, int(times[new[room]]))
        slots = self._agenda.before(until)
        slots = slots[self._is_open[slots]]
        due = self._due_times(slots)
        slots, due = slots[due < until], due[due < until]
        awaited = waits(slots)
        if awaited:
            until = int(due[np.isin(slots, awaited)].min())
        marked = np.concatenate([slots, *self._forgotten_by(until, len(slots))])
        since = np.zeros(len(marked), np.int64)
        since[: len(slots)] = due
        self._marks[marked] = np.arange(1, len(marked) + 1, dtype=np.int32)
        number = np.where(known >= 0, self._marks[known], 0)
        self._marks[marked] = 0
        late = (number > 0) & (since[number - 1] <= times) if len(marked) else number > 0
        late |= (known >= 0) & ~self._held[known]
        return min(until, int(times[late.argmax()])) if late.any() else until

    def _forgotten_by(self, time: int, more: int) -> Iterator[Slots]:
        """Yield the complete traces that will be forgotten by `time`, if so many more are complete by then."""
        excess = self._closed_rows + more - self.limit
        for closed, slots in self._closed:
            if closed + self.times.idle >= time and excess <= 0:
                return
            excess -= len(slots)
            yield slots

    def complete(self, now: int) -> Slots:
        """Close the traces that are complete at event time `now` and return their slots.

        Their facts stay readable until the next call.
        """
        self._facts.end(self._leaving)
        self._failures.forget(self._leaving)
        self._leaving = self._leaving[:0]
        self._forget(now)
        slots = self._agenda.take(now)
        slots = slots[self._is_open[slots]]
        due = self._due_times(slots)
        done = due <= now
        if not done.all():
            self._agenda.note_each(slots[~done], due[~done])
            slots = slots[done]
        self._is_open[slots] = False
        self._open -= len(slots)
        if self._open > self.limit:
            slots = np.union1d(slots, self._quietest(self._open - self.limit + self.limit // 16))
        if len(slots):
            self._closed.append((now, slots))
            self._closed_rows += len(slots)
        self._leaving = slots
        return slots

    def _quietest(self, count: int) -> Slots:
        """Close the traces that were quiet for longest, where too many are open."""
        candidates = np.flatnonzero(self._is_open[: self._used]).astype(np.int32)
        quiet = candidates[np.argpartition(self.column("last_seen")[candidates], count - 1)[:count]]
        self._is_open[quiet] = False
        self._open -= len(quiet)
        return quiet

    def _due_times(self, slots: Slots) -> NDArray[np.int64]:
        times = self.times
        wait = np.where(self.column("root_end")[slots] > 0, times.grace, times.idle)
        due = np.minimum(self.column("last_seen")[slots] + wait, self.column("first_seen")[slots] + times.max_age)
        return -(-due // GRID_NS) * GRID_NS

    def _forget(self, now: int) -> None:
        """Drop traces that have been complete for `idle`, and take their rows out where they are many."""
        while self._closed and (self._closed[0][0] + self.times.idle < now or self._closed_rows > self.limit):
            _, slots = self._closed.popleft()
            self._closed_rows -= len(slots)
            self._held[slots] = False
            self._dropped += len(slots)
        used = self._used - self._begun_since(now)
        if used > 1024 and self._dropped * _SPARE > used:
            self.moved = self._compact(self._held[: self._used])

    def _begun_since(self, now: int) -> int:
        """Return how many traces began at `now` or later: they are the last ones."""
        first_seen = self.column("first_seen")
        if not self._used or first_seen[self._used - 1] < now:
            return 0
        return self._used - bisect_left(range(self._used), now, key=first_seen.__getitem__)

    moved: NDArray[np.int32] | None = None
    """[old slots] where each slot went in the compaction of the last `complete`, -1 where it was dropped; whoever keeps
    slots reads it after `complete` and sets it back to None."""

    def _compact(self, keep: NDArray[np.bool_]) -> NDArray[np.int32]:
        old = np.flatnonzero(keep)
        moved = np.full(len(keep), -1, np.int32)
        moved[old] = np.arange(len(old), dtype=np.int32)
        keys = self._index.freeze()()[old]
        self._index = KeyIndex()  # not the old one renumbered, which keeps its places
        self._index.find_or_insert(keys)
        for column in (self._is_open, self._held):
            column[: len(old)] = column[old]
            column[len(old) : self._used] = False
        self._facts.compact(old, self._used)
        self._labels.compact(old, moved)
        self._failures.renumber(moved)
        self._used = len(old)
        self._dropped = 0
        self._agenda.renumber(moved)
        renamed = ((time, moved[slots]) for time, slots in self._closed)
        self._closed = deque((time, slots[slots >= 0]) for time, slots in renamed)
        self._closed_rows = sum(len(slots) for _, slots in self._closed)
        return moved

    def freeze(self) -> Frozen:
        """Return the traces' state; of those that are complete their keys and labels."""
        used, late_spans, numbers = self._used, self.late_spans, list(self._facts.numbers)
        live = np.flatnonzero(self._is_open[:used])
        leaving = self._leaving  # never changed in place
        keys, held, closed = self._index.freeze(), self._held[:used].copy(), list(self._closed)
        parts = {
            "facts": self._facts.freeze(live),
            "labels": self._labels.freeze(used),
            "failures": self._failures.freeze(),
            "agenda": self._agenda.freeze(),
        }

        def state() -> State:
            return {
                "late_spans": late_spans,
                "numbers": numbers,
                "keys": keys(),
                "held": packed(held),
                "open": packed(live),
                "leaving": leaving,
                "closed": {
                    "times": np.array([time for time, _ in closed], np.int64),
                    "counts": np.array([len(slots) for _, slots in closed], np.int64),
                    "slots": np.concatenate([np.zeros(0, np.int32), *(slots for _, slots in closed)]),
                },
                **{name: part() for name, part in parts.items()},
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take the traces of a state with the same labels."""
        names = section.texts("numbers")
        if not set(self._facts.numbers) <= set(names):
            raise section.unfit("lacks numbers that the rules follow")
        self.follow_numbers(names)
        self._facts.numbers = tuple(dict.fromkeys(names))
        self._index = thawed_index(section, "keys")
        self._used = self._index.rows
        self._reserve(self._used)
        live = section.array("open", np.int64, least=0, below=self._used)
        self._is_open[live] = True
        self._open = int(np.count_nonzero(self._is_open))
        if self._open != len(live):
            raise section.unfit("has an open trace twice")
        self._held[: self._used] = section.array("held", np.bool_, self._used)
        self._dropped = self._used - int(np.count_nonzero(self._held))
        self.late_spans = section.integer("late_spans")
        self._leaving = section.array("leaving", np.int32, least=0, below=self._used)
        if self._is_open[self._leaving].any():
            raise section.unfit("has an open trace that is complete")
        self._facts.thaw(section.part("facts"), live)
        self._labels.thaw(section.part("labels"), self._used)
        self._failures.thaw(section.part("failures"), self._used)
        self._agenda.thaw(section.part("agenda"), self._used)
        due = self._due_times(live)
        missed = self._agenda.overdue(live, due)  # as where `trace` has shorter times than it had
        self._agenda.note_each(live[missed].astype(np.int32), due[missed])
        self._thaw_closed(section.part("closed"))

    def _thaw_closed(self, section: Section) -> None:
        times = section.array("times", np.int64).tolist()
        ends = np.cumsum(section.array("counts", np.int64, len(times), least=0, below=1 << 31))
        slots = section.array("slots", np.int32, int(ends[-1]) if times else 0, least=0, below=self._used)
        parts = np.split(slots, ends[:-1]) if times else []
        self._closed = deque((time, part.copy()) for time, part in zip(times, parts, strict=True))
        self._closed_rows = len(slots)
