"""OTLP/JSON to OTLP protobuf, so that there is one decoder.

OTLP/JSON is proto3's JSON mapping with three exceptions, all of them honoured: ids are hexadecimal, enums are
integers, and unknown fields are ignored. Names of enums are taken too, as are 64-bit integers as numbers or
strings. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.errors import DecodeError

__all__ = ["MAX_DEPTH", "logs_from_json", "traces_from_json", "translation_size"]

MAX_DEPTH = 90
"""Messages that may nest; protobuf itself parses no more than 100."""

_HEX = frozenset({"trace_id", "span_id", "parent_span_id"})
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_Field = FieldDescriptor
_INTEGERS: dict[int, tuple[int, int]] = {
    _Field.TYPE_INT32: (-(2**31), 2**31 - 1),
    _Field.TYPE_SINT32: (-(2**31), 2**31 - 1),
    _Field.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    _Field.TYPE_UINT32: (0, 2**32 - 1),
    _Field.TYPE_FIXED32: (0, 2**32 - 1),
    _Field.TYPE_INT64: (-(2**63), 2**63 - 1),
    _Field.TYPE_SINT64: (-(2**63), 2**63 - 1),
    _Field.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    _Field.TYPE_UINT64: (0, 2**64 - 1),
    _Field.TYPE_FIXED64: (0, 2**64 - 1),
}

# What one costs as Python's and protobuf's objects, in bytes; measured by tests/decode/test_json_memory.py.
_OBJECT, _ARRAY, _VALUE = 192, 128, 128


def translation_size(data: bytes) -> int:
    """Return the most bytes that translating a body takes, its own and the answer's included.

    Known before anything is parsed, from the punctuation. Punctuation inside texts counts too, which is little beside
    the texts themselves. JSON of spans as exporters write it comes to 12 times its size; empty objects to 110 times.
    """
    counts = (data.count(b"{") * _OBJECT, data.count(b"[") * _ARRAY, data.count(b",") * _VALUE)
    text = 5 if data.isascii() else 9  # one character beyond the basic plane makes all of its text four times as wide
    return text * len(data) + sum(counts)


def traces_from_json(data: bytes) -> bytes:
    """Return the serialized ExportTraceServiceRequest that an OTLP/JSON body stands for.

    Raises:
        DecodeError: it is not JSON, or not of OTLP's shape; the text names the place, as a JSON pointer.
    """
    return _request(ExportTraceServiceRequest(), data)


def logs_from_json(data: bytes) -> bytes:
    """Return the serialized ExportLogsServiceRequest that an OTLP/JSON body stands for.

    Raises:
        DecodeError: it is not JSON, or not of OTLP's shape; the text names the place, as a JSON pointer.
    """
    return _request(ExportLogsServiceRequest(), data)


class _WrongError(Exception):
    """A value is wrong; the place is filled in from the inside out."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.place: list[str] = []


def _request(message: Message, data: bytes) -> bytes:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}") from error
    try:
        _fill(message, body, 0)
    except _WrongError as error:
        pointer = "/" + "/".join(reversed(error.place)) if error.place else "the whole body"
        raise DecodeError(f"not OTLP/JSON: {pointer}: {error.what}") from error
    return message.SerializeToString()


def _fill(message: Message, body: object, depth: int) -> None:
    """Set the fields of `message` from a JSON object."""
    if depth > MAX_DEPTH:
        raise _WrongError(f"nested more than {MAX_DEPTH} deep")
    if not isinstance(body, dict):
        raise _WrongError(f"an object is expected, not {_kind(body)}")
    fields = _fields_of(message)
    for key, value in body.items():
        field = fields.get(key)
        if field is None or value is None:  # null is the default, as in proto3's mapping
            continue
        try:
            if field.is_repeated:
                _extend(message, field, value, depth)
            elif field.message_type is not None:
                child = getattr(message, field.name)
                child.SetInParent()  # an empty object is present: a KeyValueList without entries is one
                _fill(child, value, depth + 1)
            else:
                setattr(message, field.name, _scalar(field, value))
        except _WrongError as error:
            error.place.append(key.replace("~", "~0").replace("/", "~1"))
            raise


def _extend(message: Message, field: FieldDescriptor, values: object, depth: int) -> None:
    if not isinstance(values, list):
        raise _WrongError(f"an array is expected, not {_kind(values)}")
    target = getattr(message, field.name)
    for index, value in enumerate(values):
        try:
            if field.message_type is not None:
                _fill(target.add(), value, depth + 1)
            else:
                target.append(_scalar(field, value))
        except _WrongError as error:
            error.place.append(str(index))
            raise


_FIELDS: dict[str, dict[str, FieldDescriptor]] = {}


def _fields_of(message: Message) -> dict[str, FieldDescriptor]:
    name = message.DESCRIPTOR.full_name
    known = _FIELDS.get(name)
    if known is None:
        fields: Sequence[Any] = message.DESCRIPTOR.fields
        known = _FIELDS[name] = {field.json_name: field for field in fields}
    return known


def _scalar(field: FieldDescriptor, value: object) -> str | bytes | float | bool:
    if field.enum_type is not None:
        return _enumerator(field.enum_type, value)
    if field.type in _INTEGERS:
        return _integer(value, *_INTEGERS[field.type])
    return _READERS[field.type](field, value)


def _string(_: FieldDescriptor, value: object) -> str:
    if isinstance(value, str):
        return value
    raise _WrongError(f"a string is expected, not {_kind(value)}")


def _boolean(_: FieldDescriptor, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _WrongError(f"true or false is expected, not {_kind(value)}")


def _bytes(field: FieldDescriptor, value: object) -> bytes:
    text = _string(field, value)
    try:
        if field.name in _HEX:
            return binascii.unhexlify(text)
        # URL-safe and unpadded base64 are valid in proto3's mapping.
        text = text.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        wanted = "hexadecimal digits, two a byte" if field.name in _HEX else "base64 text"
        raise _WrongError(f"{wanted}, should stand here") from error


def _double(_: FieldDescriptor, value: object) -> float:
    if isinstance(value, str) and value in _NUMBERS:
        return _NUMBERS[value]
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise _WrongError(f"a number is expected, not {_kind(value)}")


def _integer(value: object, least: int, greatest: int) -> int:
    number = _whole(value)
    if number is None:
        raise _WrongError(f"a whole number is expected, not {_kind(value)}")
    if not least <= number <= greatest:
        raise _WrongError(f"a whole number from {least} to {greatest} is expected")
    return number


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    # No sign but minus, no underscores, and no more digits than 64 bits have: int() takes all of these.
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return None


def _enumerator(enum: EnumDescriptor, value: object) -> int:
    if isinstance(value, str) and value in enum.values_by_name:
        number: int = enum.values_by_name[value].number
        return number
    if isinstance(value, str) and _whole(value) is None:
        raise _WrongError(f"a number or a name of {enum.name} is expected")
    return _integer(value, -(2**31), 2**31 - 1)


def _kind(value: object) -> str:
    """Return what a JSON value is, without its content, which may be somebody's prompt."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


_READERS: dict[int, Callable[[FieldDescriptor, Any], str | bytes | float | bool]] = {
    _Field.TYPE_STRING: _string,
    _Field.TYPE_BOOL: _boolean,
    _Field.TYPE_BYTES: _bytes,
    _Field.TYPE_DOUBLE: _double,
    _Field.TYPE_FLOAT: _double,
}
