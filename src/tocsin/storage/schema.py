"""Brings a database's tables to the newest revision, from nothing or from any older one, in one transaction."""

from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["HEAD", "NewerSchemaError", "migrate", "revision_of", "upgrade"]

HEAD: Final = "0006"
"""The newest revision."""
_LOCK: Final = 8_417_000_001
"""Any number, the same in all processes: two that start at once must not both make the tables."""


class NewerSchemaError(Exception):
    """A newer Tocsin made this database."""


async def migrate(engine: AsyncEngine) -> None:
    """Upgrade the tables where that is needed; several processes may do so at once.

    Raises:
        NewerSchemaError: the tables are of a revision that is not known here.
        SQLAlchemyError, OSError: the database can't be reached or used.
    """
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade within the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    present = revision_of(connection)
    if present == HEAD:
        return  # the usual start: nothing of Alembic is imported
    from alembic import command  # a third of a second, and hardly ever needed
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "tocsin.storage:migrations")
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise NewerSchemaError(
            f"its tables are of revision {present[:40]!r}, and this version knows up to {HEAD}; run the newer Tocsin"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the tables; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
