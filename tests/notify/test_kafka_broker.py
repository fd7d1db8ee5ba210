"""The contact point kafka with a real broker, on which everything is tried while it runs once."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from alert_events import AT, alert_event, message_of
from fault_server import FaultServer
from scripted_contact import Scripted, ScriptedConfig

from benchmarks import peers
from benchmarks.broker import PASSWORD, USER, Broker, broker, kafka_path
from tocsin.alerts.event import Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.kafka import KafkaConfig
from tocsin.notify.kafka_producer import Kafka
from tocsin.notify.message import MessageWriter
from tocsin.notify.outbox import Outbox

pytestmark = pytest.mark.peer
NOWHERE = "240.0.0.1"


@pytest.fixture(scope="module")
def running() -> Iterator[Broker]:
    if kafka_path() is None:
        assert not peers.in_ci(), "CI has a Kafka: `make peers`"
        pytest.skip("no Kafka here: `make peers` fetches it")
    with broker(advertised=f"{NOWHERE}:9092") as started:
        yield started


@asynccontextmanager
async def kafka(brokers: str, **more: Any) -> AsyncIterator[Kafka]:  # noqa: ANN401  # keys of any type
    written = {"type": "kafka", "brokers": brokers, "topic": "alerts", "timeout": "10s", "allow_private": True, **more}
    notifier = KafkaConfig.model_validate(written).build(Network())
    try:
        yield notifier
    finally:
        await notifier.aclose()


async def read(running: Broker, topic: str, count: int) -> list[ConsumerRecord]:
    """The first records of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=running.plain, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_records_have_the_alert_as_their_key_and_the_webhooks_body(running: Broker) -> None:
    fired = alert_event()
    over = alert_event(Transition.RESOLVED, alert_id=fired.alert_id, resolved_at=AT)
    async with kafka(running.plain, topic="bodies") as notifier:
        answer = await notifier.send(message_of(fired), Attempt(AT))
        await notifier.send(message_of(fired), Attempt(AT, 2, merged=1))
        await notifier.send(message_of(over), Attempt(AT))
    assert (answer.status, answer.excerpt.split()[:2]) == ("written", ["bodies", "partition"])
    records = await read(running, "bodies", 3)
    assert {record.key for record in records} == {fired.alert_id.encode()}
    assert len({record.partition for record in records}) == 1  # so in order
    assert json.loads(records[0].value) == message_of(fired).body
    assert records[0].value == records[1].value
    assert [dict(record.headers)["tocsin-event-id"].decode() for record in records] == [fired.id, fired.id, over.id]
    assert dict(records[1].headers) | {"tocsin-attempt": b"2", "tocsin-merged": b"1"} == dict(records[1].headers)


async def test_a_password_is_checked(running: Broker) -> None:
    async with kafka(running.with_password, username=USER, password=PASSWORD) as notifier:
        await notifier.send(message_of(alert_event()), Attempt(AT))
    for keys in ({"password": "wr0ng-password"}, {"password": PASSWORD, "mechanism": "PLAIN"}):
        async with kafka(running.with_password, username=USER, **keys) as notifier:
            with pytest.raises(DeliveryError) as caught:
                await notifier.send(message_of(alert_event()), Attempt(AT))
            assert not caught.value.retryable
            assert keys["password"] not in str(caught.value)


async def test_a_broker_that_the_cluster_names_is_judged_too(running: Broker) -> None:
    """The first one is where it may be, and names another that is where none may be."""
    async with kafka(running.elsewhere, timeout="2s") as notifier:
        with pytest.raises(DeliveryError, match=f"{NOWHERE} is a reserved address") as caught:
            await notifier.send(message_of(alert_event()), Attempt(AT))
    assert not caught.value.retryable


async def test_a_broker_that_hangs_costs_the_timeout_and_the_next_attempt_arrives(running: Broker) -> None:
    async with kafka(running.plain, topic="frozen", timeout="1s") as notifier:
        await notifier.send(message_of(alert_event()), Attempt(AT))
        running.freeze()
        try:
            async with asyncio.timeout(5):
                with pytest.raises(DeliveryError, match="no answer within 1 s") as caught:
                    await notifier.send(message_of(alert_event()), Attempt(AT))
        finally:
            running.thaw()
        assert caught.value.retryable
    async with kafka(running.plain, topic="frozen") as notifier:
        await notifier.send(message_of(alert_event()), Attempt(AT))


async def test_a_broker_that_hangs_delays_no_other_contact_point(running: Broker) -> None:
    written = {"type": "kafka", "brokers": running.plain, "topic": "x", "timeout": "2s", "allow_private": True}
    ScriptedConfig.receivers["other"] = other = Scripted()
    async with Outbox(MessageWriter()) as outbox:
        await outbox.reconfigure(
            {"kafka": KafkaConfig.model_validate(written), "other": ScriptedConfig(receiver="other")}, Network()
        )
        running.freeze()
        try:
            event = alert_event(notify=("kafka", "other"))
            outbox.publish(event)
            async with asyncio.timeout(1.5):
                while not other.taken:  # noqa: ASYNC110  # as below
                    await asyncio.sleep(0.01)
            assert len(outbox) == 1
        finally:
            running.thaw()
        async with asyncio.timeout(30):
            while len(outbox):  # noqa: ASYNC110  # the outbox has no event for it
                await asyncio.sleep(0.05)


async def test_one_broker_that_hangs_leaves_time_for_the_next(running: Broker) -> None:
    async with FaultServer() as server, kafka(f"127.0.0.1:{server.port},{running.plain}", timeout="4s") as notifier:
        await notifier.send(message_of(alert_event()), Attempt(AT))
