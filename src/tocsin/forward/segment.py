"""The files of the queue: requests one after another, and beside them which of them are done with.

A record is a header of 40 bytes with a checksum of its own, and then the request, whose checksum is in the header: a
reader goes from header to header without reading requests, and what is torn or corrupt costs only itself. After
a broken header the next good one is looked for. `NNN.requests` is only ever appended to, `NNN.done` has the
offsets of the records that need not be sent again; both go when there is nothing left to send. Everything here
blocks.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tocsin.forward.entry import Entry, Place, Signal

__all__ = ["HEADER_SIZE", "Found", "Segment", "encoded", "found_in"]

_MAGIC: Final = b"\xf1TcQ"
_HEADER: Final = struct.Struct("<4sI B3x I q I I 8x")
"""Magic, checksum of what follows in the header, signal, client, arrival, size and checksum of the request."""
HEADER_SIZE: Final = _HEADER.size
_CHECKED: Final = 8
"""The header's checksum covers what follows it."""
_DONE: Final = struct.Struct("<II")
"""Offset, and the same with all bits turned over."""
_SIGNALS: Final = tuple(Signal)
_READ: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A record as its header says."""

    offset: int
    signal: Signal
    client: int
    at: int
    size: int
    checksum: int

    def entry(self, segment: int) -> Entry:
        """Return what waits, its bytes still on disk."""
        return Entry(self.signal, self.client, self.at, self.size, None, Place(segment, self.offset))


def encoded(entry: Entry, data: bytes) -> tuple[bytes, bytes]:
    """Return a record as header and request."""
    rest = _HEADER.pack(_MAGIC, 0, _SIGNALS.index(entry.signal), entry.client, entry.at, len(data), zlib.crc32(data))[
        _CHECKED:
    ]
    return _MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest, data


def _decoded(header: bytes, offset: int) -> Found | None:
    if len(header) < HEADER_SIZE:
        return None
    magic, own, signal, client, at, size, checksum = _HEADER.unpack(header)
    if magic != _MAGIC or own != zlib.crc32(header[_CHECKED:]) or signal >= len(_SIGNALS):
        return None
    return Found(offset, _SIGNALS[signal], client, at, size, checksum)


def found_in(path: Path, begin: int = 0, end: int | None = None) -> Iterator[Found | None]:
    """Yield the records of a file from `begin`, which is where one begins; None for each place that is broken.

    What is behind `end` is not looked at; None: all is.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = size if end is None else min(end, size)
        at = begin
        while at < end:
            file.seek(at)
            found = _decoded(file.read(HEADER_SIZE), at)
            if found is not None and at + HEADER_SIZE + found.size <= end:
                yield found
                at += HEADER_SIZE + found.size
                continue
            yield None
            at = _next_header(file.fileno(), at + 1, end)


def _next_header(descriptor: int, at: int, end: int) -> int:
    """Return where the next good header begins; `end` where there is none."""
    while at < end:
        chunk = os.pread(descriptor, _READ + HEADER_SIZE, at)
        place = chunk.find(_MAGIC)
        while place >= 0:
            if _decoded(chunk[place : place + HEADER_SIZE], 0) is not None:
                return at + place
            place = chunk.find(_MAGIC, place + 1)
        at += _READ
    return end


@dataclass(slots=True, eq=False)
class Segment:
    """One pair of files. What is on disk is changed by the disk's thread alone, the numbers by the event loop."""

    number: int
    directory: Path
    size: int = 0
    """Bytes of the records' file that are good."""
    waiting: int = 0
    """Records that are neither sent nor dropped."""
    waiting_bytes: int = 0
    newest: int = 0
    """Arrival of the newest record, Unix nanoseconds."""
    done: set[int] = field(default_factory=set)
    """Offsets that a former process was done with."""
    broken: int = 0
    """Places that held no record when the file was opened."""
    named: bool = False
    """Whether the disk keeps the file's name, too."""

    @property
    def path(self) -> Path:
        """Where the records are."""
        return self.directory / f"{self.number:012d}.requests"

    @property
    def done_path(self) -> Path:
        """Where it stands what is done with."""
        return self.directory / f"{self.number:012d}.done"

    @classmethod
    def opened(cls, path: Path) -> "Segment":
        """Return what a former process left.

        Raises:
            OSError: it can't be read.
        """
        segment = cls(int(path.stem), path.parent, size=path.stat().st_size)
        segment.done = segment._read_done()
        for found in found_in(path):
            if found is None:
                segment.broken += 1
            elif found.offset not in segment.done:
                segment.waiting += 1
                segment.waiting_bytes += found.size
                segment.newest = max(segment.newest, found.at)
        return segment

    def _read_done(self) -> set[int]:
        try:
            data = self.done_path.read_bytes()
        except FileNotFoundError:
            return set()
        whole = data[: len(data) // _DONE.size * _DONE.size]
        if len(whole) < len(data):
            os.truncate(self.done_path, len(whole))  # a torn mark; those that follow must be in line
        return {offset for offset, mirrored in _DONE.iter_unpack(whole) if offset == mirrored ^ 0xFFFFFFFF}

    def append(self, records: Sequence[tuple[bytes, bytes]], *, sync: bool) -> list[int]:
        """Write records at the end; return their offsets. All or none are there.

        Raises:
            OSError: they can't be written; what had been written of them is taken back, or is behind `size`.
        """
        offsets, at = [], self.size
        for header, data in records:
            offsets.append(at)
            at += len(header) + len(data)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.lseek(descriptor, self.size, os.SEEK_SET)
            _write_all(descriptor, b"".join(part for record in records for part in record))
            if sync:
                self._sync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # what is behind `size` is written over by the next records
                os.ftruncate(descriptor, self.size)
            raise
        finally:
            os.close(descriptor)
        return offsets

    def sync(self) -> None:
        """Make the disk keep what was written.

        Raises:
            OSError: it does not.
        """
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)
        if not self.named:
            directory = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            self.named = True

    def mark(self, offsets: Iterable[int]) -> None:
        """Note what is done with.

        Raises:
            OSError: that can't be written; it may be sent again after a restart.
        """
        descriptor = os.open(self.done_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _write_all(descriptor, b"".join(_DONE.pack(offset, offset ^ 0xFFFFFFFF) for offset in offsets))
        finally:
            os.close(descriptor)

    def read(self, offset: int) -> bytes | None:
        """Return the request of a record; None where it is corrupt.

        Raises:
            OSError: the file can't be read.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            found = _decoded(os.pread(descriptor, HEADER_SIZE, offset), offset)
            if found is None:
                return None
            data = os.pread(descriptor, found.size, offset + HEADER_SIZE)
        finally:
            os.close(descriptor)
        return data if len(data) == found.size and zlib.crc32(data) == found.checksum else None

    def remove(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self.done_path.unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
