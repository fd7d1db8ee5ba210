"""Which signal a serialized request is of: the three of OTLP have the same outer shape, and no mark.

A request is resources (field 1) with scopes (field 2) with records (field 2); the first record tells. A span has its
start and end in fields 7 and 8, 8 bytes each; a log record its times in 1 and 11; a metric has its data in 5, 7, 9, 10
or 11, as messages.
"""

from collections.abc import Iterator
from typing import Final

from tocsin.errors import DecodeError
from tocsin.receivers.intake import Signal

__all__ = ["signal_of"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_SHIFT: Final = 63
_Tag = tuple[int, int]


def signal_of(data: bytes) -> Signal | None:
    """Return what a request is of; None for metrics. One without records counts as one of traces.

    Raises:
        DecodeError: it is no OTLP request.
    """
    for record in _records(data):
        tags = dict(record)
        if (7, _FIXED64) in tags or (8, _FIXED64) in tags:
            return Signal.TRACES
        if (1, _FIXED64) in tags or (11, _FIXED64) in tags:
            return Signal.LOGS
        if any((field, _BYTES) in tags for field in (7, 10, 11)):
            return None
        if tags.get((1, _BYTES)) == 16:  # a trace id
            return Signal.TRACES
        if (1, _BYTES) in tags and (5, _BYTES) in tags:
            return None
        if tags:
            return Signal.LOGS
    return Signal.TRACES


def _records(data: bytes) -> Iterator[list[tuple[_Tag, int]]]:
    """Yield, for each record, its fields with their sizes."""
    for field, wire, begin, end in _fields(data, 0, len(data)):
        if (field, wire) != (1, _BYTES):
            continue
        for inner, inner_wire, scope, scope_end in _fields(data, begin, end):
            if (inner, inner_wire) != (2, _BYTES):
                continue
            for last, last_wire, record, record_end in _fields(data, scope, scope_end):
                if (last, last_wire) == (2, _BYTES):
                    yield [((f, w), e - b) for f, w, b, e in _fields(data, record, record_end)]


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field, wire type, begin, end) of a message's fields."""
    while at < end:
        key, at = _varint(data, at, end)
        field, wire = key >> 3, key & 7
        match wire:
            case 0:
                begin = at
                _, at = _varint(data, at, end)
            case 1:
                begin, at = at, at + 8
            case 2:
                size, begin = _varint(data, at, end)
                at = begin + size
            case 5:
                begin, at = at, at + 4
            case _:
                raise _no_request()
        if at > end or not field:
            raise _no_request()
        yield field, wire, begin, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift <= _MOST_SHIFT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _no_request()


def _no_request() -> DecodeError:
    return DecodeError("no OTLP request: the bytes are no ExportTraceServiceRequest and no ExportLogsServiceRequest")
