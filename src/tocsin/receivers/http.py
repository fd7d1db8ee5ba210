"""OTLP over HTTP: `/v1/traces`, `/v1/logs` and `/v1/metrics`, as one small ASGI application on uvicorn.

No routing framework stands on this path: three fixed paths need none, and what matters here (a body that is
read, counted, timed and opened in steps) is what a framework hides. See docs/decisions/0016-http-receiver.md.
"""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from tocsin.decode.json import logs_from_json, traces_from_json, translation_size
from tocsin.errors import ConfigError, TocsinError
from tocsin.receivers.admission import Admission, Hold
from tocsin.receivers.authentication import Gate
from tocsin.receivers.compression import DECOMPRESSORS
from tocsin.receivers.config import Endpoint, HttpReceiverConfig, endpoint_of
from tocsin.receivers.http_body import ClientLeftError, opened, read_body
from tocsin.receivers.http_protocol import protocol_class
from tocsin.receivers.intake import Signal
from tocsin.receivers.status import (
    AMBIGUOUS,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    INCOMPLETE,
    INTERNAL,
    METHOD,
    METRICS_DROPPED,
    SHUTTING_DOWN,
    TIMEOUT,
    UNAUTHENTICATED,
    UNKNOWN_PATH,
    Refusal,
    json_status,
    json_success,
    protobuf_status,
    protobuf_success,
    refusal_of,
)
from tocsin.security.certificates import Certificates

__all__ = ["OtlpHttp", "http_receiver"]

_TRANSPORT: Final = "http"
_PROTOBUF: Final = b"application/x-protobuf"
_JSON: Final = b"application/json"
_KEEP_ALIVE_SECONDS: Final = 75  # longer than exporters' intervals (5 s to 60 s), so that they find it open
_OFF_LOOP_SIZE: Final = 64 * 1024  # JSON above this takes milliseconds to translate
_logger = logging.getLogger(__name__)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Path:
    signal: Signal | None
    """None: metrics, which are dropped."""
    rejected_key: str


_PATHS: Final = {
    "/v1/traces": _Path(Signal.TRACES, "rejectedSpans"),
    "/v1/logs": _Path(Signal.LOGS, "rejectedLogRecords"),
    "/v1/metrics": _Path(None, "rejectedDataPoints"),
}


class _RefusedError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class OtlpHttp:
    """The ASGI application; it answers every request, whatever is wrong with it."""

    def __init__(self, config: HttpReceiverConfig, admission: Admission, gate: Gate) -> None:
        self._gate = gate
        self._limit = config.max_request_size
        self._wait = config.read_timeout.total_seconds()
        self._admission = admission

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b", " + value if name in headers else value
        is_json = headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _PROTOBUF
        try:
            body = await self._take(scope, headers, receive)
        except ClientLeftError:
            self._admission.observer.refused(_TRANSPORT, INCOMPLETE.reason)
        except _RefusedError as error:
            await self._refuse(send, error.refusal, is_json=is_json)
        except TocsinError as error:
            error.__traceback__ = None  # its frames hold the body, and the answer may take its time
            await self._refuse(send, refusal_of(error), is_json=is_json)
        except asyncio.CancelledError:
            # Only the end of the drain cancels this task, which nobody awaits; the sender may send again.
            await self._refuse(send, SHUTTING_DOWN, is_json=is_json)
        except Exception:
            _logger.exception("a request could not be taken because of an error inside Tocsin")
            await self._refuse(send, INTERNAL, is_json=is_json)
        else:
            await _answer(send, 200, body, is_json=is_json)

    async def _take(self, scope: _Scope, headers: dict[bytes, bytes], receive: _Receive) -> bytes:
        """Take a request in; return the body of its answer."""
        refusal = self._gate.refusal(value for name, value in scope["headers"] if name == b"authorization")
        if refusal is not None:
            raise _RefusedError(refusal)
        if b"content-length" in headers and b"transfer-encoding" in headers:
            raise _RefusedError(AMBIGUOUS)  # RFC 9112, 6.1: a proxy in front may see another end of it
        path = _PATHS.get(scope["path"])
        if path is None:
            raise _RefusedError(UNKNOWN_PATH)
        if scope["method"] != "POST":
            raise _RefusedError(METHOD)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in (_PROTOBUF, _JSON):
            raise _RefusedError(CONTENT_TYPE)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower().decode("latin-1")
        with Hold(self._admission.budget) as hold:
            data = await self._body(headers, encoding, receive, hold)
            self._admission.observer.received(_TRANSPORT, len(data))
            if path.signal is None:
                receipt = METRICS_DROPPED if kind == _JSON else await self._admission.pass_on(data)
            else:
                if kind == _JSON:
                    data = await _translated(path.signal, data, hold)
                receipt = await self._admission.intake.offer(path.signal, data, transport=_TRANSPORT)
        return json_success(receipt, path.rejected_key) if kind == _JSON else protobuf_success(receipt)

    async def _body(self, headers: dict[bytes, bytes], encoding: str, receive: _Receive, hold: Hold) -> bytes:
        if encoding not in ("identity", "") and encoding not in DECOMPRESSORS:
            raise _RefusedError(CONTENT_ENCODING)
        announced = headers.get(b"content-length", b"0")
        try:
            async with asyncio.timeout(self._wait):
                body = await read_body(receive, hold, int(announced), self._limit)
        except TimeoutError as error:
            raise _RefusedError(TIMEOUT) from error
        return body if encoding in ("identity", "") else await opened(body, encoding, hold, self._limit)

    async def _refuse(self, send: _Send, refusal: Refusal, *, is_json: bool) -> None:
        self._admission.observer.refused(_TRANSPORT, refusal.reason)
        headers: list[tuple[bytes, bytes]] = []
        if refusal.retry_after is not None:
            headers.append((b"retry-after", str(max(1, round(refusal.retry_after))).encode()))
        if refusal is UNAUTHENTICATED:
            headers.append((b"www-authenticate", b"Bearer"))
        if refusal is METHOD:
            headers.append((b"allow", b"POST"))
        if refusal is CONTENT_ENCODING:
            headers.append((b"accept-encoding", b"gzip, deflate, zstd"))
        if refusal in (AMBIGUOUS, TIMEOUT, SHUTTING_DOWN):
            headers.append((b"connection", b"close"))
        body = json_status(refusal) if is_json else protobuf_status(refusal)
        await _answer(send, refusal.http, body, is_json=is_json, extra=headers)


async def _translated(signal: Signal, data: bytes, hold: Hold) -> bytes:
    """Return a JSON request as protobuf.

    Raises:
        TooLargeError: translating it would take more memory than all requests together may.
        OverloadedError: it would take more than there is now.
        DecodeError: it is not OTLP in JSON.
    """
    from_json = traces_from_json if signal is Signal.TRACES else logs_from_json
    size = translation_size(data)
    hold.reserve(size)
    if len(data) < _OFF_LOOP_SIZE:
        translated = from_json(data)
    else:
        translated = await asyncio.to_thread(from_json, data)
    hold.give_back(size)
    return translated


async def _answer(
    send: _Send, status: int, body: bytes, *, is_json: bool, extra: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    headers = [
        (b"content-type", _JSON if is_json else _PROTOBUF),
        (b"content-length", str(len(body)).encode()),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def http_receiver(
    config: HttpReceiverConfig, admission: Admission, gate: Gate, *, drain_seconds: float
) -> AsyncIterator[Endpoint]:
    """Serve OTLP/HTTP while the block runs; yield where it listens.

    At the end nothing new is taken, and requests in flight have `drain_seconds`, rounded up, to be answered.

    Raises:
        ConfigError: the endpoint can't be listened on, or the certificate can't be used.
    """
    endpoint = endpoint_of(config.endpoint)
    async with AsyncExitStack() as stack:
        context = None
        if config.tls is not None:
            certificates = await stack.enter_async_context(Certificates(config.tls, "receivers.otlp.http").watched())
            context = certificates.context
        listener = await _listening_socket(endpoint)
        server = _server(config, OtlpHttp(config, admission, gate), admission, drain_seconds)
        server.config.load()
        server.config.ssl = context
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="otlp-http-receiver")
        try:
            await server.is_up.wait()
            yield Endpoint(endpoint.host, listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


def _server(
    config: HttpReceiverConfig, application: OtlpHttp, admission: Admission, drain_seconds: float
) -> "_EmbeddedServer":
    protocol = protocol_class(
        admission.observer,
        header_seconds=config.read_timeout.total_seconds(),
        max_connections=config.max_connections,
    )
    return _EmbeddedServer(
        uvicorn.Config(
            application,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=16 * 1024,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(drain_seconds),
        )
    )


class _EmbeddedServer(uvicorn.Server):
    """uvicorn as a part of a process that has its own signal handlers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _listening_socket(endpoint: Endpoint) -> socket.socket:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"receivers.otlp.http.endpoint: cannot listen on {endpoint}: {error.strerror or error}"
        ) from error
