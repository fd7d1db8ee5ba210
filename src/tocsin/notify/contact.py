"""What all contact points share: the configuration's common keys, and what a notifier promises."""

import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Protocol
from urllib.parse import unquote, urlsplit

import httpx2
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from tocsin.errors import ConfigError
from tocsin.model.settings import Duration, Settings
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.notify.templating.config import TextTemplate
from tocsin.rules.rule import Severity

__all__ = [
    "Answer",
    "Attempt",
    "ContactConfig",
    "HttpUrl",
    "Notifier",
    "Rate",
    "RateLimit",
    "SecretUrl",
    "checked_url",
    "host_of",
    "secrets_in",
    "tls_from",
]

_RATE = re.compile(r"(\d+)\s*(?:/|per\s+)\s*(s|m|h|second|minute|hour)")
_MAX_RATE = 10_000
_SECRET_LENGTH = 12
"""Characters; what is shorter is a word of the address, or no secret worth the name."""
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in any `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at sending a message."""

    at_ns: int
    """Wall clock, Unix nanoseconds."""
    number: int = 1
    """1 for the first."""
    merged: int = 0
    """Earlier events of the same alert that this one stands for: they waited for the rate limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said when it took a message."""

    status: str
    """`200`, `250 OK`, `logged`."""
    excerpt: str = ""
    """The beginning of its answer, one clean line."""


class Notifier(Protocol):
    """Tells one contact point. Owned by one worker: `send` is never called twice at once."""

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Send within the contact point's timeout.

        Raises:
            DeliveryError: it was not taken; says whether it may be later.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


def _rate(value: object) -> Rate | None:
    if value is None or isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(str(value).strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{value!r} is no rate; write how many at most in which time, like 30/m, 5/s or 100/h")
    return Rate(min(int(found[1]), _MAX_RATE), _SECONDS[found[2][0]])


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def checked_url(url: str) -> str:
    """Return an http(s) address that can be sent to.

    Raises:
        ValueError: it is none; the text does not repeat it, since webhook addresses are secrets.
    """
    if any(char.isspace() or ord(char) < 0x20 or ord(char) == 0x7F for char in url):
        raise ValueError("an address has no spaces or control characters")
    try:
        parts = urlsplit(url)
        host = httpx2.URL(url).host  # the client's own reading must agree that there is something to read
        port_is_fine = parts.port is None or parts.port > 0
    except (ValueError, httpx2.InvalidURL):
        raise ValueError("the address can't be read; write it like https://hooks.example.com/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not host or not port_is_fine:
        raise ValueError("write the whole address, like https://hooks.example.com/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no user or password; put them in headers: {Authorization: …}")
    return url


def _checked_secret_url(url: SecretStr) -> SecretStr:
    checked_url(url.get_secret_value())
    return url


HttpUrl = Annotated[str, AfterValidator(checked_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_checked_secret_url)]
"""An address that opens something to whoever knows it, like those of incoming webhooks."""
RateLimit = Annotated[Rate | None, BeforeValidator(_rate)]
"""Written 30/m, 5/s, 100/h."""


class ContactConfig(Settings):
    """The keys of every contact point."""

    follows_alerts: ClassVar[bool] = False
    """Whether the receiver keeps a state for each alert, so that none may be told of in a message about others."""

    min_severity: Severity = Severity.LOW
    """Events below it are not sent here, unless this contact point was told of the same alert before."""
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(), le=timedelta(minutes=5))
    """For one attempt, name look-up and connection included."""
    allow_private: bool = False
    """Whether loopback, link-local and private addresses may be used."""
    rate_limit: RateLimit = None
    """Over it, messages wait, and those of one alert are merged: the latest wins. None: no limit."""
    template: TextTemplate | None = None
    """Words in place of the built-in ones."""
    mute_timings: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """When nothing is sent here: names under `mute_timings:`."""

    @property
    def takes_acknowledgements(self) -> bool:
        """Whether the receiver can be told that somebody looks after an alert."""
        return False

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return what the receiver would be sent, for a person to read; without secrets."""
        told = [message.title, message.summary if message.text is None else message.text]
        facts = "\n".join(f"{fact.label}: {fact.text}" for fact in message.facts)
        return "\n\n".join([*told, facts] if facts else told)

    def build(self, network: Network) -> Notifier:
        """Return what sends; opens files that it needs (certificates), sends nothing.

        Raises:
            ConfigError: a file it names can't be used.
        """
        raise NotImplementedError


def host_of(url: str) -> str:
    """Return the host: all of an address that a log may show."""
    return urlsplit(url).hostname or ""


def secrets_in(url: str) -> tuple[str, ...]:
    """Return the texts of an address by which its secret could show: itself, and each long part of path and query.

    A receiver says them back in errors (`/services/T0/B0/… not found`), and those are logged.
    """
    parts = urlsplit(url)
    words = re.split(r"[/?&=;]", f"{parts.path}?{parts.query}")
    whole = f"{parts.path}?{parts.query}"
    found = [
        url,
        *([whole] if len(whole) >= _SECRET_LENGTH else []),
        *(word for word in words if len(word) >= _SECRET_LENGTH),
    ]
    return tuple(dict.fromkeys((*found, *map(unquote, found))))


def tls_from(
    ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext | None:
    """Return trust in the certificates of `ca_file` alone, and our own certificate; None for neither: default trust.

    Raises:
        ConfigError: a file can't be read or is of another kind.
    """
    if ca_file is None and cert_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "no PEM certificate in it"
        raise ConfigError(
            f"{ca_file}: can't be used as ca_file ({reason}); give a PEM file of CA certificates"
        ) from error
    if cert_file is not None:
        try:
            # The password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            reason = (not isinstance(error, ssl.SSLError) and error.strerror) or "no PEM certificate with its key"
            raise ConfigError(
                f"{cert_file}: can't be used as cert_file with key_file {key_file} ({reason}); give PEM files"
            ) from error
    return context
