"""What live spend adds to decoding, prices and an engine with twenty mixed rules, and how long an answer takes.

Two engines take the same batches in turn, one that counts spend and one that does not, so that the machine's drift is
in both; the transport is in neither. Thread CPU time. Answers are of an hour in which a thousand conversations come
anew each second, by every label: what memory is bounded for.
"""

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.load import configuration
from benchmarks.load.generator import Traffic
from benchmarks.outcome import Outcome, median_outcome
from benchmarks.path import InProcess, requests_of
from tocsin.engine import Engine
from tocsin.engine.spend import BY, MEASURES, Spend
from tocsin.receivers.intake import Signal
from tocsin.service.stages import Offer
from tocsin.windows.heaviest import Heaviest

__all__ = ["run"]

_ROUNDS = 7
_SECOND = 10**9
_BEGIN = 1_790_000_000 * _SECOND
_END = _BEGIN + 3599 * _SECOND
_CROWD = 1000
"""New keys a second."""


def run() -> list[Outcome]:
    """Measure requests of 512 spans and of 10, and answers for each window."""
    return [*_added(Traffic(spans=512), 150), *_added(Traffic(spans=10), 400), *_answers()]


def _added(traffic: Traffic, requests: int) -> list[Outcome]:
    path = InProcess(configuration.mixed())
    counting = Engine(path.engine.rules, spend=Spend())
    shares = [_round(path, counting, requests_of(requests, traffic)) for _ in range(_ROUNDS + 1)]
    name = f"live spend, requests of {traffic.spans} spans: added to decode, prices and engine"
    return [median_outcome(name, [100 * share for share in shares[1:]], "%")]


def _round(path: InProcess, counting: Engine, requests: Sequence[bytes]) -> float:
    prepared = plain = spending = 0.0
    for number, data in enumerate(requests):
        now = time.time_ns()
        marks = [time.thread_time()]
        batches = path.stages.prepare([Offer(Signal.TRACES, data, "grpc", now)]).batches
        marks.append(time.thread_time())
        engines = (path.engine, counting) if number % 2 else (counting, path.engine)
        for engine in engines:
            for batch in batches:
                engine.ingest(batch, now)
            marks.append(time.thread_time())
        took = {engines[0] is counting: marks[2] - marks[1], engines[1] is counting: marks[3] - marks[2]}
        prepared, plain, spending = prepared + marks[1] - marks[0], plain + took[False], spending + took[True]
    begun = time.thread_time()
    assert counting.spend is not None
    counting.spend.settle(counting.time)
    return (spending + time.thread_time() - begun - plain) / (prepared + plain)


def _answers() -> list[Outcome]:
    random = np.random.default_rng(1)
    windows = Heaviest(BY, len(MEASURES))
    ones = np.ones(_CROWD, np.int64)
    for second, now in enumerate(range(_BEGIN, _END + 1, _SECOND)):
        windows.move(now)
        codes = np.arange(second * _CROWD, (second + 1) * _CROWD) + 1
        measures = (random.integers(1, 10**8, _CROWD), random.integers(1, 10**5, _CROWD), ones, ones, ones)
        for label in BY:
            windows.add_keys(label, np.full(_CROWD, now), codes, measures)
    rows = []
    for window, seconds in (("1m", 60), ("5m", 300), ("1h", 3600)):
        taken = []
        for _ in range(_ROUNDS):
            begun = time.perf_counter()
            windows.standing("conversation", _END, seconds * _SECOND)
            taken.append((time.perf_counter() - begun) * 1e3)
        rows.append(median_outcome(f"live spend, an answer for {window} at its most keys", taken, "ms"))
    return rows
