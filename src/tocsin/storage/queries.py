"""What is asked of the deliveries: at the start, when a queue has room, and when a process left some."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, case, delete, func, or_, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.alerts.document import load_event
from tocsin.alerts.event import Transition
from tocsin.notify.history import Outcome
from tocsin.notify.store import Unfinished
from tocsin.storage.ledger import KNOWN_NS, MOST_KNOWN
from tocsin.storage.tables import DEAD, DELIVERIES, REPLICAS, WAITING, clean
from tocsin.telemetry import storage as telemetry

__all__ = [
    "AT_ONCE",
    "Owed",
    "claim",
    "claim_left",
    "count_dead",
    "drop_others",
    "known",
    "owed_after",
    "points_owed",
    "reopen",
    "told",
]

AT_ONCE: Final = 2_000
"""Deliveries that are read together."""
_LEASE_NS: Final = 60 * 1_000_000_000
"""A process that was not seen for so long delivers no more."""
_MOST_TOLD: Final = 10_000
_TOLD_NS: Final = 30 * 86_400 * 1_000_000_000
"""What is longer ago is not looked at: an alert that goes on is reminded of at every end of its cooldown."""
_COLUMNS: Final = (
    DELIVERIES.c.contact_point,
    DELIVERIES.c.event_id,
    DELIVERIES.c.published,
    DELIVERIES.c.attempts,
    DELIVERIES.c.document,
)


@dataclass(frozen=True, slots=True)
class Owed:
    """A delivery that is owed, of one contact point."""

    contact_point: str
    left: Unfinished


async def known(connection: AsyncConnection, now: int, owner: str) -> Sequence[tuple[str, str, int, bool]]:
    """Return what was accepted lately or is still owed, oldest first, and whether by this process."""
    rows = await connection.execute(
        select(
            DELIVERIES.c.contact_point,
            DELIVERIES.c.event_id,
            DELIVERIES.c.published,
            DELIVERIES.c.status,
            DELIVERIES.c.owner,
        )
        .where(or_(DELIVERIES.c.published > now - KNOWN_NS, DELIVERIES.c.status == WAITING))
        .order_by(DELIVERIES.c.published.desc())
        .limit(MOST_KNOWN)
    )
    return [(row[0], row[1], row[2], row[3] == WAITING and row[4] == owner) for row in reversed(rows.all())]


async def told(connection: AsyncConnection, now: int) -> dict[str, tuple[str, ...]]:
    """Return, by contact point, the alerts that it was sent something of and not yet the end, oldest first."""
    point, alert = DELIVERIES.c.contact_point, DELIVERIES.c.alert_id
    ended = func.max(case((DELIVERIES.c.transition == Transition.RESOLVED.value, 1), else_=0))
    last = func.max(DELIVERIES.c.published)
    rows = await connection.execute(
        select(point, alert)
        .where(DELIVERIES.c.transition != Transition.TEST.value, DELIVERIES.c.published > now - _TOLD_NS)
        .group_by(point, alert)
        .having(ended == 0)
        .order_by(last.desc())
        .limit(_MOST_TOLD * 10)
    )
    found: dict[str, list[str]] = {}
    for contact_point, alert_id in rows:
        found.setdefault(contact_point, []).append(alert_id)
    return {name: tuple(reversed(alerts[:_MOST_TOLD])) for name, alerts in found.items()}


async def points_owed(connection: AsyncConnection) -> Sequence[str]:
    """Return the contact points that anything is owed to."""
    rows = await connection.execute(select(DELIVERIES.c.contact_point).where(DELIVERIES.c.status == WAITING).distinct())
    return [row[0] for row in rows]


async def owed_after(
    connection: AsyncConnection, contact_point: str, after: int, limit: int, owner: str
) -> tuple[list[Owed], int]:
    """Return what this process owes to a contact point, published after a time, and how many rows that is of.

    A document that can't be read makes its row a dead letter.
    """
    rows = await connection.execute(
        select(*_COLUMNS)
        .where(
            DELIVERIES.c.contact_point == clean(contact_point),
            DELIVERIES.c.status == WAITING,
            DELIVERIES.c.owner == owner,
            DELIVERIES.c.published > after,
        )
        .order_by(DELIVERIES.c.published, DELIVERIES.c.event_id)
        .limit(limit)
    )
    found = rows.all()
    return await _readable(connection, found), len(found)


async def claim(connection: AsyncConnection, owner: str, *, alone: bool) -> int:
    """Make everything that no living process delivers this one's; return how many. `alone`: there is no other."""
    owed = (DELIVERIES.c.status == WAITING, DELIVERIES.c.owner != owner)
    if alone:
        done = await connection.execute(update(DELIVERIES).where(*owed).values(owner=owner))
        return done.rowcount
    now = await _show_life(connection, owner)
    living = select(REPLICAS.c.id).where(REPLICAS.c.seen > now - _LEASE_NS)
    done = await connection.execute(
        update(DELIVERIES).where(*owed, DELIVERIES.c.owner.not_in(living)).values(owner=owner)
    )
    return done.rowcount


async def claim_left(connection: AsyncConnection, owner: str, *, alone: bool) -> list[Owed]:
    """Make some of what no living process delivers this one's, and return it, oldest first."""
    left: list[ColumnElement[bool]] = [DELIVERIES.c.status == WAITING, DELIVERIES.c.owner != owner]
    if alone:
        left.append(DELIVERIES.c.owner == "")
    else:
        now = await _show_life(connection, owner)
        left.append(DELIVERIES.c.owner.not_in(select(REPLICAS.c.id).where(REPLICAS.c.seen > now - _LEASE_NS)))
    rows = await connection.execute(
        select(*_COLUMNS)
        .where(*left)
        .order_by(DELIVERIES.c.published)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)  # another process takes others
    )
    found = rows.all()
    if found:
        await connection.execute(
            update(DELIVERIES)
            .where(DELIVERIES.c.contact_point == bindparam("of_point"), DELIVERIES.c.event_id == bindparam("of_event"))
            .values(owner=owner),
            [{"of_point": row.contact_point, "of_event": row.event_id} for row in found],
        )
    return await _readable(connection, found)


async def drop_others(connection: AsyncConnection, contact_points: Collection[str], owner: str, at: int) -> int:
    """Make dead letters of what this process owes to other contact points; return how many."""
    done = await connection.execute(
        update(DELIVERIES)
        .where(
            DELIVERIES.c.status == WAITING,
            DELIVERIES.c.owner.in_([owner, ""]),
            DELIVERIES.c.contact_point.not_in([clean(name) for name in contact_points]),
        )
        .values(status=Outcome.DROPPED.value, outcome="its contact point was removed", finished=at)
    )
    return done.rowcount


async def reopen(connection: AsyncConnection, contact_point: str | None, event_id: str | None, at: int) -> int:
    """Let dead letters be sent again by whoever claims them; return how many. None: of any."""
    chosen: list[ColumnElement[bool]] = [DELIVERIES.c.status.in_(DEAD), DELIVERIES.c.document.is_not(None)]
    if contact_point is not None:
        chosen.append(DELIVERIES.c.contact_point == clean(contact_point))
    if event_id is not None:
        chosen.append(DELIVERIES.c.event_id == clean(event_id))
    rows = await connection.execute(
        select(DELIVERIES.c.contact_point, DELIVERIES.c.event_id)
        .where(*chosen)
        .order_by(DELIVERIES.c.published)
        .with_for_update()
    )
    # A day to deliver them begins anew, and no two have the same time; attempts are counted on.
    keys = [
        {"of_point": row.contact_point, "of_event": row.event_id, "new_time": at + index}
        for index, row in enumerate(rows)
    ]
    if keys:
        await connection.execute(
            update(DELIVERIES)
            .where(DELIVERIES.c.contact_point == bindparam("of_point"), DELIVERIES.c.event_id == bindparam("of_event"))
            .values(status=WAITING, owner="", published=bindparam("new_time"), finished=None),
            keys,
        )
    return len(keys)


async def count_dead(connection: AsyncConnection) -> int:
    """Return how many dead letters there are."""
    rows = await connection.execute(select(func.count()).select_from(DELIVERIES).where(text(_DEAD_TEXT)))
    return int(rows.scalar_one())


_DEAD_TEXT: Final = "status IN ('failed', 'dropped')"
"""As the partial index has it, so that it is used."""


async def _show_life(connection: AsyncConnection, owner: str) -> int:
    """Note that this process lives, by the database's clock, and return what time that is."""
    rows = await connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"))
    now = int(rows.scalar_one())
    insert = postgresql.insert(REPLICAS).values(id=owner, seen=now)
    await connection.execute(insert.on_conflict_do_update(index_elements=[REPLICAS.c.id], set_={"seen": now}))
    await connection.execute(delete(REPLICAS).where(REPLICAS.c.seen < now - 1440 * _LEASE_NS))
    return now


async def _readable(connection: AsyncConnection, rows: Sequence[Any]) -> list[Owed]:
    readable = []
    for row in rows:
        try:
            event = load_event(row.document or b"")
        except ValueError as error:
            telemetry.storage_document_unreadable(event_id=row.event_id, reason=str(error))
            await _bury(connection, row.contact_point, row.event_id)
        else:
            readable.append(Owed(row.contact_point, Unfinished(event, row.published, row.attempts)))
    return readable


async def _bury(connection: AsyncConnection, contact_point: str, event_id: str) -> None:
    await connection.execute(
        update(DELIVERIES)
        .where(DELIVERIES.c.contact_point == contact_point, DELIVERIES.c.event_id == event_id)
        .values(status=Outcome.FAILED.value, outcome="its event can't be read", finished=time.time_ns(), document=None)
    )
