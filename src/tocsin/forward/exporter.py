"""Sends one request to the next collector, over gRPC or HTTP, and says what became of it in OTLP's terms.

Which answers mean that a retry can help: see `tocsin.notify.otlp_answer`.
"""

import asyncio
import gzip
import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import time_ns
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError as ProtobufDecodeError
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tocsin.errors import ConfigError, DeliveryError
from tocsin.forward import config as configuration
from tocsin.forward.config import Compression, ForwardTlsConfig, OtlpForwardConfig
from tocsin.forward.entry import Signal
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpSender, retry_after_of
from tocsin.notify.otlp_answer import HTTP_RETRYABLE, may_succeed_later, retry_info_of, status_text_of
from tocsin.notify.wording import clean

__all__ = ["Exporter", "Fate", "Outcome", "exporter_of"]

_EXCERPT: Final = 200
_LONGEST_WISH: Final = 600.0
"""Seconds: no collector may silence us for longer at once."""
_COMPRESS_OFF_LOOP: Final = 64 * 1024
_METHODS: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


class Fate(Enum):
    """What became of a request."""

    TAKEN = "taken"
    LATER = "later"
    """Not taken; it may be, later."""
    REFUSED = "refused"
    """Not taken, now or ever."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a request, or the want of one."""

    fate: Fate
    text: str = ""
    """Why, where it was not taken, or not wholly; one clean line."""
    wait: float | None = None
    """Seconds for which the next collector wishes to be left alone."""
    rejected: int = 0
    """Items that were not taken of a request that was."""


class Exporter(Protocol):
    """A way to the next collector."""

    async def send(self, signal: Signal, data: bytes) -> Outcome:
        """Send a request within the timeout. Raises nothing but cancellation."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


def exporter_of(config: OtlpForwardConfig) -> Exporter:
    """Return what sends; reads certificates, connects to nothing. Called on the event loop that uses it.

    Raises:
        ConfigError: a file can't be used.
    """
    return GrpcExporter(config) if config.protocol is configuration.Protocol.GRPC else HttpExporter(config)


class GrpcExporter:
    """OTLP over gRPC; the bytes are sent as they are."""

    def __init__(self, config: OtlpForwardConfig) -> None:
        self._timeout = config.timeout.total_seconds()
        self._metadata = tuple((name, value.get_secret_value()) for name, value in config.headers.items())
        self._secrets = [value for _, value in self._metadata]
        self._compression = grpc.Compression.Gzip if config.compression is Compression.GZIP else None
        longest = max(100, min(5000, round(config.retry.max.total_seconds() * 1000)))
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
            # Else a channel that failed for long does not even try for two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", round(self._timeout * 1000)),
            ("grpc.max_reconnect_backoff_ms", longest),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
        ]
        if config.secure:
            self._channel = aio.secure_channel(config.target, _credentials(config.tls), options=options)
        else:
            self._channel = aio.insecure_channel(config.target, options=options)
        self._methods: dict[Signal, aio.UnaryUnaryMultiCallable[bytes, bytes]] = {
            signal: self._channel.unary_unary(method) for signal, method in _METHODS.items()
        }

    async def send(self, signal: Signal, data: bytes) -> Outcome:
        """See `Exporter`."""
        try:
            # The deadline is grpcio's own; ours is for a core that does not keep it.
            async with asyncio.timeout(self._timeout + 1.0):
                answer = await self._methods[signal](
                    data, timeout=self._timeout, metadata=self._metadata, compression=self._compression
                )
        except TimeoutError:
            return Outcome(Fate.LATER, f"no answer within {self._timeout:g} s")
        except aio.AioRpcError as error:
            return self._failure(error)
        return _success(answer)

    def _failure(self, error: aio.AioRpcError) -> Outcome:
        later = may_succeed_later(error)
        text = f"{error.code().name}: {_excerpt(error.details() or '', self._secrets)}"
        wait = _bounded(retry_info_of(error)) if later else None
        return Outcome(Fate.LATER if later else Fate.REFUSED, text, wait)

    async def aclose(self) -> None:
        """See `Exporter`."""
        await self._channel.close()


class HttpExporter:
    """OTLP over HTTP, as protobuf."""

    def __init__(self, config: OtlpForwardConfig) -> None:
        self._base = config.base_url
        self._host = config.target
        self._gzip = config.compression is Compression.GZIP
        self._headers = {
            "content-type": "application/x-protobuf",
            **({"content-encoding": "gzip"} if self._gzip else {}),
            **{name: value.get_secret_value() for name, value in config.headers.items()},
        }
        self._secrets = [value.get_secret_value() for value in config.headers.values()]
        # The operator names the next collector, most often a neighbour: private addresses are meant.
        self._sender = HttpSender(
            Network(),
            allow_private=True,
            timeout=config.timeout.total_seconds(),
            tls=_context(config.tls) if config.secure else None,
            secrets=self._secrets,
        )

    async def send(self, signal: Signal, data: bytes) -> Outcome:
        """See `Exporter`."""
        if self._gzip:
            small = len(data) < _COMPRESS_OFF_LOOP
            data = gzip.compress(data, 1) if small else await asyncio.to_thread(gzip.compress, data, 1)
        try:
            answer = await self._sender.post(f"{self._base}/v1/{signal}", data, self._headers)
        except DeliveryError as error:
            return Outcome(Fate.LATER if error.retryable else Fate.REFUSED, str(error))
        if 200 <= answer.status < 300:
            return _success(answer.body if answer.complete else b"")
        text = f"HTTP {answer.status}: {status_text_of(answer.body) or answer.excerpt}"
        if answer.status not in HTTP_RETRYABLE:
            return Outcome(Fate.REFUSED, _excerpt(text, self._secrets))
        wait = retry_after_of(answer.headers, time_ns())
        return Outcome(Fate.LATER, _excerpt(text, self._secrets), _bounded(wait))

    async def aclose(self) -> None:
        """See `Exporter`."""
        await self._sender.aclose()


def _success(answer: bytes) -> Outcome:
    """Return what an Export…ServiceResponse says; those of all signals have the same shape."""
    if not answer:
        return Outcome(Fate.TAKEN)
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except ProtobufDecodeError:
        return Outcome(Fate.TAKEN)  # the status says that it was taken
    return Outcome(Fate.TAKEN, clean(partial.error_message, _EXCERPT), rejected=max(0, partial.rejected_spans))


def _bounded(wait: float | None) -> float | None:
    return None if wait is None else min(max(wait, 0.0), _LONGEST_WISH)


def _excerpt(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return clean(text, _EXCERPT)


def _credentials(tls: ForwardTlsConfig | None) -> grpc.ChannelCredentials:
    tls = tls or ForwardTlsConfig()
    _context(tls)  # grpcio says nothing of a file that is no certificate until it connects
    return grpc.ssl_channel_credentials(
        _bytes_of(tls.ca_file, "ca_file"), _bytes_of(tls.key_file, "key_file"), _bytes_of(tls.cert_file, "cert_file")
    )


def _context(tls: ForwardTlsConfig | None) -> ssl.SSLContext:
    tls = tls or ForwardTlsConfig()
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("ca_file", tls.ca_file, error) from error
    if tls.cert_file is not None:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable("cert_file", tls.cert_file, error) from error
    return context


def _bytes_of(path: Path | None, key: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unusable(key, path, error) from error


def _unusable(key: str, path: Path | None, error: OSError) -> ConfigError:
    reason = "no PEM file of the right kind" if isinstance(error, ssl.SSLError) else error.strerror or "can't be read"
    return ConfigError(f"forward.otlp.tls.{key}: {path} can't be used ({reason}); give PEM files")
