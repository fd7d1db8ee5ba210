"""Between which numbers all values of a window are: what is far from every limit need not be looked at.

Of each aggregate that expressions read of a window two numbers are kept, at or below its least value of any group and
at or above its greatest. Samples move them by what they could do at the most, also on the way from one to the next; so
they are never too narrow, and grow too wide in time. Then they are found anew from the values of all groups.

Nothing that is said or kept hangs on how wide they are: they decide only what is computed.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tocsin.rules.measures import Aggregate
from tocsin.windows.sketches import ACCURACY
from tocsin.windows.sums import Samples

__all__ = ["EVERYTHING", "Extent", "Extents"]

Extent = tuple[float, float]
"""The least and the greatest number that may be."""
Measure = tuple[Aggregate, float | None]
"""An aggregate, and of a percentile which one."""

EVERYTHING: Final[Extent] = (-math.inf, math.inf)
_NOTHING: Final[Extent] = (math.inf, -math.inf)
"""Of no values: whatever comes is taken in."""
_SLACK: Final = 1e-6
"""Of the larger number: beyond what rounding does to a value that is found by taking back what came later."""
_FOLLOWED: Final = 1 << 12
"""Rows up to which that holds; more are looked at, which costs little a row."""
_ADDED: Final = frozenset({Aggregate.SUM, Aggregate.RATE})
_ONE_OF: Final = frozenset({Aggregate.AVG, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST, Aggregate.QUANTILE})


@dataclass(slots=True)
class _Effect:
    """What some samples can do to a group's value."""

    low: float
    high: float
    """The least and the greatest value."""
    least: float
    most: float
    """By how much a sum may fall or rise."""
    count: float
    """How many samples a group may have among them."""
    one: float
    """How many there are at the least where there is any: of weighted ones nobody says."""
    is_mean: bool
    """Whether a mean lies between the values: each row is one sample, and has a value."""

    @classmethod
    def of(cls, samples: Samples) -> "_Effect | None":
        """Return the effect of some samples, found once for all windows; None where it may be anything."""
        if samples.effect is None:
            samples.effect = cls._found(samples) or False
        return samples.effect or None

    @classmethod
    def _found(cls, samples: Samples) -> "_Effect | None":
        values, size = samples.values, len(samples)
        if size > _FOLLOWED:
            return None
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        repeated = float(size - len(set(samples.slots.tolist())) + 1)
        weight = 1.0 if samples.weights is None else max(1.0, float(samples.weights.max()))
        number = 1.0 if samples.counts is None else max(1.0, float(samples.counts.max()))
        each = samples.counts is None and samples.unpriced is None and samples.weights is None
        least, most = (min(low, 0.0) * weight * repeated, max(high, 0.0) * weight * repeated)
        one = 1.0 if samples.weights is None else 0.0
        return cls(low, high, least, most, repeated * weight * number, one, each)


class Extents:
    """The extents of one window's aggregates."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._known: dict[Measure, Extent] = {}
        self._tight: set[Measure] = set()
        """Those that were not widened since they were found."""

    def __bool__(self) -> bool:
        """Whether any is asked for."""
        return bool(self._known)

    def follow(self, measure: Measure) -> None:
        """Keep the extent of an aggregate from now on."""
        self._known.setdefault(measure, EVERYTHING)

    def of(self, measure: Measure) -> Extent:
        """Return the extent of an aggregate, in the metric's unit; a little wider than is known."""
        low, high = self._known[measure]
        slack = _SLACK * max(abs(low), abs(high))
        return (low - slack, high + slack) if slack < math.inf else EVERYTHING

    def is_tight(self, measure: Measure) -> bool:
        """Whether an extent would be the same if it were found anew."""
        return measure in self._tight

    def take(self, samples: Samples, seconds: float) -> None:
        """Widen all extents by what samples may do; `seconds` is the window's length."""
        effect = _Effect.of(samples)
        self._tight.clear()
        for measure, (low, high) in self._known.items():
            if high == math.inf or effect is None:
                self._known[measure] = EVERYTHING
            else:
                self._known[measure] = self._after(measure[0], low, high, effect, seconds)

    def _after(self, aggregate: Aggregate, low: float, high: float, effect: _Effect, seconds: float) -> Extent:
        scale = self._scale
        if aggregate in _ADDED:  # a group without samples was at nothing
            per = scale * seconds if aggregate is Aggregate.RATE else scale
            return min(low, 0.0) + effect.least / per, max(high, 0.0) + effect.most / per
        if aggregate is Aggregate.COUNT:
            return min(low, effect.one), max(high, 0.0) + effect.count
        if aggregate not in _ONE_OF or (aggregate is Aggregate.AVG and not effect.is_mean):
            return EVERYTHING
        least, most = effect.low / scale, effect.high / scale
        if aggregate is Aggregate.QUANTILE:
            least, most = least - 2 * ACCURACY * abs(least) - 1e-9, most + 2 * ACCURACY * abs(most) + 1e-9
        return min(low, least), max(high, most)

    def widen(self, measure: Measure, values: NDArray[Any]) -> None:
        """Take in [n] values that groups have now; NaN where there is none."""
        low, high = self._known[measure]
        if high != math.inf and len(values):
            least, most = _extent_of(values)
            self._known[measure] = min(low, least), max(high, most)

    def renew(self, measure: Measure, values: NDArray[Any]) -> None:
        """Take [n] values of all groups there are, NaN where there is none, for the extent."""
        self._known[measure] = _extent_of(values)
        self._tight.add(measure)

    @property
    def measures(self) -> list[Measure]:
        """What extents are kept of."""
        return list(self._known)


def _extent_of(values: NDArray[Any]) -> Extent:
    if not len(values):
        return _NOTHING
    least, most = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    if math.isnan(least):
        return _NOTHING
    return (least, most) if math.isfinite(least) and math.isfinite(most) else EVERYTHING
