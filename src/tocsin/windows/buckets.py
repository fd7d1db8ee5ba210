"""Buckets: windows that move from one end of a bucket of event time to the next, exactly.

Buckets are `[k * interval, (k + 1) * interval)`, aligned to the Unix epoch. At a bucket's end E the window is
`[E - offset - window, E - offset)`, without a pane more or less: a window of one interval is the bucket itself (SQL's
`time_bucket`), one of several ends with it, and one with an offset of an interval ends where the bucket begins
(`BETWEEN start - window AND start`). What a window says at E is final: a sample that comes later counts from the next
end on, or is late where no window to come has it.
"""

from dataclasses import dataclass, field
from math import gcd

__all__ = ["Buckets"]


@dataclass(frozen=True, slots=True)
class Buckets:
    """The reach of a window that ends at bucket ends, or a fixed time before them."""

    interval_ns: int
    """Length of a bucket."""
    window_ns: int
    offset_ns: int = 0
    compact: bool = False
    width_ns: int = field(init=False)
    """Of a pane: what divides all three, so that no edge is inside one."""

    def __post_init__(self) -> None:
        """Find the width of a pane."""
        object.__setattr__(self, "width_ns", gcd(self.interval_ns, self.window_ns, self.offset_ns))

    def moved_at(self, now: int) -> int:
        """Return the end of the last bucket that is over at `now`: T has reached its end."""
        return now // self.interval_ns * self.interval_ns

    def first(self, now: int) -> int:
        """Return the oldest pane that is in the window."""
        return (self.moved_at(now) - self.offset_ns - self.window_ns) // self.width_ns

    def last(self, now: int) -> int:
        """Return the newest pane that is in the window."""
        return (self.moved_at(now) - self.offset_ns) // self.width_ns - 1

    def first_live(self, now: int) -> int:
        """Return the oldest pane that is in the window of the next bucket's end: samples of older ones are late."""
        return self.first(now + self.interval_ns)

    def counts_below(self, now: int) -> int:
        """Return a pane that is below all: nothing counts before the bucket ends."""
        return -(1 << 63)

    def enters(self, pane: int, moved: int) -> int:
        """Return the bucket's end at which a pane that waits comes into the window."""
        return max(self._end_from((pane + 1) * self.width_ns + self.offset_ns), moved + self.interval_ns)

    def leaves(self, pane: int) -> int:
        """Return the bucket's end at which a pane is out of the window."""
        return self._end_from((pane + 1) * self.width_ns + self.offset_ns + self.window_ns)

    def _end_from(self, at: int) -> int:
        """Return the first end of a bucket that is not before `at`."""
        return -(-at // self.interval_ns) * self.interval_ns
