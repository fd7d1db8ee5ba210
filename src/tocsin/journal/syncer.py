"""Makes commits safe against a power loss, at intervals, without holding up those that follow.

In SQLite's mode NORMAL a commit is written to the write-ahead log, but the disk is not waited for. It is durable once
that file is synchronised, for recovery takes every commit whose frames are whole. A thread of its own does that through
a descriptor of its own, so that no lock of the database is held meanwhile. (Closing a descriptor drops the process's
locks on the file; SQLite locks the database and its index, never the log.)
Source: https://www.sqlite.org/wal.html, section 2.2; https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tocsin.telemetry import journal as events

__all__ = ["Syncer"]

_LATE_SECONDS: Final = 2.0

_synchronise: Final = getattr(os, "fdatasync", os.fsync)


class Syncer:
    """Synchronises the log that was written to last, at most `interval` seconds after it was."""

    def __init__(self, interval: float, failed: Callable[[str], None]) -> None:
        """Make one; `failed` is told why the disk did not take what was committed."""
        self._interval = interval
        self._failed = failed
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._log: Path | None = None
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def written(self, log: Path | None) -> None:
        """A commit went to this log; None: whoever wrote to the last one synchronises it, or gave it up."""
        self._log = log
        if log is not None:
            self._changed.set()

    def stop(self, seconds: float) -> None:
        """End. Blocks for so long at most."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while self._changed.wait() and not self._stopping.is_set():
            begun = time.monotonic()
            self._changed.clear()
            log = self._log
            if log is not None:
                self._synchronise(log)
            spent = time.monotonic() - begun
            if spent > max(_LATE_SECONDS, self._interval):
                events.sync_late(seconds=spent)
            self._stopping.wait(max(0.0, self._interval - spent))

    def _synchronise(self, log: Path) -> None:
        try:
            descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # sealed meanwhile
        except OSError as error:
            self._failed(f"{error.strerror} ({log})")
            return
        try:
            _synchronise(descriptor)
        except OSError as error:
            # Linux marks pages that it could not write as clean: another try would succeed, and mean nothing.
            self._failed(f"{error.strerror} ({log})")
        finally:
            os.close(descriptor)
