"""HTTP requests of contact points.

To judged addresses only, no redirects, bounded answers, one deadline for it all.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore2
import httpx2

from tocsin import __version__
from tocsin.errors import DeliveryError
from tocsin.notify.egress import Network
from tocsin.notify.wording import clean

__all__ = ["HttpAnswer", "HttpSender", "error_of", "retry_after_of"]

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read where nothing else is said."""
_EXCERPT = 200
_RETRYABLE = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the receiver said."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """The bytes that were read, without our secrets."""
    complete: bool
    """Whether the body ended by itself: not over the limit, not cut off by the deadline or the receiver."""
    excerpt: str
    """Of the body, one clean line."""


class HttpSender:
    """Sends one contact point's requests; connections are kept for the next one."""

    def __init__(
        self,
        network: Network,
        *,
        allow_private: bool,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._timeout = timeout
        self._secrets = tuple(secret.encode() for secret in secrets if secret)
        transport = _Transport(_JudgedBackend(network, allow_private=allow_private), tls or network.tls)
        self._client = httpx2.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            timeout=None,  # one deadline stands around the whole attempt
            headers={"user-agent": f"tocsin/{__version__}", "accept-encoding": "identity", "accept": "*/*"},
        )

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, needs_body: bool = False
    ) -> HttpAnswer:
        """POST; see `request`."""
        return await self.request("POST", url, content, headers, needs_body=needs_body)

    async def request(
        self,
        method: str,
        url: str,
        content: bytes | None,
        headers: Mapping[str, str],
        *,
        needs_body: bool = False,
        most: int = MAX_ANSWER,
    ) -> HttpAnswer:
        """Make a request and return the answer, whatever its status; at most `most` bytes of it are read.

        With `needs_body`, an answer without its whole body is a failure; without it the status alone decides,
        so that a receiver which took the message and dawdles over its answer does not get it again.

        Raises:
            DeliveryError: no answer in time, or no connection (retryable); a refused address (final).
        """
        host = httpx2.URL(url).host
        answer = _Partial()
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange(method, url, content, headers, answer, most)
        except TimeoutError as error:
            if needs_body or answer.status is None:
                raise DeliveryError(f"{host}: no answer within {self._timeout:g} s", retryable=True) from error
        except _NETWORK_ERRORS as error:
            if needs_body or answer.status is None:
                raise DeliveryError(f"{host}: {_said(error)}", retryable=True) from error
        if answer.status is None:  # pragma: no cover  # an exchange ends with a status or an exception
            raise DeliveryError(f"{host}: no answer", retryable=True)
        body = self._without_secrets(bytes(answer.body))
        excerpt = clean(body[: 4 * _EXCERPT].decode(errors="replace"), _EXCERPT)
        return HttpAnswer(answer.status, answer.headers, body, answer.complete, excerpt)

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._client.aclose()

    async def _exchange(
        self,
        method: str,
        url: str,
        content: bytes | None,
        headers: Mapping[str, str],
        answer: "_Partial",
        most: int,
    ) -> None:
        async with self._client.stream(method, url, content=content, headers=dict(headers)) as response:
            answer.status = response.status_code
            answer.headers = dict(response.headers)
            async for chunk in response.aiter_raw():
                answer.body += chunk[: most - len(answer.body)]
                if len(answer.body) >= most:
                    return  # leaving the response unread closes the connection
            answer.complete = True

    def _without_secrets(self, body: bytes) -> bytes:
        """Return what a receiver said without what we told it; that is logged, shown and kept."""
        for secret in self._secrets:
            body = body.replace(secret, b"***")
        return body


def error_of(answer: HttpAnswer, host: str, now_ns: int) -> DeliveryError | None:
    """Return the error that a status means, or None for 2xx.

    408, 425, 429 and 5xx may succeed later, others never.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    said = f"{host} answered {status}" + (f": {answer.excerpt}" if answer.excerpt else "")
    if 300 <= status < 400:
        return DeliveryError(f"{said} (redirects are not followed; configure the final address)", retryable=False)
    retryable = status in _RETRYABLE or status >= 500
    return DeliveryError(said, retryable=retryable, retry_after=retry_after_of(answer.headers, now_ns))


def retry_after_of(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date.

    None where there is none that can be read.
    """
    written = headers.get("retry-after", "").strip()
    if written.isdecimal() and written.isascii():
        return float(written[:9])
    try:
        moment = parsedate_to_datetime(written)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now_ns / 1e9, tz=UTC)).total_seconds())


class _Partial:
    """An answer as far as it arrived."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False


class _JudgedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that the network judged, tried in turn; TLS above it still checks the name."""

    def __init__(self, network: Network, *, allow_private: bool) -> None:
        self._network = network
        self._allow_private = allow_private
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface's own
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first judged address that accepts."""
        last: Exception | None = None
        for address in await self._network.addresses(host, port, allow_private=self._allow_private):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        raise last or httpcore2.ConnectError("no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface's own
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: no contact point has one."""
        raise httpcore2.UnsupportedProtocol("unix sockets are not used")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class _Transport(httpx2.AsyncBaseTransport):
    """httpx2 over a pool whose network backend is ours: httpx2's own transport has no place to put one."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend, tls: ssl.SSLContext) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=4,
            max_keepalive_connections=2,
            keepalive_expiry=30.0,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        response = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Stream(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._response.stream
        if not isinstance(stream, AsyncIterable):  # pragma: no cover  # an async pool gives async streams
            raise httpcore2.ReadError("the answer can't be read")
        async for chunk in stream:
            yield chunk

    async def aclose(self) -> None:
        with contextlib.suppress(*_NETWORK_ERRORS):
            await self._response.aclose()


_NETWORK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    httpx2.HTTPError,
    OSError,
)


def _said(error: BaseException) -> str:
    """Return the cause in words; httpcore2 wraps the operating system's error in its own."""
    origin = error
    while isinstance(inner := origin.__cause__ or next(iter(origin.args), None), BaseException):
        origin = inner
    if isinstance(origin, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({clean(origin.verify_message)}); see ca_file"
    if isinstance(origin, OSError) and origin.strerror:
        return clean(origin.strerror)
    return clean(str(origin) or str(error) or type(error).__name__)
