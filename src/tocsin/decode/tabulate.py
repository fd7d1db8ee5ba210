"""Rows, one by one, to columns: the slow and obvious way that the reference decoder takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import (
    AttributeColumn,
    Flaw,
    IndexedColumn,
    Projection,
    ScopeName,
    SpanColumns,
    TextColumn,
    ValueKind,
)

__all__ = ["Attributes", "Group", "Row", "Value", "columns_of"]

Value = tuple[ValueKind, float, str | bytes | None]
"""Kind, number (NaN where it is none), payload (None where there is none)."""
Attributes = dict[str, Value]

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(slots=True)
class Row:
    """One span or log record; fields as in `SpanColumns`."""

    trace_id: bytes
    span_id: bytes
    flaw: Flaw
    end: int
    start: int = 0
    parent_id: bytes = bytes(8)
    kind: int = 0
    status: int = 0
    name: str = ""
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    event_attributes: Attributes = field(default_factory=dict)
    lists: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """Flattened list -> number of elements, largest number."""
    event_times: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """A ResourceSpans or ResourceLogs."""

    same_as: bytes | None
    """The resource's bytes: groups that have the same share a row of `resources`. None is like no other."""
    resource: Attributes
    scopes: list[tuple[ScopeName, list[Row]]]


def columns_of(groups: Sequence[Group], projection: Projection, *, skipped: int, crowded: int) -> SpanColumns:
    """Return the columns of all rows, in order."""
    resources: list[Attributes] = []
    known: dict[bytes, int] = {}
    scopes: dict[ScopeName, int] = {}
    rows: list[Row] = []
    places: list[tuple[int, int]] = []
    for group in groups:
        index = known.get(group.same_as, len(resources)) if group.same_as is not None else len(resources)
        if index == len(resources):
            resources.append(group.resource)
            if group.same_as is not None:
                known[group.same_as] = index
        for scope, own in group.scopes:
            rows += own
            places += [(index, scopes.setdefault(scope, len(scopes)))] * len(own)
    return SpanColumns(
        trace_id=_ids(rows, 16, lambda row: row.trace_id),
        span_id=_ids(rows, 8, lambda row: row.span_id),
        parent_id=_ids(rows, 8, lambda row: row.parent_id),
        start=_array([row.start for row in rows], np.uint64),
        end=_array([row.end for row in rows], np.uint64),
        kind=_array([row.kind for row in rows], np.uint8),
        status=_array([row.status for row in rows], np.uint8),
        flaw=_array([row.flaw for row in rows], np.uint8),
        name=_texts([row.name for row in rows]),
        trace_state=_texts([row.trace_state for row in rows]),
        resource=_array([resource for resource, _ in places], np.int32),
        scope=_array([scope for _, scope in places], np.int32),
        resources=_attributes(resources, _names(projection, resources)),
        scopes=list(scopes),
        attributes=_all_attributes(rows, projection),
        indexed=_lists(rows, projection),
        event_time=_event_times(rows, projection),
        skipped=skipped,
        crowded=crowded,
    )


def _names(projection: Projection, rows: Sequence[Attributes]) -> list[str]:
    """Return the keys in the order of columns; the last may be there by their beginning."""
    return [*projection.attributes, *_by_prefix(projection, rows)]


def _by_prefix(projection: Projection, rows: Sequence[Attributes]) -> list[str]:
    if not projection.prefixes:
        return []
    return sorted({name for row in rows for name in row} - projection.attributes.keys(), key=str.encode)


def _all_attributes(rows: Sequence[Row], projection: Projection) -> dict[str, AttributeColumn]:
    of_events = [f"{event}/{key}" for event, key in projection.event_attributes]
    own = [row.attributes for row in rows]
    plain = _attributes(own, list(projection.attributes))
    events = _attributes([row.event_attributes for row in rows], of_events)
    return plain | events | _attributes(own, _by_prefix(projection, own))


def _attributes(rows: Sequence[Attributes], names: Sequence[str]) -> dict[str, AttributeColumn]:
    occurring = {name for row in rows for name, value in row.items() if value[0] is not ValueKind.ABSENT}
    return {name: _attribute([row.get(name) for row in rows]) for name in names if name in occurring}


def _attribute(cells: Sequence[Value | None]) -> AttributeColumn:
    values: dict[str | bytes, int] = {}
    kinds, numbers, codes = [], [], []
    for cell in cells:
        kind, number, payload = cell or (ValueKind.ABSENT, float("nan"), None)
        kinds.append(kind)
        numbers.append(number)
        codes.append(-1 if payload is None else values.setdefault(payload, len(values)))
    return AttributeColumn(_array(kinds, np.uint8), _array(numbers, np.float64), _array(codes, np.int32), list(values))


def _texts(texts: Sequence[str]) -> TextColumn:
    values: dict[str, int] = {}
    codes = [values.setdefault(text, len(values)) if text else -1 for text in texts]
    return TextColumn(_array(codes, np.int32), list(values))


def _lists(rows: Sequence[Row], projection: Projection) -> dict[tuple[str, str], IndexedColumn]:
    columns = {}
    for pattern in projection.indexed:
        cells = [row.lists.get(pattern, (0, float("nan"))) for row in rows]
        if any(count for count, _ in cells):
            counts = _array([count for count, _ in cells], np.int32)
            columns[pattern] = IndexedColumn(counts, _array([maximum for _, maximum in cells], np.float64))
    return columns


def _event_times(rows: Sequence[Row], projection: Projection) -> dict[str, NDArray[np.uint64]]:
    columns = {}
    for name in projection.event_times:
        times = [row.event_times.get(name, 0) for row in rows]
        if any(times):
            columns[name] = _array(times, np.uint64)
    return columns


def _ids(rows: Sequence[Row], size: int, of: Callable[[Row], bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(map(of, rows)), np.uint8).reshape(len(rows), size)


def _array(values: Sequence[float], dtype: type[_Scalar]) -> NDArray[_Scalar]:
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array
