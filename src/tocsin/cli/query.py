"""`tocsin query`: SQL over the spans that were recorded."""

import csv
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
import typer

from tocsin.cli.history_place import place_of
from tocsin.history.asking import Answer, Question, asking
from tocsin.history.portions import EVER
from tocsin.service.backtest.period import parse_moment, parse_period

__all__ = ["query"]

_MOST_SHOWN: Final = 1000
"""Rows of a table, unless --limit says otherwise."""
_WIDEST: Final = 60
"""Characters of a cell in a table."""


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A query; - reads it from standard input.")],
    *,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The configuration of the service.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Or its storage.directory.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Read no older spans: 7d (ago), 2026-03-01.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Read no later ones.")] = None,
    start_time: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="What ${start_time} stands for in the query.")
    ] = None,
    end_time: Annotated[str | None, typer.Option("--end", metavar="TIME", help="What ${end_time} stands for.")] = None,
    interval: Annotated[str | None, typer.Option(metavar="TEXT", help="What ${interval} stands for: '1 hour'.")] = None,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="json: one object a line.")
    ] = "table",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows at the most; a table has 1000.")] = None,
) -> None:
    """Ask DuckDB about what was recorded: `spans`, `alerts`, and the tables that queries of rules read.

    The service may be running. The query can't read files, and reaches no network.
    """
    place = place_of(config, directory)
    now = time.time_ns()
    period = parse_period(begin, end, now)
    question = Question(
        sys.stdin.read() if sql == "-" else sql,
        place.journal,
        (EVER[0] if period.begin is None else period.begin, EVER[1] if period.end is None else period.end),
        start=None if start_time is None else parse_moment(start_time, now, name="--start"),
        end=None if end_time is None else parse_moment(end_time, now, name="--end"),
        interval=interval,
        names=place.names,
        alerts=place.alerts,
    )
    with asking(question, told=lambda sentence: typer.echo(sentence, err=True)) as answer:
        _FORMS[form](answer, limit)


def _table(answer: Answer, limit: int | None) -> None:
    most = limit or _MOST_SHOWN
    rows = [list(map(_shown, row)) for row in islice(answer.rows, most)]
    more = limit is None and next(answer.rows, None) is not None
    widths = [max(map(len, column)) for column in zip(answer.names, *rows, strict=True)]
    for row in (answer.names, ["-" * width for width in widths], *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    count = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    typer.echo(f"{count}, and more: see them with --limit, or --format csv" if more else count, err=True)


def _json(answer: Answer, limit: int | None) -> None:
    for row in _limited(answer.rows, limit):
        line = orjson.dumps(dict(zip(answer.names, map(_plain, row), strict=True)), default=str)
        typer.echo(line.decode())


def _csv(answer: Answer, limit: int | None) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.names)
    writer.writerows([_plain(value) for value in row] for row in _limited(answer.rows, limit))


_FORMS: Final[dict[str, Callable[[Answer, int | None], None]]] = {"table": _table, "json": _json, "csv": _csv}


def _limited(rows: Iterable[Sequence[Any]], limit: int | None) -> Iterable[Sequence[Any]]:
    return rows if limit is None else islice(rows, limit)


def _plain(value: object) -> object:
    """Return a value as JSON and CSV have it; times are of ISO 8601."""
    return value.isoformat() if isinstance(value, datetime | date) else value


def _shown(value: object) -> str:
    """Return a cell for a terminal: one line, and nothing that a terminal would obey."""
    if value is None:
        return ""
    text = f"{value:.10g}" if isinstance(value, float) else str(_plain(value))
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
