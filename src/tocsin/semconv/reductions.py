"""Whole-column questions without numpy's Python wrappers, which cost more than ten rows do."""

import numpy as np

__all__ = ["largest", "smallest", "some"]

largest = np.maximum.reduce
"""The largest element; of an empty column only with `initial`."""

smallest = np.minimum.reduce
"""The smallest element; not of an empty column."""

some = np.logical_or.reduce
"""Whether any row of a mask holds."""
