"""Receivers that misbehave on command: a contact point's webhook, and the next collector (OTLP over HTTP)."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from chaos_ports import steady_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector", "FaultyReceiver", "Mode", "Seen", "Webhook"]


class Mode(StrEnum):
    """What the receiver does with a request."""

    WELL = "well"
    HANG = "hang"
    """Reads it and answers nothing."""
    RESET = "reset"
    """Cuts the connection before it read anything."""
    LOST_ANSWER = "lost answer"
    """Takes it, and cuts the connection in place of the answer: the sender can't know, and sends it again."""
    BUSY = "429"
    UNAVAILABLE = "503"
    DOWN = "down"
    """Nobody listens."""


_STATUS = {Mode.BUSY: 429, Mode.UNAVAILABLE: 503}


class FaultyReceiver:
    """An HTTP server on a port of its own that it keeps while it is down; a context manager."""

    def __init__(self) -> None:
        self.requests: Counter[Mode] = Counter()
        self._mode = Mode.WELL
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = steady_port()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        with self._changed:
            before, self._mode = self._mode, mode
            self._changed.notify_all()
        if mode is Mode.DOWN:
            self._close()
        elif before is Mode.DOWN:
            self._open()

    def take(self, path: str, headers: dict[str, str], body: bytes, *, taken: bool) -> None:
        """Look at a request; `taken`: it is answered 200."""
        raise NotImplementedError

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Do with a request what the mode says."""
        mode = self._mode
        self.requests[mode] += 1
        if mode is Mode.RESET:
            _cut(handler)
            return
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        if mode is Mode.HANG:
            with self._changed:
                self._changed.wait_for(lambda: self._mode is not Mode.HANG, timeout=60)
        self.take(handler.path, headers, body, taken=mode is Mode.WELL)
        if mode in (Mode.HANG, Mode.LOST_ANSWER, Mode.DOWN):
            _cut(handler)
            return
        handler.send_response(_STATUS.get(mode, 200))
        if mode is Mode.BUSY:
            handler.send_header("Retry-After", "1")
        handler.send_header("Content-Type", "application/x-protobuf")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._mode = Mode.WELL
            self._changed.notify_all()
        self._close()

    def _open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                try:
                    receiver.answer(self)
                except OSError:  # the sender was killed
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _close(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who sends is killed on purpose."""


def _cut(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


@dataclass(frozen=True)
class Seen:
    """One notification as it arrived."""

    at: float
    """`time.monotonic()`."""
    id: str
    """`webhook-id`."""
    alert_id: str
    body: dict[str, Any]
    taken: bool
    """It was answered 200: the sender knows that it arrived."""

    @property
    def rule(self) -> str:
        name: str = self.body["rule"]["name"]
        return name

    @property
    def event(self) -> str:
        word: str = self.body["event"]
        return word

    @property
    def project(self) -> str:
        name: str = self.body["rule"]["project"]
        return name


class Webhook(FaultyReceiver):
    """A contact point's receiver: keeps every notification."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def take(self, path: str, headers: dict[str, str], body: bytes, *, taken: bool) -> None:
        seen = Seen(time.monotonic(), headers["webhook-id"], headers["tocsin-alert-id"], json.loads(body), taken)
        self.seen.append(seen)


class Collector(FaultyReceiver):
    """The next collector: keeps the ids of the spans that reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: Counter[bytes] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, path: str, headers: dict[str, str], body: bytes, *, taken: bool) -> None:
        if not taken:
            return
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.update(span.span_id for span in scope.spans)
