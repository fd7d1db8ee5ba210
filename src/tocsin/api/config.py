"""What a user writes under `api:`."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from tocsin.model.settings import Settings
from tocsin.notify.contact import Rate, RateLimit
from tocsin.security.config import TlsConfig, TokenConfig, check_exposure, check_tokens
from tocsin.security.endpoint import endpoint_of
from tocsin.security.roles import Role

__all__ = ["ApiConfig"]

_HOST = re.compile(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+")


def _endpoint(text: str) -> str:
    return str(endpoint_of(text))


def _base_path(text: str) -> str:
    if not re.fullmatch(r"(/[\w.~-]+)*/?", text):
        raise ValueError(f"{text[:80]!r} is no path; write one that begins with '/', like /tocsin")
    return text.rstrip("/")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("should be a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("links in notifications begin with it, so it holds no user or password")
    return text


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is no host; write a name or address without port, like tocsin.example.com")
    return names


class ApiConfig(Settings):
    """Where the API, the metrics and the health checks listen, and for whom."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = "127.0.0.1:8417"
    base_path: Annotated[str, AfterValidator(_base_path)] = ""
    """Put before every route, where a proxy serves several things under one name."""
    public_url: Annotated[str, AfterValidator(_url)] | None = None
    """How people reach it: the beginning of links in notifications."""
    tls: TlsConfig | None = None
    tokens: tuple[TokenConfig, ...] = ()
    """Who may use it. Without any, everybody who reaches it."""
    allow_unauthenticated: bool = False
    """Whether it may be open to everybody beyond 127.0.0.1."""
    allowed_hosts: Annotated[tuple[str, ...], AfterValidator(_hosts)] = ()
    """Names by which it may be asked for, besides its own, where no tokens are asked for."""
    rate_limit: RateLimit = Field(default=Rate(100, 1.0))
    """Of one client's address; None: no limit."""

    @model_validator(mode="after")
    def _safe(self) -> "ApiConfig":
        check_tokens(self.tokens, Role.READ)
        check_exposure(
            endpoint_of(self.endpoint),
            tls=self.tls,
            tokens="tokens",
            has_tokens=bool(self.tokens),
            allow_unauthenticated=self.allow_unauthenticated,
        )
        return self
