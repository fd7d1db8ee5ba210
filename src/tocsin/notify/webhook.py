"""Contact point `webhook`: the JSON body of version 1, signed as Standard Webhooks asks.

Source: https://www.standardwebhooks.com (webhook-id, webhook-timestamp, webhook-signature).
"""

import base64
import binascii
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, Field, SecretStr
from standardwebhooks import Webhook as Signer

from tocsin.notify.contact import Answer, Attempt, ContactConfig, SecretUrl, host_of, secrets_in, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpSender, error_of
from tocsin.notify.message import Message
from tocsin.notify.templating.config import BodyTemplate

__all__ = ["Webhook", "WebhookConfig", "checked_headers"]

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})
_LATIN = 0xFF


def _checked_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError(
            "write the secret as whsec_ and base64, like the output of: echo whsec_$(openssl rand -base64 32)"
        )
    return secret


def checked_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Return headers that a person may add to a request.

    Raises:
        ValueError: one is no header, is ours, or has a value that none can have; the text does not repeat values.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in _OURS or name.lower().startswith(("webhook-", "tocsin-")):
            raise ValueError(f"{name} is set by Tocsin itself; take it out")
        if not all(char == "\t" or (char.isprintable() and ord(char) <= _LATIN) for char in value.get_secret_value()):
            raise ValueError(f"the value of header {name} has line breaks, control characters or non-Latin text")
    return headers


class WebhookConfig(ContactConfig):
    """A contact point of type webhook."""

    type: Literal["webhook"]
    url: SecretUrl
    secret: Annotated[SecretStr, AfterValidator(_checked_secret)] | None = None
    """`whsec_…`; signs every request. Without it nothing is signed."""
    headers: Annotated[dict[str, SecretStr], AfterValidator(checked_headers)] = Field(default_factory=dict)
    """Sent with every request, like Authorization."""
    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""
    template: BodyTemplate | None = None  # type: ignore[assignment]  # JSON has neither a title nor a text

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the body."""
        return orjson.dumps(orjson.loads(message.content), option=orjson.OPT_INDENT_2).decode()

    def build(self, network: Network) -> "Webhook":
        """Return what sends."""
        return Webhook(self, network)


class Webhook:
    """Posts events to one address."""

    def __init__(self, config: WebhookConfig, network: Network) -> None:
        self._url = config.url.get_secret_value()
        self._headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        secret = config.secret.get_secret_value() if config.secret is not None else None
        self._signer = Signer(secret) if secret is not None else None
        self._http = HttpSender(
            network,
            allow_private=config.allow_private,
            timeout=config.timeout.total_seconds(),
            tls=tls_from(config.ca_file),
            secrets=[secret or "", *self._headers.values(), *secrets_in(self._url)],
        )

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """POST the body; any 2xx is a delivery."""
        content = message.content
        answer = await self._http.post(self._url, content, self._headers | self._signed(message, attempt, content))
        if error := error_of(answer, host_of(self._url), attempt.at_ns):
            raise error
        return Answer(str(answer.status), answer.excerpt)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _signed(self, message: Message, attempt: Attempt, content: bytes) -> dict[str, str]:
        event = message.event
        moment = datetime.fromtimestamp(attempt.at_ns // 1_000_000_000, tz=UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(int(moment.timestamp())),
            # What an attempt adds to the body, which stays the same for every one.
            "tocsin-alert-id": event.alert_id,
            "tocsin-attempt": str(attempt.number),
            "tocsin-detection-to-attempt-ms": f"{max(0, attempt.at_ns - event.detected_at) / 1e6:.3f}",
        }
        if attempt.merged:
            headers["tocsin-merged"] = str(attempt.merged)
        if self._signer is not None:
            headers["webhook-signature"] = self._signer.sign(event.id, moment, content.decode())
        return headers
