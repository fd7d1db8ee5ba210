"""Protobuf fields by hand, for messages that no library would write."""

import struct

__all__ = ["fixed64", "group", "message", "overlong", "tag", "varint", "varint_field"]


def varint(value: int) -> bytes:
    """Return the shortest varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def overlong(value: int, size: int) -> bytes:
    """Return a varint of `size` bytes, most of which say nothing."""
    short = varint(value)
    head = bytes([*short[:-1], short[-1] | 0x80])
    return head + b"\x80" * (size - len(short) - 1) + b"\x00" if size > len(short) else short


def tag(field: int, wire_type: int) -> bytes:
    """Return a field's tag."""
    return varint(field << 3 | wire_type)


def message(field: int, *parts: bytes) -> bytes:
    """Return a length-delimited field."""
    payload = b"".join(parts)
    return tag(field, 2) + varint(len(payload)) + payload


def varint_field(field: int, value: int) -> bytes:
    """Return a varint field."""
    return tag(field, 0) + varint(value % 2**64)


def fixed64(field: int, value: int) -> bytes:
    """Return a 64-bit field."""
    return tag(field, 1) + struct.pack("<Q", value)


def group(field: int, *parts: bytes) -> bytes:
    """Return a group, which OTLP does not have."""
    return tag(field, 3) + b"".join(parts) + tag(field, 4)
