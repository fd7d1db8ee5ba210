"""When each rule fired last."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.storage.tables import ALERTS

__all__ = ["last_fired"]


async def last_fired(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """Return when each rule (project, name) fired last, event time in Unix nanoseconds."""
    columns = ALERTS.c.project, ALERTS.c.rule
    query = select(*columns, func.max(ALERTS.c.fired_at)).group_by(*columns)
    return {(project, rule): at for project, rule, at in await connection.execute(query)}
