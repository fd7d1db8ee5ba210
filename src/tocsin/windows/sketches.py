"""Windows of percentiles: a sparse log-histogram per group, mergeable and subtractable.

Values are counted in buckets `(gamma ** (i - 1), gamma ** i]` with gamma = (1 + a) / (1 - a); a bucket stands for the value
`2 * gamma ** i / (gamma + 1)`, which is within the relative accuracy a = 1 % of everything in it, whatever the distribution.
Negative values mirror the positive ones; values nearer to zero than 1e-9 are zero.
Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", PVLDB 12:12, 2019.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.windows.groups import grown
from tocsin.windows.panes import Panes, runs_of
from tocsin.windows.sums import Samples

__all__ = ["ACCURACY", "Sketches", "bucket_of", "value_of"]

ACCURACY = 0.01
"""Relative error of a percentile's value."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = float(np.log(_GAMMA))
_OFFSET = 1 << 16
_TINY = 1e-9
_NOTHING = np.iinfo(np.int64).min

Slots = NDArray[np.int32]
Array = NDArray[Any]


def bucket_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return [n] buckets; greater values never have a lower bucket."""
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        index = np.ceil(np.log(np.maximum(size, _TINY)) / _LOG_GAMMA).astype(np.int64) + _OFFSET
    return np.where(size < _TINY, 0, np.where(values < 0, -index, index))


def value_of(bucket: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return [n] the value that a bucket stands for."""
    size = 2 * np.exp((np.abs(bucket) - _OFFSET) * _LOG_GAMMA) / (_GAMMA + 1)
    return np.where(bucket == 0, 0.0, np.sign(bucket) * size)


class Sketches:
    """Percentiles per group."""

    def __init__(self, window_ns: int) -> None:
        self.panes: Panes[tuple[Slots, NDArray[np.int64]]] = Panes(window_ns)
        self.capacity = 16
        self._count = np.zeros(self.capacity, np.int64)
        self._top = np.full(self.capacity, _NOTHING)
        self._buckets: dict[int, dict[int, int]] = {}

    def resize(self, capacity: int) -> None:
        """Make room for more slots."""
        self._count = grown(self._count, capacity, 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._top = grown(self._top, capacity, _NOTHING)  # type: ignore[assignment]  # as above
        self.capacity = capacity

    def reset(self, slots: NDArray[np.int64]) -> None:
        """Set slots back to nothing, for reuse."""
        self._count[slots] = 0
        self._top[slots] = _NOTHING
        for slot in slots.tolist():
            self._buckets.pop(slot, None)

    def add(self, samples: Samples) -> None:
        """Count samples; those of panes that have left must not be among them."""
        buckets = bucket_of(samples.values.astype(np.float64))
        np.add.at(self._count, samples.slots, 1)
        np.maximum.at(self._top, samples.slots, buckets)
        for slot, bucket in zip(samples.slots.tolist(), buckets.tolist(), strict=True):
            held = self._buckets.get(slot)
            if held is None:
                held = self._buckets[slot] = {}
            held[bucket] = held.get(bucket, 0) + 1
        for pane, rows in runs_of(samples.times // self.panes.width_ns):
            self.panes.append(pane, (samples.slots[rows], buckets[rows]))

    def expire(self, now: int) -> list[Slots]:
        """Take back the panes that left at event time `now`; return the slots concerned."""
        gone = self.panes.expire(now)
        for slots, buckets in gone:
            np.subtract.at(self._count, slots, 1)
            for slot, bucket in zip(slots.tolist(), buckets.tolist(), strict=True):
                held = self._buckets[slot]
                if held[bucket] == 1:
                    del held[bucket]
                else:
                    held[bucket] -= 1
            self.reset(slots[self._count[slots] == 0].astype(np.int64))
        return [slots for slots, _ in gone]

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return self._count[slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] zeros: a sample here always has a value."""
        return np.zeros(len(slots), np.int64)

    def at_most(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] a value that no percentile of the slot is above; saves computing most percentiles."""
        top = self._top[slots]
        return np.where(self._count[slots] > 0, value_of(np.maximum(top, -_OFFSET * 2)), np.nan)

    def quantile(self, slots: Array, rank: float) -> NDArray[np.float64]:
        """Return [n] the value at `rank` (0 to 1) in raw units; NaN where there are no samples.

        The sample at index floor(rank * (n - 1)) of the sorted samples, within ACCURACY.
        """
        result = np.full(len(slots), np.nan)
        for row, slot in enumerate(slots.tolist()):
            held = self._buckets.get(slot)
            if held:
                result[row] = self._quantile_of(slot, held, rank)
        return result

    def _quantile_of(self, slot: int, held: dict[int, int], rank: float) -> float:
        wanted = int(rank * (self._count[slot] - 1))
        buckets = sorted(held)
        self._top[slot] = buckets[-1]
        passed = 0
        for bucket in buckets:
            passed += held[bucket]
            if passed > wanted:
                break
        return float(value_of(np.array([bucket]))[0])

    def after_each(self, slot: int, samples: Samples) -> "Sketches":
        """Return a window whose slot i is `slot` as it was after the first i + 1 of these samples, the last ones added."""
        past = Sketches(self.panes.window_ns)
        count = len(samples)
        past.resize(max(count, 16))
        held = dict(self._buckets[slot])
        buckets = bucket_of(samples.values.astype(np.float64)).tolist()
        for row in range(count - 1, -1, -1):
            past._buckets[row] = dict(held)  # its own class
            past._count[row] = self._count[slot] - (count - 1 - row)  # as above
            past._top[row] = max(held, default=_NOTHING)  # as above
            held[buckets[row]] -= 1
            if not held[buckets[row]]:
                del held[buckets[row]]
        return past
