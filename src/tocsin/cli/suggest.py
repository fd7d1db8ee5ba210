"""`tocsin suggest`: which thresholds does history suggest?"""

import json as json_module
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tocsin.errors import ConfigError
from tocsin.pricing import PriceBook
from tocsin.rules.document import parse
from tocsin.rules.problems import closest
from tocsin.rules.rule import Rule
from tocsin.service.backtest import BacktestError, Files, History, Source, parse_period
from tocsin.service.backtest.sample import sample_files
from tocsin.service.loading import Loaded, Loader, load_text
from tocsin.service.suggest import as_json
from tocsin.service.suggest import suggest as run
from tocsin.service.suggest.text import text_of

__all__ = ["suggest"]

_FOR_TEMPLATES = ("templates", "sql", "timezone", "sampling")
"""Sections of a configuration that templates read."""


def suggest(
    *,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The configuration, or a file with rules only.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="The bundled day of traffic, and its rules.")] = False,
    rule: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this rule; more than one.")] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A ready rule, in place of those of --config; more than one."),
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
    per_week: Annotated[
        float, typer.Option(min=0, help="How many notifications of a rule a week are few enough.")
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what each rule measured, and how often other thresholds would have fired and told people.

    Spans come from the history that the service recorded (storage.directory of --config), or from files of OTLP
    requests, as for `tocsin backtest`. Rules are tried as they are, with all but their thresholds.

    Exit code 0 whatever there is to suggest, 1 where it could not be done, 2 for wrong usage.
    """
    if sample:
        config, bundled = sample_files() if config is None else (config, sample_files()[1])
        inputs = [*(inputs or ()), bundled]
    if config is None and not (template and inputs):
        raise typer.BadParameter("name the rules with --config FILE, or see the bundled day with --sample")
    if files and not inputs:
        raise typer.BadParameter(f"name files of OTLP requests with --input {files[0]}")
    period = parse_period(begin, end, time.time_ns())
    loaded = None if config is None else Loader(config).check()
    rules = _of_templates(template, config) if template else _chosen(loaded, rule)
    paths, sampled = [*(inputs or ()), *(files or ())], sample and not files
    with _progress() as progress:
        found = run(
            rules,
            lambda: _source(loaded, paths, sample=sampled and len(paths) == 1),
            period=period,
            trace=None if loaded is None else loaded.configuration.trace,
            limits=None if loaded is None else loaded.configuration.limits,
            per_week=per_week,
            progress=progress,
        )
    if json:
        typer.echo(json_module.dumps(as_json(found), allow_nan=False, ensure_ascii=False))
    else:
        typer.echo(text_of(found))


def _chosen(loaded: Loaded | None, names: Sequence[str] | None) -> list[Rule]:
    rules = [] if loaded is None else list(loaded.rules)
    by_name = {each.name: each for each in rules}
    for name in names or ():
        if name not in by_name:
            raise BacktestError(f"no enabled rule {name!r}{closest(name, by_name) or ''}")
    return [by_name[name] for name in dict.fromkeys(names)] if names else rules


def _of_templates(names: Sequence[str], config: Path | None) -> list[Rule]:
    """Return rules of templates with their own parameters; the configuration may have templates of its own."""
    written: dict[str, object] = {"rules": [{"template": name} for name in dict.fromkeys(names)]}
    if config is not None:
        document, _ = parse(config.read_text(encoding="utf-8"), str(config))
        for key in _FOR_TEMPLATES:
            if (node := document.root.child(key)) is not None:
                written[key] = node.plain()
    try:
        return list(load_text(json_module.dumps(written), file="--template").rules)
    except ConfigError as error:
        told = (problem.partition(": ")[2] for problem in error.problems)
        raise BacktestError("; ".join(f"--template: {problem}" for problem in told)) from error


def _source(loaded: Loaded | None, inputs: Sequence[Path], *, sample: bool) -> Source:
    if loaded is None:
        from tocsin.pricing import PricesConfig

        return Files(inputs, PriceBook(PricesConfig()))
    if not inputs:
        return History(loaded.configuration.storage.directory / "journal", sort=True)
    prices, attributes = PriceBook(loaded.configuration.prices), loaded.configuration.attributes
    return Files(inputs, prices, attributes, name="the bundled day" if sample else None)


@contextmanager
def _progress() -> Iterator[Callable[[float], None] | None]:
    """Show a bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=1.0)
        yield lambda done: bar.update(task, completed=done)
