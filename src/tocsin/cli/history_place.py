"""Where a history lies: what `--config` or `--directory` of the commands that read it mean."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from tocsin.rules.sql.config import SqlConfig
from tocsin.service.loading import load
from tocsin.storage.alerts import AlertRow
from tocsin.storage.config import StorageConfig
from tocsin.storage.visit import visiting

__all__ = ["Place", "place_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """A history, and what belongs to it."""

    journal: Path
    names: SqlConfig
    alerts: Callable[[], Sequence[AlertRow]]


def place_of(config: Path | None, directory: Path | None) -> Place:
    """Return the place that was named with one of the two.

    Raises:
        ConfigError: the configuration is wrong.
    """
    if (config is None) == (directory is None):
        raise typer.BadParameter("name the service's --config FILE, or the --directory that it keeps its data in")
    if config is not None:
        configuration = load(config).configuration
        storage, names = configuration.storage, configuration.sql
    else:
        assert directory is not None  # noqa: S101  # one of the two is given
        own = directory.name == "journal" and not (directory / "journal").exists()
        storage, names = StorageConfig(directory=directory.parent if own else directory), SqlConfig()
    return Place(storage.directory / "journal", names, lambda: asyncio.run(_alerts(storage)))


async def _alerts(storage: StorageConfig) -> list[AlertRow]:
    async with visiting(storage) as visit:
        return await visit.alerts()
