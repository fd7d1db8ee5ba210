"""Backtests that the API asks for: a few at a time, each in its own process, which ends with its question."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import orjson

from tocsin.api.backtests import Question
from tocsin.errors import OverloadedError

__all__ = ["Backtests"]

MOST: Final = 2
_LONGEST_SECONDS: Final = 900.0
_LONGEST_LINE: Final = 64 * 1024 * 1024


class Backtests:
    """Runs backtests over what a service recorded. On one event loop."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._running = 0

    async def answers(self, question: Question) -> AsyncGenerator[dict[str, Any], None]:
        """Yield progress, and at last the report or a problem; closing it ends the process.

        Raises:
            OverloadedError: as many as may run do.
        """
        if self._running >= MOST:
            raise OverloadedError(f"{MOST} backtests run already; ask again later", reason="backtests", retry_after=5.0)
        self._running += 1
        try:
            async for each in self._asked(question):
                yield each
        finally:
            self._running -= 1

    async def _asked(self, question: Question) -> AsyncGenerator[dict[str, Any], None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tocsin.service.backtest.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LONGEST_LINE,
        )
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  # both are pipes
        try:
            process.stdin.write(orjson.dumps({"config": str(self._config), **question}))
            process.stdin.close()
            said = False
            async with asyncio.timeout(_LONGEST_SECONDS):
                async for line in process.stdout:
                    answer = orjson.loads(line)
                    said = "progress" not in answer
                    yield answer
            if not said:
                yield {"problem": "the backtest ended without a report; try a shorter period"}
        except TimeoutError:
            yield {"problem": f"the backtest took longer than {_LONGEST_SECONDS:g} s; try a shorter period"}
        finally:
            if process.returncode is None:
                process.kill()
            await asyncio.shield(process.wait())
