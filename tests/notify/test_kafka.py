"""The contact point kafka without a broker: what is configured, and receivers that are none."""

import asyncio
import sys
from typing import Any

import pytest
from alert_events import AT, alert_event, message_of
from fault_server import FaultServer, Mode, Reply
from pydantic import ValidationError

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.kafka import KafkaConfig
from tocsin.notify.kafka_producer import Kafka

PASSWORD = "p4ssw0rd"  # noqa: S105  # of nobody


def kafka(brokers: str, **more: Any) -> Kafka:  # noqa: ANN401  # keys of any type
    written = {"type": "kafka", "brokers": brokers, "topic": "alerts", "timeout": "1s", "allow_private": True, **more}
    return KafkaConfig.model_validate(written).build(Network())


async def failure_of(notifier: Kafka) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(message_of(alert_event()), Attempt(AT))
    await notifier.aclose()
    return caught.value


@pytest.mark.parametrize("mode", [Mode.HANG, Mode.RESET, Mode.WHOLE, Mode.ENDLESS])
async def test_a_receiver_that_is_no_broker_may_be_one_later(mode: Mode) -> None:
    async with FaultServer(default=Reply(mode=mode)) as server, asyncio.timeout(10):
        error = await failure_of(kafka(f"127.0.0.1:{server.port}"))
    assert error.retryable
    assert f"127.0.0.1:{server.port}" in str(error)


async def test_a_broker_that_is_down_is_said(free_port: Any) -> None:  # noqa: ANN401  # the fixture's callable
    error = await failure_of(kafka(f"127.0.0.1:{free_port()}"))
    assert error.retryable
    assert "can't connect" in str(error)


async def test_loopback_is_refused_for_good_unless_it_is_allowed() -> None:
    async with FaultServer() as server:
        error = await failure_of(kafka(f"127.0.0.1:{server.port}", allow_private=False))
        assert not error.retryable
        assert "allow_private" in str(error)
        assert server.received == []


async def test_a_broker_without_tls_where_tls_is_asked_for_gets_nothing() -> None:
    async with FaultServer() as server:
        error = await failure_of(kafka(f"127.0.0.1:{server.port}", tls=True, username="u", password=PASSWORD))
        assert error.retryable
        assert PASSWORD not in str(error)
        assert server.received == []


def test_brokers_are_split_and_have_a_port() -> None:
    written = {"type": "kafka", "brokers": "k1.example, k2.example:9094 ,[2001:db8::1]:9092", "topic": "a.b_c-d"}
    config = KafkaConfig.model_validate(written)
    assert config.brokers == ("k1.example:9092", "k2.example:9094", "[2001:db8::1]:9092")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"brokers": ""}, "no broker"),
        ({"brokers": "k:0"}, "no broker"),
        ({"brokers": "k:70000"}, "no broker"),
        ({"brokers": "http://k:9092"}, "no broker"),
        ({"brokers": []}, "give 1 to 20 brokers"),
        ({"topic": "a b"}, "topic's name"),
        ({"topic": ".."}, "topic's name"),
        ({"username": "u"}, "both username and password"),
        ({"username": "u", "password": "p"}, "not sent in the clear"),
        ({"ca_file": "ca.pem"}, "set tls: true"),
        ({"tls": True, "cert_file": "c.pem"}, "go together"),
        ({"mechanism": "GSSAPI"}, "mechanism"),
        ({"template": {"title": "x"}}, "title"),
    ],
)
def test_what_is_configured_wrong_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        KafkaConfig.model_validate({"type": "kafka", "brokers": "k:9092", "topic": "alerts", **wrong})


def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(ValidationError, match=r"pip install 'tocsin\[kafka\]'"):
        KafkaConfig.model_validate({"type": "kafka", "brokers": "k:9092", "topic": "alerts"})
