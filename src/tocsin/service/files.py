"""Watching: a configuration that follows its files while the service runs.

Files are looked at a few times a second, not announced by the system: that finds renames, symlink swaps (as
Kubernetes does with ConfigMaps), deletions and files on network mounts alike; the reasons are in
docs/decisions/0011-files-are-looked-at.md. Only a change of content counts. A state must hold still before it
is loaded, and a wrong one must last before it is reported, so that a half-written file is neither.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from pathlib import Path

from tocsin.errors import ConfigError
from tocsin.service.loading import Loaded, Loader
from tocsin.service.reading import Signature

__all__ = ["Watcher"]

_RECENT_NS = 2_000_000_000
"""A file changed this lately may change again without its time or size showing it: clocks are coarse."""
_LONGEST_UNREST = 5
"""Looks that may differ in a row before a state that never holds still is loaded as it is."""


class Watcher:
    """Loads one configuration file, and again whenever its content or that of a file it reads changes."""

    def __init__(
        self,
        path: Path,
        *,
        environ: Mapping[str, str] | None = None,
        interval: timedelta = timedelta(milliseconds=200),
        settle: timedelta = timedelta(milliseconds=80),
        patience: timedelta = timedelta(milliseconds=200),
        recheck: timedelta = timedelta(seconds=10),
    ) -> None:
        """Remember what to watch; nothing is opened yet.

        Args:
            path: the configuration file.
            environ: what `${env:}` stands for; the process's environment if None.
            interval: time between looks.
            settle: how long files must not change before they are loaded.
            patience: how long a wrong state must last before it is reported.
            recheck: time between looks at the content, whatever the file system says.
        """
        self.path = path
        self.environ = environ
        self._loader = Loader(path, environ=environ)
        self._interval = interval.total_seconds()
        self._settle = settle.total_seconds()
        self._patience = patience.total_seconds()
        self._recheck_ns = int(recheck.total_seconds() * 1e9)
        self._signature: Signature = {}
        self._checked_ns = 0
        self._asked = asyncio.Event()

    @property
    def digests(self) -> Mapping[Path, bytes | str]:
        """File -> SHA-256 of the content that the last load read, or why it could not be read."""
        return self._loader.reading.digests

    def load(self) -> Loaded:
        """Load now, and watch from what was read.

        Raises:
            ConfigError: with every problem of every file.
        """
        self._checked_ns = time.monotonic_ns()
        # A file may change while this runs, so that a signature could be too new: look at the content next.
        self._signature = {}
        return self._loader.load()

    def reload(self) -> None:
        """Load even if nothing changed and tell the outcome, as SIGHUP asks; from the loop's thread."""
        self._asked.set()

    async def changes(self) -> AsyncGenerator[Loaded | ConfigError, None]:
        """Yield each new valid configuration, and each invalid state that lasts; runs until it is closed."""
        while True:
            asked = await self._pause()
            if not asked and not await asyncio.to_thread(self._changed):
                continue
            await self._settled()
            yield await self._outcome()

    async def _pause(self) -> bool:
        """Wait for the next look; True if a reload is asked for."""
        try:
            async with asyncio.timeout(self._interval):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _outcome(self) -> Loaded | ConfigError:
        """What the files mean, once that is valid or has been wrong for long enough."""
        outcome = await asyncio.to_thread(self._attempt)
        while isinstance(outcome, ConfigError):
            if not await self._changes_within(self._patience):
                return outcome
            await self._settled()
            outcome = await asyncio.to_thread(self._attempt)
        return outcome

    def _attempt(self) -> Loaded | ConfigError:
        try:
            return self.load()
        except ConfigError as error:
            return error

    async def _changes_within(self, seconds: float) -> bool:
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while clock() < until:
            await asyncio.sleep(self._settle)
            if await asyncio.to_thread(self._changed):
                return True
        return False

    async def _settled(self) -> None:
        """Wait until two looks find the same."""
        before = await asyncio.to_thread(self._loader.reading.signature)
        for _ in range(_LONGEST_UNREST):
            await asyncio.sleep(self._settle)
            now = await asyncio.to_thread(self._loader.reading.signature)
            if now == before:
                return
            before = now

    def _changed(self) -> bool:
        """Whether anything that was read has other content now."""
        reading = self._loader.reading
        signature = reading.signature()
        now = time.monotonic_ns()
        if signature == self._signature and not _is_recent(signature) and now - self._checked_ns < self._recheck_ns:
            return False
        self._checked_ns = now
        if not reading.still_holds():
            return True
        self._signature = signature
        return False


def _is_recent(signature: Signature) -> bool:
    now = time.time_ns()
    changed = (entry[0] for entry in signature.values() if entry)
    return any(isinstance(at, int) and abs(now - at) < _RECENT_NS for at in changed)
