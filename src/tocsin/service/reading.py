"""Reading of files, remembered, so that it is known when what was read is no longer so."""

import glob
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Reading", "ReadingError", "Signature"]

Signature = Mapping[str, tuple[object, ...] | None]
"""Path -> what the file system says of it, pattern -> the paths that match it; None for what is not there."""


class ReadingError(ValueError):
    """A file can't be used; the text says why and what to do, without the file's name."""


@dataclass(slots=True)
class Reading:
    """The files and patterns that one load looked at. Not shared between threads."""

    digests: dict[Path, bytes | str] = field(default_factory=dict)
    """File -> SHA-256 of its content, or why it could not be read."""
    limits: dict[Path, int] = field(default_factory=dict)
    """File -> bytes that it may have."""
    patterns: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """Pattern -> the files that matched it, sorted."""
    instead: Mapping[Path, bytes] = field(default_factory=dict)
    """What counts as the content of some files: a change that is tried before it is written."""

    def read(self, path: Path, limit: int) -> bytes:
        """Return the content of a regular file of at most `limit` bytes.

        Raises:
            ReadingError: there is none, or it is larger.
        """
        self.limits[path] = limit
        try:
            data = self.instead[path] if path in self.instead else _content(path, limit)
        except ReadingError as error:
            self.digests[path] = str(error)
            raise
        self.digests[path] = hashlib.sha256(data).digest()
        return data

    def matching(self, pattern: str, limit: int) -> tuple[Path, ...]:
        """Return the files that match a pattern, sorted; hidden ones and directories do not.

        Raises:
            ReadingError: more than `limit` match.
        """
        found = _matching(pattern)
        self.patterns[pattern] = found
        if len(found) > limit:
            raise ReadingError(f"{len(found)} files match, the limit is {limit}; narrow it")
        return found

    def signature(self) -> Signature:
        """Return what the file system says now of everything that was looked at; cheap, reads no content."""
        files: dict[str, tuple[object, ...] | None] = {str(path): _stat(path) for path in self.digests}
        return files | {pattern: _matching(pattern) for pattern in self.patterns}

    def still_holds(self) -> bool:
        """Whether everything that was looked at still has the content that was read."""
        if any(_matching(pattern) != found for pattern, found in self.patterns.items()):
            return False
        return all(_digest(path, self.limits[path]) == digest for path, digest in self.digests.items())


def _content(path: Path, limit: int) -> bytes:
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise ReadingError("is a directory; name a file")
            if not stat.S_ISREG(status.st_mode):
                raise ReadingError("is not a regular file; name one that is")
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise ReadingError("no such file; create it, or fix the path") from error
    except IsADirectoryError as error:
        raise ReadingError("is a directory; name a file") from error
    except OSError as error:
        raise ReadingError(f"can't be read: {error.strerror or error}; fix that, or the path") from error
    if len(data) > limit:
        raise ReadingError(f"is larger than {limit // 1024} KiB; make it smaller")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    """Open even a pipe without waiting for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _digest(path: Path, limit: int) -> bytes | str:
    try:
        return hashlib.sha256(_content(path, limit)).digest()
    except ReadingError as error:
        return str(error)


def _stat(path: Path) -> tuple[object, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _matching(pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(path for path in map(Path, glob.iglob(pattern, recursive=True)) if not path.is_dir()))
