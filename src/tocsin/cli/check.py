"""`tocsin check`: are these files what the service would take?"""

from pathlib import Path
from typing import Annotated

import typer

from tocsin.errors import ConfigError
from tocsin.service.loading import Loaded, Loader

__all__ = ["check"]


def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Configuration files, or files with rules only.")
    ],
) -> None:
    """Validate configuration and rules; needs no network and starts nothing.

    Prints one line for each problem, `file:line:col: what, and what to do`, and exits 1 if there is any.
    """
    failed = False
    for file in files:
        try:
            loaded = Loader(file).check()
        except ConfigError as error:
            failed = True
            for problem in error.problems:
                typer.echo(problem)
        else:
            for warning in loaded.warnings:
                typer.echo(f"{warning} (a warning)")
            typer.echo(f"{file}: {_summary(loaded)}")
    if failed:
        raise typer.Exit(1)


def _summary(loaded: Loaded) -> str:
    written = len(loaded.configuration.rules)
    parts = [_counted(written, "rule")]
    if disabled := written - len(loaded.rules):
        parts[0] += f" ({disabled} disabled)"
    if contacts := len(loaded.configuration.contact_points):
        parts.append(_counted(contacts, "contact point"))
    if len(loaded.files) > 1:
        parts.append(_counted(len(loaded.files), "file"))
    return f"ok, {', '.join(parts)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
