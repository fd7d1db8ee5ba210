"""A hundred rules with expressions and twenty with baselines of seven days, over ten thousand series.

The engine alone: batches as the service gathers them at 10,000 spans a second, of 10,000 conversations, through
PromQL rules of one, two and four windows, a few across groups, and baseline rules. Event time goes on at the pace of
the spans, so that thread CPU time by event time is a share of a core. What decoding costs comes on top, and is another
benchmark's.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from benchmarks.load import configuration
from benchmarks.load.generator import Traffic
from benchmarks.outcome import Outcome, median_outcome
from benchmarks.path import InProcess, requests_of
from tocsin.engine import Engine
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn
from tocsin.receivers.intake import Signal
from tocsin.rules.needs import needs_of
from tocsin.service.stages import Offer

__all__ = ["run"]

_SERIES = 10_000
_RATE = 10_000
_BATCH = 150
"""Spans that come within the 15 ms for which a steady stream is gathered."""
_WARM = 100_000
_ROUNDS = 5
_SECONDS = 2
"""Of event time in a round."""
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_RANDOM = np.random.default_rng(1)
_ATTRIBUTES = ("app_score", "app_size", "app_steps", "app_ratio", "app_rank")
_SHAPES = (
    "avg by (conversation) (avg_over_time({0}[{1}])) < -1",
    "sum by (conversation) (rate({0}[{1}])) > 1e12",
    'max by (conversation) (max_over_time({0}{{environment="production"}}[{1}])) > 1e12',
    "(avg by (conversation) (avg_over_time({0}[{1}])) < -1) and (avg by (conversation) (avg_over_time({0}[1d])) > 0.7)",
    "sum by (conversation) (increase({0}[{1}])) / sum by (conversation) (count_over_time({0}[{1}])) > 1e12",
)
_WINDOWS = ("5m", "10m", "30m", "1h")
_ACROSS = (
    "topk(5, sum by (conversation) (increase({0}[1h]))) > 1e12",
    "max(sum by (conversation) (increase({0}[1h]))) > 1e12",
)
_METRICS = ("cost", "latency", "tokens", "output_tokens", "error_rate")


def _expressions() -> list[dict[str, Any]]:
    texts = [shape.format(attribute, window) for shape in _SHAPES for attribute in _ATTRIBUTES for window in _WINDOWS]
    texts[-4:] = [shape.format(attribute) for shape in _ACROSS for attribute in _ATTRIBUTES[:2]]
    return [{"name": f"expression-{n:03}", "expr": text} for n, text in enumerate(texts)]


def _baselines() -> list[dict[str, Any]]:
    return [
        {
            "name": f"baseline-{metric}-{window}",
            "metric": metric,
            "aggregate": "avg",
            "window": window,
            "group_by": ["conversation"],
            "baseline": {"window": "7d", "offset": "1d", "min_samples": 10},
            "condition": "above_baseline",
            "threshold": "1000x",
        }
        for metric in _METRICS
        for window in ("30m", "1h", "6h", "1d")
    ]


def run() -> list[Outcome]:
    """Measure both kinds together by the size of batches and apart, where every limit is near, and without rules."""
    both = [*_expressions(), *_baselines()]
    return [
        *_measured("100 expressions and 20 baselines", both, sizes=(100, _BATCH, 600), target="<= 0.4"),
        *_measured("the same, each looked at for each batch", both, sizes=(_BATCH, 600), is_near=True),
        *_measured("100 expressions", _expressions()),
        *_measured("20 baselines", _baselines()),
        *_measured("no rules", []),
    ]


def _measured(
    name: str,
    rules: list[dict[str, Any]],
    *,
    sizes: Sequence[int] = (_BATCH,),
    target: str = "",
    is_near: bool = False,
) -> list[Outcome]:
    path = InProcess({**configuration.mixed(), "rules": rules})
    engine = Engine(path.engine.rules)
    pattern = _pattern(path, engine)
    now = time.time_ns() - 3 * _DAY_NS
    spread = 3 * _DAY_NS // (_WARM // 5_000)
    for _ in range(_WARM // 5_000):
        now += spread
        engine.ingest(_fresh(pattern, 5_000, now, _SECOND_NS), now + _SECOND_NS)
    if is_near:  # as it would be if a limit lay within what one series or another comes to
        for planned in engine._plan.expressions:
            planned.may_miss = False
    outcomes = []
    for size in sizes:
        shares = []
        for _ in range(_ROUNDS + 1):
            now += 10 * _SECOND_NS
            shares.append(_round(engine, pattern, now, size))
            now += _SECONDS * _SECOND_NS
        title = f"10,000 spans/s, 10k series, {name}, batches of {size}"
        outcomes.append(median_outcome(title, shares[1:], "of a core", target=target))
    assert sum(engine.statistics.samples.values()) or not rules
    return outcomes


def _round(engine: Engine, pattern: SpanBatch, now: int, size: int) -> float:
    """Return the share of a core that batches of a size take at the rate."""
    step = _SECOND_NS * size // _RATE
    batches = [_fresh(pattern, size, now + n * step, step) for n in range(_SECONDS * _RATE // size)]
    begun = time.thread_time()
    for batch in batches:
        engine.ingest(batch, int(batch.end[-1]))
        engine.advance(int(batch.end[-1]))
    return (time.thread_time() - begun) / _SECONDS


def _pattern(path: InProcess, engine: Engine) -> SpanBatch:
    """Return spans as the path makes them, with what the rules read."""
    offers = [Offer(Signal.TRACES, data, "grpc", time.time_ns()) for data in requests_of(12, Traffic(spans=512))]
    [batch] = path.stages.prepare(offers).batches
    needs = needs_of(engine.rules)
    absent = TextColumn(np.full(len(batch), -1, np.int32), [])
    environment = TextColumn(np.arange(len(batch), dtype=np.int32) % 2, ["production", "staging"])
    labels = {label: batch.labels.get(label, absent) for label in {*needs.labels, *batch.labels}}
    numbers = {name: _RANDOM.random(len(batch)) * 100 for name in needs.numbers}
    return batch.conformed({**labels, "environment": environment}, numbers)


_serial = count(1)


def _fresh(pattern: SpanBatch, size: int, at: int, spread_ns: int) -> SpanBatch:
    """Return spans that were not seen before, of drawn conversations, within `spread_ns` after `at`."""
    batch = pattern.take(_RANDOM.permutation(len(pattern))[:size])
    size = len(batch)
    hi, lo, span = _RANDOM.integers(1, 2**63, (3, size), dtype=np.int64).view(np.uint64)
    end = np.sort(at + _RANDOM.integers(0, spread_ns, size))
    conversation = _conversations(size)
    return replace(
        batch, trace_hi=hi, trace_lo=lo, span_id=span, parent_id=np.zeros(size, np.uint64), end=end,
        start=end - 1_000_000, arrival=end, labels={**batch.labels, "conversation": conversation},
    )  # fmt: skip


def _conversations(size: int) -> TextColumn:
    names: Iterator[str] = (f"conv-{number:06}" for number in _RANDOM.integers(0, _SERIES, size).tolist())
    known: dict[str, int] = {}
    code = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
    return TextColumn(code, list(known))


if __name__ == "__main__":
    print(json.dumps([row.as_dict() for row in run()], indent=1))
