"""`tocsin block`: see what is blocked, block and lift by hand, ask as an application would.

It talks to the API of a running service: `--url` and `--token` (or TOCSIN_URL and TOCSIN_TOKEN), or the address that
`--config` says.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

import orjson
import typer

from tocsin.cli.api_place import AsJson, ConfigFile, Token, Url, remote_at, say_why
from tocsin.errors import ConfigError
from tocsin.terminal.remote import RefusedError, Remote
from tocsin.terminal.wording import printable

__all__ = ["Act", "block"]

_ROUTE: Final = "/blocks"


class Act(StrEnum):
    """What to do."""

    LIST = "list"
    ADD = "add"
    REMOVE = "remove"
    CHECK = "check"
    HISTORY = "history"


def block(
    act: Annotated[Act, typer.Argument(help="What to do.")] = Act.LIST,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[LABEL=VALUE]...", help="Like conversation=conv-42.")
    ] = None,
    ttl: Annotated[str, typer.Option(help="add: for how long.")] = "1h",
    reason: Annotated[str | None, typer.Option(help="add, remove: why, for the history.")] = None,
    url: Url = None,
    token: Token = None,
    config_file: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """The kill switch: what is blocked, blocking and lifting by hand. `check` exits with 3 where a key is blocked."""
    try:
        pairs = [_pair(text) for text in keys or ()]
        if act in (Act.ADD, Act.REMOVE, Act.CHECK) and not pairs:
            raise ConfigError(f"{act}: say what, like conversation=conv-42")  # noqa: TRY301
        with remote_at(url, token, config_file) as remote:
            document, lines, code = _done(remote, act, pairs, ttl, reason)
    except ConfigError as error:
        say_why(error)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in lines:
            typer.echo(printable(line))
    if code:
        raise typer.Exit(code)


def _done(
    remote: Remote, act: Act, pairs: list[tuple[str, str]], ttl: str, reason: str | None
) -> tuple[object, list[str], int]:
    """Return the document for programs, the lines for people and the exit code."""
    match act:
        case Act.LIST:
            found = [one for one in remote.all(_ROUTE, "blocks") if not pairs or (one["label"], one["value"]) in pairs]
            return found, [*map(_line, found), f"{len(found)} blocked"], 0
        case Act.HISTORY:
            told = [one for one in remote.all(f"{_ROUTE}/history", "changes") if not pairs or _key(one) in pairs]
            return told, [_told(one) for one in told], 0
        case Act.ADD:
            bodies = [{"label": label, "value": value, "ttl": ttl, "reason": reason} for label, value in pairs]
            if not reason:
                raise ConfigError("add: say why with --reason; it is what the application and the history show")
            made = [remote.ask("POST", _ROUTE, json=body) for body in bodies]
            return made, [f"blocked: {_line(one)}" for one in made], 0
        case Act.REMOVE:
            why = {"reason": reason} if reason else {}
            gone = [_lifted(remote, {"label": label, "value": value, **why}) for label, value in pairs]
            return gone, [f"lifted: {one['label']}={one['value']}" for one in gone], 0
        case Act.CHECK:
            if len(dict(pairs)) != len(pairs):
                raise ConfigError("check: each label once")
            answer = remote.ask("GET", f"{_ROUTE}/check", params=dict(pairs))
            return answer, [_answer(answer)], 3 if answer["blocked"] else 0


def _lifted(remote: Remote, key: dict[str, str]) -> dict[str, Any]:
    try:
        return remote.ask("DELETE", _ROUTE, params=key)
    except RefusedError as error:
        if error.status == 404:
            raise ConfigError(f"{key['label']}={key['value']}: it is not blocked") from error
        raise


def _pair(text: str) -> tuple[str, str]:
    label, equals, value = text.partition("=")
    if not (equals and label and value):
        raise ConfigError(f"{text!r}: write LABEL=VALUE, like conversation=conv-42")
    return label, value


def _key(document: dict[str, Any]) -> tuple[str, str]:
    return document["label"], document["value"]


def _line(one: dict[str, Any]) -> str:
    return f"{one['label']}={one['value']} until {one['until'][:19]}Z by {one['by']}: {one['reason']}"


def _told(one: dict[str, Any]) -> str:
    return f"{one['at'][:19]}Z {one['action']} {one['label']}={one['value']} by {one['by']}: {one['reason']}"


def _answer(answer: dict[str, Any]) -> str:
    if not answer["blocked"]:
        return "not blocked"
    return f"blocked: {answer['label']}={answer['value']} until {answer['until'][:19]}Z: {answer['reason']}"
