"""The event loop that the service runs on: uvloop where there is one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["run"]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on a new event loop."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        runner.run(main)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, and platforms without a build of it
        return None
    return uvloop.new_event_loop
