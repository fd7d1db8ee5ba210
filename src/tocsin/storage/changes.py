"""What happens to alerts and deliveries, as rows: the changes that are written behind, and a group of them at once.

Every statement may run again and may meet another process's: an event has one row however often it is found, an
alert's row never goes back in event time, and a delivery's row is made once and changed by its own words.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, Integer, Text, Update, and_, bindparam, case, null, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from tocsin.alerts.document import dump_event
from tocsin.alerts.event import AlertEvent, Transition
from tocsin.alerts.state import AlertState
from tocsin.guard.block import BlockChange
from tocsin.notify.history import AttemptRecord, Outcome
from tocsin.notify.routing.decision import Decision
from tocsin.storage.blocks import BlockRows
from tocsin.storage.tables import ALERTS, ATTEMPTS, DELIVERIES, EVENTS, LABELS, ROUTING, WAITING, clean, label_digest

__all__ = ["Accepted", "Attempted", "Change", "Decided", "Finished", "Recorded", "event_time", "written"]

_LARGEST: Final = 2**63 - 1
_ANSWER_LIMIT: Final = 2_000
_BY_PEOPLE: Final = ("acknowledged_at", "acknowledged_by")
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An alert changed."""

    event: AlertEvent


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event is owed to a contact point."""

    contact_point: str
    event: AlertEvent
    published: int
    owner: str


@dataclass(frozen=True, slots=True)
class Attempted:
    """Something became of a delivery."""

    event_id: str
    record: AttemptRecord


@dataclass(frozen=True, slots=True)
class Finished:
    """A delivery is owed no more."""

    contact_point: str
    event_id: str
    outcome: Outcome
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Decided:
    """It was decided who is told of an event. Comes after the event's `Accepted`."""

    decision: Decision


Change: TypeAlias = Recorded | Accepted | Attempted | Finished | Decided | BlockChange


@dataclass(slots=True)
class _Rows:
    """The rows of a group of changes, by the statement that writes them; documents are made once an event."""

    alerts: dict[str, Row] = field(default_factory=dict)
    labels: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    deliveries: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    updates: list[Row] = field(default_factory=list)
    routing: list[Row] = field(default_factory=list)
    blocks: BlockRows = field(default_factory=BlockRows)
    documents: dict[str, bytes] = field(default_factory=dict)

    def add(self, change: Change) -> None:
        match change:
            case Recorded():
                self._record(change.event)
            case Accepted():
                self.deliveries.append(self._delivery(change))
            case Attempted():
                self._attempt(change)
            case Finished():
                self.updates.append(_update_row(change))
            case Decided():
                self.routing.append(_routing_row(change.decision))
            case BlockChange():
                self.blocks.add(change)

    def _record(self, event: AlertEvent) -> None:
        row = _alert_row(event)
        before = self.alerts.get(event.alert_id)
        if before is None or (row["changed_at"], row["state"]) >= (before["changed_at"], before["state"]):
            self.alerts[event.alert_id] = row
        if before is None:
            digests = {label_digest(label, value) for label, value in event.group.items()}
            digests |= {label_digest(None, value) for value in event.group.values()}
            self.labels += [{"digest": digest, "alert_id": event.alert_id} for digest in sorted(digests)]
        self.events.append(
            {
                "id": event.id,
                "alert_id": event.alert_id,
                "transition": event.transition.value,
                "at": event_time(event),
                "detected_at": _time(event.detected_at),
                "document": self._document(event),
            }
        )

    def _delivery(self, change: Accepted) -> Row:
        event = change.event
        return {
            "contact_point": clean(change.contact_point),
            "event_id": event.id,
            "alert_id": event.alert_id,
            "transition": event.transition.value,
            "project": clean(event.rule.project),
            "rule": clean(event.rule.name),
            "severity": event.severity.value,
            "status": WAITING,
            "attempts": 0,
            "published": _time(change.published),
            "finished": None,
            "outcome": "",
            "document": self._document(event),
            "owner": change.owner,
        }

    def _attempt(self, change: Attempted) -> None:
        record = change.record
        answer = clean(record.text[:_ANSWER_LIMIT])
        self.attempts.append(
            {
                "event_id": change.event_id,
                "contact_point": clean(record.contact_point),
                "at": _time(record.at_ns),
                "number": record.number,
                "outcome": record.outcome.value,
                "seconds": float(record.seconds),
                "answer": answer,
            }
        )
        if record.number > 0:
            row = {"in_status": WAITING, "in_attempts": record.number, "in_outcome": answer, "in_finished": None}
            self.updates.append({**row, "of_point": clean(record.contact_point), "of_event": change.event_id})

    def _document(self, event: AlertEvent) -> bytes:
        made = self.documents.get(event.id)
        if made is None:
            made = self.documents[event.id] = dump_event(event)
        return made


async def written(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Write changes, in order where order matters, within the connection's transaction."""
    rows = _Rows()
    for change in changes:
        rows.add(change)
    statements = _STATEMENTS[connection.dialect.name]
    # Sorted, so that two processes that write the same alerts never wait for each other in a circle.
    alerts = [rows.alerts[key] for key in sorted(rows.alerts)]
    for statement, parameters in (
        (statements.alerts, alerts),
        (statements.labels, sorted(rows.labels, key=lambda row: (row["digest"], row["alert_id"]))),
        (statements.events, sorted(rows.events, key=lambda row: str(row["id"]))),
        (statements.deliveries, sorted(rows.deliveries, key=lambda row: (row["contact_point"], row["event_id"]))),
        (statements.attempts, rows.attempts),
        (statements.routing, sorted(rows.routing, key=lambda row: str(row["event_id"]))),
        # Stable: the changes of one delivery stay in their order.
        (statements.updates, sorted(rows.updates, key=lambda row: (row["of_point"], row["of_event"]))),
    ):
        if parameters:
            await connection.execute(statement, parameters)
    await rows.blocks.write(connection)


def event_time(event: AlertEvent) -> int:
    """Return when an event happened, in event time."""
    if event.resolved_at is not None and event.transition is Transition.RESOLVED:
        return _time(event.resolved_at)
    return _time(max(event.fired_at, event.evidence.window_to))


def _alert_row(event: AlertEvent) -> Row:
    ended = event.transition is Transition.RESOLVED
    group = {clean(label): clean(value) for label, value in event.group.items()}
    return {
        "id": event.alert_id,
        "project": clean(event.rule.project),
        "rule": clean(event.rule.name),
        "version": clean(event.rule.version),
        "labels": json.dumps(group, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        "state": (AlertState.RESOLVED if ended else AlertState.FIRING).value,
        "severity": event.severity.value,
        "threshold": _number(event.threshold),
        "value": _number(event.evidence.value),
        "peak": _number(event.peak),
        "suppressed": event.suppressed,
        "started_at": _time(event.started_at),
        "fired_at": _time(event.fired_at),
        "resolved_at": _time(event.resolved_at) if ended and event.resolved_at is not None else None,
        "changed_at": event_time(event),
        "acknowledged_at": None,
        "acknowledged_by": None,
        "shadow": int(event.rule.shadow),
    }


def _update_row(change: Finished) -> Row:
    return {
        "of_point": clean(change.contact_point),
        "of_event": change.event_id,
        "in_status": change.outcome.value,
        "in_attempts": 0,
        "in_outcome": clean(change.text[:_ANSWER_LIMIT]),
        "in_finished": _time(change.at),
    }


def _routing_row(decision: Decision) -> Row:
    document = json.dumps(decision.document(), ensure_ascii=False, separators=(",", ":"))
    return {
        "event_id": decision.event_id,
        "alert_id": decision.alert_id,
        "at": _time(decision.at),
        "document": clean(document),
    }


def _number(value: float) -> float | None:
    """NaN is no value; SQLite would make it NULL, PostgreSQL would not."""
    return None if math.isnan(value) else float(value)


def _time(value: int) -> int:
    return min(max(int(value), -_LARGEST), _LARGEST)


@dataclass(frozen=True, slots=True)
class _Statements:
    alerts: Insert
    labels: Insert
    events: Insert
    deliveries: Insert
    attempts: Insert
    routing: Insert
    updates: Update


def _statements(dialect: Any) -> _Statements:  # noqa: ANN401  # a module of SQLAlchemy
    insert = dialect.insert
    alerts = insert(ALERTS)
    new = alerts.excluded
    changed = {
        column.name: new[column.name]
        for column in ALERTS.columns
        if column.name not in ("id", "project", "rule", "version", "labels", "started_at", *_BY_PEOPLE)
    }
    # An end at the same instant as another change is later than it, whichever process writes it first.
    ends = and_(new.changed_at == ALERTS.c.changed_at, new.state == AlertState.RESOLVED.value)
    later = or_(new.changed_at > ALERTS.c.changed_at, ends)
    return _Statements(
        alerts=alerts.on_conflict_do_update(index_elements=[ALERTS.c.id], set_=changed, where=later),
        labels=insert(LABELS).on_conflict_do_nothing(),
        events=insert(EVENTS).on_conflict_do_nothing(),
        deliveries=insert(DELIVERIES).on_conflict_do_nothing(),
        attempts=insert(ATTEMPTS).on_conflict_do_nothing(),
        routing=insert(ROUTING).on_conflict_do_nothing(),
        updates=_update(),
    )


def _update() -> Update:
    status = bindparam("in_status", type_=Text)
    attempts = bindparam("in_attempts", type_=Integer)
    delivered = Outcome.DELIVERED.value
    # What is delivered or merged is not sent again, so its document goes; a dead letter keeps it.
    gone = or_(status == delivered, status == Outcome.MERGED.value)
    # Two processes may have found and sent the same event: that one of them was heard is what counts.
    open_or_heard = or_(DELIVERIES.c.status == WAITING, and_(status == delivered, DELIVERIES.c.status != delivered))
    return (
        DELIVERIES.update()
        .where(
            DELIVERIES.c.contact_point == bindparam("of_point", type_=Text),
            DELIVERIES.c.event_id == bindparam("of_event", type_=Text),
            open_or_heard,
        )
        .values(
            status=status,
            attempts=case((attempts > DELIVERIES.c.attempts, attempts), else_=DELIVERIES.c.attempts),
            outcome=bindparam("in_outcome", type_=Text),
            finished=bindparam("in_finished", type_=BigInteger),
            document=case((gone, null()), else_=DELIVERIES.c.document),
        )
    )


_STATEMENTS: Final = {"sqlite": _statements(sqlite), "postgresql": _statements(postgresql)}
