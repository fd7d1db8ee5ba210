"""Recorded history through rules: a journal as a busy service leaves it, read back and replayed.

Thread CPU time of one core, reading included: `python -m benchmarks.replay`. Two rates of traffic, because time costs
too: an engine stops wherever a pane leaves its window, or a trace is complete.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.load import configuration
from benchmarks.load.generator import Traffic
from benchmarks.outcome import Outcome, median_outcome
from benchmarks.path import InProcess, requests_of
from tocsin.journal.config import JournalConfig
from tocsin.journal.reading import read_segments
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog
from tocsin.model.batch import SpanBatch
from tocsin.receivers.intake import Signal
from tocsin.rules.rule import Rule
from tocsin.service.backtest import History, backtest
from tocsin.service.loading import load_text
from tocsin.service.stages import Offer

__all__ = ["run"]

_ROUNDS = 3
_SPANS = 512
_REQUESTS = 600
_BEGIN = 1_790_000_000 * 10**9


def run() -> list[Outcome]:
    """Measure 1 and 20 rules over 300,000 spans at 10,000 and 1,000 spans a second."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        dense, thin = Path(directory) / "dense", Path(directory) / "thin"
        asyncio.run(_record(dense, rate=10_000))
        asyncio.run(_record(thin, rate=1_000))
        return [
            median_outcome("read back alone", [_read(dense) for _ in range(_ROUNDS)], "spans/s"),
            *_measured(dense, "10,000 spans/s", 1, sort=True, target=">= 1000000"),
            *_measured(dense, "10,000 spans/s", 20, sort=True),
            *_measured(dense, "10,000 spans/s", 1, sort=False),
            *_measured(dense, "10,000 spans/s", 20, sort=False),
            *_measured(thin, "1,000 spans/s", 1, sort=True),
            *_measured(thin, "1,000 spans/s", 20, sort=True),
        ]


def _measured(directory: Path, traffic: str, rules: int, *, sort: bool, target: str = "") -> list[Outcome]:
    how = "sorted" if sort else "as recorded"
    rates = [_round(directory, _rules(rules), sort=sort) for _ in range(_ROUNDS + 1)]
    noun = "rule" if rules == 1 else "rules"
    name = f"history of {traffic}, {rules} {noun}, {how}"
    return [median_outcome(name, rates[1:], "spans/s", target=target)]


def _round(directory: Path, rules: Sequence[Rule], *, sort: bool) -> float:
    begun = time.thread_time()
    report = backtest(rules, History(directory, sort=sort))
    return report.spans / (time.thread_time() - begun)


def _read(directory: Path) -> float:
    begun = time.thread_time()
    spans = sum(len(record.batch) for _, record in read_segments(directory, 0) if record.batch is not None)
    return spans / (time.thread_time() - begun)


def _rules(count: int) -> Sequence[Rule]:
    return load_text(json.dumps(configuration.mixed())).rules[:count]


@cache
def _batches() -> list[SpanBatch]:
    path = InProcess(configuration.mixed())
    now = time.time_ns()
    prepared = (
        path.stages.prepare([Offer(Signal.TRACES, request, "grpc", now)])
        for request in requests_of(_REQUESTS, Traffic(spans=_SPANS))
    )
    return [batch for each in prepared for batch in each.batches]


async def _record(directory: Path, *, rate: int) -> None:
    """Keep the batches as a service would have that got so many spans a second, each request a little out of order."""
    log = SqliteLog.open(directory, JournalConfig())
    random = np.random.default_rng(1)
    newest, every = 0, 10**9 // rate
    for number, batch in enumerate(_batches()):
        rows = np.arange(number * _SPANS, number * _SPANS + len(batch)) * every
        late = int(random.integers(0, 2 * 10**9)) if number % 4 == 0 else 0
        ends = _BEGIN + rows.astype(np.int64) - late
        moved = batch.take(np.arange(len(batch)))
        moved.start, moved.end, moved.arrival = ends - (batch.end - batch.start), ends, ends + late
        await log.append(Record(int(ends[-1]) + late, newest, moved))
        newest = max(newest, int(ends[-1]))
    await log.close()


if __name__ == "__main__":
    for outcome in run():
        print(f"{outcome.name:<62} {outcome.value:>12,.0f} {outcome.unit}")
