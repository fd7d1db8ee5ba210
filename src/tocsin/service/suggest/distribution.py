"""The distribution of what a rule measures: exact for a million values, to four digits beyond.

A value has a weight: the seconds that it stands for. Percentiles are by nearest rank: p99 is the smallest value such
that values of at least 99 % of the weight are not over it.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distribution"]

_EXACT: Final = 1_000_000
"""Distinct values that are kept as they are."""
_DIGITS: Final = 4


class Distribution:
    """Values of one rule and their weights."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.float64]] = []
        self._weights: list[NDArray[np.float64]] = []
        self._held = 0
        self._coarse = False
        self.count = 0
        self.least = math.inf
        self.most = -math.inf

    def add(self, values: NDArray[np.float64], weight: float = 1.0) -> None:
        """Take values; those that are no numbers are left out."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        self.count += len(values)
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        self._values.append(_rounded(values) if self._coarse else values)
        self._weights.append(np.full(len(values), weight))
        self._held += len(values)
        if self._held > 2 * _EXACT:
            self._merge()

    def quantile(self, rank: float) -> float:
        """Return a percentile, `rank` from 0 to 1; NaN where there is no value."""
        if not self.count:
            return math.nan
        if rank <= 0 or rank >= 1:
            return self.least if rank <= 0 else self.most
        self._merge()
        weights = np.cumsum(self._weights[0])
        # A hair less: a share that is met exactly must not be missed for a rounding.
        at = int(np.searchsorted(weights, rank * weights[-1] * (1 - 1e-12), side="left"))
        return min(max(float(self._values[0][min(at, len(weights) - 1)]), self.least), self.most)

    def _merge(self) -> None:
        """Sort, and make equal values one."""
        values, weights = np.concatenate(self._values), np.concatenate(self._weights)
        distinct, place = np.unique(values, return_inverse=True)
        if len(distinct) > _EXACT and not self._coarse:
            self._coarse = True
            distinct, place = np.unique(_rounded(values), return_inverse=True)
        self._values, self._weights = [distinct], [np.bincount(place, weights, len(distinct)).astype(np.float64)]
        self._held = len(distinct)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values to four significant digits."""
    size = np.where(values == 0, 1.0, np.abs(values))
    step = 10.0 ** (np.floor(np.log10(size)) - _DIGITS + 1)
    return np.round(values / step) * step
