"""Connections: to SQLite's file, for one process and its readers, or to PostgreSQL by an address that is a secret."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin.errors import ConfigError
from tocsin.storage.config import StorageConfig

__all__ = ["FILE", "engine_of", "is_corrupt", "move_aside", "prepare_directory", "reason_of"]

FILE: Final = "tocsin.db"
_CONNECT_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 30.0
_BUSY_MS: Final = 5_000
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def engine_of(config: StorageConfig) -> AsyncEngine:
    """Return the engine for what is configured; connects to nothing yet.

    Raises:
        ConfigError: PostgreSQL is wanted and its driver is not installed.
    """
    if config.url is not None:
        return _postgresql(config.url.get_secret_value())
    return _sqlite(config.directory / FILE)


def prepare_directory(config: StorageConfig) -> None:
    """Make the directory, and SQLite's file that nobody else may read.

    Raises:
        ConfigError: they can't be made.
    """
    try:
        config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config.url is None:
            # SQLite gives its -wal and -shm the permissions of this file.
            os.close(os.open(config.directory / FILE, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"storage.directory: {config.directory}: can't be used ({error.strerror}); name a directory that this user "
            f"may write to"
        ) from error


def move_aside(path: Path) -> Path:
    """Rename a corrupt database with its journals, and return its new name; what is lost is known to its reader."""
    target = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    for suffix in ("-shm", "-wal", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


def is_corrupt(error: BaseException) -> bool:
    """Whether an error says that SQLite's file is damaged or none of SQLite's."""
    cause: BaseException | None = error
    while cause is not None:
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _CORRUPT:
            return True
        cause = getattr(cause, "orig", None) or cause.__cause__
    return False


def reason_of(error: BaseException) -> str:
    """Return what to say of a database's error: its kind and first line, and never statements, values or addresses."""
    cause = getattr(error, "orig", None) or error
    inner = cause.__cause__ or cause
    name = type(inner).__name__
    if isinstance(inner, OSError):
        return f"{name}: {os.strerror(inner.errno) if inner.errno else 'no answer'}"
    if isinstance(inner, sqlite3.Error):
        return f"{name}: {inner}"
    # Of PostgreSQL's errors only the state: its messages may quote the user, the address or what was written.
    state = getattr(inner, "sqlstate", None)
    return f"{name} ({state})" if state else name


def _sqlite(path: Path) -> AsyncEngine:
    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)), hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's own
        connection.isolation_level = None  # transactions begin below, and hold DDL too
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A snapshot counts on what was committed before it, so that must survive a power loss too.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        # A writer that begins as a reader can't always become one; a reader must not wait for the writer.
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> AsyncEngine:
    try:
        import asyncpg  # type: ignore[import-untyped]  # an optional dependency
    except ImportError as error:
        raise ConfigError("storage.url: PostgreSQL needs its driver; pip install 'tocsin[postgres]'") from error

    async def connect() -> Any:  # noqa: ANN401  # the driver has no types
        # The driver reads the address itself: libpq's parameters work, and no repr of ours has the password.
        return await asyncpg.connect(
            dsn=url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings={"application_name": "tocsin"},
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
    )
