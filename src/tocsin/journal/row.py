"""A record as a row of a segment: framed by a checksum, so that damage is told from data."""

import struct
import zlib
from typing import Final, NamedTuple

from tocsin.errors import CorruptError
from tocsin.journal import codec
from tocsin.journal.record import Record, RecordKind

__all__ = ["MOST_BYTES", "Row"]

MOST_BYTES: Final = 512 * 1024 * 1024
"""Of one record; SQLite takes no more than twice that."""
_HEADER: Final = struct.Struct("<qqBqqIqq")


class Row(NamedTuple):
    """The columns of the table `record`, in order. Times in Unix nanoseconds."""

    position: int
    previous: int
    """The position of the record that was committed before it, so that a reader misses one that is gone."""
    kind: int
    wall: int
    time: int
    rows: int
    """Spans in it."""
    first_end: int
    """The first event time of its spans; that of the record itself where it has none."""
    last_end: int
    crc: int
    """CRC-32 of all before, and of the body."""
    body: bytes

    @classmethod
    def of(cls, position: int, previous: int, record: Record) -> "Row":
        """Return a record as a row.

        Raises:
            ValueError: it can't be kept, being too large or none that an engine could have been given.
        """
        batch = record.batch
        body, rows, first, last = record.rules or b"", 0, record.time, record.time
        if batch is not None:
            body, rows = codec.encode(batch), len(batch)
            if rows:
                first, last = int(batch.end.min()), int(batch.end.max())
        if len(body) > MOST_BYTES:
            raise ValueError(f"a record of {len(body)} bytes is too large to keep")
        head = (position, previous, int(record.kind), record.wall, record.time, rows, first, last)
        try:
            return cls(*head, zlib.crc32(body, zlib.crc32(_HEADER.pack(*head))), body)
        except struct.error as error:
            raise ValueError("a record's times do not fit in 64 bits") from error

    def record(self) -> Record:
        """Return the record.

        Raises:
            CorruptError: the row is not what was written, or was written by a program of another kind.
        """
        head = self[:8]
        try:
            crc = zlib.crc32(self.body, zlib.crc32(_HEADER.pack(*head)))
        except (struct.error, TypeError) as error:
            raise CorruptError("the row has columns of another type") from error
        if crc != self.crc:
            raise CorruptError("the checksum is another")
        match self.kind:
            case RecordKind.SPANS:
                return Record(self.wall, self.time, batch=codec.decode(self.body))
            case RecordKind.TIME:
                return Record(self.wall, self.time)
            case RecordKind.RULES:
                return Record(self.wall, self.time, rules=self.body)
            case _:
                raise CorruptError(f"records of kind {self.kind} are unknown")
