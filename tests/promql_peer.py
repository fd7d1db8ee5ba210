"""Prometheus' own PromQL engine as a process: series and questions in, instant vectors out."""

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.peers import in_ci, promql_path

__all__ = ["Prometheus", "PrometheusSeries", "prometheus"]


@dataclass(frozen=True)
class PrometheusSeries:
    """A series as it is scraped: times are Unix milliseconds."""

    labels: dict[str, str]
    samples: tuple[tuple[int, float], ...]


class Prometheus:
    """Answers questions over one set of series at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(
        self, series: Sequence[PrometheusSeries], questions: Sequence[tuple[str, int]]
    ) -> list[dict[frozenset[tuple[str, str]], float] | str]:
        """Return for each (expression, Unix milliseconds) the elements by their labels, or the error."""
        line = {
            "series": [
                {"labels": each.labels, "samples": [[at, _written(value)] for at, value in each.samples]}
                for each in series
            ],
            "questions": [{"expr": expr, "at": at} for expr, at in questions],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())["answers"]
        return [_answer(answer) for answer in answers]


def _answer(answer: dict[str, Any]) -> dict[frozenset[tuple[str, str]], float] | str:
    if answer["error"]:
        return str(answer["error"])
    return {
        frozenset((name, value) for name, value in each["labels"].items() if name != "__name__"): float(each["value"])
        for each in answer["elements"]
    }


def _written(value: float) -> str:
    return "NaN" if math.isnan(value) else repr(value)


@contextmanager
def prometheus() -> Iterator[Prometheus]:
    """Run the engine; skip the test where it is not built, except in CI."""
    path = promql_path()
    if path is None:
        missing = "Prometheus' PromQL engine is not built; run `make peers` (needs Go 1.26 or later)"
        if in_ci():
            pytest.fail(missing)
        pytest.skip(missing)
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # built by ourselves
        yield Prometheus(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)
