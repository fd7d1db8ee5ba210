"""Windows of the calendar: everything since the present period began, as budgets are counted.

Nothing ever leaves such a window but all at once, so that no panes are kept: totals are all there is, and at the
period's end they return to nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.panes import Chunk, Layout, Panes
from tocsin.windows.reach import ALWAYS, Sliding

__all__ = ["PeriodPanes"]

Bounds = Callable[[int], tuple[int, int]]
"""When the period that contains an instant begins, and when the next one does; Unix nanoseconds."""


class PeriodPanes(Panes[Chunk]):
    """Stands where other windows have panes, and says which period it is.

    A window opened in the middle of a period knows only what came since: `since` says so. It opens when it is first
    told the time, by its window's `expire`.
    """

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(Sliding(ALWAYS))
        self._bounds_of = bounds
        self.width_ns = ALWAYS
        self.bounds: tuple[int, int] | None = None
        """When the present period began and the next one does, Unix nanoseconds; None before the time is known."""
        self.since: int | None = None
        """From when on samples are known: the period's begin, or when the window was opened."""
        self._used = False

    def begins_anew(self, now: int) -> bool:
        """Go on to the period of event time `now`; return whether a new one has begun, so that nothing counts yet."""
        if now <= 0 or (self.bounds is not None and now < self.bounds[1]):
            return False
        is_first = self.bounds is None
        begin, end = self.bounds = self._bounds_of(now)
        self.since = now if is_first else begin
        self.window_ns, self._used = end - begin, False
        return not is_first

    def elapsed_ns(self, now: int) -> int:
        """Return how long samples have been counted in this period; 0 before the time is known."""
        return 0 if self.since is None else max(0, now - self.since)

    def elapsed_fraction(self, now: int) -> float:
        """Return which part of the time from `since` to the period's end has passed, 0 to 1.

        A sum by this is what it will be at the end if it goes on as it did.
        """
        if self.since is None or self.bounds is None:
            return 0.0
        return min(1.0, self.elapsed_ns(now) / (self.bounds[1] - self.since))

    def append(self, pane: int, chunk: Chunk) -> list[Chunk]:
        """Note that there are samples; nothing is ever taken back."""
        self._used = True
        return []

    def add(self, pane: int, chunk: Chunk, merge: Callable[[list[Chunk]], Chunk]) -> None:
        """Note that there are samples."""
        self._used = True

    def late_before(self, now: int) -> int:
        """Return when the period of `now` began: older samples are late."""
        present = self.bounds if self.bounds is not None and self.bounds[0] <= now < self.bounds[1] else None
        return (present or self._bounds_of(now))[0]

    def is_late(self, times: NDArray[np.int64], now: int) -> NDArray[np.bool_]:
        """Return [n] whether a sample is of a former period."""
        return times < self.late_before(now)

    def first_live(self, now: int) -> int:
        """Return 1, above the number that every sample's pane has: whether it is late, `is_late` alone says."""
        return 1

    @property
    def next_change(self) -> int | None:
        """When everything returns to nothing; None while there is nothing."""
        return self.bounds[1] if self._used and self.bounds is not None else None

    def move_to(self, now: int) -> tuple[list[Chunk], list[Chunk]]:
        """Return that no pane enters and none leaves."""
        return [], []

    def freeze(self, layout: Layout, columns_of: Callable[[Chunk], tuple[NDArray[Any], ...]]) -> Frozen:
        """Return which period it is."""
        bounds, since, used = self.bounds, self.since, self._used

        def state() -> State:
            return {"bounds": bounds, "since": since, "used": used}

        return state

    def thaw(
        self,
        section: Section,
        layout: Layout,
        below: int,
        chunk_of: Callable[[list[NDArray[Any]]], Chunk],
    ) -> None:
        """Take the period of a state."""
        self.bounds, self.since, self._used = None, section.optional("since"), section.flag("used")
        if self.since is not None:
            begin, end = section.integers("bounds", 2)
            if not begin <= self.since < end:
                raise section.unfit("has a period that does not contain the time since when it is counted")
            self.bounds, self.window_ns = (begin, end), end - begin
