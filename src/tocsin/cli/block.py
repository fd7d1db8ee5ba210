"""`tocsin block`: see what is blocked, block and lift by hand, ask as an application would.

It talks to the API of a running service: `--url` and `--token` (or TOCSIN_URL and TOCSIN_TOKEN), or the address that
`--config` says.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import orjson
import typer

from tocsin.errors import ConfigError
from tocsin.security.endpoint import endpoint_of
from tocsin.service.loading import load

__all__ = ["Act", "block"]

_SECONDS: Final = 15.0
_PAGE: Final = 1000
_ROUTE: Final = "/api/v1/blocks"


class Act(StrEnum):
    """What to do."""

    LIST = "list"
    ADD = "add"
    REMOVE = "remove"
    CHECK = "check"
    HISTORY = "history"


class _Service:
    """The API of a running service."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._url = url
        self._client = httpx2.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)

    def ask(self, method: str, path: str = "", **more: Any) -> dict[str, Any]:  # noqa: ANN401  # as httpx2 takes it
        """Return an answer's document.

        Raises:
            ConfigError: there is no service, or it refuses; the text says why.
        """
        try:
            answer = self._client.request(method, _ROUTE + path, **more)
            found = orjson.loads(answer.content)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ConfigError(
                f"{self._url}: no answer ({error}); does the service run, and is this its API?"
            ) from error
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{self._url}: that is no API of Tocsin; see --url") from error
        if answer.status_code == 404 and method == "DELETE":
            raise ConfigError("it is not blocked")
        if answer.is_error:
            details = [f"{one['field']}: {one['detail']}" for one in found.get("errors", ())] or [found.get("detail")]
            raise ConfigError(f"{self._url}: {answer.status_code}: {'; '.join(map(str, details))}")
        document: dict[str, Any] = found
        return document

    def all(self, path: str, name: str) -> list[dict[str, Any]]:
        """Return a list with all its pages."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            params = {"limit": str(_PAGE)} | ({} if cursor is None else {"cursor": cursor})
            page = self.ask("GET", path, params=params)
            found += page[name]
            cursor = page["next_cursor"]
            if cursor is None:
                return found


def block(
    act: Annotated[Act, typer.Argument(help="What to do.")] = Act.LIST,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[LABEL=VALUE]...", help="Like conversation=conv-42.")
    ] = None,
    ttl: Annotated[str, typer.Option(help="add: for how long.")] = "1h",
    reason: Annotated[str | None, typer.Option(help="add, remove: why, for the history.")] = None,
    url: Annotated[str | None, typer.Option(envvar="TOCSIN_URL", help="The API, like http://127.0.0.1:8417.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Of the API; better in TOCSIN_TOKEN, as others see options.")
    ] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="Take the address from this file.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """The kill switch: what is blocked, blocking and lifting by hand. `check` exits with 3 where a key is blocked."""
    try:
        pairs = [_pair(text) for text in keys or ()]
        if act in (Act.ADD, Act.REMOVE, Act.CHECK) and not pairs:
            raise ConfigError(f"{act}: say what, like conversation=conv-42")  # noqa: TRY301
        service = _Service(_url(url, config_file), token or os.environ.get("TOCSIN_TOKEN"))
        document, lines, code = _done(service, act, pairs, ttl, reason)
    except ConfigError as error:
        typer.echo(_printable(str(error)), err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in lines:
            typer.echo(_printable(line))
    if code:
        raise typer.Exit(code)


def _done(
    service: _Service, act: Act, pairs: list[tuple[str, str]], ttl: str, reason: str | None
) -> tuple[object, list[str], int]:
    """Return the document for programs, the lines for people and the exit code."""
    match act:
        case Act.LIST:
            found = [one for one in service.all("", "blocks") if not pairs or (one["label"], one["value"]) in pairs]
            return found, [*map(_line, found), f"{len(found)} blocked"], 0
        case Act.HISTORY:
            told = [one for one in service.all("/history", "changes") if not pairs or _key(one) in pairs]
            return told, [_told(one) for one in told], 0
        case Act.ADD:
            bodies = [{"label": label, "value": value, "ttl": ttl, "reason": reason} for label, value in pairs]
            if not reason:
                raise ConfigError("add: say why with --reason; it is what the application and the history show")
            made = [service.ask("POST", json=body) for body in bodies]
            return made, [f"blocked: {_line(one)}" for one in made], 0
        case Act.REMOVE:
            why = {"reason": reason} if reason else {}
            gone = [service.ask("DELETE", params={"label": label, "value": value, **why}) for label, value in pairs]
            return gone, [f"lifted: {one['label']}={one['value']}" for one in gone], 0
        case Act.CHECK:
            if len(dict(pairs)) != len(pairs):
                raise ConfigError("check: each label once")
            answer = service.ask("GET", "/check", params=dict(pairs))
            return answer, [_answer(answer)], 3 if answer["blocked"] else 0


def _url(url: str | None, config_file: Path | None) -> str:
    if url is not None:
        return url.rstrip("/")
    if config_file is None:
        return "http://127.0.0.1:8417"
    api = load(config_file).configuration.api
    if api.public_url is not None:
        return api.public_url.rstrip("/")
    endpoint = endpoint_of(api.endpoint)
    host = "127.0.0.1" if endpoint.host == "0.0.0.0" else endpoint.host  # noqa: S104  # where it listens
    place = f"[{host}]:{endpoint.port}" if ":" in host else f"{host}:{endpoint.port}"
    return f"{'https' if api.tls else 'http'}://{place}{api.base_path}"


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


def _printable(text: str) -> str:
    """Values come from outside: none of them begins a line of its own or moves the cursor."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
