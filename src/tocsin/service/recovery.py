"""From what the log kept to an engine that goes on where the last one ended.

The newest good snapshot is taken under the rules that were in force then, and the records after it are given to the
engine again, rule changes among them. Only then do the rules of the files as they are now replace them, as an edit
would. What the engine finds again has the ids that it had, so whoever was told of it already is not told again.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tocsin.alerts.event import AlertEvent
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.engine import Engine
from tocsin.engine.spend import Spend
from tocsin.errors import SnapshotError
from tocsin.journal.log import Log, Snapshot
from tocsin.journal.record import Record, RecordKind
from tocsin.model.state import Frozen, State
from tocsin.rules.archive import dump_rules, load_rules
from tocsin.rules.rule import Rule
from tocsin.telemetry import recovery as telemetry

__all__ = ["Recovery", "recover", "snapshot_sections"]

SELF_SECTION: Final = "self alerts"
"""Of a snapshot: the alerts about Tocsin itself."""

RULES_SECTION: Final = "rules"
"""Of a snapshot: the rules that were in force, beside the engine's own sections."""
_RECORDS_AT_ONCE: Final = 64
"""Replayed in a thread between two times that the event loop has a turn."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found."""

    engine: Engine
    """Under the rules as they are now."""
    snapshot: int | None
    """Position of the snapshot that was taken; None: the log alone, or nothing."""
    records: int
    """Replayed."""
    seconds: float
    self_alerts: State = None
    """Of the snapshot: what `SelfWatch.thaw` takes."""


def snapshot_sections(engine: Engine, self_alerts: State) -> dict[str, Frozen]:
    """Return the engine's state as it is now, with its rules, and what `SelfWatch.freeze` returned."""
    rules = engine.rules
    return {
        **engine.freeze(),
        RULES_SECTION: lambda: dump_rules(rules).decode(),
        SELF_SECTION: lambda: self_alerts,
    }


async def recover(
    log: Log,
    rules: Sequence[Rule],
    trace: TraceConfig,
    limits: LimitsConfig,
    publish: Callable[[AlertEvent], None],
    *,
    clock: Callable[[], int] = time.time_ns,
) -> Recovery:
    """Return an engine with what the log kept; what can't be read is reported and left out.

    Args:
        log: of a former process; the present rules are appended to it.
        rules: as they are now.
        trace: see `Engine`.
        limits: see `Engine`.
        publish: given every event that was found again or that the change of rules causes, on the event loop; it must
            know those that it was given before by their ids.
        clock: the wall clock, Unix nanoseconds.
    """
    begun = time.perf_counter()
    begins = await asyncio.to_thread(_from_snapshot, log, trace, limits, clock)
    engine = Engine(rules, trace, limits, Spend()) if begins is None else begins.engine
    records = log.read(0 if begins is None else begins.position)
    replayed = 0
    while part := await asyncio.to_thread(lambda: list(islice(records, _RECORDS_AT_ONCE))):
        for event in await asyncio.to_thread(_replayed, engine, part):
            publish(event)
        replayed += len(part)
        telemetry.replaying(records=replayed, seconds=time.perf_counter() - begun)
    now = clock()
    engine.resume(now)
    for event in _under_rules(log, engine, rules, now, fresh=begins is None and not replayed):
        publish(event)
    seconds = time.perf_counter() - begun
    position = None if begins is None else begins.position
    telemetry.recovered(snapshot=position, records=replayed, seconds=seconds)
    return Recovery(engine, position, replayed, seconds, None if begins is None else begins.self_alerts)


@dataclass(frozen=True, slots=True)
class _Begins:
    engine: Engine
    position: int
    self_alerts: State


def _from_snapshot(log: Log, trace: TraceConfig, limits: LimitsConfig, clock: Callable[[], int]) -> _Begins | None:
    for snapshot in _each(log):
        try:
            sections = dict(snapshot.read())
            self_alerts = sections.pop(SELF_SECTION, None)
            engine = Engine(_rules_of(sections.pop(RULES_SECTION, None)), trace, limits, Spend())
            engine.thaw(sections, clock())
        except (SnapshotError, ValueError) as error:
            telemetry.snapshot_refused(position=snapshot.position, error=error)
        else:
            return _Begins(engine, snapshot.position, self_alerts)
    return None


def _each(log: Log) -> Iterator[Snapshot]:
    try:
        yield from log.snapshots()
    except OSError as error:
        telemetry.snapshot_refused(position=0, error=error)


def _rules_of(document: State) -> tuple[Rule, ...]:
    if not isinstance(document, str):
        raise SnapshotError("it does not say under which rules it was taken")
    return load_rules(document.encode())


def _replayed(engine: Engine, records: Sequence[tuple[int, Record]]) -> list[AlertEvent]:
    events: list[AlertEvent] = []
    for position, record in records:
        try:
            rules = load_rules(record.rules) if record.kind is RecordKind.RULES and record.rules else None
            events += engine.replay(record.wall, record.time, record.batch, rules)
        except Exception as error:  # noqa: BLE001  # what failed when it arrived fails again, and alone
            telemetry.record_refused(position=position, error=error)
    return events


def _under_rules(log: Log, engine: Engine, rules: Sequence[Rule], now: int, *, fresh: bool) -> Sequence[AlertEvent]:
    """Put the present rules in force, and in the log: a replay without a snapshot needs to know them."""
    if not fresh and tuple(rules) == engine.rules:
        return ()
    log.append(Record(now, engine.time, rules=dump_rules(rules)))
    return () if tuple(rules) == engine.rules else engine.replace_rules(rules, now)
