"""Silences in the database: the API and the command line write them, every process reads them."""

from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Row, and_, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.notify.routing.matchers import parse_matcher
from tocsin.notify.routing.silences import MOST_ACTIVE, Silence, SilenceState
from tocsin.storage.tables import SILENCES, clean

__all__ = ["add_silence", "end_silence", "end_told", "live_silences", "silence", "silences"]

_NEVER_TOLD_NS: Final = 7 * 86_400 * 1_000_000_000
"""An end that was not told for so long is not told any more."""


async def add_silence(connection: AsyncConnection, made: Silence) -> None:
    """Add a silence."""
    await connection.execute(insert(SILENCES).values(_row_of(made)))


async def end_silence(
    connection: AsyncConnection, silence_id: str, who: str, at: int, *, version: str | None = None
) -> bool:
    """End a silence that is pending or active, and of this version where one is given; return whether it was."""
    found = await silence(connection, silence_id)
    if found is None or found.ends_at <= at or (version is not None and version != found.version):
        return False
    done = await connection.execute(
        update(SILENCES)
        .where(SILENCES.c.id == found.id, SILENCES.c.updated_at == found.updated_at)
        .values(ends_at=at, updated_at=at, ended_by=clean(who))
    )
    return done.rowcount > 0


async def end_told(connection: AsyncConnection, silence_id: str) -> None:
    """Note that a silence's end was told."""
    await connection.execute(update(SILENCES).where(SILENCES.c.id == silence_id).values(told=1))


async def live_silences(connection: AsyncConnection, now: int) -> list[Silence]:
    """Return what is pending, active, or over and not told; `now`: the wall clock, Unix nanoseconds."""
    rows = await connection.execute(
        select(SILENCES)
        .where(SILENCES.c.told == 0, SILENCES.c.ends_at > now - _NEVER_TOLD_NS)
        .order_by(SILENCES.c.ends_at.desc())
        .limit(MOST_ACTIVE)
    )
    return [found for row in rows if (found := _silence_of(row)) is not None]


async def silence(connection: AsyncConnection, silence_id: str) -> Silence | None:
    """Return one, or None."""
    rows = await connection.execute(select(SILENCES).where(SILENCES.c.id == clean(silence_id)))
    row = rows.one_or_none()
    return None if row is None else _silence_of(row)


async def silences(
    connection: AsyncConnection,
    now: int,
    *,
    limit: int,
    state: SilenceState | None = None,
    after: tuple[int, str] | None = None,
) -> list[Silence]:
    """Return silences, the last to end first, past the (ends_at, id) of the last one of the page before."""
    chosen: list[ColumnElement[bool]] = []
    match state:
        case SilenceState.EXPIRED:
            chosen.append(SILENCES.c.ends_at <= now)
        case SilenceState.ACTIVE:
            chosen.append(and_(SILENCES.c.starts_at <= now, SILENCES.c.ends_at > now))
        case SilenceState.PENDING:
            chosen.append(and_(SILENCES.c.starts_at > now, SILENCES.c.ends_at > now))
        case None:
            pass
    if after is not None:
        chosen.append(tuple_(SILENCES.c.ends_at, SILENCES.c.id) < after)
    rows = await connection.execute(
        select(SILENCES).where(*chosen).order_by(SILENCES.c.ends_at.desc(), SILENCES.c.id.desc()).limit(limit)
    )
    return [found for row in rows if (found := _silence_of(row)) is not None]


def _row_of(one: Silence) -> dict[str, Any]:
    return {
        "id": clean(one.id),
        "matchers": clean(orjson.dumps([clean(str(matcher)) for matcher in one.matchers]).decode()),
        "starts_at": one.starts_at,
        "ends_at": one.ends_at,
        "comment": clean(one.comment),
        "created_by": clean(one.created_by),
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "ended_by": clean(one.ended_by),
        "told": int(one.told),
    }


def _silence_of(row: Row[Any]) -> Silence | None:
    """Return the silence of a row; None where it can't be read, so that it silences nothing."""
    try:
        matchers = tuple(parse_matcher(text) for text in orjson.loads(row.matchers))
    except (ValueError, TypeError):
        return None
    return Silence(
        row.id,
        matchers,
        row.starts_at,
        row.ends_at,
        row.comment,
        row.created_by,
        row.created_at,
        row.updated_at,
        row.ended_by,
        bool(row.told),
    )
