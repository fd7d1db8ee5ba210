"""Which spans can be used at all: they have ids, and times that can be true."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import Flaw, SpanColumns
from tocsin.semconv.reductions import smallest, some

__all__ = ["EARLIEST", "Unusable", "Usable", "usable_records", "usable_spans"]

EARLIEST = 631_152_000_000_000_000
"""1 January 1990, Unix nanoseconds: no span ended before it."""

_FATAL = np.uint8(Flaw.TRACE_ID | Flaw.SPAN_ID)

_Rows = NDArray[np.intp]
_Mask = NDArray[np.bool_]


class Unusable(StrEnum):
    """Why a span is refused; the words are told to its sender."""

    TRACE_ID = "trace id is not 16 bytes, or zero"
    SPAN_ID = "span id is not 8 bytes, or zero"
    TIME = "start or end time is missing, before 1990, or beyond 2262"
    ORDER = "end time is before start time"


@dataclass(frozen=True, slots=True)
class Usable:
    """Start and end as signed nanoseconds of all rows, and which rows are refused."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    rejected: Mapping[Unusable, _Rows]
    """Rows by reason, ascending; a row stands under one reason only."""
    rows: _Rows | None
    """The usable rows, ascending; None: all."""


def usable_spans(columns: SpanColumns) -> Usable:
    """Return which spans can be used."""
    start, end = columns.start.view(np.int64), columns.end.view(np.int64)
    # Beyond int64 is negative here, so the minimum finds both kinds of absurd time; with both over 1990, no
    # overflow.
    if not len(columns) or (
        smallest(start) >= EARLIEST
        and smallest(end) >= EARLIEST
        and not some(end < start)
        and not some(columns.flaw & _FATAL)
    ):
        return Usable(start, end, {}, None)
    return _sorted(
        start,
        end,
        {
            Unusable.TRACE_ID: (columns.flaw & Flaw.TRACE_ID) != 0,
            Unusable.SPAN_ID: (columns.flaw & Flaw.SPAN_ID) != 0,
            Unusable.TIME: (start < EARLIEST) | (end < EARLIEST),
            Unusable.ORDER: end < start,
        },
    )


def usable_records(columns: SpanColumns) -> Usable:
    """Return which log records can be used; one needs no ids, and starts when it ends."""
    end = columns.end.view(np.int64)
    if not len(columns) or smallest(end) >= EARLIEST:
        return Usable(end, end, {}, None)
    return _sorted(end, end, {Unusable.TIME: end < EARLIEST})


def _sorted(start: NDArray[np.int64], end: NDArray[np.int64], flaws: Mapping[Unusable, _Mask]) -> Usable:
    rejected: dict[Unusable, _Rows] = {}
    bad = np.zeros(len(end), np.bool_)
    for reason, hit in flaws.items():
        new = hit & ~bad
        if new.any():
            rejected[reason] = np.flatnonzero(new)
            bad |= new
    return Usable(start, end, rejected, np.flatnonzero(~bad))
