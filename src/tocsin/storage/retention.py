"""What is older than `storage.retention` goes, a few rows at a time, so that nobody waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy import Delete, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.storage.tables import ALERTS, ATTEMPTS, BLOCK_CHANGES, DELIVERIES, ROUTING, SILENCES, WAITING

__all__ = ["CHUNK", "delete_before"]

CHUNK: Final = 500
"""Rows in one transaction."""
_PAUSE: Final = 0.05
_ATTEMPT = (ATTEMPTS.c.event_id, ATTEMPTS.c.contact_point, ATTEMPTS.c.at, ATTEMPTS.c.number, ATTEMPTS.c.outcome)
_DELIVERY = (DELIVERIES.c.contact_point, DELIVERIES.c.event_id)


async def delete_before(
    cutoff: int, transaction: Callable[[Callable[[AsyncConnection], Awaitable[int]]], Awaitable[int]]
) -> int:
    """Delete alerts that ended before `cutoff`, with their events, and what else is older; return how many rows.

    Args:
        cutoff: Unix nanoseconds.
        transaction: runs a function in a transaction of its own.
    """
    deleted = 0
    for statement in _statements(cutoff):
        while True:
            rows = await transaction(lambda connection, run=statement: _run(connection, run))  # type: ignore[misc]
            deleted += rows
            if rows < CHUNK:
                break
            await asyncio.sleep(_PAUSE)
    return deleted


def _statements(cutoff: int) -> tuple[Delete, ...]:
    # Rows are locked as they are chosen, and others' are left to them: two processes may do this at once.
    alerts = (
        select(ALERTS.c.id)
        .where(ALERTS.c.resolved_at < cutoff)
        .order_by(ALERTS.c.resolved_at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    deliveries = (
        select(*_DELIVERY)
        .where(DELIVERIES.c.finished < cutoff, DELIVERIES.c.status != WAITING)
        .order_by(DELIVERIES.c.finished)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    attempts = (
        select(*_ATTEMPT)
        .where(ATTEMPTS.c.at < cutoff)
        .order_by(ATTEMPTS.c.at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    blocks = (
        select(BLOCK_CHANGES.c.id)
        .where(BLOCK_CHANGES.c.at < cutoff)
        .order_by(BLOCK_CHANGES.c.at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    routing = (
        select(ROUTING.c.event_id)
        .where(ROUTING.c.at < cutoff)
        .order_by(ROUTING.c.at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    silences = (
        select(SILENCES.c.id)
        .where(SILENCES.c.ends_at < cutoff)
        .order_by(SILENCES.c.ends_at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    return (
        delete(ALERTS).where(ALERTS.c.id.in_(alerts)),  # labels and events go with it
        delete(DELIVERIES).where(tuple_(*_DELIVERY).in_(deliveries)),
        delete(ATTEMPTS).where(tuple_(*_ATTEMPT).in_(attempts)),
        delete(ROUTING).where(ROUTING.c.event_id.in_(routing)),
        delete(SILENCES).where(SILENCES.c.id.in_(silences)),
        delete(BLOCK_CHANGES).where(BLOCK_CHANGES.c.id.in_(blocks)),
    )


async def _run(connection: AsyncConnection, statement: Delete) -> int:
    done = await connection.execute(statement)
    return done.rowcount
