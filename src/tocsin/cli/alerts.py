"""`tocsin alerts`: what fires, what fired, one alert with its evidence, acknowledging; and alerts as they change.

It talks to the API of a running service: `--url` and `--token` (or TOCSIN_URL and TOCSIN_TOKEN), or the address that
`--config` says.
"""

import re
import time
from enum import StrEnum
from typing import Annotated, Any, Final

import orjson
import typer

from tocsin.cli.api_place import AsJson, ConfigFile, Token, Url, remote_at, say_why
from tocsin.errors import ConfigError
from tocsin.rules.rule import Severity
from tocsin.terminal.alerts import Chosen, alert_line, alert_lines, event_line, listed, watched
from tocsin.terminal.remote import RefusedError, Remote
from tocsin.terminal.wording import printable

__all__ = ["alerts"]

_MOST: Final = 1000
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Act(StrEnum):
    """What to do."""

    LIST = "list"
    SHOW = "show"
    ACK = "ack"


class State(StrEnum):
    """Which alerts."""

    FIRING = "firing"
    RESOLVED = "resolved"
    ALL = "all"


def alerts(
    act: Annotated[Act, typer.Argument(help="list, show ID… or ack ID…")] = Act.LIST,
    ids: Annotated[list[str] | None, typer.Argument(help="show, ack: ids of alerts.")] = None,
    state: Annotated[State, typer.Option(help="list: firing now, over, or both.")] = State.FIRING,
    rule: Annotated[str | None, typer.Option(help="Of this rule.")] = None,
    project: Annotated[str | None, typer.Option(help="Of this project.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="Of this severity.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="label=value, or a value of any label; may be repeated, and all must hold.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="list: not over by then; RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="list: fired before then; RFC 3339.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="list: how many at most.")] = 100,
    url: Url = None,
    token: Token = None,
    config_file: ConfigFile = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="list: then every change, until interrupted.")] = False,
    as_json: AsJson = False,
) -> None:
    """What fires and what fired, with evidence; acknowledge; watch alerts as they change."""
    chosen = Chosen(
        None if state is State.ALL else state.value,
        rule,
        project,
        None if severity is None else severity.value,
        tuple(group or ()),
        since,
        until,
    )
    try:
        if watch and act is not Act.LIST:
            raise ConfigError("alerts: --watch goes with list alone")  # noqa: TRY301
        with remote_at(url, token, config_file) as remote:
            match act:
                case Act.LIST:
                    _list(remote, chosen, limit, as_json=as_json, watch=watch)
                case Act.SHOW:
                    _show([_one(remote, "GET", one, "") for one in _named(ids, act)], as_json=as_json)
                case Act.ACK:
                    _acknowledge(remote, _named(ids, act), as_json=as_json)
    except ConfigError as error:
        say_why(error)
        raise typer.Exit(1) from error


def _list(remote: Remote, chosen: Chosen, limit: int, *, as_json: bool, watch: bool) -> None:
    found = listed(remote, chosen, limit)
    if as_json and not watch:
        typer.echo(_json(found))
        return
    for one in reversed(found) if watch else found:
        typer.echo(orjson.dumps(one).decode() if as_json else alert_line(one, time.time()))
    if watch:
        for _, document, _ in watched(remote, chosen, lambda text: typer.echo(printable(text), err=True)):
            typer.echo(orjson.dumps(document).decode() if as_json else event_line(document))
        return
    more = "; there may be more, see --limit" if len(found) == limit else ""
    typer.echo(f"{len(found)} alert{'' if len(found) == 1 else 's'}{more}")


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(_json(found))
        return
    for one in found:
        for line in alert_lines(one, time.time()):
            typer.echo(line)


def _acknowledge(remote: Remote, ids: list[str], *, as_json: bool) -> None:
    done = [_one(remote, "POST", one, "/acknowledge") for one in ids]
    if as_json:
        typer.echo(_json(done))
        return
    for one in done:
        typer.echo(printable(f"{one['id']}: {one['acknowledged_by']} looks after it; no reminders until it ends"))


def _one(remote: Remote, method: str, alert_id: str, path: str) -> dict[str, Any]:
    if not _ID.fullmatch(alert_id):
        raise ConfigError(f"{alert_id!r} is no alert's id; `tocsin alerts` shows them")
    try:
        return remote.ask(method, f"/alerts/{alert_id}{path}")
    except RefusedError as error:
        if error.status == 404:
            raise ConfigError(f"{alert_id}: there is no such alert; `tocsin alerts --state all` shows them") from error
        raise


def _named(ids: list[str] | None, act: Act) -> list[str]:
    if not ids:
        raise ConfigError(f"{act}: which one? `tocsin alerts` shows their ids")
    return ids


def _json(document: object) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
