"""Values over time for a chart: of the groups that came nearest to the limit, in bins that keep the extremes.

Bounded in groups and points: bins become twice as wide once there are too many, and the lowest and highest value of a
bin stay, so that no crossing that was seen is lost (which the usual choice of some points would do).
"""

import math
from dataclasses import dataclass, field
from typing import Final

from tocsin.service.backtest.report import Series

__all__ = ["MOST_POINTS", "Follower"]

MOST_POINTS: Final = 720
_MOST_FOLLOWED: Final = 48
"""Groups of a rule that are followed while it runs."""
_SHOWN: Final = 8
_NS: Final = 10**9
Group = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Bin:
    at: int
    low: float
    high: float
    limit: float


@dataclass(slots=True)
class _Track:
    near: float = -math.inf
    nearest: float = math.nan
    kept: bool = False
    """It had an alert: it is shown before all others."""
    bins: dict[int, _Bin] = field(default_factory=dict)


class Follower:
    """The series of one rule."""

    def __init__(self, width_ns: int) -> None:
        """Make it; a bin is `width_ns` wide to begin with."""
        self._width = max(1, width_ns)
        self._origin: int | None = None
        self._tracks: dict[Group, _Track] = {}

    def note(self, group: Group, at: int, value: float, limit: float, near: float, *, kept: bool = False) -> None:
        """Take a value of a group at a moment; those of no interest are left out."""
        track = self._tracks.get(group)
        if track is None:
            if len(self._tracks) >= _MOST_FOLLOWED and not self._make_room(near, kept=kept):
                return
            track = self._tracks[group] = _Track()
        track.kept |= kept
        if near > track.near or math.isnan(track.nearest):
            track.near, track.nearest = near, value
        if math.isfinite(value):
            self._put(track, at, value, limit)

    def _make_room(self, near: float, *, kept: bool) -> bool:
        others = [(track.near, group) for group, track in self._tracks.items() if not track.kept]
        least = min(others, default=None)
        if least is None or (not kept and least[0] >= near):
            return False
        del self._tracks[least[1]]
        return True

    def _put(self, track: _Track, at: int, value: float, limit: float) -> None:
        if self._origin is None:
            self._origin = at
        number = (at - self._origin) // self._width
        while number >= MOST_POINTS:
            self._width *= 2
            for each in self._tracks.values():
                each.bins = _halved(each.bins)
            number = (at - self._origin) // self._width
        known = track.bins.get(number)
        if known is None:
            track.bins[number] = _Bin(at, value, value, limit)
            return
        known.at, known.limit = max(at, known.at), limit
        known.low, known.high = min(known.low, value), max(known.high, value)

    def series(self) -> tuple[Series, ...]:
        """Return the series of the groups that came nearest, the nearest first."""
        order = sorted(self._tracks.items(), key=lambda item: (not item[1].kept, -item[1].near, item[0]))
        return tuple(
            Series(
                dict(group),
                _number(track.nearest),
                tuple(
                    (each.at / _NS, _number(each.low), _number(each.high), _number(each.limit))
                    for _, each in sorted(track.bins.items())
                ),
            )
            for group, track in order[:_SHOWN]
        )


def _halved(bins: dict[int, _Bin]) -> dict[int, _Bin]:
    found: dict[int, _Bin] = {}
    for number, each in sorted(bins.items()):
        known = found.get(number // 2)
        if known is None:
            found[number // 2] = each
        else:
            found[number // 2] = _Bin(each.at, min(known.low, each.low), max(known.high, each.high), each.limit)
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
