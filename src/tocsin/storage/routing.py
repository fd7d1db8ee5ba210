"""What routing has to know at the start: alerts that fire, and what was decided of them; and who looks after which."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.alerts.document import load_event
from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import AlertState
from tocsin.notify.routing.decision import Decision
from tocsin.notify.routing.router import MOST_ACTIVE, MOST_DECIDED, Active
from tocsin.storage.ledger import KNOWN_NS
from tocsin.storage.tables import ALERTS, EVENTS, ROUTING, clean

__all__ = ["acknowledge", "acknowledged", "active_alerts", "decided_events", "decision_of"]

_CHUNK: Final = 500


async def decided_events(connection: AsyncConnection, now: int) -> Sequence[str]:
    """Return the ids of events that were decided lately, oldest first; `now`: the wall clock, Unix nanoseconds."""
    rows = await connection.execute(
        select(ROUTING.c.event_id)
        .where(ROUTING.c.at > now - KNOWN_NS)
        .order_by(ROUTING.c.at.desc())
        .limit(MOST_DECIDED)
    )
    return [row[0] for row in reversed(rows.all())]


async def active_alerts(connection: AsyncConnection) -> list[tuple[str, Active]]:
    """Return the alerts that fire, each with its latest event and with what was decided of it."""
    rows = await connection.execute(
        select(ALERTS.c.id, ALERTS.c.acknowledged_by)
        .where(ALERTS.c.state == AlertState.FIRING.value)
        .order_by(ALERTS.c.fired_at.desc())
        .limit(MOST_ACTIVE)
    )
    known = {row.id: row.acknowledged_by for row in reversed(rows.all())}
    found: dict[str, Active] = {}
    ids = list(known)
    for begin in range(0, len(ids), _CHUNK):
        chunk = ids[begin : begin + _CHUNK]
        for alert_id, event in (await _latest(connection, chunk)).items():
            found[alert_id] = Active(event, acknowledged_by=known[alert_id])
        for row in await connection.execute(
            select(ROUTING).where(ROUTING.c.alert_id.in_(chunk)).order_by(ROUTING.c.at, ROUTING.c.event_id)
        ):
            decision = decision_of(row)
            if decision is not None and row.alert_id in found:
                found[row.alert_id].note(decision)
    return [(alert_id, found[alert_id]) for alert_id in ids if alert_id in found]


async def acknowledge(connection: AsyncConnection, alert_id: str, who: str, at: int) -> bool:
    """Note that somebody looks after an alert that fires; return whether nobody did before. The first one counts."""
    done = await connection.execute(
        update(ALERTS)
        .where(
            ALERTS.c.id == clean(alert_id),
            ALERTS.c.acknowledged_at.is_(None),
            ALERTS.c.state == AlertState.FIRING.value,
        )
        .values(acknowledged_at=at, acknowledged_by=clean(who))
    )
    return done.rowcount > 0


async def acknowledged(connection: AsyncConnection) -> dict[str, str]:
    """Return who looks after which of the alerts that fire."""
    rows = await connection.execute(
        select(ALERTS.c.id, ALERTS.c.acknowledged_by).where(
            ALERTS.c.state == AlertState.FIRING.value, ALERTS.c.acknowledged_at.is_not(None)
        )
    )
    return {row.id: row.acknowledged_by or "" for row in rows}


def decision_of(row: Row[Any]) -> Decision | None:
    """Return the decision in a row, or None where it can't be read."""
    try:
        return Decision.of(row.event_id, row.alert_id, row.at, orjson.loads(row.document))
    except (ValueError, KeyError, TypeError):
        return None


async def _latest(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, AlertEvent]:
    newest = (
        select(EVENTS.c.alert_id, func.max(EVENTS.c.at).label("at"))
        .where(EVENTS.c.alert_id.in_(ids))
        .group_by(EVENTS.c.alert_id)
        .subquery()
    )
    rows = await connection.execute(
        select(EVENTS.c.alert_id, EVENTS.c.document).join(
            newest, (EVENTS.c.alert_id == newest.c.alert_id) & (EVENTS.c.at == newest.c.at)
        )
    )
    found = {}
    for row in rows:
        try:
            found[row.alert_id] = load_event(row.document)
        except ValueError:
            continue  # a delivery of it is told and counted where it is to be sent
    return found
