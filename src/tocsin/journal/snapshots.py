"""Snapshots: the engine's state after some record, a file each, whole or not at all.

A file is written under another name, synchronised, and then renamed. It holds, numbers little-endian:

- `TOCSNAP` and a byte with the format's version; the position (u64) and the number of sections (u32); their CRC-32;
- each section: the lengths of its name (u32), of its structure (u64) and of its arrays (u64), the name, the structure
  (see `tocsin.journal.tree`), the CRC-32 of all that; the arrays' bytes one after the other, and their CRC-32;
- `TOCSEND!`.

Nothing may follow. Other versions are refused, not guessed at: a restart then reads an older snapshot, or the journal
from its beginning.
"""

import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from tocsin.errors import SnapshotError
from tocsin.journal.directory import sync_directory
from tocsin.journal.tree import plain, restored
from tocsin.journal.writer import reason_of
from tocsin.model.state import Frozen, State
from tocsin.telemetry import journal as events

__all__ = ["FORMAT", "KEPT", "SnapshotFile", "Snapshots"]

FORMAT: Final = 1
_DAMAGED: Final = ".corrupt"
KEPT: Final = 2
"""Good snapshots that stay; should the newest be damaged later, the one before it serves."""

_MAGIC: Final = b"TOCSNAP" + bytes([FORMAT])
_END: Final = b"TOCSEND!"
_HEAD: Final = struct.Struct("<8sQI")
_LENGTHS: Final = struct.Struct("<IQQ")
_CRC: Final = struct.Struct("<I")
_NAME: Final = re.compile(r"snapshot-(\d{20})")
_BUFFER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot on disk."""

    path: Path
    position: int
    """See `Snapshot.position`."""

    def read(self) -> Mapping[str, State]:
        """See `Snapshot.read`; every array is the caller's own, and may be written to."""
        try:
            with BufferedReader(FileIO(self.path), _BUFFER) as file:
                return _Reading(file, self.path.stat().st_size).sections(self.position)
        except (OSError, SnapshotError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            events.snapshot_refused(snapshot=self.path.name, reason=str(reason))
            if isinstance(error, SnapshotError) and not isinstance(error, _OtherVersionError):
                # Out of the way, else it would count as one of those that are kept to go on from.
                with suppress(OSError):
                    self.path.rename(self.path.with_suffix(_DAMAGED))
            raise SnapshotError(f"{self.path}: {reason}") from error


class Snapshots:
    """The snapshots of a directory. Any thread may use it; one at a time writes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turn = threading.Lock()

    def __iter__(self) -> Iterator[SnapshotFile]:
        """Yield them, the newest first."""
        return iter(self.listed())

    def listed(self) -> list[SnapshotFile]:
        """Return them, the newest first. Raises OSError."""
        found = [(_NAME.fullmatch(path.name), path) for path in self._directory.iterdir()]
        files = [SnapshotFile(path, int(name[1])) for name, path in found if name is not None]
        return sorted(files, key=lambda file: file.position, reverse=True)

    def clean(self) -> None:
        """Remove what a process left that was killed while it wrote one."""
        for path in self._directory.glob("snapshot-*.tmp"):
            with suppress(OSError):
                path.unlink()

    def write(self, position: int, sections: MutableMapping[str, Frozen]) -> bool:
        """Keep a state; return whether that succeeded. Blocks, and raises nothing: what fails is reported.

        Sections are taken out as they are written, so that what they hold is let go.
        """
        path = self._directory / f"snapshot-{position:020}"
        unfinished = path.with_suffix(".tmp")
        begun = time.perf_counter()
        with self._turn:
            try:
                size = _write(unfinished, position, sections)
                unfinished.rename(path)
                sync_directory(self._directory)
            except Exception as error:  # noqa: BLE001  # a part that can't be kept must not end what goes on without it
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                reason = reason_of(error, path) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                events.snapshot_failed(position=position, reason=reason)
                return False
        events.snapshot_kept(position=position, size=size, seconds=time.perf_counter() - begun)
        return True

    def prune(self) -> list[int]:
        """Remove all but the newest, and damaged ones; return the positions of those that stay, the newest first."""
        listed = self.listed()
        for path in (*(old.path for old in listed[KEPT:]), *self._directory.glob(f"snapshot-*{_DAMAGED}")):
            with suppress(OSError):
                path.unlink()
        return [file.position for file in listed[:KEPT]]


def _write(path: Path, position: int, sections: MutableMapping[str, Frozen]) -> int:
    """Write a whole snapshot, and wait until it is on disk; return its size."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb", buffering=_BUFFER) as file:
        head = _HEAD.pack(_MAGIC, position, len(sections))
        file.write(head + _CRC.pack(zlib.crc32(head)))
        for name in list(sections):
            _write_section(file, name.encode(), sections.pop(name)())
        file.write(_END)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _write_section(file: BinaryIO, name: bytes, state: State) -> None:
    text, arrays = plain(state)
    del state
    head = _LENGTHS.pack(len(name), len(text), sum(array.nbytes for array in arrays)) + name
    file.write(head)
    file.write(text)
    file.write(_CRC.pack(zlib.crc32(text, zlib.crc32(head))))
    crc = 0
    arrays.reverse()
    while arrays:
        data = np.atleast_1d(arrays.pop()).reshape(-1).view(np.uint8).data
        crc = zlib.crc32(data, crc)
        file.write(data)
    file.write(_CRC.pack(crc))


class _OtherVersionError(SnapshotError):
    """It is whole, and another program's."""


class _Reading:
    """A snapshot while it is read; no length is believed that the file can't hold."""

    def __init__(self, file: "BufferedReader[FileIO]", size: int) -> None:
        self._file = file
        self._left = size
        self._crc = 0
        self._arrays_left = 0

    def sections(self, position: int) -> dict[str, State]:
        """Return all sections of the whole file."""
        head = self._take(_HEAD.size)
        magic, stated, count = _HEAD.unpack(head)
        if magic != _MAGIC:
            if magic[:-1] == _MAGIC[:-1]:
                raise _OtherVersionError(f"it has version {magic[-1]}, and this program reads {FORMAT}")
            raise SnapshotError("it is none")
        self._check(zlib.crc32(head))
        if stated != position:
            raise SnapshotError(f"it was taken at position {stated}, not at that of its name")
        found = dict(self._section() for _ in range(count))
        if len(found) != count or self._take(len(_END)) != _END or self._left:
            raise SnapshotError("it does not end where it should")
        return found

    def _section(self) -> tuple[str, State]:
        head = self._take(_LENGTHS.size)
        name_length, text_length, self._arrays_left = _LENGTHS.unpack(head)
        name, text = self._take(name_length), self._take(text_length)
        self._check(zlib.crc32(text, zlib.crc32(name, zlib.crc32(head))))
        self._crc = 0
        state = restored(text, self._array)
        if self._arrays_left:
            raise SnapshotError("it has arrays that no structure refers to")
        self._check(self._crc)
        return name.decode(), state

    def _array(self, dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> NDArray[Any]:
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size > self._arrays_left or min(shape, default=0) < 0:
            raise SnapshotError("it has an array longer than its section")
        array = np.empty(shape, dtype)
        if size:
            data = array.reshape(-1).view(np.uint8).data
            if size > self._left or self._file.readinto(data) != size:
                raise SnapshotError("it ends too early")
            self._crc = zlib.crc32(data, self._crc)
        self._left -= size
        self._arrays_left -= size
        return array

    def _take(self, size: int) -> bytes:
        data = self._file.read(size) if size <= self._left else b""
        if len(data) != size:
            raise SnapshotError("it ends too early")
        self._left -= size
        return data

    def _check(self, crc: int) -> None:
        if _CRC.unpack(self._take(_CRC.size))[0] != crc:
            raise SnapshotError("it is damaged: a checksum is another")
