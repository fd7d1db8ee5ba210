"""A live run that is recorded, for backtests to be held against."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from samples import Span, batch_of

from tocsin.alerts.event import AlertEvent
from tocsin.engine.engine import Engine
from tocsin.journal.config import JournalConfig
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog
from tocsin.rules.rule import Rule
from tocsin.service.backtest import Report

__all__ = ["ids_of", "recorded"]

Call = tuple[int, Sequence[Span]]
"""The wall clock, and what arrived then; nothing: the clock ticked."""


def recorded(directory: Path, rules: Sequence[Rule], calls: Sequence[Call]) -> list[AlertEvent]:
    """Run an engine as the service does, keep what it is given in a journal, and return what it said."""
    return asyncio.run(_recorded(directory, rules, calls))


async def _recorded(directory: Path, rules: Sequence[Rule], calls: Sequence[Call]) -> list[AlertEvent]:
    engine, log = Engine(rules), SqliteLog.open(directory, JournalConfig())
    events: list[AlertEvent] = []
    for now, spans in calls:
        if spans:
            batch = batch_of(spans)
            log.append(Record(now, engine.time, batch))
            events += engine.ingest(batch, now)
        elif found := engine.advance(now):
            log.append(Record(now, engine.time))
            events += found
    await log.close()
    return events


def ids_of(report: Report) -> list[str]:
    """Return the ids of all events that a backtest found, sorted."""
    return sorted(event for rule in report.rules for each in rule.intervals for event in each.event_ids)
