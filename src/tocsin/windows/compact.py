"""Rows of float sums in few bytes: what the ended panes of a baseline are kept as.

A row of `tocsin.windows.sums.FloatSums` is seven numbers of eight bytes and a slot. At rest it is a mean, what the mean
leaves of the sum (in single precision, as a part of the sum), the sum of squared distances from the mean, a count in as
few bytes as hold it, and a bit that says whose it is: 21 to 22 bytes. Sums and means keep 76 digits of 106, so that
nobody can tell them from what they were; standard deviations keep the 53 of a double.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.windows.exact import add_pairs, multiply_pairs, square_pairs
from tocsin.windows.narrow import narrowed

__all__ = ["Marks", "Wide", "compacted", "restored", "rows_of", "widened"]

_LARGEST = 1e140
"""Rows with a mean beyond it stay wide: their squares need the room that is left."""

Array = NDArray[Any]
Floats = NDArray[np.float64]
Slots = NDArray[np.int32]
Wide = tuple[Slots, tuple[Array, Floats, Floats]]
"""Distinct rising slots, samples, and pairs [n, 3] of weight, sum and sum of squares."""


class Marks:
    """Rising distinct slots as one bit each, where that is less than the slots are."""

    __slots__ = ("_bits", "_size")

    def __init__(self, slots: Slots) -> None:
        marked = np.zeros(int(slots[-1]) + 1, np.bool_)
        marked[slots] = True
        self._bits = np.packbits(marked)
        self._size = len(slots)

    def __len__(self) -> int:
        """Return how many slots there are."""
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes of the bits."""
        return self._bits.nbytes

    def slots(self) -> Slots:
        """Return the slots."""
        return np.unpackbits(self._bits).nonzero()[0].astype(np.int32)


def compacted(wide: Wide) -> tuple[Any, tuple[Array, ...]]:
    """Return a chunk of rows in few bytes: slots or marks, and count, weight, its rest, mean, rest of the sum, spread.

    It is returned as it was where a number of it is infinite, NaN, or so large that its square would be.
    """
    slots, (count, high, low) = wide
    with np.errstate(all="ignore"):
        weight, weight_rest = high[:, 0], low[:, 0].astype(np.float32)
        mean = _mean_of(high, low)
        product, rest = multiply_pairs(mean, weight)
        rest = rest + mean * weight_rest
        left, left_low = add_pairs(high[:, 1], low[:, 1], -product, -rest)
        part = np.where(product == 0, 0.0, (left + left_low) / product).astype(np.float32)
        # About a number near the mean: sum((x - m) ** 2) = sum(x * x) - m * m * n - 2 * m * (sum(x) - m * n)
        square, square_rest = _square_of(mean, weight, weight_rest, left + left_low)
        spread, spread_low = add_pairs(high[:, 2], low[:, 2], -square, -square_rest)
        spread = spread + spread_low
        usable = (np.abs(mean) < _LARGEST) & (weight < _LARGEST) & np.isfinite(spread) & np.isfinite(part)
    if not usable.all():
        return wide
    return restored(slots, count, np.stack([weight, mean, spread], axis=1), np.stack([weight_rest, part], axis=1))


def restored(slots: Slots, count: Array, high: Floats, low: Array) -> tuple[Any, tuple[Array, ...]]:
    """Return the compact chunk of the columns that `rows_of` gave."""
    counts = narrowed(count)
    weight = counts if (high[:, 0] == count).all() else narrowed(np.ascontiguousarray(high[:, 0]))
    singles = [narrowed(low[:, i].astype(np.float32)) for i in range(2)]
    doubles = [narrowed(np.ascontiguousarray(high[:, i])) for i in (1, 2)]
    held = narrowed(slots)
    rising = bool((slots[1:] > slots[:-1]).all())
    marks = Marks(slots) if rising and int(slots[-1]) // 8 < held.itemsize * len(slots) else held
    return marks, (counts, weight, singles[0], doubles[0], singles[1], doubles[1])


def rows_of(chunk: tuple[Any, tuple[Array, ...]]) -> tuple[Slots, Array, Floats, Floats]:
    """Return slots, counts, [n, 3] weight, mean and spread, and [n, 2] rests of weight and sum, of a compact chunk."""
    marks, (count, weight, weight_rest, mean, part, spread) = chunk
    high = np.stack([weight, mean, spread], axis=1, dtype=np.float64)
    return _slots_of(marks), count, high, np.stack([weight_rest, part], axis=1, dtype=np.float64)


def _slots_of(marks: Any) -> Slots:  # noqa: ANN401  # slots or marks
    return marks.slots() if isinstance(marks, Marks) else marks


def widened(chunk: tuple[Any, tuple[Array, ...]], wanted: NDArray[np.bool_] | None = None) -> Wide:
    """Return the rows of a compact chunk as they are added up; with `wanted` ([slots]) only those of some slots."""
    marks, columns = chunk
    slots = _slots_of(marks)
    if wanted is not None:
        rows = wanted[slots]
        slots, columns = slots[rows], tuple(column[rows] for column in columns)
    count = columns[0].astype(np.int64, copy=False)
    weight, weight_rest, mean, part, spread = (column.astype(np.float64, copy=False) for column in columns[1:])
    high, low = np.empty((len(slots), 3)), np.empty((len(slots), 3))
    high[:, 0], low[:, 0] = weight, weight_rest
    product, rest = multiply_pairs(mean, weight)
    left = part * product
    high[:, 1], low[:, 1] = add_pairs(product, rest + mean * weight_rest, left)
    square, square_rest = _square_of(mean, weight, weight_rest, left)
    high[:, 2], low[:, 2] = add_pairs(square, square_rest, spread)
    return slots, (count, high, low)


def _mean_of(high: Floats, low: Floats) -> Floats:
    weight, total = high[:, 0], high[:, 1]
    quotient = total / weight
    product, rest = multiply_pairs(quotient, weight)
    return quotient + (((total - product) - rest) + (low[:, 1] - quotient * low[:, 0])) / weight


def _square_of(mean: Floats, weight: Floats, weight_rest: Floats | Array, left: Floats) -> tuple[Floats, Floats]:
    """Return pairs of mean ** 2 * weight + 2 * mean * left."""
    square, square_rest = square_pairs(mean)
    product, rest = multiply_pairs(square, weight)
    double, double_rest = multiply_pairs(2 * mean, left)
    return add_pairs(product, rest + square_rest * weight + square * weight_rest, double, double_rest)
