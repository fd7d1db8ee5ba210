"""The fast decoder: one walk over the wire in Rust (`native/`), which skips by its length what no rule reads.

Contract: `Decoder` here and in `tocsin.decode.reference` give equal results for any bytes whatever
(tests/decode and tests/fuzz.py). No loop in this module may run per row or per value, only per column. Speed:
docs/performance.md.
"""

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tocsin._native import Scanner
from tocsin.decode.limits import MOST_CELLS, MOST_ROWS
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

_Lines: TypeAlias = tuple[
    Iterator[NDArray[np.uint64]],
    Iterator[NDArray[np.float64]],
    Iterator[NDArray[np.int32]],
    Iterator[NDArray[np.uint8]],
]
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
            prefixes=list(projection.prefixes),
            barred=list(projection.barred),
            most_prefixed=projection.most_prefixed,
            most_rows=MOST_ROWS,
            most_cells=MOST_CELLS,
        )

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportTraceServiceRequest messages into one set of columns."""
        return self._decoded("traces", self._scanner.traces(requests))

    def logs(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportLogsServiceRequest messages into one set of columns."""
        return self._decoded("logs", self._scanner.logs(requests))

    def _decoded(self, signal: str, parts: "_native._Parts") -> Decoded:
        (
            (rows, offsets, errors, skipped, crowded),
            ids,
            table,
            texts,
            attributes,
            (events, lists),
            resources,
            scopes,
        ) = parts
        columns = len(attributes[0])
        both = columns + len(lists)
        times, numbers, codes, small = _lines(table, rows, 2 + len(events), both, 4 + both, 3 + columns)
        projection = self._projection
        # Arguments are evaluated in this order, which is the order of the columns in the table.
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
            crowded=crowded,
        )
        refused = [DecodeError(f"OTLP {signal} request refused: {error}") if error else None for error in errors]
        return Decoded(decoded, offsets, refused)


def _lines(table: bytes, rows: int, times: int, numbers: int, codes: int, small: int) -> _Lines:
    """Return the columns of a table in their order, of each type so many; none can be written to."""
    after_times = 8 * rows * times
    after_numbers = after_times + 8 * rows * numbers
    after_codes = after_numbers + 4 * rows * codes
    return (
        iter(np.ndarray((times, rows), _U64, table)),
        iter(np.ndarray((numbers, rows), _F64, table, after_times)),
        iter(np.ndarray((codes, rows), _I32, table, after_numbers)),
        iter(np.ndarray((small, rows), _U8, table, after_codes)),
    )


def _columns(
    names: list[str],
    values: list[list[str | bytes]],
    kinds: Iterator[NDArray[np.uint8]],
    numbers: Iterator[NDArray[np.float64]],
    codes: Iterator[NDArray[np.int32]],
) -> dict[str, AttributeColumn]:
    # `names` ends first, so zip takes no more of the iterators than there are attributes.
    return dict(zip(names, map(_column, kinds, numbers, codes, values), strict=False))


# A frozen dataclass sets its fields by name, through object; there is a column per attribute, and this takes half as
# long, which is a tenth of a small request.
_new = object.__new__
_set_kind, _set_number, _set_code, _set_values = (
    getattr(AttributeColumn, name).__set__ for name in ("kind", "number", "code", "values")
)


def _column(
    kind: NDArray[np.uint8], number: NDArray[np.float64], code: NDArray[np.int32], values: Sequence[str | bytes]
) -> AttributeColumn:
    column = _new(AttributeColumn)
    _set_kind(column, kind)
    _set_number(column, number)
    _set_code(column, code)
    _set_values(column, values)
    return column


def _resources(parts: tuple[int, bytes, list[str], list[list[str | bytes]]]) -> dict[str, AttributeColumn]:
    rows, table, names, values = parts
    columns = len(names)
    _, numbers, codes, kinds = _lines(table, rows, 0, columns, columns, columns)
    return _columns(names, values, kinds, numbers, codes)
