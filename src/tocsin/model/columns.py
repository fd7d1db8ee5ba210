"""Decoded OTLP as columns: what a decoder hands to the semantic conventions.

Both decoders (`tocsin.decode.wire`, `tocsin.decode.reference`) produce these, equal to the bit. Only what a
`Projection` asks for is extracted; the rest of a request is skipped by its length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from tocsin.errors import DecodeError

__all__ = [
    "DEFAULT_CAP",
    "AttributeColumn",
    "Decoded",
    "Flaw",
    "IndexedColumn",
    "Projection",
    "ScopeName",
    "SpanColumns",
    "TextColumn",
    "ValueKind",
    "distinct_codes",
]

_SPARSE = 16
"""Where there are so many times more values than rows, rows are sorted instead of values marked."""

DEFAULT_CAP = 1024
"""Bytes of a value that are kept unless the projection says otherwise."""


class ValueKind(IntEnum):
    """The kinds of an AnyValue, as stored in `AttributeColumn.kind`."""

    ABSENT = 0
    STRING = 1
    BOOL = 2
    INT = 3
    DOUBLE = 4
    BYTES = 5
    ARRAY = 6
    KVLIST = 7


class Flaw(IntFlag):
    """Why a span can't be used; set by the decoder from the wire alone."""

    NONE = 0
    TRACE_ID = 1
    """Not 16 bytes, or all zero."""
    SPAN_ID = 2
    """Not 8 bytes, or all zero."""
    PARENT_ID = 4
    """Neither empty nor 8 bytes; the span is used, as one without a parent."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What a decoder extracts; compiled once per set of rules.

    Strings are cut to their cap at a character boundary; arrays, key-value lists and byte strings over their cap are
    kept as an empty payload.
    """

    attributes: Mapping[str, int]
    """Span (or log record) and resource attribute key -> cap in bytes."""
    indexed: Sequence[tuple[str, str]] = ()
    """(prefix, suffix) of flattened lists: `prefix + N + suffix` with N decimal digits, e.g.
    ("retrieval.documents.", ".document.score")."""
    event_times: Sequence[str] = ()
    """Names of span events whose first time is wanted."""
    event_attributes: Sequence[tuple[str, str]] = ()
    """(event name, key) of attributes of span events; the first event of that name that carries the key counts. Found
    in `SpanColumns.attributes` under `f"{event}/{key}"`, with the default cap."""
    log_events: Sequence[str] = ()
    """Event names of the log records that are wanted; all other records are skipped and counted."""
    prefixes: Sequence[str] = ()
    """Beginnings of keys that are wanted too, with the default cap; only keys of at most 256 bytes of UTF-8."""
    barred: Sequence[str] = ()
    """Keys that are not wanted because they begin so: `key`, `beginning*` or `*end`."""
    most_prefixed: int = 0
    """Different keys that a request's rows may bring by their beginning, and each of its resources; those that come
    later in it are left out."""


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """One attribute over n rows. Where a key repeats within a row, the last occurrence is kept."""

    kind: NDArray[np.uint8]
    """[n] ValueKind."""
    number: NDArray[np.float64]
    """[n] the value of INT, DOUBLE and BOOL (0 or 1); NaN for the other kinds."""
    code: NDArray[np.int32]
    """[n] index in `values` for STRING, BYTES, ARRAY and KVLIST; -1 for the other kinds."""
    values: Sequence[str | bytes]
    """Distinct payloads in order of first appearance: str for STRING (invalid UTF-8 replaced by U+FFFD), bytes for
    BYTES, and the serialized ArrayValue or KeyValueList message for ARRAY and KVLIST."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A string column, dictionary-coded."""

    code: NDArray[np.int32]
    """[n] index in `values`; -1 where absent."""
    values: Sequence[str]
    """Distinct values, none of them empty; after `SpanBatch.take` some may be unused."""

    def compacted(self) -> "TextColumn":
        """Return the column without values that no row has; itself where there can't be many."""
        if len(self.values) <= len(self.code):
            return self
        used, code = distinct_codes(self.code, len(self.values))
        return TextColumn(code, [self.values[i] for i in used.tolist()])


def distinct_codes(code: NDArray[np.integer], below: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return the distinct codes of a column, rising, and [n] the place of each row's among them; -1 stays -1.

    Args:
        code: [n] from -1 to `below` - 1.
        below: how many values there are.
    """
    if below > _SPARSE * len(code):
        distinct, places = np.unique(code, return_inverse=True)
        skip = int(len(distinct) > 0 and distinct[0] < 0)
        return distinct[skip:].astype(np.intp), (places - skip).astype(np.int32)
    number = np.zeros(below + 1, np.int32)  # its last is what -1 finds
    number[code] = 1
    number[below] = 0
    used = number.nonzero()[0]
    number[used] = np.arange(len(used), dtype=np.int32)
    number[below] = -1
    return used, number[code]


@dataclass(frozen=True, slots=True)
class IndexedColumn:
    """A flattened list (`prefix.N.suffix`) per row."""

    count: NDArray[np.int32]
    """[n] how many keys matched."""
    maximum: NDArray[np.float64]
    """[n] the largest numeric value; NaN where there was none."""


@dataclass(frozen=True, slots=True)
class ScopeName:
    """An instrumentation scope."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """The spans (or the wanted log records) of some requests, row by row in wire order; nobody writes to one.

    For log records `name` is the event name (field `event_name`, else the attribute `event.name` or `event_name`),
    `start` is 0, `end` is `time_unix_nano` or else `observed_time_unix_nano`, and `kind`, `status`, `parent_id` are 0.
    Row flaws TRACE_ID and SPAN_ID are set for log records too; a record may legitimately have neither id.
    """

    trace_id: NDArray[np.uint8]
    """[n, 16] zero where flawed."""
    span_id: NDArray[np.uint8]
    """[n, 8] zero where flawed."""
    parent_id: NDArray[np.uint8]
    """[n, 8] zero where there is none."""
    start: NDArray[np.uint64]
    """[n] Unix nanoseconds."""
    end: NDArray[np.uint64]
    """[n] Unix nanoseconds."""
    kind: NDArray[np.uint8]
    """[n] OTLP SpanKind, 0 where it is out of range."""
    status: NDArray[np.uint8]
    """[n] OTLP StatusCode, 0 where it is out of range."""
    flaw: NDArray[np.uint8]
    """[n] Flaw bits."""
    name: TextColumn
    """Cap 256 bytes; absent where empty."""
    trace_state: TextColumn
    """Cap 512 bytes; absent where empty."""
    resource: NDArray[np.int32]
    """[n] row in `resources`."""
    scope: NDArray[np.int32]
    """[n] index in `scopes`."""
    resources: Mapping[str, AttributeColumn]
    """Attributes of the distinct ResourceSpans entries; only keys that occur."""
    scopes: Sequence[ScopeName]
    attributes: Mapping[str, AttributeColumn]
    """Attributes of the rows; only keys that occur: those of the projection in its order, then others by name."""
    indexed: Mapping[tuple[str, str], IndexedColumn] = field(default_factory=dict)
    event_time: Mapping[str, NDArray[np.uint64]] = field(default_factory=dict)
    """[n] per event name the first time; 0 where the row has no such event. Only names that occur."""
    skipped: int = 0
    """Log records that no projection asked for."""
    crowded: int = 0
    """Requests in which keys were left out, being more than `Projection.most_prefixed`."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.end)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Some requests decoded together into one set of columns."""

    columns: SpanColumns
    offsets: Sequence[int]
    """[requests + 1]; the rows of request i are offsets[i] to offsets[i + 1], none where it was refused."""
    errors: Sequence[DecodeError | None]
    """[requests] why a request was refused as a whole."""
