"""Reads of alerts, their events and the attempts to notify of them, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, Select, and_, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.alerts.document import load_event
from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import AlertState
from tocsin.notify.routing.decision import Decision
from tocsin.rules.rule import Severity
from tocsin.storage.routing import decision_of
from tocsin.storage.tables import ALERTS, ATTEMPTS, DELIVERIES, EVENTS, LABELS, ROUTING, clean, label_digest

__all__ = [
    "AlertFilter",
    "AlertRow",
    "AttemptRow",
    "DeliveryRow",
    "Label",
    "Told",
    "alert",
    "alerts",
    "story_of",
]

MOST_EVENTS = 500
"""Events of one alert that are shown, the newest."""


@dataclass(frozen=True, slots=True)
class Label:
    """A value of a group, of a label or of any."""

    name: str | None
    value: str


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; None: any. All must hold. Times are event times in Unix nanoseconds."""

    state: AlertState | None = None
    projects: frozenset[str] | None = None
    rule: str | None = None
    severity: Severity | None = None
    group: tuple[Label, ...] = ()
    since: int | None = None
    """Those that had not ended before it."""
    until: int | None = None
    """Those that fired before it."""


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An episode of a rule and group as it is now. Times are event times in Unix nanoseconds."""

    id: str
    project: str
    rule: str
    version: str
    group: dict[str, str]
    state: AlertState
    severity: Severity
    threshold: float | None
    value: float | None
    """As of its last change."""
    peak: float | None
    suppressed: int
    started_at: int
    fired_at: int
    resolved_at: int | None
    acknowledged_at: int | None
    acknowledged_by: str | None
    shadow: bool
    """Its rule is on trial: nobody is told."""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try at telling a contact point, or what became of it without one. Wall clock, Unix nanoseconds."""

    contact_point: str
    number: int
    outcome: str
    at: int
    seconds: float
    answer: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """Where an event stands at a contact point. Wall clock, Unix nanoseconds."""

    contact_point: str
    status: str
    attempts: int
    published: int
    finished: int | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Told:
    """One event of an alert, and who was told of it how. `event` is None where its document can't be read."""

    event_id: str
    transition: str
    at: int
    event: AlertEvent | None
    deliveries: tuple[DeliveryRow, ...]
    attempts: tuple[AttemptRow, ...]
    decision: Decision | None
    """What routing made of it; None where nobody was to hear of it, or it was before there was routing."""


async def alerts(
    connection: AsyncConnection, chosen: AlertFilter, *, limit: int, after: tuple[int, str] | None = None
) -> list[AlertRow]:
    """Return alerts, the latest to fire first, past the (fired_at, id) of the last one of the page before."""
    query: Select[Any] = select(ALERTS).where(*_conditions(chosen))
    if after is not None:
        query = query.where(tuple_(ALERTS.c.fired_at, ALERTS.c.id) < after)
    rows = await connection.execute(query.order_by(ALERTS.c.fired_at.desc(), ALERTS.c.id.desc()).limit(limit))
    return [_alert_of(row) for row in rows]


async def alert(connection: AsyncConnection, alert_id: str) -> AlertRow | None:
    """Return one alert, or None."""
    rows = await connection.execute(select(ALERTS).where(ALERTS.c.id == clean(alert_id)))
    row = rows.one_or_none()
    return None if row is None else _alert_of(row)


async def story_of(connection: AsyncConnection, alert_id: str) -> list[Told]:
    """Return an alert's events, the newest `MOST_EVENTS` of them, oldest first, each with what became of it."""
    found = await connection.execute(
        select(EVENTS)
        .where(EVENTS.c.alert_id == clean(alert_id))
        .order_by(EVENTS.c.at.desc(), EVENTS.c.detected_at.desc())
        .limit(MOST_EVENTS)
    )
    events = list(reversed(found.all()))
    ids = [row.id for row in events]
    deliveries = await _by_event(
        connection, select(DELIVERIES).where(DELIVERIES.c.event_id.in_(ids)).order_by(DELIVERIES.c.contact_point)
    )
    attempts = await _by_event(
        connection, select(ATTEMPTS).where(ATTEMPTS.c.event_id.in_(ids)).order_by(ATTEMPTS.c.at, ATTEMPTS.c.number)
    )
    routing = await _by_event(connection, select(ROUTING).where(ROUTING.c.event_id.in_(ids)))
    return [
        Told(
            event_id=row.id,
            transition=row.transition,
            at=row.at,
            event=_event_of(row.document),
            deliveries=tuple(
                DeliveryRow(one.contact_point, one.status, one.attempts, one.published, one.finished, one.outcome)
                for one in deliveries.get(row.id, ())
            ),
            attempts=tuple(
                AttemptRow(one.contact_point, one.number, one.outcome, one.at, one.seconds, one.answer)
                for one in attempts.get(row.id, ())
            ),
            decision=next((decision_of(one) for one in routing.get(row.id, ())), None),
        )
        for row in events
    ]


def _conditions(chosen: AlertFilter) -> Sequence[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, value in (
        (ALERTS.c.state, chosen.state and chosen.state.value),
        (ALERTS.c.rule, chosen.rule and clean(chosen.rule)),
        (ALERTS.c.severity, chosen.severity and chosen.severity.value),
    ):
        if value is not None:
            found.append(column == value)
    if chosen.projects is not None:
        found.append(ALERTS.c.project.in_([clean(project) for project in chosen.projects]))
    for label in chosen.group:
        digest = label_digest(label.name, label.value)
        found.append(ALERTS.c.id.in_(select(LABELS.c.alert_id).where(LABELS.c.digest == digest)))
    if chosen.since is not None:
        found.append(or_(ALERTS.c.resolved_at.is_(None), ALERTS.c.resolved_at >= chosen.since))
    if chosen.until is not None:
        found.append(and_(ALERTS.c.fired_at < chosen.until))
    return found


async def _by_event(connection: AsyncConnection, query: Select[Any]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.event_id, []).append(row)
    return found


def _alert_of(row: Row[Any]) -> AlertRow:
    return AlertRow(
        id=row.id,
        project=row.project,
        rule=row.rule,
        version=row.version,
        group=orjson.loads(row.labels),
        state=AlertState(row.state),
        severity=Severity(row.severity),
        threshold=row.threshold,
        value=row.value,
        peak=row.peak,
        suppressed=row.suppressed,
        started_at=row.started_at,
        fired_at=row.fired_at,
        resolved_at=row.resolved_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        shadow=bool(row.shadow),
    )


def _event_of(document: bytes) -> AlertEvent | None:
    try:
        return load_event(document)
    except ValueError:
        return None
