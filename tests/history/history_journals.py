"""Journals for the tests of the history: spans as OTLP, through the real stages, into a real journal."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from otlp_requests import Call, Value, request_of

from tocsin.history.asking import Question, asking
from tocsin.history.recorded import note_recorded
from tocsin.journal.config import JournalConfig
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog
from tocsin.model.batch import SpanBatch
from tocsin.pricing import PriceBook
from tocsin.receivers.intake import Signal
from tocsin.rules.needs import needs_of
from tocsin.service.loading import Loaded, load_text
from tocsin.service.serve import stages_of
from tocsin.service.stages import Offer

__all__ = ["AT", "asked", "batches_of", "calls_of", "record", "recorded"]

AT = 1_790_000_000 * 10**9


def calls_of(attributes: Iterable[Mapping[str, Value]], *, at: int = AT) -> list[Call]:
    """Return a call a second with these attributes."""
    random = Random(7)
    return [Call.drawn(random, end=at + number * 10**9, attributes=each) for number, each in enumerate(attributes)]


def batches_of(loaded: Loaded, requests: Iterable[Sequence[Call]]) -> list[SpanBatch]:
    """Return what the service would have kept of each request."""
    stages = stages_of(loaded, PriceBook(loaded.configuration.prices))
    found: list[SpanBatch] = []
    for calls in requests:
        prepared = stages.prepare([Offer(Signal.TRACES, request_of(calls).SerializeToString(), "grpc", calls[0].end)])
        found += prepared.batches
    return found


async def record(directory: Path, batches: Iterable[SpanBatch], config: JournalConfig | None = None) -> None:
    """Keep batches in a journal."""
    log = SqliteLog.open(directory, config or JournalConfig())
    for batch in batches:
        assert await log.append(Record(int(batch.end[-1]), int(batch.end[-1]), batch))
    await log.close()


def recorded(directory: Path, requests: Iterable[Sequence[Call]], configuration: str = "") -> Path:
    """Return the journal that a service with this configuration would have left of some requests."""
    loaded = load_text(configuration or "{}\n")
    journal = directory / "journal"
    asyncio.run(record(journal, batches_of(loaded, requests)))
    note_recorded(journal, loaded.configuration.history.recording(), needs_of(loaded.rules), AT)
    return journal


def asked(journal: Path, text: str, **more: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401  # fields of Question
    """Return the rows of a query."""
    with asking(Question(text, journal, **more)) as answer:
        return list(answer.rows)
