"""Contact point `kafka`: what a user writes of it; `kafka_producer` writes the records."""

import importlib.util
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tocsin.notify.contact import ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.notify.templating.config import BodyTemplate
from tocsin.notify.wording import clean

if TYPE_CHECKING:
    from tocsin.notify.kafka_producer import Kafka

__all__ = ["KafkaConfig", "Mechanism"]

_BROKER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_DEFAULT_PORT: Final = 9092
_MOST_BROKERS: Final = 20


class Mechanism(StrEnum):
    """How a client says who it is (SASL)."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


def _split(value: object) -> object:
    """A person writes `one:9092, two:9092` or a list."""
    return [one.strip() for one in value.split(",")] if isinstance(value, str) else value


def _checked_brokers(brokers: tuple[str, ...]) -> tuple[str, ...]:
    for broker in brokers:
        found = _BROKER.fullmatch(broker)
        if found is None or (found[1] is not None and not 0 < int(found[1]) <= 0xFFFF):
            raise ValueError(f"{clean(broker, 80)!r} is no broker; write them like kafka-1.example.com:9092")
    if not 1 <= len(brokers) <= _MOST_BROKERS:
        raise ValueError(f"give 1 to {_MOST_BROKERS} brokers; they name the others of their cluster")
    return tuple(broker if _BROKER.fullmatch(broker)[1] else f"{broker}:{_DEFAULT_PORT}" for broker in brokers)  # type: ignore[index]  # matched above


def _checked_topic(topic: str) -> str:
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise ValueError("a topic's name has 1 to 249 letters, digits, '.', '_' and '-'")
    return topic


class KafkaConfig(ContactConfig):
    """A contact point of type kafka."""

    follows_alerts: ClassVar[bool] = True

    type: Literal["kafka"]
    brokers: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_checked_brokers)]
    """Where to ask for the cluster: several with commas, or a list."""
    topic: Annotated[str, AfterValidator(_checked_topic)]
    tls: bool = False
    """Whether the brokers speak TLS; certificates are always verified."""
    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""
    cert_file: Path | None = None
    """PEM: our certificate, for mutual TLS."""
    key_file: Path | None = None
    """PEM: its key."""
    mechanism: Mechanism = Mechanism.SCRAM_SHA_512
    """Of SASL, where there is a password."""
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = None
    template: BodyTemplate | None = None  # type: ignore[assignment]  # JSON has neither a title nor a text

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the record: its key and its value."""
        value = orjson.dumps(orjson.loads(message.content), option=orjson.OPT_INDENT_2).decode()
        return f"{message.event.alert_id}\n{value}"

    @model_validator(mode="after")
    def _fits(self) -> "KafkaConfig":
        if importlib.util.find_spec("aiokafka") is None:
            raise ValueError("type kafka needs its client, which is not installed: pip install 'tocsin[kafka]'")
        if (self.username is None) != (self.password is None):
            raise ValueError("give both username and password, or neither")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; give both or none")
        if not self.tls and (self.ca_file or self.cert_file):
            raise ValueError("certificates say nothing without TLS; set tls: true")
        if self.username is not None and not self.tls and not self.allow_private:
            raise ValueError("a password is not sent in the clear; set tls: true")
        return self

    def build(self, network: Network) -> "Kafka":
        """Return what sends; connects at the first record."""
        # The client is an extra, and is imported by who has one configured.
        from tocsin.notify.kafka_producer import Kafka

        return Kafka(self, network)
