"""The way from bytes to alert events inside one process: no network, no event loop, the real parts."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.generator import Traffic, dump
from tocsin.engine import Engine
from tocsin.pricing import PriceBook
from tocsin.receivers.intake import Signal
from tocsin.service.loading import load_text
from tocsin.service.serve import stages_of
from tocsin.service.stages import Offer, Stages

__all__ = ["InProcess", "requests_of"]


class InProcess:
    """Decoder, conventions, prices and engine for one configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        loaded = load_text(json.dumps(config))
        configuration = loaded.configuration
        self.stages: Stages = stages_of(loaded, PriceBook(configuration.prices))
        self.engine = Engine(loaded.rules, configuration.trace, configuration.limits)

    def take(self, requests: Sequence[bytes]) -> int:
        """Evaluate requests together, as a pipeline that was busy does; return how many spans they held."""
        now = time.time_ns()
        prepared = self.stages.prepare([Offer(Signal.TRACES, data, "grpc", now) for data in requests])
        for batch in prepared.batches:
            self.engine.ingest(batch, now)
        return sum(map(len, prepared.batches))


def requests_of(count: int, traffic: Traffic) -> list[bytes]:
    """Return so many requests of fresh spans from the load generator."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        return dump(Path(directory) / "requests.bin", count, traffic)
