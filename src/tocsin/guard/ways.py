"""How a guard reaches the service: gRPC, the API over HTTP, or first the one and then the other."""

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from tocsin.guard.watched import Watched

if TYPE_CHECKING:
    from tocsin.guard.polling import Polling

__all__ = ["Tls", "Ways"]

Tls: TypeAlias = bool | str | bytes | grpc.ChannelCredentials
_OPTIONS: Final = (
    # A connection that died without a word is found within seconds; the service allows a ping every 10 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class Ways:
    """Addresses, and what is shown there."""

    endpoint: str | None
    """HOST:PORT of the OTLP/gRPC listener."""
    http: str | None
    """URL of the API."""
    credentials: grpc.ChannelCredentials | None
    trust: ssl.SSLContext | None
    """For https; None: the system's."""
    token: str | None

    @classmethod
    def of(cls, endpoint: str | None, http: str | None, tls: Tls, token: str | None) -> "Ways":
        """Return the ways that somebody named; see `Guard`.

        Raises:
            ValueError: an address can't be, or there is none.
            OSError: the CA's file can't be read.
        """
        if endpoint is None and http is None:
            raise ValueError("give an endpoint, or the address of the API as http")
        scheme, mark, rest = (endpoint or "").rstrip("/").partition("://")
        if mark and scheme not in ("http", "https", "grpc", "grpcs"):
            raise ValueError(f"{endpoint!r} is no endpoint; write HOST:PORT, like 127.0.0.1:4317")
        if mark and scheme in ("https", "grpcs") and tls is False:
            tls = True
        made = cls(rest if mark else endpoint, http, _credentials(tls), _trust(tls), token)
        made.polling(Watched())  # an address that can't be is said at once
        return made

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call over gRPC."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def channel(self) -> grpc.Channel | None:
        """Return a new channel; None where gRPC is not wanted."""
        if self.endpoint is None:
            return None
        if self.credentials is None:
            return grpc.insecure_channel(self.endpoint, list(_OPTIONS))
        return grpc.secure_channel(self.endpoint, self.credentials, list(_OPTIONS))

    def polling(self, watched: Watched) -> "Polling | None":
        """Return what asks over HTTP; None where that is not wanted."""
        if self.http is None:
            return None
        from tocsin.guard.polling import Polling  # who follows by gRPC alone needs none of it

        return Polling(self.http, self.token, self.trust, watched)


def _credentials(tls: Tls) -> grpc.ChannelCredentials | None:
    match tls:
        case False:
            return None
        case True:
            return grpc.ssl_channel_credentials()
        case str() | bytes():
            return grpc.ssl_channel_credentials(root_certificates=_pem(tls))
        case _:
            return tls


def _trust(tls: Tls) -> ssl.SSLContext | None:
    return ssl.create_default_context(cadata=_pem(tls).decode("ascii")) if isinstance(tls, str | bytes) else None


def _pem(tls: str | bytes) -> bytes:
    if isinstance(tls, bytes):
        return tls
    with open(tls, "rb") as file:
        return file.read()
