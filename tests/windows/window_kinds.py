"""Windows that wait, move by buckets or begin anew, beside the plain list of raw samples that they must agree with.

Which samples count is said here a second time, from the raw times alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from window_histories import SECOND, START, Row, samples_of

from tocsin.model.sections import Section
from tocsin.model.state import Frozen
from tocsin.windows.buckets import Buckets
from tocsin.windows.calendar import PeriodPanes
from tocsin.windows.panes import Panes
from tocsin.windows.reach import Sliding
from tocsin.windows.sums import Samples

__all__ = [
    "KINDS",
    "SLOTS",
    "USED",
    "Bucketed",
    "Course",
    "Kind",
    "Offset",
    "Periods",
    "Step",
    "Window",
    "courses",
    "is_same",
    "steps",
]

SLOTS = 20
"""More than a window has room for at first."""
USED = (0, 1, SLOTS - 1)
"""Those that have samples."""


class Window(Protocol):
    """What all windows share."""

    panes: Panes[Any]
    capacity: int

    def resize(self, capacity: int) -> None: ...
    def reset(self, slots: NDArray[np.int64]) -> None: ...
    def add(self, samples: Samples) -> None: ...
    def expire(self, now: int) -> list[NDArray[np.int32]]: ...
    def samples(self, slots: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def freeze(self, used: int) -> Frozen: ...
    def thaw(self, section: Section, used: int) -> None: ...


class Kind(Protocol):
    """How a window lies in time."""

    def panes(self) -> Panes[Any]:
        """Return the panes of a new window."""

    def is_late(self, time: int, now: int) -> bool:
        """Return whether a sample that comes at `now` is too late to count, now or ever."""

    def counts(self, time: int, added: int, now: int) -> bool:
        """Return whether a sample that was added at `added` counts at `now`."""


@dataclass(frozen=True)
class Offset:
    """Sliding, perhaps in the past."""

    window_ns: int
    offset_ns: int
    panes_of_it: int = 300
    compact: bool = False

    def panes(self) -> Panes[Any]:
        return Panes(Sliding(self.window_ns, self.offset_ns, self.panes_of_it, self.compact))

    def _pane(self, time: int) -> tuple[int, int]:
        width = max(self.window_ns // self.panes_of_it, 1)
        if self.window_ns <= 300 * SECOND:
            width = min(SECOND, self.window_ns // 30)
        begin = time // width * width
        return begin, begin + width - 1

    def is_late(self, time: int, now: int) -> bool:
        return self._pane(time)[1] <= now - self.offset_ns - self.window_ns

    def counts(self, time: int, added: int, now: int) -> bool:
        begin, _ = self._pane(time)
        # All are, without an offset: no sample is from the future.
        return (not self.offset_ns or begin <= now - self.offset_ns) and not self.is_late(time, now)


@dataclass(frozen=True)
class Bucketed:
    """By buckets."""

    interval_ns: int
    window_ns: int
    offset_ns: int = 0

    def panes(self) -> Panes[Any]:
        return Panes(Buckets(self.interval_ns, self.window_ns, self.offset_ns))

    def is_late(self, time: int, now: int) -> bool:
        following = (now // self.interval_ns + 1) * self.interval_ns
        return time < following - self.offset_ns - self.window_ns

    def counts(self, time: int, added: int, now: int) -> bool:
        end = now // self.interval_ns * self.interval_ns
        return added < end and end - self.offset_ns - self.window_ns <= time < end - self.offset_ns


@dataclass(frozen=True)
class Periods:
    """Since the begin of a period: one of the lengths in turn."""

    lengths: tuple[int, ...]

    def bounds(self, at: int) -> tuple[int, int]:
        turn = sum(self.lengths)
        begin = at // turn * turn
        for length in self.lengths:
            if at < begin + length:
                return begin, begin + length
            begin += length
        raise AssertionError

    def panes(self) -> Panes[Any]:
        return PeriodPanes(self.bounds)

    def is_late(self, time: int, now: int) -> bool:
        return time < self.bounds(now)[0]

    def counts(self, time: int, added: int, now: int) -> bool:
        return not self.is_late(time, now)


KINDS: list[Kind] = [
    Offset(10 * SECOND, 0),
    Offset(10 * SECOND, 7 * SECOND),
    Offset(10 * SECOND, 25 * SECOND),
    Offset(320 * SECOND, 40 * SECOND + 1, 32, compact=True),
    Offset(320 * SECOND, 0, 32, compact=True),
    Bucketed(5 * SECOND, 5 * SECOND),
    Bucketed(4 * SECOND, 14 * SECOND),
    Bucketed(5 * SECOND, 20 * SECOND, 5 * SECOND),
    Bucketed(6 * SECOND, 10 * SECOND, 4 * SECOND),
    Periods((20 * SECOND, 31 * SECOND)),
]


@dataclass(frozen=True)
class Step:
    """Something that happens: time passes, and then perhaps rows arrive, or the window is kept and restored."""

    passed: int
    rows: tuple[Row, ...] = ()
    """Their times are relative to now, and below 0."""
    restart: bool = False
    by_steps: bool = False
    """Time stops at every change, as the engine's does."""


@st.composite
def steps(draw: st.DrawFn, row: Callable[[int, int], st.SearchStrategy[Row]]) -> list[Step]:
    """Return a history; late rows, long gaps and restarts are in it."""
    found = []
    for _ in range(draw(st.integers(1, 14))):
        passed = draw(
            st.sampled_from([0, 1, SECOND // 3, SECOND, 3 * SECOND, 5 * SECOND, 11 * SECOND, 29 * SECOND, 400 * SECOND])
        )
        ages = st.sampled_from([0, 0, 0, 1, SECOND // 2, 2 * SECOND, 4 * SECOND, 9 * SECOND, 21 * SECOND, 39 * SECOND])
        rows = [draw(row(draw(st.sampled_from(USED)), -draw(ages))) for _ in range(draw(st.integers(0, 5)))]
        found.append(Step(passed, tuple(rows), draw(st.integers(0, 5)) == 0, draw(st.booleans())))
    return found


courses = st.sampled_from(KINDS)


def patient(examples: int) -> settings:
    """Return settings for histories, which take a while to draw on a busy machine."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Course:
    """A window under test and the list of all raw samples that were not late."""

    kind: Kind
    make: Callable[[Panes[Any]], Window]
    dtype: type = np.float64
    window: Window = field(init=False)
    rows: list[tuple[Row, int]] = field(default_factory=list)
    """With when they were added."""
    now: int = START

    def __post_init__(self) -> None:
        """Open the window."""
        self.window = self.make(self.kind.panes())
        self.window.resize(32)
        self.window.expire(self.now)

    def of(self, slot: int, now: int | None = None) -> list[Row]:
        """The rows of a slot that count, in order of arrival."""
        at = self.now if now is None else now
        return [row for row, added in self.rows if row.slot == slot and self.kind.counts(row.time, added, at)]

    def take(self, step: Step) -> list[Row]:
        """Let a step happen; return the rows that it added."""
        self._pass(self.now + step.passed, by_steps=step.by_steps)
        if step.restart:
            self._restart()
        return self._feed([Row(r.slot, self.now + r.time, r.value, r.weight, r.count, r.unpriced) for r in step.rows])

    def _pass(self, until: int, *, by_steps: bool) -> None:
        while by_steps and (due := self.window.panes.next_change) is not None and due <= until:
            assert due > self.now
            assert self._held(due - 1) == self._held(self.now), "nothing changes before it is said to"
            self._move(due)
        if by_steps:
            assert self._held(until) == self._held(self.now), "nothing changes that was not said"
        self._move(until)

    def _move(self, now: int) -> None:
        before = self._held(self.now)
        touched = {int(slot) for slots in self.window.expire(now) for slot in slots}
        after = self._held(now)
        assert {slot for slot in USED if before[slot] != after[slot]} <= touched
        self.now = now
        self.rows = [(row, added) for row, added in self.rows if self._may_count(row, added)]
        unused = np.array(sorted(set(range(SLOTS)) - {row.slot for row, _ in self.rows}), np.int64)
        self.window.reset(unused)  # as the engine does with groups that it has forgotten

    def _may_count(self, row: Row, added: int) -> bool:
        return not self.kind.is_late(row.time, self.now) or self.kind.counts(row.time, added, self.now)

    def _held(self, now: int) -> dict[int, list[Row]]:
        return {slot: self.of(slot, now) for slot in USED}

    def _restart(self) -> None:
        state = self.window.freeze(SLOTS)()
        self.window = self.make(self.kind.panes())
        self.window.resize(32)
        self.window.thaw(Section(state, "window"), SLOTS)

    def _feed(self, rows: list[Row]) -> list[Row]:
        rows = sorted(rows, key=lambda row: row.time)
        times = np.array([row.time for row in rows], np.int64)
        late = self.window.panes.is_late(times, self.now)
        assert late.tolist() == [self.kind.is_late(row.time, self.now) for row in rows]
        assert late.tolist() == (times < self.window.panes.late_before(self.now)).tolist()
        rows = [row for row, is_late in zip(rows, late.tolist(), strict=True) if not is_late]
        if rows:
            self.window.expire(self.now)
            self.window.add(samples_of(rows, self.dtype))
            self.rows += [(row, self.now) for row in rows]
        return rows


def is_same(found: float, wanted: float) -> bool:
    """Return whether two numbers are equal, or both NaN."""
    return found == wanted or (math.isnan(found) and math.isnan(wanted))
