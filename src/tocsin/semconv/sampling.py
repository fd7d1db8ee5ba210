"""How many spans one stands for, by the sampling threshold in its trace state.

Source: OpenTelemetry, "TraceState: Probability Sampling": `ot=th:` is a rejection threshold of up to 14
hexadecimal digits, left-aligned in 56 bits; a span is kept with probability (2^56 - th) / 2^56.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import TextColumn

__all__ = ["adjusted_counts"]

_SCALE = 1 << 56
_MEMBER = re.compile(r"(?:^|,)[ \t]*ot=([^,]*)")
_THRESHOLD = re.compile(r"(?:^|;)th:([0-9a-f]{1,14})(?:;|[ \t]*$)")


def adjusted_counts(trace_state: TextColumn, size: int) -> NDArray[np.float64]:
    """Return [n] the adjusted count of each span; 1 where its trace state has no valid threshold."""
    if not trace_state.values:
        return np.ones(size)
    return np.array([*map(_adjusted_count, trace_state.values), 1.0])[trace_state.code]


@lru_cache(maxsize=4096)
def _adjusted_count(trace_state: str) -> float:
    member = _MEMBER.search(trace_state)
    threshold = None if member is None else _THRESHOLD.search(member[1])
    if threshold is None:
        return 1.0
    return _SCALE / (_SCALE - int(threshold[1].ljust(14, "0"), 16))
