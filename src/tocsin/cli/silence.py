"""`tocsin silence`: says for a while that nobody is told of some alerts; lists silences, and ends them.

With `--config` it works on the database, as `tocsin dead-letters` does: it needs no token, and a service that runs
takes it up within two seconds. Whoever may write the database may do this. Without, it talks to the API of a running
service: `--url` and `--token`, or TOCSIN_URL and TOCSIN_TOKEN.
"""

import asyncio
import getpass
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, assert_never
from urllib.parse import quote

import orjson
import typer

from tocsin.api.silences import LONGEST, document_of
from tocsin.cli.api_place import AsJson, Token, Url, remote_at, say_why
from tocsin.errors import ConfigError
from tocsin.model.settings import nanoseconds, parse_duration
from tocsin.notify.routing.matchers import parse_matchers
from tocsin.notify.routing.silences import Silence, SilenceState, new_silence_id
from tocsin.service.loading import load
from tocsin.storage.config import StorageConfig
from tocsin.storage.visit import visiting
from tocsin.terminal.remote import RefusedError, Remote
from tocsin.terminal.wording import printable

__all__ = ["silence"]

_ROUTE: Final = "/silences"


class Action(StrEnum):
    """What to do."""

    ADD = "add"
    LIST = "list"
    EXPIRE = "expire"


def silence(
    action: Annotated[Action, typer.Argument(help="add MATCHER…, list, or expire ID…")] = Action.LIST,
    what: Annotated[
        list[str] | None, typer.Argument(help="Matchers like 'severity=~\"low|medium\"', or ids of silences.")
    ] = None,
    *,
    url: Url = None,
    token: Token = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Work on the database that this file names, without a token.")
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="add: how long from now, like 2h.")] = "1h",
    comment: Annotated[str, typer.Option(help="add: why.")] = "",
    by: Annotated[str | None, typer.Option(help="With --config: who; the user's name if left out.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="list: expired ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Silence alerts for a while, list silences, or end them."""
    try:
        if config_file is None and by is not None:
            raise ConfigError("silence: --by goes with --config; a service knows who you are by your token")  # noqa: TRY301
        if config_file is None:
            with remote_at(url, token, None) as remote:
                shown = _through(remote, action, what or [], duration, comment, everything=everything)
        else:
            shown = _in_database(
                config_file, action, what or [], duration, comment, by or _user(), everything=everything
            )
    except ConfigError as error:
        say_why(error)
        raise typer.Exit(1) from error
    _show(shown, as_json=as_json)


def _through(
    remote: Remote, action: Action, what: list[str], duration: str, comment: str, *, everything: bool
) -> list[dict[str, Any]]:
    """Do it through a service, and return the silences as it shows them."""
    match action:
        case Action.ADD:
            return [remote.ask("POST", _ROUTE, json={"matchers": what, "duration": duration, "comment": comment})]
        case Action.LIST:
            found = remote.all(_ROUTE, "silences")
            return [one for one in found if everything or one["state"] != SilenceState.EXPIRED.value]
        case Action.EXPIRE:
            return [_ended(remote, one) for one in _ids(what)]
        case _:  # pragma: no cover  # mypy sees to it
            assert_never(action)


def _ended(remote: Remote, silence_id: str) -> dict[str, Any]:
    try:
        return remote.ask("DELETE", f"{_ROUTE}/{quote(silence_id, safe='')}")
    except RefusedError as error:
        if error.status in (404, 409):
            raise ConfigError(f"{silence_id}: there is no such silence, or it is over") from error
        raise


def _in_database(
    config_file: Path, action: Action, what: list[str], duration: str, comment: str, who: str, *, everything: bool
) -> list[dict[str, Any]]:
    """Do it in the database of a configuration, and return the silences as the API would show them."""
    storage = load(config_file).configuration.storage
    match action:
        case Action.ADD:
            found = [_added(storage, what, duration, comment, who)]
        case Action.LIST:
            found = [one for one in asyncio.run(_all(storage)) if everything or _lasts(one)]
        case Action.EXPIRE:
            found = _expired(storage, _ids(what), who)
        case _:  # pragma: no cover  # mypy sees to it
            assert_never(action)
    now = time.time_ns()
    return [document_of(one, now) for one in found]


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


def _ids(what: list[str]) -> list[str]:
    if not what:
        raise ConfigError("silence: which one? `tocsin silence list` shows their ids")
    return what


def _expired(storage: StorageConfig, ids: list[str], who: str) -> list[Silence]:
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


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    for one in found:
        until = f"{one['state']} until {one['ends_at'][:19]}Z"
        text = f"{one['id']} {until} {{{', '.join(one['matchers'])}}} by {one['created_by']}: {one['comment']}"
        typer.echo(printable(text))
    typer.echo(f"{len(found)} silence{'' if len(found) == 1 else 's'}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
