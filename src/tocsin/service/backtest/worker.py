"""A backtest in a process of its own, so that it delays no evaluation: a question on standard input, answers as lines.

The question is one JSON object (`config`, `rule`, `begin`, `end`, `as_recorded`). Each answer is one, too: `progress`
a few times a second, and at the end `report` or `problem`.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from tocsin.errors import ConfigError, TocsinError
from tocsin.service.backtest.period import parse_period
from tocsin.service.backtest.report import as_json
from tocsin.service.backtest.run import Progress, backtest
from tocsin.service.backtest.sources import History
from tocsin.service.editing.editor import Editor
from tocsin.service.loading import Loader

__all__ = ["answer"]

_NICE = 10
"""Evaluating goes first where there are few cores."""


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return the last answer to a question; progress is written on the way."""
    path = Path(question["config"])
    try:
        configuration = Loader(path).load().configuration
        problems, rule = Editor(path).tried({**question["rule"], "enabled": True}, anybody=True)
        if rule is None:
            return {"problem": "; ".join(one.detail for one in problems) or "the rule is not valid"}
        report = backtest(
            [rule],
            History(configuration.storage.directory / "journal", sort=not question.get("as_recorded", False)),
            period=parse_period(question.get("begin"), question.get("end"), time.time_ns()),
            trace=configuration.trace,
            limits=configuration.limits,
            progress=_tell,
        )
    except ConfigError as error:
        return {"problem": error.problems[0]}
    except (TocsinError, OSError) as error:
        return {"problem": str(error)}
    return {"report": as_json(report)}


def _tell(progress: Progress) -> None:
    _write({"progress": {"done": progress.done, "spans": progress.spans, "time": progress.time}})


def _write(document: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    os.nice(_NICE)
    _write(answer(orjson.loads(sys.stdin.buffer.read())))
