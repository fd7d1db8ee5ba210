"""Contact point `email`: SMTP, with STARTTLS or TLS and verified certificates unless configured otherwise.

One connection a mail. The server may take a mail for some recipients and refuse others: who took it is
remembered, so that a retry goes only to those who may still take it.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import getaddresses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import aiosmtplib
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Answer, Attempt, ContactConfig, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.email_message import MailWriter, mail_text
from tocsin.notify.message import Message
from tocsin.notify.templating.config import MailTemplate
from tocsin.notify.wording import clean

__all__ = ["Email", "EmailConfig", "TlsMode"]

_REMEMBERED = 1_000
"""Mails that some recipients took and some may still take."""
_MAX_RECIPIENTS = 50


class TlsMode(StrEnum):
    """How the connection is protected."""

    STARTTLS = "starttls"
    """Plain at first, then TLS; a server that does not offer it gets nothing."""
    TLS = "tls"
    """TLS from the first byte."""
    NONE = "none"
    """In the clear."""


_PORTS = {TlsMode.STARTTLS: 587, TlsMode.TLS: 465, TlsMode.NONE: 25}


def _addresses_in(text: str) -> Iterator[Address]:
    if not text.isascii() or not text.isprintable():
        raise ValueError("mail addresses are ASCII without line breaks; write a domain of other letters as xn--…")
    for name, spec in getaddresses([text]):
        if not spec and not name:
            continue
        try:
            address = Address(display_name=name, addr_spec=spec)
        except (HeaderParseError, ValueError, IndexError):
            address = None
        if address is None or not address.username or "." not in f"{address.domain}." or not address.domain:
            raise ValueError(f"{clean(spec or text, 80)!r} is no mail address; write it like oncall@example.com")
        yield address


def _checked_sender(text: str) -> str:
    if len(list(_addresses_in(text))) != 1:
        raise ValueError("give one address, like Tocsin <tocsin@example.com>")
    return text


def _split(value: object) -> object:
    """A person writes `a@example.com, b@example.com` or a list."""
    return [value] if isinstance(value, str) else value


def _checked_recipients(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(str(address) for text in texts for address in _addresses_in(text)))
    if not found:
        raise ValueError("give at least one address, like oncall@example.com")
    if len(found) > _MAX_RECIPIENTS:
        raise ValueError(f"more than {_MAX_RECIPIENTS} recipients; use a mailing list")
    return found


def _checked_host(host: str) -> str:
    if not host or not host.isascii() or not host.isprintable() or any(char in host for char in " /@"):
        raise ValueError("give the mail server's name, like smtp.example.com")
    return host


class EmailConfig(ContactConfig):
    """A contact point of type email."""

    type: Literal["email"]
    host: Annotated[str, AfterValidator(_checked_host)]
    """The mail server."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """587 for starttls, 465 for tls, 25 for none."""
    tls: TlsMode = TlsMode.STARTTLS
    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""
    username: str | None = None
    password: SecretStr | None = None
    sender: Annotated[str, AfterValidator(_checked_sender)] = Field(alias="from")
    to: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_checked_recipients)]
    """Recipients: several with commas, or a list."""
    template: MailTemplate | None = None

    @model_validator(mode="after")
    def _whole_login(self) -> "EmailConfig":
        if (self.username is None) != (self.password is None):
            raise ValueError("give both username and password, or neither")
        if self.username is not None and self.tls is TlsMode.NONE and not self.allow_private:
            raise ValueError("a password is not sent in the clear; use tls: starttls or tls: tls")
        return self

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the subject and both parts."""
        return mail_text(message)

    def build(self, network: Network) -> "Email":
        """Return what sends."""
        return Email(self, network)


class Email:
    """Mails events to the recipients."""

    def __init__(self, config: EmailConfig, network: Network) -> None:
        self._config = config
        self._network = network
        sender = next(_addresses_in(config.sender))
        recipients = [address for text in config.to for address in _addresses_in(text)]
        self._writer = MailWriter(sender, recipients)
        self._sender = sender.addr_spec
        self._recipients = [address.addr_spec for address in recipients]
        self._tls = None if config.tls is TlsMode.NONE else tls_from(config.ca_file) or ssl.create_default_context()
        self._password = config.password.get_secret_value() if config.password is not None else None
        self._settled: OrderedDict[str, dict[str, str]] = OrderedDict()
        """event id -> recipient -> `` (taken), or why it is refused for good."""

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Send the mail to every recipient who did not get it yet."""
        config = self._config
        # Folding headers and encoding parts takes milliseconds, which belong to no event loop.
        mail = await asyncio.to_thread(lambda: self._writer.mail_of(message, attempt).as_bytes())
        settled = self._settled.setdefault(message.event.id, {})
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        open_ones = [one for one in self._recipients if one not in settled]
        try:
            async with asyncio.timeout(config.timeout.total_seconds()):
                refused, said = await self._transmit(mail, open_ones)
        except TimeoutError as error:
            text = f"{config.host}: no answer within {config.timeout.total_seconds():g} s"
            raise DeliveryError(text, retryable=True) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            failure = self._failure(error)
            if not failure.retryable:
                self._settled.pop(message.event.id, None)
            raise failure from error
        return self._conclude(message.event.id, settled, open_ones, refused, said)

    async def aclose(self) -> None:
        """Nothing is held between mails."""

    async def _transmit(self, mail: bytes, recipients: list[str]) -> tuple[dict[str, tuple[int, str]], str]:
        config = self._config
        port = config.port or _PORTS[config.tls]
        sock = await self._network.connect(config.host, port, allow_private=config.allow_private)
        client = _Client(
            hostname=config.host,
            sock=sock,
            use_tls=config.tls is TlsMode.TLS,
            start_tls=config.tls is TlsMode.STARTTLS,
            tls_context=self._tls,
            username=config.username,
            password=self._password,
            local_hostname=_own_name(),
            timeout=config.timeout.total_seconds(),
        )
        try:
            await client.connect()
            try:
                answers, said = await client.sendmail(self._sender, recipients, mail)
            except aiosmtplib.SMTPRecipientsRefused as error:
                return {one.recipient: (one.code, one.message) for one in error.recipients}, ""
            await _farewell(client)
        finally:
            client.close()
            sock.close()
        return {one: (answer.code, answer.message) for one, answer in answers.items()}, said

    def _conclude(
        self,
        event_id: str,
        settled: dict[str, str],
        tried: list[str],
        refused: dict[str, tuple[int, str]],
        said: str,
    ) -> Answer:
        for one in tried:
            code, text = refused.get(one, (0, ""))
            if not 400 <= code < 500:  # 4yz is for now, 5yz is for good
                settled[one] = f"{code} {self._shown(text, 100)}" if code else ""
        waiting = [one for one in tried if one not in settled]
        if waiting:
            code, text = refused[waiting[0]]
            raise DeliveryError(
                f"{self._config.host}: {', '.join(waiting)} not now ({code} {self._shown(text, 100)})",
                retryable=True,
            )
        self._settled.pop(event_id, None)
        if lost := {one: why for one, why in settled.items() if why}:
            others = "; delivered to the others" if len(lost) < len(settled) else ""
            named = ", ".join(f"{one} ({why})" for one, why in lost.items())
            raise DeliveryError(f"{self._config.host} refused {named}{others}", retryable=False)
        return Answer("250", self._shown(said, 200))

    def _failure(self, error: Exception) -> DeliveryError:
        host = self._config.host
        if isinstance(error, aiosmtplib.SMTPResponseException):
            # 4yz is for now, 5yz for good (RFC 5321, 4.2.1).
            final = 500 <= error.code < 600
            return DeliveryError(f"{host} answered {error.code} {self._shown(error.message, 200)}", retryable=not final)
        cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"{host}: its certificate is not trusted ({clean(cause.verify_message)}); see ca_file"
            return DeliveryError(text, retryable=True)
        return DeliveryError(f"{host}: {self._shown(str(error) or type(error).__name__, 200)}", retryable=True)

    def _shown(self, text: str, limit: int) -> str:
        """Return what a server said without our password, which a server may repeat, also as it was sent (RFC 4616)."""
        if self._password:
            login = f"\0{self._config.username}\0{self._password}"
            for secret in (self._password, *(b64encode(part.encode()).decode() for part in (self._password, login))):
                text = text.replace(secret, "***")
        return clean(text, limit)


class _Client(aiosmtplib.SMTP):
    """Ends at once: a graceful end of TLS waits for a server that may not answer."""

    def close(self) -> None:
        """Abort the connection."""
        transport = self.transport
        super().close()
        if transport is not None:
            transport.abort()  # type: ignore[attr-defined]  # declared as the base of what it is


async def _farewell(client: aiosmtplib.SMTP) -> None:
    """Say QUIT; the mail is taken already, so what becomes of this is no failure."""
    try:
        async with asyncio.timeout(1):
            await client.quit()
    except (TimeoutError, aiosmtplib.SMTPException, OSError):
        return


def _own_name() -> str:
    """Return a name for EHLO without a look-up, which may hang.

    RFC 5321 takes an address literal for unknown.
    """
    name = socket.gethostname()
    return name if "." in name and name.isascii() and name.isprintable() and " " not in name else "[127.0.0.1]"
