"""A file's content replaced in one step, unless somebody else changed it; then theirs stays and nothing is lost.

Comparing first and renaming then leaves a moment between the two. So where the system can, the old file and the new
one change places at once (renameat2 with RENAME_EXCHANGE), and what was displaced is looked at afterwards: if it is not
what was expected, somebody wrote in that moment, and the two change places again. The displaced file is looked at once
more a little later, since an editor that writes in place may have had it open.
Source: rename(2).
"""

import ctypes
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tocsin.telemetry import editing as telemetry

__all__ = ["Exchange", "exchange", "locked", "swapped"]

Exchange = Callable[[Path, Path], bool]
"""Has two files change places; False where the system can't, and nothing was done."""
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CANNOT: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_SETTLE_SECONDS: Final = 0.02
"""How long an editor may take between opening a file and writing it in place."""
_LOCK_SECONDS: Final = 10.0


def swapped(path: Path, expected: bytes, new: bytes, *, swap: Exchange | None = None) -> bool:
    """Make `new` the content of a file that has `expected`; return whether that was so. Blocks for some milliseconds.

    A link is followed; owner and permissions stay. False: it has other content, which stays.

    Raises:
        OSError: it can't be read or written.
    """
    real = Path(os.path.realpath(path))
    if real.read_bytes() != expected:
        return False
    beside = _written_beside(real, new)
    try:
        if not (swap or exchange)(beside, real):
            if real.read_bytes() != expected:
                return False
            beside.replace(real)
            _sync(real.parent)
            return True
        if _is_still(beside, expected):
            _sync(real.parent)
            return True
        _undo(beside, real, new)
        return False
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes of Tocsin from changing files of a directory while the block runs.

    Raises:
        OSError: another holds it for long.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def exchange(left: Path, right: Path) -> bool:
    """Have two files of one directory change places at once; False where the system can't."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if call(_AT_FDCWD, os.fsencode(left), _AT_FDCWD, os.fsencode(right), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(right))


def _written_beside(real: Path, data: bytes) -> Path:
    status = real.stat()
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", suffix=".tmp", dir=real.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            with suppress(PermissionError):  # only root gives files away
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _is_still(displaced: Path, expected: bytes) -> bool:
    if displaced.read_bytes() != expected:
        return False
    time.sleep(_SETTLE_SECONDS)
    return displaced.read_bytes() == expected


def _undo(beside: Path, real: Path, new: bytes) -> None:
    """Give somebody else's content its place back."""
    exchange(beside, real)
    if beside.read_bytes() != new:
        # And again somebody wrote meanwhile. The newest stays, and what it displaced is kept beside it.
        exchange(beside, real)
        kept = beside.replace(real.with_name(f"{real.name}.kept-{time.time_ns()}"))
        telemetry.kept_beside(file=str(real), kept=kept.name)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
