"""How aiokafka reaches brokers that Tocsin has judged, and what its errors mean.

A cluster names its own brokers, so judging the configured ones is not enough: whoever answers first could name the
machine's own services. aiokafka has no place for a way of connecting, so its one function that makes connections is
replaced by one that asks who wants it; for everybody else in the process it is what it was.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import aiokafka.client
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection

from tocsin.errors import DeliveryError
from tocsin.notify.egress import Network
from tocsin.notify.wording import clean

__all__ = ["Way", "abandon", "failure_of"]

_EXCERPT: Final = 200
_FAREWELL: Final = 1.0
"""Seconds for closing connections that may not answer."""
_FINAL: Final = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.RecordTooLargeError,
    kafka.InvalidTopicError,
    kafka.InvalidTimestampError,
    kafka.PolicyViolationError,
    kafka.TopicAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.UnsupportedSaslMechanismError,
    kafka.IllegalSaslStateError,
    kafka.SecurityDisabled,
    kafka.UnsupportedVersionError,
    kafka.UnsupportedForMessageFormatError,
)
"""Errors that the same record meets again; after every other one it may be taken."""
_ADVICE: Final = {
    kafka.SaslAuthenticationFailed: "check username and password",
    kafka.UnsupportedSaslMechanismError: "the broker has other mechanisms",
    kafka.TopicAuthorizationFailedError: "the user may not write to the topic",
    kafka.ClusterAuthorizationFailedError: "the user may not write idempotently",
    kafka.UnknownTopicOrPartitionError: "there is no such topic, and the brokers do not make it",
    kafka.MessageSizeTooLargeError: "the topic takes no record of this size",
}


class Way:
    """The way to one contact point's brokers."""

    def __init__(self, network: Network, *, allow_private: bool, password: str = "") -> None:
        self.refusal: DeliveryError | None = None
        """Why a broker of this attempt is not connected to, for good."""
        self.trouble = ""
        """What the last broker that was tried said, or why there is no connection to it."""
        self._network = network
        self._allow_private = allow_private
        self._password = password

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Let connections go this way that are made within, also by tasks that begin within."""
        self.refusal, self.trouble = None, ""
        before = _WAY.set(self)
        try:
            yield
        finally:
            _WAY.reset(before)

    async def connected(self, connection: AIOKafkaConnection) -> AIOKafkaConnection:
        """Connect, and note why that fails: aiokafka itself only says that no broker can be reached."""
        try:
            await connection.connect()
        except kafka.KafkaError as error:
            self.trouble = self.said(error)
            if isinstance(error, _FINAL):
                self.refusal = DeliveryError(f"{connection.host}: {self.trouble}", retryable=False)
            raise
        except (OSError, TimeoutError) as error:
            self.trouble = self.said(error)
            raise
        return connection

    async def create_connection(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        *,
        ssl: ssl.SSLContext | None,  # the loop's own name for it
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Connect to a judged address; TLS checks the name."""
        try:
            sock = await self._network.connect(host, port, allow_private=self._allow_private)
        except DeliveryError as error:
            if not error.retryable:
                self.refusal = error
            raise ConnectionError(str(error)) from error
        try:
            return await asyncio.get_running_loop().create_connection(
                factory, sock=sock, ssl=ssl, server_hostname=host if ssl is not None else None
            )
        except BaseException:
            sock.close()
            raise

    def said(self, error: BaseException) -> str:
        """Return an error in one clean line without the password."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({clean(error.verify_message)}); see ca_file"
        advice = next((f"; {text}" for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
        if isinstance(error, TimeoutError | kafka.RequestTimedOutError):
            return "a broker does not answer"
        text = str(error) or type(error).__name__
        if self._password:
            text = text.replace(self._password, "***")
        return f"{clean(text, _EXCERPT)}{advice}"


_WAY: ContextVar[Way | None] = ContextVar("way", default=None)
_usual: Final = aiokafka.client.create_conn


class _Loop:
    """An event loop whose connections go a way; everything else is the loop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, way: Way) -> None:
        self._loop = loop
        self.create_connection = way.create_connection

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the loop has
        return getattr(self._loop, name)


async def _connection(host: str, port: int, **options: Any) -> AIOKafkaConnection:  # noqa: ANN401  # aiokafka's own
    way = _WAY.get()
    if way is None:
        return await _usual(host, port, **options)
    connection = AIOKafkaConnection(host, port, **options)
    connection._loop = _Loop(connection._loop, way)
    return await way.connected(connection)


aiokafka.client.create_conn = _connection
if logging.getLogger("aiokafka").level == logging.NOTSET:
    # It says ten times a second that a broker is down; the outbox says so once an attempt.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def failure_of(error: Exception, named: str, way: Way) -> DeliveryError:
    """Return the failure that an error of aiokafka's or of the system's means.

    Args:
        error: what was raised.
        named: where to.
        way: the way there; it knows why there was no connection.
    """
    said = way.said(error)
    if isinstance(error, kafka.KafkaConnectionError) and way.trouble:
        said = way.trouble
    return DeliveryError(f"{named}: {said}", retryable=not isinstance(error, _FINAL))


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer without waiting for what it holds, which its own end would."""
    producer._closed = True
    sending = producer._sender.sender_task
    if sending is not None:
        sending.cancel()
    with contextlib.suppress(TimeoutError, kafka.KafkaError, OSError):
        async with asyncio.timeout(_FAREWELL):
            # Requests under way end with their connections.
            await producer.client.close()
            if sending is not None:
                await asyncio.wait([sending])
