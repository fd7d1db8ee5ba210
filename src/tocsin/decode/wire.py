"""The fast decoder: one walk over the wire in Rust (`native/`), which skips by its length what no rule reads.

Contract: `Decoder` here and in `tocsin.decode.reference` give equal results for any bytes whatever
(tests/decode and tests/fuzz.py). No loop in this module may run per row or per value, only per column. Speed:
docs/performance.md.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat, starmap
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
        times = _rows(matrices[0], np.uint64, rows)
        small = _rows(matrices[1], np.uint8, rows)
        codes = _rows(matrices[2], np.int32, rows)
        numbers = _rows(matrices[3], np.float64, rows)
        projection = self._projection
        # Arguments are evaluated in this order, which is the order of the columns in the matrices.
        columns = SpanColumns(
            trace_id=np.frombuffer(ids[0], np.uint8).reshape(rows, 16),
            span_id=np.frombuffer(ids[1], np.uint8).reshape(rows, 8),
            parent_id=np.frombuffer(ids[2], np.uint8).reshape(rows, 8),
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
        refused = [
            DecodeError(f"not an OTLP {signal} request: {error}") if error else None for error in errors
        ]
        return Decoded(columns, offsets, refused)


def _rows(data: bytes, dtype: type[_Scalar], rows: int) -> Iterator[NDArray[_Scalar]]:
    """Return the rows of a matrix; each is a column of `rows` elements. Without any, columns are empty."""
    values = np.frombuffer(data, dtype)
    return iter(values.reshape(-1, rows)) if rows else repeat(values)


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
    return _columns(
        names,
        values,
        _rows(kinds, np.uint8, rows),
        _rows(numbers, np.float64, rows),
        _rows(codes, np.int32, rows),
    )
