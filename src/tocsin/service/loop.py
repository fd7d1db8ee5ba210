"""The event loop that the service runs on: uvloop where there is one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tocsin.errors import TocsinError

__all__ = ["run"]

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end on a new event loop, and return its result.

    Raises:
        TocsinError: what ended it on purpose, out of the exception groups that task groups made of it.
    """
    with asyncio.Runner(loop_factory=_factory()) as runner:
        try:
            return runner.run(main)
        except BaseExceptionGroup as group:
            _, others = group.split(TocsinError)
            if others is not None:
                raise
            raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, and platforms without a build of it
        return None
    return uvloop.new_event_loop
