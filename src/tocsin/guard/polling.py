"""The way of a guard where gRPC is blocked: it asks the API again and again, and each question waits for news.

Of the standard library alone, and imported where it is needed.
"""

import http.client
import json
import socket
import ssl
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlsplit

from google.protobuf.json_format import ParseDict

from tocsin.guard import guard_pb2
from tocsin.guard.watched import Watched

__all__ = ["PollError", "Polling"]

_PATH: Final = "/api/v1/blocks/watch"
_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 5.0
"""Beyond what a question may wait for news."""
_LARGEST_LINE: Final = 64 * 1024 * 1024


class PollError(Exception):
    """The API refused, or what answered is none."""


class Polling:
    """One connection to the API. One thread owns it, but for `cancel`."""

    def __init__(self, url: str, token: str | None, tls: ssl.SSLContext | None, watched: Watched) -> None:
        """Make it; it connects when it is asked.

        Args:
            url: of the API, with its prefix.
            token: of the API, with the role `read`.
            tls: for https; None: the system's trust.
            watched: what is kept up to date.

        Raises:
            ValueError: `url` is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of an API; write it like http://127.0.0.1:8417")
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._watched = watched
        self._connection: http.client.HTTPConnection | None = None

    def poll(self, seconds: float) -> bool:
        """Ask once, wait so long for news, and take what comes; return whether there was any.

        Raises:
            OSError, PollError, http.client.HTTPException, ValueError, ParseError: it did not work.
        """
        before = instance, version = self._watched.position
        target = f"{self._prefix}{_PATH}?instance={quote(instance)}&version={version}&wait={seconds:g}"
        try:
            connection = self._connected(seconds)
            connection.request("GET", target, headers=self._headers)
            with connection.getresponse() as answer:
                self._take(answer)
        except BaseException:
            self.close()
            raise
        return self._watched.position != before

    def _take(self, answer: http.client.HTTPResponse) -> None:
        if answer.status != http.client.OK:
            said = answer.read(1_000).decode("utf-8", "replace")
            raise PollError(f"{answer.status} {answer.reason}: {_detail(said)}")
        self._watched.begin()
        while line := answer.readline(_LARGEST_LINE):
            found = ParseDict(json.loads(line), guard_pb2.WatchResponse(), ignore_unknown_fields=True)
            self._watched.take(found, "http")

    def cancel(self) -> None:
        """End a question that waits, from another thread."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self, seconds: float) -> http.client.HTTPConnection:
        connection = self._connection
        if connection is None or connection.sock is None:
            if self._tls is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
            else:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=_CONNECT_SECONDS, context=self._tls
                )
            self._connection = connection
            connection.connect()
        connection.sock.settimeout(seconds + _ANSWER_SECONDS)
        return connection


def _detail(said: str) -> str:
    with suppress(ValueError, AttributeError):
        return str(json.loads(said).get("detail", ""))[:200]
    return said[:100]
