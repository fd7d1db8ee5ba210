"""Which segments go: those past their age that no restart needs, and the oldest while all are too large."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tocsin.journal.directory import SegmentFile

__all__ = ["Aged", "Parting", "parting"]


@dataclass(frozen=True, slots=True)
class Aged:
    """A segment with what decides on it."""

    file: SegmentFile
    size: int
    """Bytes."""
    age: float
    """Seconds since it was last written to."""


@dataclass(frozen=True, slots=True)
class Parting:
    """What goes."""

    free: Sequence[Aged]
    """Nothing needs them."""
    needed: Sequence[Aged]
    """A restart would have read them; they go for their size alone."""


def parting(segments: Sequence[Aged], snapshots: Sequence[int], *, retention: float, max_size: int) -> Parting:
    """Return what goes of some segments.

    Args:
        segments: in order; the last is written to, and stays.
        snapshots: positions of those that are kept, the newest first.
        retention: seconds.
        max_size: bytes of all segments.
    """
    newest, oldest = (snapshots[0], snapshots[-1]) if snapshots else (0, 0)
    size = sum(segment.size for segment in segments)
    free: list[Aged] = []
    needed: list[Aged] = []
    for segment, following in pairwise(segments):
        last = following.file.first - 1
        if size > max_size or (segment.age > retention and last <= oldest):
            (free if last <= newest else needed).append(segment)
            size -= segment.size
    return Parting(free, needed)
