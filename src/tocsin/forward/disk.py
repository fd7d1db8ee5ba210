"""A thread of its own for what may block on a disk. It does not keep the process alive, should the disk hang."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["DiskThread"]

_T = TypeVar("_T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class DiskThread:
    """Does one job after another, in the order in which they are given. Made and used on one event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], _T]) -> "asyncio.Future[_T]":
        """Give a job; the future has its result or its exception."""
        future: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    async def close(self, timeout: float) -> bool:  # noqa: ASYNC109  # of a thread, which can't be cancelled
        """Finish what was given; return whether that was done in time."""
        done = self.submit(lambda: None)
        self._jobs.put(None)
        finished, _ = await asyncio.wait({done}, timeout=timeout)
        return bool(finished)

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            job, future = given
            result = error = None
            try:
                result = job()
            except Exception as raised:  # noqa: BLE001  # the one who waits for it gets it
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits any more
                self._loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():
        return  # who gave the job went away
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
