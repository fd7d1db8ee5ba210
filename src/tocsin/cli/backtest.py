"""`tocsin backtest`: what would these rules have done?"""

import json as json_module
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tocsin.pricing import PriceBook
from tocsin.rules.problems import closest
from tocsin.rules.rule import Rule
from tocsin.service.backtest import (
    BacktestError,
    Files,
    History,
    Progress,
    Report,
    Source,
    Version,
    as_json,
    parse_period,
)
from tocsin.service.backtest import backtest as run
from tocsin.service.backtest.charts import chart, check_chart
from tocsin.service.backtest.sample import sample_files
from tocsin.service.backtest.text import text_of
from tocsin.service.loading import Loaded, Loader

__all__ = ["backtest"]


def backtest(
    *,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The configuration, or a file with rules only."),
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="The bundled day of traffic, and its rules.")] = False,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this rule; twice: one against the other."),
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="7d (ago), 2026-03-01, 2026-03-01T03:14Z.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Likewise; left out: as far as it goes.")
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--input", metavar="FILE", help="OTLP requests in place of the recorded history; more than one."),
    ] = None,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]…", help="More files for --input.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Another version of the rules, to compare with."),
    ] = None,
    charts: Annotated[
        list[Path] | None,
        typer.Option("--chart", metavar="FILE", help="Draw it: .html, .svg or .png; more than one."),
    ] = None,
    as_recorded: Annotated[
        bool,
        typer.Option(
            "--as-recorded/--sorted",
            help="The history in the portions in which it came, as the service evaluated it; or by time, faster.",
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Replay spans through the engine, and show when each rule would have fired and been notified.

    Spans come from the history that the service recorded (storage.directory of --config), or from files of OTLP
    requests as the collector's file exporter writes them: JSON lines or protobuf, gzip or zstd, traces and logs mixed.

    Exit code 0 whatever the rules did, 1 where the backtest could not be done, 2 for wrong usage.
    """
    if sample:
        config, bundled = sample_files() if config is None else (config, sample_files()[1])
        inputs = [*(inputs or ()), bundled]
    if config is None:
        raise typer.BadParameter("name the rules with --config FILE, or see the bundled day with --sample")
    if files and not inputs:
        raise typer.BadParameter(f"name files of OTLP requests with --input {files[0]}")
    for path in charts or ():
        check_chart(path)
    period = parse_period(begin, end, time.time_ns())
    loaded, chosen = _loaded(config, rule)
    source = _source(loaded, [*(inputs or ()), *(files or ())], sort=not as_recorded, sample=sample)
    version = None if against is None else Version(str(against), _loaded(against, rule)[1])
    with _progress() as progress:
        report = run(
            chosen,
            source,
            period=period,
            trace=loaded.configuration.trace,
            limits=loaded.configuration.limits,
            name=str(config),
            against=version,
            pairs=[(chosen[0], chosen[1])] if rule and len(chosen) == 2 and version is None else (),
            progress=progress,
        )
    for path in charts or ():
        chart(report, path)
    _show(report, json=json)


def _show(report: Report, *, json: bool) -> None:
    for problem in report.problems:
        typer.echo(problem, err=True)
    if report.problem_count > len(report.problems):
        typer.echo(f"… and {report.problem_count - len(report.problems):,} more problems", err=True)
    if json:
        typer.echo(json_module.dumps(as_json(report), allow_nan=False, ensure_ascii=False))
    else:
        typer.echo(text_of(report))


def _loaded(config: Path, names: Sequence[str] | None) -> tuple[Loaded, list[Rule]]:
    """Return a configuration and the rules to test; disabled ones can be named.

    Raises:
        ConfigError: the file is wrong.
        BacktestError: there is no such rule.
    """
    loaded = Loader(config).check()
    if not names:
        return loaded, list(loaded.rules)
    by_name = {each.name: each for each in loaded.rules}
    for name in names:
        if name not in by_name:
            raise BacktestError(f"{config}: no enabled rule {name!r}{closest(name, by_name) or ''}")
    return loaded, [by_name[name] for name in dict.fromkeys(names)]


def _source(loaded: Loaded, inputs: Sequence[Path], *, sort: bool, sample: bool) -> Source:
    if not inputs:
        return History(loaded.configuration.storage.directory / "journal", sort=sort)
    prices, attributes = PriceBook(loaded.configuration.prices), loaded.configuration.attributes
    return Files(inputs, prices, attributes, name="the bundled day" if sample and len(inputs) == 1 else None)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None] | None]:
    """Show a bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.fields[spans]:,} spans"), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=1.0, spans=0)
        yield lambda now: bar.update(task, completed=now.done, spans=now.spans)
