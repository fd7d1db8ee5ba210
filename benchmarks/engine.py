"""Decode, conventions, prices and the engine with twenty mixed rules, in one process on one core.

What a replay or a backtest can reach, and what of the whole path is not the transport's. Thread CPU time;
every round takes requests of spans that were not seen before.
"""

import time
from collections.abc import Sequence

from benchmarks.load import configuration
from benchmarks.load.generator import Traffic
from benchmarks.outcome import Outcome, median_outcome
from benchmarks.path import InProcess, requests_of

__all__ = ["run"]

_ROUNDS = 7
_SPANS = 200_000
"""In a round."""


def run() -> list[Outcome]:
    """Measure requests of 512 spans alone, and of 10 spans alone and merged."""
    return [
        *_measured("512 spans, one by one", Traffic(spans=512), merged=1, target=">= 1000000"),
        *_measured("512 spans, 8 together", Traffic(spans=512), merged=8),
        *_measured("10 spans, one by one", Traffic(spans=10), merged=1, spans=_SPANS // 10),
        *_measured("10 spans, 16 together", Traffic(spans=10), merged=16, spans=_SPANS // 4),
    ]


def _measured(name: str, traffic: Traffic, *, merged: int, spans: int = _SPANS, target: str = "") -> list[Outcome]:
    path = InProcess(configuration.mixed())
    rates = [_round(path, requests_of(spans // traffic.spans, traffic), merged) for _ in range(_ROUNDS + 1)]
    rows = [median_outcome(f"in process, requests of {name}", rates[1:], "spans/s", target=target)]
    per_million = [1e6 / rate for rate in rates[1:]]
    return [*rows, median_outcome(f"in process, requests of {name}: CPU", per_million, "s per million spans")]


def _round(path: InProcess, requests: Sequence[bytes], merged: int) -> float:
    begun = time.thread_time()
    taken = sum(path.take(requests[at : at + merged]) for at in range(0, len(requests), merged))
    return taken / (time.thread_time() - begun)
