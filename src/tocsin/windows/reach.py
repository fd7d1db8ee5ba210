"""Reaches: which panes are in a window at an instant of event time, which are still to come and which are over.

A pane is `[index * width, (index + 1) * width)`. `Sliding` moves with event time, with or without an offset into the
past; `tocsin.windows.buckets` moves from one end of a bucket to the next.
"""

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["ALWAYS", "BASELINE_PANES", "PANES", "Reach", "Sliding", "baseline", "pane_width"]

PANES = 300
"""How many panes a window of more than five minutes has, or a few more where it does not divide."""
BASELINE_PANES = 64
"""The same of a baseline, which is long and of which there are many."""
ALWAYS = (1 << 63) - 1
"""No pane has a higher number."""

_SECOND = 1_000_000_000
_FIVE_MINUTES = 300 * _SECOND


def pane_width(window_ns: int, panes: int = PANES) -> int:
    """Return the width of a window's panes, nanoseconds: at most 1 s up to 5 minutes, at most window/panes above.

    A window shorter than 30 s has panes of a thirtieth of it, so that "longer by one pane" stays a small error.
    """
    if window_ns > _FIVE_MINUTES:
        return window_ns // panes
    return min(_SECOND, max(1, window_ns // 30))


class Reach(Protocol):
    """Where a window is. Instants and lengths are nanoseconds; what is asked of is never before what was."""

    @property
    def window_ns(self) -> int:
        """Length."""

    @property
    def width_ns(self) -> int:
        """Width of a pane."""

    @property
    def compact(self) -> bool:
        """Whether panes that ended are kept as `tocsin.windows.compact` has them."""

    def moved_at(self, now: int) -> int:
        """Return when the window was moved for the last time, `now` at the latest."""

    def first(self, now: int) -> int:
        """Return the oldest pane that is in the window at `now`."""

    def last(self, now: int) -> int:
        """Return the newest pane that is in the window at `now`."""

    def first_live(self, now: int) -> int:
        """Return the oldest pane whose samples are not late at `now`: they are in a window that is still to come."""

    def counts_below(self, now: int) -> int:
        """Return the pane below which samples that come at `now` count at once; the others wait."""

    def enters(self, pane: int, moved: int) -> int:
        """Return when a pane that waits comes into the window, which was moved for the last time at `moved`."""

    def leaves(self, pane: int) -> int:
        """Return when a pane is out of the window."""


@dataclass(frozen=True, slots=True)
class Sliding:
    """`(T - offset - window, T - offset]` at event time T.

    A pane is in the window while any of its instants is: from `index * width + offset` until its last instant,
    `(index + 1) * width - 1`, is `offset + window` old. So the window is never shorter than asked, and longer by less
    than a pane at the old end and, where there is an offset, by less than a pane at the new end.
    """

    window_ns: int
    offset_ns: int = 0
    panes: int = PANES
    """Of a window of more than five minutes."""
    compact: bool = False
    width_ns: int = field(init=False)

    def __post_init__(self) -> None:
        """Find the width of a pane."""
        object.__setattr__(self, "width_ns", pane_width(self.window_ns, self.panes))

    def moved_at(self, now: int) -> int:
        """Return `now`."""
        return now

    def first(self, now: int) -> int:
        """Return the oldest pane that is in the window at `now`."""
        return (now - self.offset_ns - self.window_ns + 1) // self.width_ns

    first_live = first

    def last(self, now: int) -> int:
        """Return the newest pane that is in the window at `now`."""
        return (now - self.offset_ns) // self.width_ns

    def counts_below(self, now: int) -> int:
        """Return the pane below which samples that come at `now` count at once; without an offset all do."""
        return self.last(now) + 1 if self.offset_ns else ALWAYS

    def enters(self, pane: int, moved: int) -> int:
        """Return when a pane comes into the window."""
        return pane * self.width_ns + self.offset_ns

    def leaves(self, pane: int) -> int:
        """Return when a pane is out of the window."""
        return (pane + 1) * self.width_ns - 1 + self.window_ns + self.offset_ns


def baseline(window_ns: int, offset_ns: int = 0) -> Sliding:
    """Return the reach of what others are compared with: few panes, and compact ones."""
    return Sliding(window_ns, offset_ns, BASELINE_PANES, compact=True)
