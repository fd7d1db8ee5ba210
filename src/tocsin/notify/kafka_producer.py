"""Writes each alert event as a record of a Kafka topic, keyed by the alert, with the webhook's JSON as its value.

The producer is idempotent and waits for all in-sync replicas. A retry of ours may still write a record again, after an
answer that did not come: both carry the same event id, in the value and as a header. Whatever does not work is let go
of whole, so that nothing is sent behind the outbox's back, and the next attempt begins anew.
"""

import asyncio
import ssl

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Answer, Attempt, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.kafka import KafkaConfig
from tocsin.notify.kafka_way import Way, abandon, failure_of
from tocsin.notify.message import Message

__all__ = ["Kafka"]


class Kafka:
    """Writes records, through one producer for as long as it works."""

    def __init__(self, config: KafkaConfig, network: Network) -> None:
        self._config = config
        self._timeout = config.timeout.total_seconds()
        self._password = config.password.get_secret_value() if config.password is not None else ""
        self._tls: ssl.SSLContext | None = None
        if config.tls:
            self._tls = tls_from(config.ca_file, config.cert_file, config.key_file) or network.tls
        self._way = Way(network, allow_private=config.allow_private, password=self._password)
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
        except (TimeoutError, KafkaError, OSError) as error:
            await self._let_go()
            raise self._failed(error) from error
        except BaseException:
            await self._let_go()
            raise
        return Answer("written", f"{written.topic} partition {written.partition} offset {written.offset}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._let_go()

    def _failed(self, error: Exception) -> DeliveryError:
        """Return the failure in words."""
        named = f"Kafka topic {self._config.topic} at {', '.join(self._config.brokers[:3])}"
        if self._way.refusal is not None:
            return self._way.refusal
        if isinstance(error, TimeoutError):
            known = f" ({self._way.trouble})" if self._way.trouble else ""
            return DeliveryError(f"{named}: no answer within {self._timeout:g} s{known}", retryable=True)
        return failure_of(error, named, self._way)

    async def _ready(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
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
            await abandon(producer)
