"""What a user writes under `receivers:`."""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tocsin.model.settings import Duration, Settings, Size

__all__ = [
    "Endpoint",
    "GrpcReceiverConfig",
    "HttpReceiverConfig",
    "OtlpReceiverConfig",
    "ReceiversConfig",
    "endpoint_of",
]

_MIB = 1024 * 1024
_SMALLEST_REQUEST_LIMIT = 64 * 1024
# grpcio's channel arguments are C ints.
_LARGEST_REQUEST_LIMIT = 2**31 - 1
_ENDPOINT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d{1,5})")


class Endpoint(NamedTuple):
    """Where a receiver listens."""

    host: str
    """A name or an address; IPv6 without its brackets."""
    port: int
    """0 lets the system choose."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; of names, only localhost counts as such."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint_of(text: str) -> Endpoint:
    """Return the endpoint that a person wrote: `127.0.0.1:4317`, `localhost:0`, `[::1]:4317`.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    found = _ENDPOINT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no endpoint; write host:port, like 127.0.0.1:4317, 0.0.0.0:4317 or [::1]:4317")
    port = int(found["port"])
    if port > 65535:
        raise ValueError(f"{text!r} has no valid port; ports go from 0 (any free one) to 65535")
    if found["v6"] is None:
        return Endpoint(found["host"], port)
    try:
        return Endpoint(str(ipaddress.IPv6Address(found["v6"])), port)
    except ValueError as error:
        raise ValueError(f"{text!r} has no IPv6 address in its brackets") from error


def _checked_endpoint(text: str) -> str:
    return str(endpoint_of(text))


def _refuse_tls(_: object) -> None:
    raise ValueError(
        "this version does not serve TLS; leave `tls` out and, for senders on other machines, let a proxy or"
        " collector in front of Tocsin end it"
    )


def _refuse_auth(_: object) -> None:
    raise ValueError(
        "this version does not authenticate senders; leave `auth` out and keep the endpoint on 127.0.0.1 or"
        " behind a proxy that does"
    )


def _checked_limit(size: int) -> int:
    if not _SMALLEST_REQUEST_LIMIT <= size <= _LARGEST_REQUEST_LIMIT:
        raise ValueError(f"{size} bytes is no sensible limit for a request; choose from 64KiB to 2047MiB")
    return size


def _checked_wait(wait: timedelta) -> timedelta:
    if not timedelta(milliseconds=50) <= wait <= timedelta(minutes=10):
        raise ValueError("is no sensible time to wait for a request; choose from 50ms to 10m")
    return wait


_EndpointText = Annotated[str, AfterValidator(_checked_endpoint)]
_RequestLimit = Annotated[Size, AfterValidator(_checked_limit)]
_Wait = Annotated[Duration, AfterValidator(_checked_wait)]


class _ListenerConfig(Settings):
    max_request_size: _RequestLimit = 64 * _MIB
    """A larger request is refused for good; counted after decompression."""
    read_timeout: _Wait = timedelta(seconds=30)
    """For a request to arrive in full; a sender that is slower is cut off."""
    tls: Annotated[None, BeforeValidator(_refuse_tls)] = None
    auth: Annotated[None, BeforeValidator(_refuse_auth)] = None


class GrpcReceiverConfig(_ListenerConfig):
    """OTLP over gRPC, with health and reflection."""

    endpoint: _EndpointText = "127.0.0.1:4317"
    """host:port; beyond 127.0.0.1 anyone who reaches it may send."""
    max_concurrent_streams: int = Field(default=128, ge=1, le=65536)
    """Requests that one connection may have open; a client waits with more."""


class HttpReceiverConfig(_ListenerConfig):
    """OTLP over HTTP: `/v1/traces`, `/v1/logs`, `/v1/metrics`."""

    endpoint: _EndpointText = "127.0.0.1:4318"
    """host:port; beyond 127.0.0.1 anyone who reaches it may send."""
    max_connections: int = Field(default=1024, ge=1, le=65536)
    """Connections open at once; one more is answered 503 and closed."""


class OtlpReceiverConfig(Settings):
    """OTLP over gRPC and HTTP; `null` turns one of them off."""

    grpc: GrpcReceiverConfig | None = GrpcReceiverConfig()
    http: HttpReceiverConfig | None = HttpReceiverConfig()

    @model_validator(mode="after")
    def _listens_somewhere(self) -> "OtlpReceiverConfig":
        if self.grpc is None and self.http is None:
            raise ValueError("both grpc and http are null, so that nothing could be received; leave one of them on")
        return self


class ReceiversConfig(Settings):
    """The ways in."""

    otlp: OtlpReceiverConfig = OtlpReceiverConfig()
