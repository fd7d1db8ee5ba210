"""Contact point `kafka`: each alert event as a record of a topic, keyed by the alert, the webhook's JSON as its value.

The producer is idempotent and waits for all in-sync replicas. A retry of ours may still write a record again, after an
answer that did not come: both carry the same event id, in the value and as a header. Whatever does not work is let go
of whole, so that nothing is sent behind the outbox's back, and the next attempt begins anew.
"""

import asyncio
import importlib.util
import re
import ssl
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Answer, Attempt, ContactConfig, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.notify.templating.config import BodyTemplate
from tocsin.notify.wording import clean

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer  # an extra: imported once one is configured

    from tocsin.notify.kafka_way import Way

__all__ = ["Kafka", "KafkaConfig", "Mechanism"]

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
        return Kafka(self, network)


class Kafka:
    """Writes records, through one producer for as long as it works."""

    def __init__(self, config: KafkaConfig, network: Network) -> None:
        # Imported here, and so in the thread that builds: it costs a tenth of a second.
        from tocsin.notify import kafka_way

        self._config = config
        self._timeout = config.timeout.total_seconds()
        self._password = config.password.get_secret_value() if config.password is not None else ""
        self._tls: ssl.SSLContext | None = None
        if config.tls:
            self._tls = tls_from(config.ca_file, config.cert_file, config.key_file) or network.tls
        self._way: Way = kafka_way.Way(network, allow_private=config.allow_private, password=self._password)
        self._failure = kafka_way.failure_of
        self._abandon = kafka_way.abandon
        self._producer: AIOKafkaProducer | None = None

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Write the record and wait until all in-sync replicas have it."""
        event = message.event
        headers = [
            ("tocsin-event-id", event.id.encode()),
            ("tocsin-alert-id", event.alert_id.encode()),
            ("tocsin-attempt", str(attempt.number).encode()),
            ("content-type", b"application/json"),
            *([("tocsin-merged", str(attempt.merged).encode())] if attempt.merged else []),
        ]
        try:
            async with asyncio.timeout(self._timeout):
                with self._way.taken():
                    producer = await self._ready()
                    written = await producer.send_and_wait(
                        self._config.topic, message.content, key=event.alert_id.encode(), headers=headers
                    )
        except BaseException as error:
            await self._let_go()
            failure = self._failed(error)
            if failure is None:
                raise
            raise failure from error
        return Answer("written", f"{written.topic} partition {written.partition} offset {written.offset}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._let_go()

    def _failed(self, error: BaseException) -> DeliveryError | None:
        """Return the failure in words, None for what is no failure of Kafka's."""
        named = f"Kafka topic {self._config.topic} at {', '.join(self._config.brokers[:3])}"
        if self._way.refusal is not None:
            return self._way.refusal
        if isinstance(error, TimeoutError):
            known = f" ({self._way.trouble})" if self._way.trouble else ""
            return DeliveryError(f"{named}: no answer within {self._timeout:g} s{known}", retryable=True)
        return self._failure(error, named, self._way)

    async def _ready(self) -> "AIOKafkaProducer":
        if self._producer is not None:
            return self._producer
        from aiokafka import AIOKafkaProducer

        config = self._config
        secured = "SSL" if config.tls else "PLAINTEXT"
        # One broker that hangs must leave the others time.
        shares = 1 if len(config.brokers) == 1 else len(config.brokers) + 1
        self._producer = AIOKafkaProducer(
            bootstrap_servers=list(config.brokers),
            client_id="tocsin",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=max(1, round(self._timeout / shares * 1000)),
            retry_backoff_ms=250,
            security_protocol=f"SASL_{secured}" if config.username is not None else secured,
            ssl_context=self._tls,
            sasl_mechanism=str(config.mechanism),
            sasl_plain_username=config.username,
            sasl_plain_password=self._password or None,
        )
        await self._producer.start()
        return self._producer

    async def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._abandon(producer)
