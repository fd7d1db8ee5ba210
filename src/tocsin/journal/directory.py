"""The files of a journal: their names, who may have them, and whose they are at present."""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tocsin.errors import ConfigError

__all__ = ["Lock", "SegmentFile", "create_private", "segment_path", "segments_in", "sync_directory"]

_SEGMENT: Final = re.compile(r"journal-(\d{20})\.db(\.corrupt)?")
_LOCK: Final = "journal.lock"


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment as the directory shows it."""

    path: Path
    first: int
    """Position of its first record."""
    corrupt: bool
    """It was damaged: it is read as far as that goes, and never written to."""

    def files(self) -> list[Path]:
        """Return the files that belong to it, and may be there."""
        return [self.path, *(self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))]

    def size(self) -> int:
        """Return the bytes that it takes, what waits to be written into it included."""
        return sum(_size_of(path) for path in self.files()[:2])

    def modified(self) -> float:
        """Return when it was last written to, in seconds since 1970; 0 if it is gone."""
        return max((_modified(path) for path in self.files()[:2]), default=0.0)

    def remove(self) -> None:
        """Delete it with all that belongs to it. Raises OSError."""
        for path in reversed(self.files()):
            path.unlink(missing_ok=True)

    def set_aside(self) -> "SegmentFile":
        """Rename it, so that it is still read and never written to. Raises OSError."""
        aside = SegmentFile(self.path.with_name(self.path.name + ".corrupt"), self.first, corrupt=True)
        if aside.path.exists():
            aside.remove()
        for old, new in zip(reversed(self.files()), reversed(aside.files()), strict=True):
            if old.exists():
                old.rename(new)
        return aside


def segment_path(directory: Path, first: int) -> Path:
    """Return where the segment lies whose first record has this position."""
    return directory / f"journal-{first:020}.db"


def segments_in(directory: Path) -> list[SegmentFile]:
    """Return the segments of a journal, in order. Raises OSError."""
    found = []
    for path in directory.iterdir():
        name = _SEGMENT.fullmatch(path.name)
        if name is not None:
            found.append(SegmentFile(path, int(name[1]), name[2] is not None))
    return sorted(found, key=lambda segment: (segment.first, not segment.corrupt))


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read, where none is. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory safe against a power loss. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Lock:
    """A directory that no other process may write to while this is held; a process that ends lets go of it."""

    def __init__(self, directory: Path) -> None:
        """Make the directory if it is not there, readable by its owner only, and take it.

        Raises:
            ConfigError: another process has it, or it can't be written to.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"storage.directory: the journal can't be kept in {directory}: {error.strerror}; make it a directory "
                "that this user may write to, or name another"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise ConfigError(
                f"storage.directory: {directory} is in use by process {holder or 'unknown'}; stop it, or give each "
                "process a directory of its own"
            ) from error
        self._sign()

    def release(self) -> None:
        """Let go."""
        os.close(self._descriptor)

    def _sign(self) -> None:
        """Leave a word for whoever finds the directory taken; a full disk is no reason to refuse."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            return


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
