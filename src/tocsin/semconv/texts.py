"""Attribute columns as text columns: rendering, merging, filtering; the cost is per distinct value."""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from tocsin.model.columns import AttributeColumn, TextColumn, ValueKind
from tocsin.semconv.reductions import largest, some

__all__ = ["absent_text", "first_of", "kept_where", "mapped", "of_rows", "text_of"]

_Codes = NDArray[np.int32]

_STRING = int(ValueKind.STRING)
_ONLY_TEXT = {str}


def absent_text(size: int) -> TextColumn:
    """Return a column of `size` rows without any value."""
    return TextColumn(np.full(size, -1, np.int32), [])


def text_of(column: AttributeColumn) -> TextColumn:
    """Return a column as text: integers in decimal, floats in their shortest form, booleans as true or false.

    Arrays and key-value lists become JSON text, byte strings base64. Empty texts and empty lists are absent.
    """
    if not len(column.kind) or largest(column.kind) <= _STRING:
        return _without_empty(column.code, column.values)
    values: dict[str, int] = {}
    codes = np.full(len(column.kind), -1, np.int32)
    for kind in np.unique(column.kind).tolist():
        if kind == ValueKind.ABSENT:
            continue
        rows = np.flatnonzero(column.kind == kind)
        if kind in _NUMBERS:
            distinct, inverse = np.unique(column.number[rows], return_inverse=True)
            texts = [_NUMBERS[kind](number) for number in distinct.tolist()]
        else:
            distinct_codes, inverse = np.unique(column.code[rows], return_inverse=True)
            texts = [_payload_text(kind, column.values[code]) for code in distinct_codes.tolist()]
        codes[rows] = _interned(texts, values)[inverse]
    return TextColumn(codes, list(values))


def mapped(column: TextColumn, change: Callable[[str], str]) -> TextColumn:
    """Return a column with every distinct value changed; absent where `change` returns an empty text."""
    texts = [change(value) for value in column.values]
    if texts == list(column.values):
        return column
    values: dict[str, int] = {}
    return TextColumn(_with_absent(_interned(texts, values))[column.code], list(values))


def first_of(columns: Sequence[TextColumn]) -> TextColumn:
    """Return row by row the first value that is there; `columns` is not empty."""
    first = columns[0]
    if len(columns) == 1:
        return first
    codes, values = first.code, None
    for other in columns[1:]:
        take = (codes < 0) & (other.code >= 0)
        if not some(take):
            continue
        if values is None:
            values = {value: code for code, value in enumerate(first.values)}
        codes = np.where(take, _with_absent(_interned(other.values, values))[other.code], codes)
    return first if values is None else TextColumn(codes, list(values))


def kept_where(column: TextColumn, keep: NDArray[np.bool_]) -> TextColumn:
    """Return a column that is absent where `keep` does not hold."""
    return TextColumn(np.where(keep, column.code, np.int32(-1)), column.values)


def of_rows(texts: Mapping[int, str], codes: _Codes, size: int) -> TextColumn:
    """Return [n] the text of each row's code; codes without a text, or with an empty one, are absent."""
    values: dict[str, int] = {}
    table = np.full(size + 1, -1, np.int32)
    for code, text in texts.items():
        if text:
            table[code] = values.setdefault(text, len(values))
    return TextColumn(table[codes], list(values))


def _interned(texts: Sequence[str], values: dict[str, int]) -> _Codes:
    """Return the code of each text in `values`, which grows by the new ones; -1 for an empty text."""
    return np.array([values.setdefault(text, len(values)) if text else -1 for text in texts], np.int32)


def _with_absent(codes: _Codes) -> _Codes:
    """Return the codes with one more at the end, so that index -1 finds -1."""
    return np.append(codes, np.int32(-1))


def _without_empty(codes: _Codes, values: Sequence[str | bytes]) -> TextColumn:
    # A value that a later one of the same row replaced may still be listed, and be of another kind.
    if "" not in values and set(map(type, values)) <= _ONLY_TEXT:
        return TextColumn(codes, values)  # type: ignore[arg-type]  # the line above
    known: dict[str, int] = {}
    table = _interned([value if isinstance(value, str) else "" for value in values], known)
    return TextColumn(_with_absent(table)[codes], list(known))


def _float_text(number: float) -> str:
    return "" if math.isnan(number) else repr(number)


_NUMBERS: Mapping[int, Callable[[float], str]] = {
    ValueKind.BOOL: lambda number: "true" if number else "false",
    ValueKind.INT: lambda number: str(int(number)),
    ValueKind.DOUBLE: _float_text,
}


def _payload_text(kind: int, payload: str | bytes) -> str:
    if isinstance(payload, str):
        return payload
    if kind == ValueKind.BYTES:
        return base64.b64encode(payload).decode()
    return _message_text(kind, payload)


@lru_cache(maxsize=4096)
def _message_text(kind: int, payload: bytes) -> str:
    """Return an ArrayValue or KeyValueList as JSON text; empty for an empty one and for other bytes."""
    try:
        value = (
            _plain(AnyValue(array_value=ArrayValue.FromString(payload)))
            if kind == ValueKind.ARRAY
            else _plain(AnyValue(kvlist_value=KeyValueList.FromString(payload)))
        )
    except ProtobufError:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else ""


def _plain(value: AnyValue) -> object:
    """Return the plain form of a value; protobuf's own limit of 100 levels bounds the depth."""
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: _plain(item.value) for item in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case None:
            return None
        case name:
            return getattr(value, name)
