"""What is known of a span by who wrote it: its instrumentation scope.

Each name is looked at once and remembered; a batch costs a table over its distinct scopes.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import SpanColumns

__all__ = ["Scopes"]

_NAMES = 4096


class Scopes:
    """The table's lists of scopes, ready to be asked by the batch."""

    def __init__(self, wrapping: Sequence[str], late_usage: Sequence[str]) -> None:
        """Prepare the lists; an entry stands for the scope of that name and those below it, `a.b` for `a.b.c`."""
        self._wraps = lru_cache(_NAMES)(lambda name: _begins(name, wrapping))
        self._late = lru_cache(_NAMES)(lambda name: _begins(name, late_usage))

    def wrapping(self, columns: SpanColumns) -> NDArray[np.bool_]:
        """Return [n] whether a framework's instrumentation wrote the row."""
        return _hits(columns, self._wraps)

    def late_usage(self, columns: SpanColumns) -> NDArray[np.bool_]:
        """Return [n] whether the row's instrumentation writes the usage of a stream on a record of its own."""
        return _hits(columns, self._late)

    @staticmethod
    def identity(columns: SpanColumns) -> NDArray[np.uint32]:
        """Return [n] a number of the scope's name, the same in every process."""
        table = [_number(scope.name) for scope in columns.scopes]
        return np.array([*table, 0], np.uint32)[columns.scope]


def _hits(columns: SpanColumns, asked: Callable[[str], bool]) -> NDArray[np.bool_]:
    hits = [asked(scope.name) for scope in columns.scopes]
    if not any(hits):
        return np.zeros(len(columns), np.bool_)
    return np.array([*hits, False])[columns.scope]


@lru_cache(_NAMES)
def _number(name: str) -> int:
    return zlib.crc32(name.encode())


def _begins(name: str, beginnings: Sequence[str]) -> bool:
    return any(name == one or name.startswith(one + ".") for one in beginnings)
