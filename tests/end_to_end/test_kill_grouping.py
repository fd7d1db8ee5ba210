"""kill -9 while alerts are gathered into messages of one incident: none is lost, none is told as if it were another."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

import grpc
import pytest
from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService
from webhook_receiver import Delivery, WebhookReceiver

RULES = """
- name: costly-call
  severity: high
  metric: cost
  scope: span
  group_by: conversation
  condition: gt
  threshold: $0.10
  labels: {team: support}
"""
ROUTES = """
routes:
  - matchers: [team=support]
    contact_points: [hook]
    group_by: [team]
    group_interval: 50ms
"""
ALERTS = 60
KILLS = 2


def conversation(random: Random, number: int) -> bytes:
    """One call that costs enough for an alert of its own."""
    call = Call.drawn(
        random,
        end=time.time_ns(),
        input_tokens=100_000,
        attributes={"gen_ai.conversation.id": f"conv-{number}"},
    )
    return request_of([call]).SerializeToString()


def told_in(delivery: Delivery) -> dict[str, str]:
    """Conversation -> the id of the event that told of it."""
    body = delivery.body
    return {one["group"]["conversation"]: one["id"] for one in body.get("alerts", [body])}


def send(service: RunningService, requests: list[bytes], kill_after: float | None) -> int:
    """Send one after the other until the process is killed; return how many were acknowledged."""
    killer = None if kill_after is None else threading.Timer(kill_after, service.process.kill)
    with Exporter(service.addresses["grpc"]) as export:
        if killer is not None:
            killer.start()
        for number, request in enumerate(requests):
            try:
                export(request)
            except grpc.RpcError:
                assert killer is not None, "a request failed without a kill"
                service.process.wait(10)
                return number
            time.sleep(0.01)  # so that some alerts wait, some are on their way and some are told when it is killed
    if killer is not None:
        killer.join()
        service.process.wait(10)
    return len(requests)


@pytest.fixture
def slow_receiver() -> Iterator[WebhookReceiver]:
    """Takes a message, and says so later: a kill in between has it told again, with what waited meanwhile."""
    with WebhookReceiver(0.15) as receiver:
        yield receiver


@pytest.mark.slow
def test_each_alert_is_told_and_always_under_the_same_id(tmp_path: Path, slow_receiver: WebhookReceiver) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")  # noqa: T201  # pytest shows it where the test fails
    random = Random(seed)
    requests = [conversation(random, number) for number in range(ALERTS)]
    config = write_configuration(tmp_path / "c.yaml", RULES, webhook=slow_receiver.url, more=ROUTES)
    begun = 0
    for _ in range(KILLS):
        with RunningService(config) as service:
            # A little of what was acknowledged comes once more, as from an exporter that did not hear the answer.
            first = max(0, begun - 2)
            begun = first + send(service, requests[first : first + ALERTS // KILLS], random.uniform(0.05, 0.4))
    with RunningService(config) as service:
        send(service, requests[max(0, begun - 2) :], None)
        deadline = time.monotonic() + 20
        while len({name for one in list(slow_receiver.deliveries) for name in told_in(one)}) < ALERTS:
            assert time.monotonic() < deadline, "alerts are missing"
            time.sleep(0.05)
        assert service.stop() == 0
    events: dict[str, set[str]] = defaultdict(set)
    messages: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for delivery in slow_receiver.deliveries:
        told = told_in(delivery)
        assert delivery.headers["webhook-id"] == delivery.body["id"]
        messages[delivery.body["id"]].add(tuple(sorted(told.values())))
        for name, event in told.items():
            events[name].add(event)
    assert events.keys() == {f"conv-{number}" for number in range(ALERTS)}, "nothing is lost, nothing is made up"
    assert {name: ids for name, ids in events.items() if len(ids) != 1} == {}, "one event, one id"
    assert {key: what for key, what in messages.items() if len(what) != 1} == {}, "an id stands for one message"
    assert any(len(told_in(one)) > 1 for one in slow_receiver.deliveries), "some were gathered"
    incidents = {one.body["incident"]["id"] for one in slow_receiver.deliveries}
    assert len(incidents) == 1
    assert slow_receiver.deliveries[-1].body["incident"]["firing"] == ALERTS
