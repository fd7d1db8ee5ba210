"""`tocsin silence`: says for a while that nobody is told of some alerts; lists silences, and ends them.

It works on the database, as `tocsin dead-letters` does: it needs no token, and a service that runs takes it up within
two seconds. Whoever may write the database may do this.
"""

import asyncio
import getpass
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, assert_never

import orjson
import typer

from tocsin.api.silences import LONGEST, document_of
from tocsin.errors import ConfigError
from tocsin.model.settings import nanoseconds, parse_duration
from tocsin.notify.message import rfc3339
from tocsin.notify.routing.matchers import parse_matchers
from tocsin.notify.routing.silences import Silence, SilenceState, new_silence_id
from tocsin.service.loading import load
from tocsin.storage.config import StorageConfig
from tocsin.storage.visit import visiting

__all__ = ["silence"]


class Action(StrEnum):
    """What to do."""

    ADD = "add"
    LIST = "list"
    EXPIRE = "expire"


def silence(
    action: Annotated[Action, typer.Argument(help="add MATCHER…, list, or expire ID…")],
    what: Annotated[
        list[str] | None, typer.Argument(help="Matchers like 'severity=~\"low|medium\"', or ids of silences.")
    ] = None,
    *,
    config_file: Annotated[Path, typer.Option("--config", help="The configuration file.")],
    duration: Annotated[str, typer.Option("--for", help="add: how long from now, like 2h.")] = "1h",
    comment: Annotated[str, typer.Option(help="add: why.")] = "",
    by: Annotated[str | None, typer.Option(help="Who; the user's name if left out.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="list: expired ones too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: an array of objects.")] = False,
) -> None:
    """Silence alerts for a while, list silences, or end them."""
    try:
        storage = load(config_file).configuration.storage
        who = by or _user()
        match action:
            case Action.ADD:
                shown = [_added(storage, what or [], duration, comment, who)]
            case Action.LIST:
                shown = [one for one in asyncio.run(_all(storage)) if everything or _lasts(one)]
            case Action.EXPIRE:
                shown = _expired(storage, what or [], who)
            case _:  # pragma: no cover  # mypy sees to it
                assert_never(action)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    _show(shown, as_json=as_json)


def _added(storage: StorageConfig, written: list[str], duration: str, comment: str, who: str) -> Silence:
    now = time.time_ns()
    try:
        matchers = parse_matchers(written)
        lasts = parse_duration(duration)
    except ValueError as error:
        raise ConfigError(f"silence: {error}") from error
    if not matchers:
        raise ConfigError("silence: name at least one matcher, like rule=runaway, or everything would be silent")
    if not 0 < nanoseconds(lasts) <= nanoseconds(LONGEST):
        raise ConfigError("silence: --for should be more than nothing and at most a year, like 2h")
    made = Silence(new_silence_id(), matchers, now, now + nanoseconds(lasts), comment[:2_000], who, now, now)
    asyncio.run(_add(storage, made))
    return made


async def _add(storage: StorageConfig, made: Silence) -> None:
    async with visiting(storage) as visit:
        await visit.add_silence(made)


async def _all(storage: StorageConfig) -> list[Silence]:
    async with visiting(storage) as visit:
        return await visit.silences(time.time_ns())


def _expired(storage: StorageConfig, ids: list[str], who: str) -> list[Silence]:
    if not ids:
        raise ConfigError("silence: which one? `tocsin silence list` shows their ids")
    missing, ended = asyncio.run(_expire(storage, ids, who))
    if missing:
        raise ConfigError(*(f"{one}: there is no such silence, or it is over" for one in missing))
    return ended


async def _expire(storage: StorageConfig, ids: list[str], who: str) -> tuple[list[str], list[Silence]]:
    async with visiting(storage) as visit:
        now = time.time_ns()
        missing = [one for one in ids if not await visit.end_silence(one, who, now)]
        return missing, [one for one in await visit.silences(now) if one.id in ids and one.id not in missing]


def _lasts(one: Silence) -> bool:
    return one.state(time.time_ns()) is not SilenceState.EXPIRED


def _show(found: list[Silence], *, as_json: bool) -> None:
    now = time.time_ns()
    if as_json:
        typer.echo(orjson.dumps([document_of(one, now) for one in found], option=orjson.OPT_INDENT_2).decode())
        return
    for one in found:
        matchers = ", ".join(map(str, one.matchers))
        until = f"{one.state(now)} until {rfc3339(one.ends_at)[:19]}Z"
        text = f"{one.id} {until} {{{matchers}}} by {one.created_by}: {one.comment}"
        # Comments come from outside: none begins a line of its own or moves the cursor.
        typer.echo("".join(char if char.isprintable() else ascii(char)[1:-1] for char in text))
    typer.echo(f"{len(found)} silence{'' if len(found) == 1 else 's'}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
