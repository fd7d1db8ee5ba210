"""What a user writes under `receivers:`."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from tocsin.model.settings import Duration, Settings, Size
from tocsin.security.config import AuthConfig, TlsConfig, check_exposure
from tocsin.security.endpoint import Endpoint, endpoint_of

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


def _checked_endpoint(text: str) -> str:
    return str(endpoint_of(text))


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
    endpoint: _EndpointText
    max_request_size: _RequestLimit = 64 * _MIB
    """A larger request is refused for good; counted after decompression."""
    read_timeout: _Wait = timedelta(seconds=30)
    """For a request to arrive in full; a sender that is slower is cut off."""
    tls: TlsConfig | None = None
    auth: AuthConfig | None = None
    """Who may send; None: everybody who reaches it."""
    allow_unauthenticated: bool = False
    """Whether everybody may send who reaches it from other machines."""

    @model_validator(mode="after")
    def _asks_who_is_there(self) -> Self:
        check_exposure(
            endpoint_of(self.endpoint),
            tls=self.tls,
            tokens="auth with tokens",
            has_tokens=self.auth is not None,
            allow_unauthenticated=self.allow_unauthenticated,
        )
        return self


class GrpcReceiverConfig(_ListenerConfig):
    """OTLP over gRPC, with health and reflection."""

    endpoint: _EndpointText = "127.0.0.1:4317"
    """host:port; beyond 127.0.0.1 it asks who is there, or is told to be open."""
    max_concurrent_streams: int = Field(default=128, ge=1, le=65536)
    """Requests that one connection may have open; a client waits with more."""
    max_connections: int = Field(default=1024, ge=1, le=65536)
    """Connections open at once; one more is closed at once."""

    @field_validator("tls")
    @classmethod
    def _version_that_grpc_can_ask_for(cls, tls: TlsConfig | None) -> TlsConfig | None:
        if tls is not None and tls.min_version != "1.2":
            raise ValueError(
                "gRPC's own TLS takes 1.2 and 1.3 and can't be told to refuse 1.2; leave min_version out here"
            )
        return tls


class HttpReceiverConfig(_ListenerConfig):
    """OTLP over HTTP: `/v1/traces`, `/v1/logs`, `/v1/metrics`."""

    endpoint: _EndpointText = "127.0.0.1:4318"
    """host:port; beyond 127.0.0.1 it asks who is there, or is told to be open."""
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
