"""What a user writes about TLS and tokens, at the API and at each listener alike."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import core_schema

from tocsin.model.settings import Settings
from tocsin.security.endpoint import Endpoint
from tocsin.security.roles import Role

__all__ = ["AuthConfig", "IngestTokenConfig", "TlsConfig", "TokenConfig", "TokenHash", "check_exposure", "check_tokens"]

_SHORTEST = 16
"""Characters of a token. Hashes are fast to try, so a token must not be guessable: see `tocsin token`."""
_LONGEST = 512
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_HASH = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TokenHash:
    """The SHA-256 of a token: all that is kept of one. It shows itself to nobody, as even a hash can be tried out."""

    digest: bytes = field(repr=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Accept what the validators below made, and dump as asterisks."""
        hidden = core_schema.plain_serializer_function_ser_schema(lambda _: "**********")
        return core_schema.is_instance_schema(cls, serialization=hidden)


def _hashed(token: object) -> object:
    """Return what is kept of a token that stands in the configuration; the text itself goes no further."""
    if token is None or isinstance(token, TokenHash):
        return token
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not _SHORTEST <= len(token) <= _LONGEST:
        raise ValueError(
            f"a token is {_SHORTEST} to {_LONGEST} letters, digits and -._~+/ in quotes; `tocsin token` makes one"
        )
    return TokenHash(hashlib.sha256(token.encode("ascii")).digest())


def _written_hash(text: object) -> object:
    if text is None or isinstance(text, TokenHash):
        return text
    found = _HASH.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError("a hash is written as sha256: and 64 hexadecimal digits; `tocsin token` prints one")
    return TokenHash(bytes.fromhex(found[1]))


def _version_text(version: object) -> object:
    """A person writes 1.3 without quotes, which YAML takes for a number."""
    return str(version) if isinstance(version, float) else version


def _checked_projects(projects: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if projects is not None and not projects:
        raise ValueError("an empty list would open nothing; name projects, or leave the key out for all of them")
    return projects


class TlsConfig(Settings):
    """A listener's certificate, and whose certificates it asks for. Paths are relative to the working directory."""

    cert_file: Path
    """PEM: the certificate and those between it and its root."""
    key_file: Path
    """PEM: its private key, not encrypted."""
    client_ca_file: Path | None = None
    """PEM: who signs clients' certificates; with it, a client without one is refused."""
    min_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(_version_text)] = "1.2"
    """The oldest TLS that is spoken."""


class TokenConfig(Settings):
    """A bearer token: who has it and what it opens."""

    name: str = Field(min_length=1, max_length=80, pattern=r"^[\w .@-]+$")
    """For logs, in the token's place."""
    token: Annotated[TokenHash | None, BeforeValidator(_hashed)] = None
    """The token itself, from outside: `${env:NAME}` or `${file:PATH}`. It is hashed when it is read."""
    hash: Annotated[TokenHash | None, BeforeValidator(_written_hash)] = None
    """`sha256:…` in its place."""
    role: Role
    projects: Annotated[tuple[str, ...] | None, AfterValidator(_checked_projects)] = None
    """The only projects that it opens; None: all."""

    @model_validator(mode="after")
    def _one_secret(self) -> "TokenConfig":
        if (self.token is None) == (self.hash is None):
            raise ValueError("give either token or hash")
        if self.role is Role.INGEST and self.projects is not None:
            raise ValueError(
                "a token of role ingest can't be bound to projects: a span belongs to none, every rule of every project"
                " reads it; leave projects out"
            )
        return self

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the token."""
        kept = self.token or self.hash
        return kept.digest if kept is not None else b""


class IngestTokenConfig(TokenConfig):
    """A token of senders."""

    role: Role = Role.INGEST


class AuthConfig(Settings):
    """Who may send: the holder of one of these tokens."""

    tokens: tuple[IngestTokenConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _usable(self) -> "AuthConfig":
        check_tokens(self.tokens, Role.INGEST)
        return self


def check_tokens(tokens: Sequence[TokenConfig], needed: Role) -> None:
    """Check that the tokens of one listener go together.

    Raises:
        ValueError: two have one name or are the same, or none may do what the listener is for.
    """
    names = [token.name for token in tokens]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two tokens are called {twice!r}; give each a name of its own")
    if len({token.digest for token in tokens}) < len(tokens):
        raise ValueError("two names have the same token; make one for each with `tocsin token`")
    if tokens and not any(token.role.permits(needed) for token in tokens):
        raise ValueError(f"none of the tokens opens anything here; give one the role {needed.value}")


def check_exposure(
    endpoint: Endpoint, *, tls: TlsConfig | None, tokens: str, has_tokens: bool, allow_unauthenticated: bool
) -> None:
    """Check that a listener asks who is there, or stands where only this machine reaches it, or is told to be open.

    Args:
        endpoint: where it listens.
        tls: with a `client_ca_file`, it asks for clients' certificates.
        tokens: the key under which tokens are written, for the message.
        has_tokens: whether there are any.
        allow_unauthenticated: whether somebody said in words that it is to be open.

    Raises:
        ValueError: it would be open to everybody without being told so, or is told so and is not.
    """
    asks = has_tokens or (tls is not None and tls.client_ca_file is not None)
    if asks and allow_unauthenticated:
        raise ValueError(
            "allow_unauthenticated has no effect where tokens or client certificates are asked for; take it out"
        )
    if not (asks or endpoint.is_loopback or allow_unauthenticated):
        raise ValueError(
            f"{endpoint} can be reached from other machines, and nothing here asks who is there; add {tokens},"
            " or tls with client_ca_file, or listen on 127.0.0.1, or write allow_unauthenticated: true if everybody"
            " who reaches it may use it"
        )
