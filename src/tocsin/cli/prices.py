"""`tocsin prices MODEL`: what a call of a model costs, by which table, and why."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tocsin.errors import ConfigError
from tocsin.model.batch import ABSENT
from tocsin.pricing import PriceBook, PriceExplanation, PricesConfig, Usage

__all__ = ["prices"]


def prices(
    model: Annotated[str, typer.Argument(help="The model, as spans write it.", metavar="MODEL")],
    *,
    provider: Annotated[str | None, typer.Option(help="Who is asked; left out: by the model's name.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose discount counts.")] = None,
    at: Annotated[datetime | None, typer.Option(help="When, in UTC; left out: now.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A configuration file with `prices:`."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    input_tokens: Annotated[int | None, typer.Option("--input", help="Read, cached ones included.", min=0)] = None,
    output: Annotated[int | None, typer.Option(help="Tokens generated, reasoning included.", min=0)] = None,
    cache_read: Annotated[int | None, typer.Option(help="Of the input, read from a cache.", min=0)] = None,
    cache_write: Annotated[int | None, typer.Option(help="Of the input, written to a cache.", min=0)] = None,
    cache_write_1h: Annotated[int | None, typer.Option(help="Of the cache writes, for an hour.", min=0)] = None,
    reasoning: Annotated[int | None, typer.Option(help="Of the output.", min=0)] = None,
    input_audio: Annotated[int | None, typer.Option(help="Of the input.", min=0)] = None,
    output_audio: Annotated[int | None, typer.Option(help="Of the output.", min=0)] = None,
) -> None:
    """Show what a call of a model costs and why; exit 1 where no table knows the model."""
    counts = (
        input_tokens,
        cache_read,
        cache_write,
        cache_write_1h,
        input_audio,
        output,
        reasoning,
        output_audio,
    )
    usage = Usage(*(ABSENT if count is None else count for count in counts))
    moment = time.time_ns() if at is None else int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()) * 10**9
    try:
        book = PriceBook(_config_of(config) if config else PricesConfig())
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    explanation = book.explain(provider, model, usage=usage, tenant=tenant, at=moment)
    if json:
        typer.echo(orjson.dumps(asdict(explanation), default=str))
    else:
        typer.echo("\n".join(_text(explanation)), err=not explanation.priced)
    if not explanation.priced:
        raise typer.Exit(1)


def _config_of(path: Path) -> PricesConfig:
    """Return the `prices:` of a configuration file.

    Raises:
        ConfigError: the file is no YAML, or its prices are wrong.
    """
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    section = document.get("prices") if isinstance(document, dict) else None
    try:
        return PricesConfig.model_validate(section or {})
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False, include_input=False):
            where = ".".join(("prices", *map(str, problem["loc"])))
            problems.append(f"{path}: {where}: {problem['msg'].removeprefix('Value error, ')}")
        raise ConfigError(*problems) from error


def _text(why: PriceExplanation) -> list[str]:
    asked = f"{why.provider}/{why.model}" if why.provider else why.model
    if not why.priced:
        lines = [f"{asked}: no price: {why.reason}."]
        if why.matched:
            lines.append(f"Found as {why.matched} in {why.table}.")
        if why.near:
            lines.append(f"Did you mean {', '.join(why.near)}?")
        return [*lines, "Give it a price under `prices: overrides:` in the configuration file."]
    lines = [f"{asked}: priced as {why.matched} ({why.table})"]
    if why.valid_from is not None:
        lines.append(f"  since {_day(why.valid_from)}")
    if why.valid_to is not None:
        lines.append(f"  until {_day(why.valid_to)}")
    if why.above is not None:
        lines.append(f"  for calls with more than {why.above:,} input tokens")
    if why.discount:
        lines.append(f"  discount {why.discount}")
    for line in why.lines:
        per = "per call" if line.kind == "request" else "per 1M tokens"
        borrowed = f" (as {line.priced_as})" if line.priced_as not in (None, line.kind) else ""
        price = f"${_plain(line.price)} {per}{borrowed}" if line.priced_as else "not billed"
        spent = f"{line.tokens:>12,} = ${_plain(line.usd)}" if why.total_nano is not None else ""
        lines.append(f"  {line.kind:<15}{price:<36}{spent}".rstrip())
    if why.total_nano is not None:
        lines.append(f"  {'total':<51}{'':>12}   ${_plain(Decimal(why.total_nano) / 10**9)}")
    return lines


def _plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _day(moment_ns: int) -> str:
    return f"{datetime.fromtimestamp(moment_ns // 10**9, UTC):%Y-%m-%d %H:%M} UTC"
