"""What a user writes under `storage`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from tocsin.model.settings import Duration, Settings

__all__ = ["StorageConfig"]


def _database_url(url: SecretStr) -> SecretStr:
    """Return a PostgreSQL address; the text of an error never repeats it, since it holds a password."""
    try:
        parts = urlsplit(url.get_secret_value())
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("the address can't be read; write it like postgresql://user:password@host:5432/name") from None
    if parts.scheme not in ("postgresql", "postgres") or not port_is_fine:
        raise ValueError("write a PostgreSQL address, like postgresql://user:password@host:5432/name")
    if not parts.path.strip("/") and "dbname=" not in parts.query:
        raise ValueError("the address names no database; write it like postgresql://user:password@host:5432/name")
    return url


class StorageConfig(Settings):
    """What is kept on disk, where, and how long."""

    directory: Path = Path("data")
    """Relative to the working directory; it is made if it is not there, for this user alone."""
    url: Annotated[SecretStr, AfterValidator(_database_url)] | None = None
    """`postgresql://user:password@host:5432/name`, with libpq's parameters (`?sslmode=verify-full`), for alert state,
    history and the outbox. None: SQLite, `tocsin.db` in `directory`."""
    retention: Duration = Field(default=timedelta(days=90), ge=timedelta(hours=1))
    """Alerts that ended, their events and what became of their notifications are kept so long."""
