"""Whether two decoders made the same of the same bytes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tocsin.model.columns import AttributeColumn, Decoded, IndexedColumn, SpanColumns, TextColumn

__all__ = ["assert_same"]

_ARRAYS = ("trace_id", "span_id", "parent_id", "start", "end", "kind", "status", "flaw", "resource", "scope")


def assert_same(left: Decoded, right: Decoded) -> None:
    """Compare everything but the wording of errors; arrays with their types, floats to the bit."""
    assert [error is None for error in left.errors] == [error is None for error in right.errors], (
        f"accepted by one, refused by the other: {left.errors} {right.errors}"
    )
    assert list(left.offsets) == list(right.offsets)
    _same_columns(left.columns, right.columns)


def _same_columns(left: SpanColumns, right: SpanColumns) -> None:
    for name in _ARRAYS:
        _same_array(getattr(left, name), getattr(right, name), name)
    for name in ("name", "trace_state"):
        _same_text(getattr(left, name), getattr(right, name), name)
    assert list(left.scopes) == list(right.scopes)
    assert left.skipped == right.skipped
    assert left.crowded == right.crowded
    _same_attributes(left.resources, right.resources, "resource")
    _same_attributes(left.attributes, right.attributes, "span")
    assert list(left.indexed) == list(right.indexed)
    for pattern, column in left.indexed.items():
        _same_list(column, right.indexed[pattern], str(pattern))
    assert list(left.event_time) == list(right.event_time)
    for name, times in left.event_time.items():
        _same_array(times, right.event_time[name], name)


def _same_attributes(left: Mapping[str, AttributeColumn], right: Mapping[str, AttributeColumn], owner: str) -> None:
    assert list(left) == list(right), f"{owner} attributes"
    for key, column in left.items():
        other = right[key]
        _same_array(column.kind, other.kind, f"{owner} {key} kind")
        _same_array(column.code, other.code, f"{owner} {key} code")
        _same_array(column.number, other.number, f"{owner} {key} number")
        assert list(column.values) == list(other.values), f"{owner} {key} values"


def _same_text(left: TextColumn, right: TextColumn, what: str) -> None:
    _same_array(left.code, right.code, what)
    assert list(left.values) == list(right.values), what


def _same_list(left: IndexedColumn, right: IndexedColumn, what: str) -> None:
    _same_array(left.count, right.count, what)
    _same_array(left.maximum, right.maximum, what)


def _same_array(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any], what: str) -> None:
    assert left.dtype == right.dtype, what
    assert left.shape == right.shape, what
    assert not left.flags.writeable, f"{what} can be written to"
    assert not right.flags.writeable, f"{what} can be written to"
    assert left.tobytes() == right.tobytes(), f"{what}: {left} {right}"
