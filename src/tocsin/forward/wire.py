"""The protobuf wire format read field by field, with the limits of `native/src/wire.rs`; nothing is interpreted.

A tag or a length has at most 5 bytes and fits 32 bits, a varint has at most 10; field number 0 is an error outside
of groups; messages and groups together nest at most 100 deep.
"""

from typing import Final

__all__ = ["BYTES", "MalformedError", "Reader", "tag", "varint"]

BYTES: Final = 2
_MAX_DEPTH: Final = 100


class MalformedError(Exception):
    """The bytes are no message."""


def tag(field: int, wire_type: int) -> int:
    """Return the tag of a field."""
    return field << 3 | wire_type


def varint(value: int) -> bytes:
    """Return the shortest varint of a number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads one message, `data[position:end]`; never past its end."""

    __slots__ = ("data", "end", "level", "position")

    def __init__(self, data: bytes, level: int, position: int = 0, end: int | None = None) -> None:
        """Read a message that is `level` messages inside the one that was parsed first."""
        self.data = data
        self.level = level
        self.position = position
        self.end = len(data) if end is None else end

    def next_tag(self) -> int | None:
        """Return the next tag, None at the end of the message.

        Raises:
            MalformedError: there is something else; so do all methods below.
        """
        return None if self.position == self.end else self._short_number("a tag is longer than 5 bytes")

    def payload(self) -> tuple[int, int]:
        """Return where the payload of a length-delimited field begins and ends, and go there."""
        length = self._short_number("a length is longer than 5 bytes")
        begin = self.position
        self._advance(length)
        return begin, self.position

    def skip(self, found: int) -> None:
        """Go past the field whose tag was just read."""
        if found >> 3 == 0:
            raise MalformedError("field number 0")
        match found & 7:
            case 3:
                self._skip_group(found >> 3)
            case 4:
                raise MalformedError("the end of a group that did not begin")
            case _:
                self._skip_value(found)

    def find(self, wanted: int) -> "Reader | None":
        """Return a reader of the next message field with this tag; None where there is none."""
        while (found := self.next_tag()) is not None:
            if found == wanted:
                return Reader(self.data, self.level + 1, *self.payload())
            self.skip(found)
        return None

    def rest(self) -> bytes:
        """Return what was not read."""
        return self.data[self.position : self.end]

    def _advance(self, size: int) -> None:
        if size > self.end - self.position:
            raise MalformedError("a field is longer than the message that holds it")
        self.position += size

    def _number(self, most: int, too_long: str) -> int:
        value = 0
        for shift in range(0, 7 * most, 7):
            if self.position == self.end:
                raise MalformedError("the message ends within a number")
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedError(too_long)

    def _short_number(self, too_long: str) -> int:
        value = self._number(5, too_long)
        if value >= 1 << 32:
            raise MalformedError(too_long)
        return value

    def _skip_value(self, found: int) -> None:
        match found & 7:
            case 0:
                self._number(10, "a number is longer than 10 bytes")
            case 1:
                self._advance(8)
            case 2:
                self.payload()
            case 5:
                self._advance(4)
            case _:
                raise MalformedError("an unknown wire type")

    def _skip_group(self, field: int) -> None:
        limit = _MAX_DEPTH - self.level
        if limit < 1:
            raise MalformedError("groups nest too deep")
        open_fields = [field]
        while open_fields:
            found = self.next_tag()
            if found is None:
                raise MalformedError("a group does not end")
            match found & 7:
                case 3:
                    if len(open_fields) == limit:
                        raise MalformedError("groups nest too deep")
                    open_fields.append(found >> 3)
                case 4:
                    if open_fields.pop() != found >> 3:
                        raise MalformedError("the end of another group than the one that began")
                case _:
                    self._skip_value(found)
