"""`tocsin export`: the spans that were recorded, as files of Parquet."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from tocsin.cli.history_place import place_of
from tocsin.history import exporting
from tocsin.history.portions import EVER
from tocsin.service.backtest.period import parse_period

__all__ = ["export"]


def export(
    *,
    output: Annotated[Path, typer.Option(metavar="DIR|FILE.parquet", help="Where to.")],
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The configuration of the service.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Or its storage.directory.")
    ] = None,
    begin: Annotated[str | None, typer.Option("--from", metavar="TIME", help="7d (ago), 2026-03-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Likewise; up to it.")] = None,
    partition: Annotated[Literal["none", "day"], typer.Option(help="day: a file for each day, by UTC.")] = "none",
) -> None:
    """Write what was recorded to Parquet, for DuckDB, pandas, Spark and others. The service may be running."""
    place = place_of(config, directory)
    period = parse_period(begin, end, time.time_ns())
    written = exporting.export(
        place.journal,
        output,
        times=(EVER[0] if period.begin is None else period.begin, EVER[1] if period.end is None else period.end),
        by_day=partition == "day",
        told=lambda sentence: typer.echo(sentence, err=True),
    )
    for file in written:
        typer.echo(f"{file.path}: {file.rows:,} spans, {file.size:,} bytes")
