"""What was answered to requests that had a key: kept for a day, so that a repetition finds it after a restart too."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.storage.database import Database
from tocsin.storage.tables import ANSWERS

__all__ = ["Answers", "KeptAnswer"]

_KEPT_NS: Final = 86_400_000_000_000
_MOST: Final = 10_000
"""Answers that are kept; the oldest goes first."""
_BETWEEN: Final = 100
"""Requests between two cleanings."""
_INSERT: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A request that was made before."""

    request: str
    """Digest of its body."""
    at: int
    """Wall clock, Unix nanoseconds."""
    answer: bytes | None
    """None where there is none yet, or never will be."""


class Answers:
    """The table, for all processes that share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun = 0

    async def begin(self, place: str, request: str) -> KeptAnswer | None:
        """Return what is known of a request at this place; None: nothing was, and now it is known that it was begun.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        self._begun += 1
        clean = self._begun % _BETWEEN == 1

        async def act(connection: AsyncConnection) -> KeptAnswer | None:
            now = time.time_ns()
            if clean:
                await _clean(connection, now)
            insert = _INSERT[connection.dialect.name](ANSWERS).values(place=place, at=now, request=request)
            made = await connection.execute(insert.on_conflict_do_nothing().returning(ANSWERS.c.place))
            if made.first() is not None:
                return None
            found = (await connection.execute(select(ANSWERS).where(ANSWERS.c.place == place))).one()
            return KeptAnswer(found.request, found.at, found.answer)

        return await self._database.change(act)

    async def finish(self, place: str, answer: bytes) -> None:
        """Keep the answer to a request that was begun.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        statement = update(ANSWERS).where(ANSWERS.c.place == place).values(answer=answer)
        await self._database.change(lambda connection: connection.execute(statement))

    async def forget(self, place: str) -> None:
        """Have a request be made anew.

        Raises:
            OverloadedError: the database can't be used at present.
        """
        statement = delete(ANSWERS).where(ANSWERS.c.place == place)
        await self._database.change(lambda connection: connection.execute(statement))


async def _clean(connection: AsyncConnection, now: int) -> None:
    latest = select(ANSWERS.c.place).order_by(ANSWERS.c.at.desc()).limit(_MOST)
    old = (ANSWERS.c.at < now - _KEPT_NS) | ANSWERS.c.place.not_in(latest)
    await connection.execute(delete(ANSWERS).where(old))
