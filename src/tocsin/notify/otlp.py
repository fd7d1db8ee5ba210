"""Contact point `otlp`: each alert event as a log record to a collector, over gRPC or as protobuf over HTTP.

Source: OTLP 1.x specification. A collector may take a request and reject the record in it (partial success): that is
no delivery, and the same record would be rejected again.
"""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

import grpc
import orjson
from google.protobuf.message import DecodeError as ProtobufDecodeError
from grpc import aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tocsin.errors import ConfigError, DeliveryError
from tocsin.notify.contact import Answer, Attempt, ContactConfig, HttpUrl, host_of, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpSender, retry_after_of
from tocsin.notify.message import Message
from tocsin.notify.otlp_answer import HTTP_RETRYABLE, may_succeed_later, retry_info_of, status_text_of
from tocsin.notify.otlp_record import record_shown, request_of
from tocsin.notify.webhook import checked_headers
from tocsin.notify.wording import clean

__all__ = ["OtlpConfig", "OtlpGrpc", "OtlpHttp", "OtlpProtocol"]

_METHOD: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_PATH: Final = "/v1/logs"
_EXCERPT: Final = 200
_PORTS: Final = {"http": 80, "https": 443}


class OtlpProtocol(StrEnum):
    """How OTLP is carried."""

    GRPC = "grpc"
    HTTP = "http"
    """Protobuf over HTTP/1.1; may also be written http/protobuf, as OpenTelemetry's SDKs do."""


def _protocol(value: object) -> object:
    return OtlpProtocol.HTTP if value == "http/protobuf" else value


def _checked_endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError("an endpoint has no query or fragment; write it like http://collector:4317")
    return url.rstrip("/").removesuffix(_PATH)


def _checked_metadata(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Return headers that gRPC and HTTP can both carry, with names in small letters."""
    lowered = {name.lower(): value for name, value in checked_headers(headers).items()}
    for name, value in lowered.items():
        if name.endswith("-bin") or name.startswith("grpc-") or not set(name) <= _NAME:
            raise ValueError(f"{name!r} is no header's name here; use letters, digits, '-', '_' and '.', and no -bin")
        text = value.get_secret_value()
        if not text or text != text.strip() or not text.isascii() or not text.isprintable():
            raise ValueError(f"the value of header {name!r} is empty or not printable ASCII")
    return lowered


_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class OtlpConfig(ContactConfig):
    """A contact point of type otlp."""

    follows_alerts: ClassVar[bool] = True

    type: Literal["otlp"]
    endpoint: Annotated[HttpUrl, AfterValidator(_checked_endpoint)]
    """`http://host:4317` (plain text) or `https://…` (TLS); with protocol http, `/v1/logs` is added."""
    protocol: Annotated[OtlpProtocol, BeforeValidator(_protocol)] = OtlpProtocol.GRPC
    headers: Annotated[dict[str, SecretStr], AfterValidator(_checked_metadata)] = Field(default_factory=dict)
    """Sent with every request, like authorization."""
    resource: dict[str, str] = Field(default_factory=dict)
    """Attributes of the sender, like deployment.environment.name."""
    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""
    cert_file: Path | None = None
    """PEM: our certificate, for mutual TLS."""
    key_file: Path | None = None
    """PEM: its key."""

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the record."""
        return orjson.dumps(record_shown(message), option=orjson.OPT_INDENT_2).decode()

    @model_validator(mode="after")
    def _fits(self) -> "OtlpConfig":
        parts = urlsplit(self.endpoint)
        if self.protocol is OtlpProtocol.GRPC and parts.path:
            raise ValueError("endpoint: gRPC has no path; leave it out, or set protocol: http")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; give both or none")
        if parts.scheme == "http" and (self.ca_file or self.cert_file):
            raise ValueError("endpoint: http:// is plain text, where certificates say nothing; write https://")
        return self

    def build(self, network: Network) -> "OtlpGrpc | OtlpHttp":
        """Return what sends."""
        return OtlpGrpc(self, network) if self.protocol is OtlpProtocol.GRPC else OtlpHttp(self, network)


class OtlpHttp:
    """OTLP over HTTP."""

    def __init__(self, config: OtlpConfig, network: Network) -> None:
        self._url = f"{config.endpoint}{_PATH}"
        self._resource = config.resource
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        self._headers = {**headers, "content-type": "application/x-protobuf"}
        self._http = HttpSender(
            network,
            allow_private=config.allow_private,
            timeout=config.timeout.total_seconds(),
            tls=tls_from(config.ca_file, config.cert_file, config.key_file),
            secrets=headers.values(),
        )

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """POST the record; only an answer without a rejection is a delivery."""
        content = request_of(message, attempt, self._resource)
        answer = await self._http.post(self._url, content, self._headers)
        host = host_of(self._url)
        if 200 <= answer.status < 300:
            return _taken(host, str(answer.status), answer.body if answer.complete else b"")
        said = f"{host} answered {answer.status}"
        if text := clean(status_text_of(answer.body), _EXCERPT) or answer.excerpt:
            said = f"{said}: {text}"
        if 300 <= answer.status < 400:
            said = f"{said} (redirects are not followed; configure the final address)"
        # 408 and 500 mean to a collector that the request is bad, but a proxy before it means now.
        later = answer.status in HTTP_RETRYABLE or answer.status in (408, 500)
        raise DeliveryError(said, retryable=later, retry_after=retry_after_of(answer.headers, attempt.at_ns))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class OtlpGrpc:
    """OTLP over gRPC, to judged addresses, tried in turn; TLS checks the name."""

    def __init__(self, config: OtlpConfig, network: Network) -> None:
        parts = urlsplit(config.endpoint)
        self._network = network
        self._allow_private = config.allow_private
        self._timeout = config.timeout.total_seconds()
        self._resource = config.resource
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._metadata = tuple((name, value.get_secret_value()) for name, value in config.headers.items())
        self._credentials = _credentials(config) if parts.scheme == "https" else None
        self._channel: aio.Channel | None = None
        self._address = ""

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Export the record; only an answer without a rejection is a delivery."""
        content = request_of(message, attempt, self._resource)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._export(content)
        except TimeoutError as error:
            await self._let_go()
            raise DeliveryError(f"{self._host}: no answer within {self._timeout:g} s", retryable=True) from error
        except aio.AioRpcError as error:
            await self._let_go()
            raise self._failure(error) from error
        return _taken(self._host, "OK", answer)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._let_go()

    async def _export(self, content: bytes) -> bytes:
        addresses = await self._network.addresses(self._host, self._port, allow_private=self._allow_private)
        for number, address in enumerate(addresses, 1):
            channel = await self._channel_to(address)
            call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
            try:
                answer = await call(content, metadata=self._metadata)
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or number == len(addresses):
                    raise
            else:
                return answer
        raise DeliveryError(f"{self._host}: no address found", retryable=True)  # pragma: no cover  # there is one

    async def _channel_to(self, address: str) -> aio.Channel:
        """Return the connection to an address: that of the last record, if it went there and worked."""
        if self._channel is not None and self._address == address:
            return self._channel
        await self._let_go()
        target = f"ipv6:[{address}]:{self._port}" if ":" in address else f"ipv4:{address}:{self._port}"
        name = f"[{self._host}]" if ":" in self._host else self._host
        options: list[tuple[str, str | int]] = [
            # The target is an address, so the name, which the certificate must have too, is said beside it.
            ("grpc.default_authority", f"{name}:{self._port}"),
            # Without it a channel that failed elsewhere in the process would not even try.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
        ]
        if self._credentials is None:
            self._channel = aio.insecure_channel(target, options=options)
        else:
            self._channel = aio.secure_channel(target, self._credentials, options=options)
        self._address = address
        return self._channel

    async def _let_go(self) -> None:
        """Close the connection: after a failure the next attempt is to try at once, not when grpcio thinks fit."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _failure(self, error: aio.AioRpcError) -> DeliveryError:
        text = error.details() or ""
        for _, secret in self._metadata:
            text = text.replace(secret, "***")
        later = may_succeed_later(error)
        said = f"{self._host} answered {error.code().name}: {clean(text, _EXCERPT)}"
        return DeliveryError(said, retryable=later, retry_after=retry_info_of(error) if later else None)


def _taken(host: str, status: str, body: bytes) -> Answer:
    """Return what an ExportLogsServiceResponse says.

    Raises:
        DeliveryError: the record was rejected.
    """
    try:
        partial = ExportLogsServiceResponse.FromString(body).partial_success
    except ProtobufDecodeError:
        return Answer(status)  # the status says that it was taken
    said = clean(partial.error_message, _EXCERPT)
    if partial.rejected_log_records > 0:
        raise DeliveryError(f"{host} rejected the record: {said or 'it did not say why'}", retryable=False)
    return Answer(status, said)


def _credentials(config: OtlpConfig) -> grpc.ChannelCredentials:
    # grpcio says nothing of a file that is no certificate until it connects.
    tls_from(config.ca_file, config.cert_file, config.key_file)
    return grpc.ssl_channel_credentials(
        _content_of(config.ca_file), _content_of(config.key_file), _content_of(config.cert_file)
    )


def _content_of(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror or error}); give a PEM file") from error
