"""`tocsin import`: rules of Prometheus, Datadog, Grafana and Loki as rules of this service."""

import sys
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from tocsin.errors import ConfigError
from tocsin.rules.importing import KINDS, Imported, import_rules

__all__ = ["import_"]

_WIDTH = 110


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Rule files, or queries; - is standard input.")],
    *,
    kind: Annotated[
        str | None, typer.Option("--from", help=f"{', '.join(KINDS)}; left out: what a file looks like.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the rules here instead of printing them.")] = None,
) -> None:
    """Print rules of other tools as YAML for `rule_files:`; exit 1 where something has no equivalent.

    What has none is said on standard error, each with why and what works, and so is what was taken for what.
    """
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="--from")
    imported = Imported()
    for file in files:
        imported.merge(_imported(file, kind))
    for what, taken in imported.notes:
        typer.echo(f"note: {what}: {taken}", err=True)
    for what, why in imported.refused:
        typer.echo(f"not imported: {what}: {why}", err=True)
    if imported.rules:
        text = _yaml(imported.rules)
        if output is None:
            typer.echo(text, nl=False)
        else:
            _write(output, text)
            typer.echo(f"{output}: {len(imported.rules)} rule{'' if len(imported.rules) == 1 else 's'}", err=True)
    if imported.refused or not imported.rules:
        raise typer.Exit(1)


def _imported(file: str, kind: str | None) -> Imported:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: it can't be read: {error}") from error
    found = import_rules(text, kind)
    return Imported(found.rules, [(f"{file}: {what}", why) for what, why in found.refused], found.notes)


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output}: it can't be written: {error}") from error


def _yaml(rules: list[dict[str, Any]]) -> str:
    writer = YAML()
    writer.width = _WIDTH
    writer.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    writer.dump({"rules": [_written(rule) for rule in rules]}, out)
    return out.getvalue()


def _written(rule: dict[str, Any]) -> dict[str, Any]:
    """Texts of several lines as blocks, so that an expression can be read."""
    return {
        key: LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
        for key, value in rule.items()
    }
