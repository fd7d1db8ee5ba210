"""Columns in as few bytes as hold them, and distinct slots without sorting: what panes at rest are kept as.

A pane to which nothing is added any more is read once, when it leaves; until then it only takes room. Most of its
columns are small numbers, or one number over and over.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["distinct", "narrowed"]

_UNSIGNED = (np.uint8, np.uint16, np.uint32)
_SIGNED = (np.int8, np.int16, np.int32)
_LEAST_WHOLE = float(2**32)
_DENSE = 4
"""Slots up to so many times the number of rows are marked in a table; sorting takes ten times as long then."""

Array = NDArray[Any]


def narrowed(column: Array) -> Array:
    """Return a column with equal values in the smallest integer type that holds them; not to be written to.

    Of one that is the same throughout a single element is real memory. Floats that are not whole, and columns of
    several numbers a row, stay as they are.
    """
    if column.ndim != 1 or not len(column):
        return column
    least, most = column.min(), column.max()
    if least == most:
        return np.broadcast_to(column[:1].copy(), column.shape)
    if column.dtype.kind == "f":
        return _whole(column) if least >= 0 and most < _LEAST_WHOLE else column
    if column.dtype.kind not in "iu":
        return column
    for kind in _UNSIGNED if least >= 0 else _SIGNED:
        limits = np.iinfo(kind)
        if limits.min <= least and most <= limits.max:
            return column.astype(kind)
    return column


def _whole(column: Array) -> Array:
    narrow = column.astype(np.uint32)
    return narrow if (narrow == column).all() else column


def distinct(slots: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the distinct values of [n] numbers, none of them negative, and [n] the place of each row's among them."""
    most = int(slots.max()) + 1 if len(slots) else 0
    if most > _DENSE * len(slots):
        found, place = np.unique(slots, return_inverse=True)
        return found, place
    present = np.zeros(most, np.bool_)
    present[slots] = True
    return present.nonzero()[0].astype(slots.dtype), (np.cumsum(present) - 1)[slots]
