"""Numbers other than tokens: the cost that a span states, times, scores, and any numeric attribute."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import SpanClass
from tocsin.semconv.columns import Batch
from tocsin.semconv.reductions import some
from tocsin.semconv.table import Alias

__all__ = ["MAX_USD", "first_finite", "non_negative", "reported_usd"]

MAX_USD = 1e6
"""More than this is no cost of one call."""

_Floats = NDArray[np.float64]

_BILLABLE = np.array(
    [kind in (SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.USAGE, SpanClass.AGENT) for kind in SpanClass]
)


def first_finite(batch: Batch, aliases: Sequence[Alias]) -> tuple[_Floats, int]:
    """Return [n] the first number of the aliases, NaN where none is finite, and how many were infinite."""
    out: _Floats | None = None
    for alias in aliases:
        if out is None:
            out = batch.number(alias, None)
            continue
        missing = np.isnan(out)
        if not some(missing):
            break
        out = np.where(missing, batch.number(alias, missing), out)
    if out is None:
        return np.full(batch.size, np.nan), 0
    infinite = np.isinf(out)
    if some(infinite):
        return np.where(infinite, np.nan, out), int(np.count_nonzero(infinite))
    return out, 0


def non_negative(numbers: _Floats, limit: float) -> tuple[_Floats, int]:
    """Return [n] the numbers from 0 to `limit`, NaN for others, and how many others there were."""
    bad = (numbers < 0) | (numbers > limit)
    if not some(bad):
        return numbers, 0
    return np.where(bad, np.nan, numbers), int(np.count_nonzero(bad))


def reported_usd(batch: Batch, aliases: Sequence[Alias]) -> tuple[_Floats, int]:
    """Return [n] the cost of the call that a span itself states, US dollars, and how many were none.

    Only model calls, and agents that may stand for remote ones, state a cost of their own; on other spans it
    repeats a child's. 0 for a failed call states nothing.
    """
    numbers, infinite = first_finite(batch, aliases)
    if not aliases:
        return numbers, 0
    numbers, bad = non_negative(numbers, MAX_USD)
    nothing = (numbers == 0) & (batch.columns.status == 2)
    return np.where(nothing | ~_BILLABLE[batch.classes], np.nan, numbers), infinite + bad
