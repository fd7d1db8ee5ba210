"""The fast decoder: one walk over the wire in Rust (`native/`), which skips by its length what no rule reads.

Contract: `Decoder` here and in `tocsin.decode.reference` give equal results for any bytes whatever
(tests/decode and tests/fuzz.py). No loop in this module may run per row or per value, only per column. Speed:
docs/performance.md.
"""

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from tocsin._native import Scanner
from tocsin.decode.limits import MOST_ROWS
from tocsin.errors import DecodeError
from tocsin.model.columns import (
    DEFAULT_CAP,
    AttributeColumn,
    Decoded,
    IndexedColumn,
    Projection,
    ScopeName,
    SpanColumns,
    TextColumn,
)

if TYPE_CHECKING:
    from tocsin import _native

__all__ = ["Decoder"]

_Scalar = TypeVar("_Scalar", bound=np.generic)
_U8 = np.dtype(np.uint8)
_I32 = np.dtype(np.int32)
_U64 = np.dtype(np.uint64)
_F64 = np.dtype(np.float64)


class Decoder:
    """Extracts a projection's attributes; immutable, so threads may share one.

    The interpreter lock is released while requests of more than 32 kB are read.
    """

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._scanner = Scanner(
            attributes=list(projection.attributes.items()),
            indexed=list(projection.indexed),
            event_times=list(projection.event_times),
            event_attributes=list(projection.event_attributes),
            event_cap=DEFAULT_CAP,
            log_events=list(projection.log_events),
            most_rows=MOST_ROWS,
        )

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportTraceServiceRequest messages into one set of columns."""
        return self._decoded("traces", self._scanner.traces(requests))

    def logs(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportLogsServiceRequest messages into one set of columns."""
        return self._decoded("logs", self._scanner.logs(requests))

    def _decoded(self, signal: str, parts: "_native._Parts") -> Decoded:
        (
            (rows, offsets, errors, skipped),
            ids,
            matrices,
            texts,
            attributes,
            (events, lists),
            resources,
            scopes,
        ) = parts
        columns = len(attributes[0])
        times = _rows(2 + len(events), rows, _U64, matrices[0])
        small = _rows(3 + columns, rows, _U8, matrices[1])
        codes = _rows(4 + columns + len(lists), rows, _I32, matrices[2])
        numbers = _rows(columns + len(lists), rows, _F64, matrices[3])
        projection = self._projection
        # Arguments are evaluated in this order, which is the order of the columns in the matrices.
        decoded = SpanColumns(
            trace_id=np.ndarray((rows, 16), _U8, ids[0]),
            span_id=np.ndarray((rows, 8), _U8, ids[1]),
            parent_id=np.ndarray((rows, 8), _U8, ids[2]),
            start=next(times),
            end=next(times),
            kind=next(small),
            status=next(small),
            flaw=next(small),
            resource=next(codes),
            scope=next(codes),
            name=TextColumn(next(codes), texts[0]),
            trace_state=TextColumn(next(codes), texts[1]),
            resources=_resources(resources),
            scopes=list(starmap(ScopeName, scopes)),
            attributes=_columns(*attributes, small, numbers, codes),
            indexed={projection.indexed[index]: IndexedColumn(next(codes), next(numbers)) for index in lists},
            event_time={projection.event_times[index]: next(times) for index in events},
            skipped=skipped,
        )
        refused = [DecodeError(f"not an OTLP {signal} request: {error}") if error else None for error in errors]
        return Decoded(decoded, offsets, refused)


def _rows(columns: int, rows: int, dtype: np.dtype[_Scalar], data: bytes) -> Iterator[NDArray[_Scalar]]:
    """Return the rows of a matrix; each is a column of `rows` elements, and none can be written to."""
    return iter(np.ndarray((columns, rows), dtype, data))


def _columns(
    names: list[str],
    values: list[list[str | bytes]],
    kinds: Iterator[NDArray[np.uint8]],
    numbers: Iterator[NDArray[np.float64]],
    codes: Iterator[NDArray[np.int32]],
) -> dict[str, AttributeColumn]:
    # `names` ends first, so zip takes no more of the iterators than there are attributes.
    return {
        name: AttributeColumn(kind, number, code, own)
        for name, own, kind, number, code in zip(names, values, kinds, numbers, codes, strict=False)
    }


def _resources(
    parts: tuple[int, bytes, bytes, bytes, list[str], list[list[str | bytes]]],
) -> dict[str, AttributeColumn]:
    rows, kinds, codes, numbers, names, values = parts
    shape = len(names), rows
    return _columns(names, values, _rows(*shape, _U8, kinds), _rows(*shape, _F64, numbers), _rows(*shape, _I32, codes))
