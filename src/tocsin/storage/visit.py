"""A short visit to the database of a service that may be running, without becoming a process that delivers from it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.errors import ConfigError
from tocsin.notify.routing.silences import Silence
from tocsin.storage import queries
from tocsin.storage.alerts import AlertFilter, AlertRow, alerts
from tocsin.storage.config import StorageConfig
from tocsin.storage.dead_letters import DeadLetter, dead_letters
from tocsin.storage.engines import FILE, engine_of, reason_of
from tocsin.storage.schema import HEAD, revision_of
from tocsin.storage.silences import add_silence, end_silence, silences

__all__ = ["Visit", "visiting"]

_PAGE: Final = 1_000


class Visit:
    """Reads alerts and dead letters, and marks these to be sent again by whoever delivers."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def letters(self) -> list[DeadLetter]:
        """Return all dead letters, the latest first."""
        found: list[DeadLetter] = []
        async with self._engine.connect() as connection:
            await connection.execution_options(reads=True)
            while True:
                last = found[-1] if found else None
                after = None if last is None else (last.finished, last.event_id, last.contact_point)
                page = await dead_letters(connection, limit=_PAGE, after=after)
                found += page
                if len(page) < _PAGE:
                    return found

    async def alerts(self) -> list[AlertRow]:
        """Return all alerts that are kept, the latest to fire first."""
        found: list[AlertRow] = []
        async with self._engine.connect() as connection:
            await connection.execution_options(reads=True)
            while True:
                after = (found[-1].fired_at, found[-1].id) if found else None
                page = await alerts(connection, AlertFilter(), limit=_PAGE, after=after)
                found += page
                if len(page) < _PAGE:
                    return found

    async def silences(self, now: int) -> list[Silence]:
        """Return all silences that are kept, the last to end first; `now`: the wall clock, Unix nanoseconds."""
        found: list[Silence] = []
        async with self._engine.connect() as connection:
            await connection.execution_options(reads=True)
            while True:
                after = (found[-1].ends_at, found[-1].id) if found else None
                page = await silences(connection, now, limit=_PAGE, after=after)
                found += page
                if len(page) < _PAGE:
                    return found

    async def add_silence(self, made: Silence) -> None:
        """Add a silence; a service that runs takes it up within seconds."""
        async with self._engine.begin() as connection:
            await add_silence(connection, made)

    async def end_silence(self, silence_id: str, who: str, at: int) -> bool:
        """End a silence; return whether it was pending or active."""
        async with self._engine.begin() as connection:
            return await end_silence(connection, silence_id, who, at)

    async def resend(self, letter: DeadLetter, at: int) -> bool:
        """Mark one to be sent again; return whether it could be. `at`: the wall clock, Unix nanoseconds."""
        async with self._engine.begin() as connection:
            return await queries.reopen(connection, letter.contact_point, letter.event_id, at) > 0


@asynccontextmanager
async def visiting(config: StorageConfig) -> AsyncIterator[Visit]:
    """Open the database as it is; nothing is made or upgraded.

    Raises:
        ConfigError: there is none, it is of another version, or it can't be reached.
    """
    if config.url is None and not (config.directory / FILE).exists():
        raise ConfigError(f"storage.directory: there is no {FILE} in {config.directory}; has the service run here?")
    engine = engine_of(config)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(reads=True)
            present = await connection.run_sync(revision_of)
        if present != HEAD:
            raise ConfigError(
                f"storage: the database's tables are of revision {present or 'none'}, and this Tocsin's of {HEAD}; use "
                f"the version that the service runs"
            )
        yield Visit(engine)
    except (SQLAlchemyError, OSError) as error:
        raise ConfigError(f"storage: the database can't be used ({reason_of(error)})") from error
    finally:
        await engine.dispose()
