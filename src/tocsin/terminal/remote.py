"""The API of a running service, as commands ask it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2
import orjson

from tocsin.errors import ConfigError
from tocsin.security.endpoint import endpoint_of
from tocsin.service.loading import load

__all__ = ["Event", "RefusedError", "Remote", "address_of"]

_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 60.0
"""A stream of events is alive: the service says so every 15 seconds."""
_PAGE: Final = 1000
_LOCAL: Final = "http://127.0.0.1:8417"
_TOKEN_WANTED: Final = "this API wants a token: --token, or TOCSIN_TOKEN in the environment"  # noqa: S105  # a text

Event = tuple[str, dict[str, Any], str | None]
"""(its kind, its document, its id) of a server-sent event."""


class RefusedError(ConfigError):
    """The service answered, and said no; `status` is the answer's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Remote:
    """The API of a running service; a context manager."""

    def __init__(self, url: str, token: str | None) -> None:
        """Make it; nothing is opened.

        Args:
            url: where the service is, its base path included.
            token: a bearer token; None: none is sent.

        Raises:
            ConfigError: `url` is no address.
        """
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.url = url
        try:
            self._client = httpx2.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)
        except (httpx2.InvalidURL, UnicodeEncodeError) as error:  # a header is ASCII
            raise self._silent(error) from error

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._client.close()

    def ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # as httpx2 takes it
        """Return an answer's document; `path` is below `/api/v1`.

        Raises:
            ConfigError: there is no service, or (`RefusedError`) it refuses; the text says why.
        """
        try:
            answer = self._client.request(method, f"/api/v1{path}", **more)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._silent(error) from error
        return self._document(answer)

    def all(self, path: str, name: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return a list with all its pages; see `ask`."""
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"limit": _PAGE, **(params or {})}
        while True:
            page = self.ask("GET", path, params=asked)
            found += page[name]
            if page["next_cursor"] is None:
                return found
            asked["cursor"] = page["next_cursor"]

    @contextmanager
    def events(self, last: str | None = None) -> Iterator[Iterator[Event]]:
        """Give the service's events until it ends the stream; `last` is the id of the last one that was seen.

        Raises:
            ConfigError: see `ask`; also from the iterator, where the connection breaks.
        """
        headers = {} if last is None else {"last-event-id": last}
        timeout = httpx2.Timeout(_SECONDS, read=_SILENT_SECONDS)
        try:
            with self._client.stream("GET", "/api/v1/events", headers=headers, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    self._document(answer)
                yield _events(answer.iter_lines())
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> ConfigError:
        why = str(error) or type(error).__name__
        return ConfigError(f"{self.url}: no answer ({why}); does the service run, and is this its API?")

    def _document(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            found = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise ConfigError(f"{self.url}: that is no API of Tocsin; see --url")
        if answer.status_code == 401:
            raise RefusedError(f"{self.url}: {_TOKEN_WANTED}", 401)
        if answer.is_error:
            fields = "; ".join(f"{one['field']}: {one['detail']}" for one in found.get("errors", ()))
            text = f"{self.url}: {answer.status_code}: {fields or found.get('detail')}"
            raise RefusedError(text, answer.status_code)
        return found


def address_of(url: str | None, config_file: Path | None) -> str:
    """Return where the API is: as said, or as a configuration says, or on this machine's usual port.

    Raises:
        ConfigError: the configuration is not valid.
    """
    if url is not None:
        return url.rstrip("/")
    if config_file is None:
        return _LOCAL
    api = load(config_file).configuration.api
    if api.public_url is not None:
        return api.public_url.rstrip("/")
    endpoint = endpoint_of(api.endpoint)
    host = "127.0.0.1" if endpoint.host == "0.0.0.0" else endpoint.host  # noqa: S104  # where it listens
    place = f"[{host}]:{endpoint.port}" if ":" in host else f"{host}:{endpoint.port}"
    return f"{'https' if api.tls else 'http'}://{place}{api.base_path}"


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Yield events from the lines of a stream; comments say only that it lives."""
    kind, data = "message", ""
    number: str | None = None
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "data":
                data += value
            case "id":
                number = value
            case _ if not line and data:
                yield kind, orjson.loads(data), number
                kind, data = "message", ""
            case _:
                pass
