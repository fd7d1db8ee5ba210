"""What a user writes under `forward:`."""

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tocsin.forward.entry import Signal
from tocsin.model.settings import Duration, Settings, Size

__all__ = [
    "Compression",
    "ForwardConfig",
    "ForwardTlsConfig",
    "OtlpForwardConfig",
    "Protocol",
    "QueueConfig",
    "RetryConfig",
]

_MIB: Final = 1024 * 1024
_HEADER_NAME: Final = re.compile(r"[a-z0-9_.-]+")
_OURS: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "transfer-encoding",
        "user-agent",
    }
)
"""Headers that say what is sent; none of them is a user's to set."""
_SIGNAL_PATHS: Final = ("/v1/traces", "/v1/logs", "/v1/metrics")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Protocol(StrEnum):
    """How OTLP is carried."""

    GRPC = "grpc"
    HTTP = "http"
    """Protobuf over HTTP/1.1; may also be written http/protobuf, as OpenTelemetry's SDKs do."""


class Compression(StrEnum):
    """What is done to a request before it is sent."""

    NONE = "none"
    GZIP = "gzip"


def _protocol(value: object) -> object:
    if value == "http/json":
        raise ValueError("'http/json' is not sent: the received bytes go on as protobuf; write http")
    return Protocol.HTTP if value == "http/protobuf" else value


def _endpoint(text: str) -> str:
    """Return an endpoint without what does not matter, or say what would be one."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError as error:
        raise ValueError(f"has no valid port or address ({error}); write it like http://collector:4317") from error
    if parts.scheme not in ("", "http", "https"):
        raise ValueError(f"scheme {parts.scheme!r} is not known; write http://… for plain text, https://… for TLS")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password; put them in headers: {authorization: …}")
    if not parts.hostname or any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("names no host; write it like http://collector:4317")
    if parts.query or parts.fragment:
        raise ValueError("holds a query or fragment; write scheme, host and port, like http://collector:4317")
    if port == 0 or (port is None and not parts.scheme):
        raise ValueError("has no port; write it like http://collector:4317")
    return text.rstrip("/")


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Return the headers with names in small letters, as HTTP/2 wants them."""
    checked: dict[str, SecretStr] = {}
    for written, value in headers.items():
        name = written.lower()
        if not _HEADER_NAME.fullmatch(name) or name.endswith("-bin"):
            raise ValueError(f"{written!r} is no header's name; use letters, digits, '-', '_' and '.', and no -bin")
        if name in _OURS or name.startswith("grpc-"):
            raise ValueError(f"header {written!r} is set by Tocsin itself; leave it out")
        if name in checked:
            raise ValueError(f"header {written!r} is there twice; leave one out")
        text = value.get_secret_value()
        if not text or text != text.strip() or not all(" " <= char <= "~" for char in text):
            raise ValueError(f"the value of header {written!r} is empty or not printable ASCII; check where it is from")
        checked[name] = value
    return checked


def _signals(signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    if not signals or len(set(signals)) < len(signals):
        raise ValueError("name each signal once, at least one: traces, logs, metrics")
    return signals


_Positive = Annotated[Duration, Field(gt=timedelta())]


class ForwardTlsConfig(Settings):
    """How the next collector is trusted, and how it may trust us."""

    insecure: bool = False
    """Plain text: no TLS at all; what `http://` says too."""
    ca_file: Path | None = None
    """PEM; trust these alone instead of the system's certificate authorities."""
    cert_file: Path | None = None
    """PEM; our certificate, for mutual TLS."""
    key_file: Path | None = None
    """PEM; its key."""

    @model_validator(mode="after")
    def _fits(self) -> "ForwardTlsConfig":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; give both or none")
        if self.insecure and (self.ca_file or self.cert_file):
            raise ValueError("insecure means no TLS, so that files say nothing; leave one of them out")
        return self


class QueueConfig(Settings):
    """What waits for the next collector, on disk under `storage.directory`."""

    max_size: Annotated[Size, Field(ge=_MIB)] = 1024 * _MIB
    """Over it the oldest requests are dropped, and counted."""
    max_age: _Positive = timedelta(hours=24)
    """Older requests are dropped, and counted."""


class RetryConfig(Settings):
    """When a request that could not be sent is tried again: twice as late each time, with jitter."""

    initial: _Positive = timedelta(seconds=1)
    """After the first failure."""
    max: _Positive = timedelta(seconds=30)
    """At most so long, unless the next collector itself asks for more."""

    @model_validator(mode="after")
    def _ascends(self) -> "RetryConfig":
        if self.max < self.initial:
            raise ValueError("max is less than initial; give the longest wait, like 30s")
        return self


class OtlpForwardConfig(Settings):
    """The next collector."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    """`http://host:port` (plain text) or `https://host:port` (TLS); `host:port` together with `tls`. With protocol
    http a path may follow; `/v1/traces` and the like are added to it."""
    protocol: Annotated[Protocol, BeforeValidator(_protocol)] = Protocol.GRPC
    compression: Compression = Compression.NONE
    headers: Annotated[dict[str, SecretStr], AfterValidator(_headers)] = Field(default_factory=dict)
    """Sent with every request, for example `authorization`."""
    tls: ForwardTlsConfig | None = None
    signals: Annotated[tuple[Signal, ...], AfterValidator(_signals)] = (Signal.TRACES, Signal.LOGS, Signal.METRICS)
    """What is passed on."""
    add_cost: bool = False
    """Add `app.llm.cost_usd` to each span that has a price; all other bytes stay as they are."""
    timeout: Annotated[_Positive, Field(le=timedelta(minutes=5))] = timedelta(seconds=10)
    """For one attempt, connection included."""
    in_flight: int = Field(default=4, ge=1, le=64)
    """Requests that are sent at once; 1 keeps the order of all requests, more keep each client's own."""
    queue: QueueConfig = QueueConfig()
    retry: RetryConfig = RetryConfig()

    @model_validator(mode="after")
    def _fits(self) -> "OtlpForwardConfig":
        scheme, path = self._parts.scheme, self._parts.path
        if not scheme and self.tls is None:
            raise ValueError(
                f"endpoint: say whether {self.endpoint} speaks TLS: write http://{self.endpoint} (plain text) or"
                f" https://{self.endpoint}"
            )
        if scheme == "http" and self.tls is not None and not self.tls.insecure:
            raise ValueError("tls: the endpoint begins with http://, which is plain text; write https:// or drop 'tls'")
        if scheme == "https" and self.tls is not None and self.tls.insecure:
            raise ValueError("tls.insecure: the endpoint begins with https://; write http:// or drop 'insecure'")
        if self.protocol is Protocol.GRPC and path:
            raise ValueError("endpoint: gRPC has no path; leave it out, or set protocol: http")
        if path.endswith(_SIGNAL_PATHS):
            raise ValueError("endpoint: /v1/traces, /v1/logs and /v1/metrics are added by themselves; leave it out")
        return self

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self._parts.scheme == "https" or (not self._parts.scheme and not (self.tls and self.tls.insecure))

    @property
    def host(self) -> str:
        """The name or address; IPv6 without brackets."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """Where none is written, that of the scheme."""
        return self._parts.port or _DEFAULT_PORTS[self._parts.scheme]

    @property
    def target(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """For HTTP: what `/v1/traces` is added to."""
        return f"{'https' if self.secure else 'http'}://{self.target}{self._parts.path}"

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.endpoint if "://" in self.endpoint else f"//{self.endpoint}")


class ForwardConfig(Settings):
    """Where what was received goes on to."""

    otlp: OtlpForwardConfig | None = None
