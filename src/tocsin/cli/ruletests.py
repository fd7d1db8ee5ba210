"""`tocsin test`: do these rules fire when they should, and keep silent when they should?"""

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tocsin.errors import ConfigError
from tocsin.service.ruletests import SuiteResult, run_file
from tocsin.service.ruletests.junit import junit_of
from tocsin.service.ruletests.text import lines_of, summary_of

__all__ = ["ruletests"]


def ruletests(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of tests.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the results as JUnit's XML, for CI.")
    ] = None,
) -> None:
    """Run unit tests of rules: spans and series at times, expected alerts, expected silence.

    Exit code 0 where all is as expected, 1 where a test failed or a file is wrong, 2 for wrong usage.
    """
    suites: list[SuiteResult] = []
    problems: list[str] = []
    for file in files:
        try:
            suites.append(run_file(file))
        except ConfigError as error:
            problems += error.problems
    if junit is not None:
        _write(junit, junit_of(suites))
    if json:
        typer.echo(json_module.dumps(_as_json(suites, problems), ensure_ascii=False, allow_nan=False))
    else:
        _print(suites)
        for problem in problems:
            typer.echo(problem, err=True)
    if problems or not all(suite.ok for suite in suites):
        raise typer.Exit(1)


def _as_json(suites: list[SuiteResult], problems: list[str]) -> dict[str, Any]:
    return {
        "version": "1",
        "ok": not problems and all(suite.ok for suite in suites),
        "problems": problems,
        "files": [
            {**asdict(suite), "ok": suite.ok, "cases": [{**asdict(case), "ok": case.ok} for case in suite.cases]}
            for suite in suites
        ],
    }


def _print(suites: list[SuiteResult]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for suite in suites:
        for line in lines_of(suite):
            console.print(line)
    if suites:
        console.print(summary_of(suites))


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: it can't be written: {error.strerror}") from error
