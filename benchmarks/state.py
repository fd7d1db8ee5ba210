"""What it takes to keep the engine's state and to go on from it.

100,000 conversations under the twenty mixed rules, and under four rules of seven days. For how long a snapshot holds up
evaluation is wall time on the loop; the rest happens in a thread. Going on is reading the file and taking the state;
starting the process comes on top (the `start` benchmark), records after the snapshot too.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import configuration
from benchmarks.load.generator import Traffic
from benchmarks.outcome import Outcome, median_outcome
from benchmarks.path import InProcess, requests_of
from tocsin.engine import Engine
from tocsin.journal.snapshots import Snapshots
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn
from tocsin.receivers.intake import Signal
from tocsin.service.stages import Offer

__all__ = ["run"]

_SERIES = 100_000
_ROUNDS = 5
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400_000_000_000
_RANDOM = np.random.default_rng(1)


def run() -> list[Outcome]:
    """Measure both."""
    mixed = configuration.mixed()
    rules = [rule for rule in mixed["rules"] if rule["group_by"] == ["conversation"]][:2]
    week = [
        {**rules[0], "name": f"week-{number}", "window": "7d", "aggregate": aggregate, "metric": metric}
        for number, (metric, aggregate) in enumerate(
            (("cost", "sum"), ("tokens", "sum"), ("cost", "avg"), ("latency", "p95"))
        )
    ]
    return [
        *_measured("20 rules", mixed, spans=600_000, spread_ns=60_000_000_000),
        *_measured("4 rules of 7 days", {**mixed, "rules": week}, spans=400_000, spread_ns=7 * _DAY_NS),
    ]


def _measured(name: str, config: Mapping[str, Any], *, spans: int, spread_ns: int) -> list[Outcome]:
    path = InProcess(config)
    now = _fill(path, spans, spread_ns)
    pauses, restarts, size = [], [], 0
    with tempfile.TemporaryDirectory(prefix="bench-state-") as made:
        kept = Snapshots(Path(made))
        for round_ in range(1, _ROUNDS + 1):
            begun = time.perf_counter()
            sections = path.engine.freeze()
            pauses.append((time.perf_counter() - begun) * 1e3)
            if not kept.write(round_, sections):
                raise RuntimeError("the snapshot could not be written")
            kept.prune()
            begun = time.perf_counter()
            snapshot = kept.listed()[0]
            Engine(path.engine.rules).thaw(snapshot.read(), now)
            restarts.append(time.perf_counter() - begun)
            size = snapshot.path.stat().st_size
    what = f"100k series, {name}"
    return [
        median_outcome(f"snapshot pause, {what}", pauses, "ms", target="<= 50", note=f"{spans:,} spans before"),
        median_outcome(f"going on from the snapshot, {what}", restarts, "s", target="<= 5"),
        Outcome(f"snapshot size, {what}", size / (1 << 20), "MiB"),
    ]


def _fill(path: InProcess, spans: int, spread_ns: int) -> int:
    """Give the engine spans of 100,000 conversations in bursts that are spread evenly; return when it ended."""
    batch = _batch_of(path)
    now = time.time_ns()
    begin = now - spread_ns
    for start in range(0, spans, len(batch)):
        at = begin + spread_ns * start // spans
        within = min(spread_ns * len(batch) // spans, _SECOND_NS)
        path.engine.ingest(_fresh(batch, at, within), at + _SECOND_NS)
    return now


def _batch_of(path: InProcess) -> SpanBatch:
    requests = requests_of(8, Traffic(spans=512))
    offers = [Offer(Signal.TRACES, data, "grpc", time.time_ns()) for data in requests]
    [batch] = path.stages.prepare(offers).batches
    return batch


def _fresh(batch: SpanBatch, at: int, spread_ns: int) -> SpanBatch:
    """Return spans that were not seen before, of drawn conversations, within `spread_ns` after `at`."""
    count = len(batch)
    hi, lo, span = _RANDOM.integers(1, 2**63, (3, count), dtype=np.int64).view(np.uint64)
    end = np.sort(at + _RANDOM.integers(0, spread_ns, count))
    names = [f"conv-{number:06}" for number in _RANDOM.integers(0, _SERIES, count).tolist()]
    known: dict[str, int] = {}
    code = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
    conversation = TextColumn(code, list(known))
    return replace(
        batch, trace_hi=hi, trace_lo=lo, span_id=span, end=end, start=end - 1_000_000, arrival=end,
        labels={**batch.labels, "conversation": conversation},
    )  # fmt: skip
