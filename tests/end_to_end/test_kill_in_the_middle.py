"""kill -9 in the middle of the runaway conversation: nothing is lost, nothing is counted or told twice."""

import threading
import time
from pathlib import Path
from random import Random

import grpc
import pytest
from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService
from webhook_receiver import WebhookReceiver

RULES = """
- name: runaway-conversation
  severity: critical
  metric: cost
  window: 5m
  group_by: conversation
  condition: gt
  threshold: $25
  notify: [terminal, hook]
"""
CALLS = 240
INPUT_NANO, OUTPUT_NANO = 2_500, 10_000
"""What a token of gpt-4o costs, nano-USD."""
LIMIT = 25 * 10**9


class Conversation:
    """240 calls as an exporter has them: a request each, and what was spent after each of them."""

    def __init__(self, random: Random) -> None:
        self.requests: list[bytes] = []
        self.spent: list[int] = []
        now, total = time.time_ns(), 0
        for number in range(CALLS):
            tokens = random.randrange(40_000, 80_000), random.randrange(100, 3_000)
            total += tokens[0] * INPUT_NANO + tokens[1] * OUTPUT_NANO
            self.spent.append(total)
            call = Call.drawn(
                random,
                end=now + number * 1_000_000,
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                attributes={"gen_ai.conversation.id": "conv-0314"},
            )
            self.requests.append(request_of([call]).SerializeToString())
        self.crossing = next(number for number, spent in enumerate(self.spent) if spent > LIMIT)


def export_until_killed(service: RunningService, requests: list[bytes], at: int, seconds: float) -> int:
    """Send one after the other; kill the process while number `at` is under way. Return how many were acknowledged."""
    acknowledged = 0
    with Exporter(service.addresses["grpc"]) as export:
        for number, request in enumerate(requests):
            killer = threading.Timer(seconds, service.process.kill)
            if number == at:
                killer.start()
            try:
                export(request)
            except grpc.RpcError as error:
                if number != at:
                    raise AssertionError("a request failed before the kill") from error
                break
            if number == at:
                killer.join()
                return number + 1
            acknowledged = number + 1
    service.process.wait(10)
    return acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before the line", "on the line", "after the line"])
def test_the_alert_says_what_was_spent_to_the_nano_dollar_and_comes_under_one_id(
    tmp_path: Path, webhooks: WebhookReceiver, moment: str
) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")  # noqa: T201  # pytest shows it where the test fails
    random = Random(seed)
    conversation = Conversation(random)
    crossing = conversation.crossing
    assert 50 < crossing < CALLS - 20
    at = {
        "before the line": random.randrange(1, crossing),
        "on the line": crossing,
        "after the line": random.randrange(crossing + 1, CALLS),
    }[moment]
    config = write_configuration(tmp_path / "c.yaml", RULES, webhook=webhooks.url)
    with RunningService(config) as service:
        acknowledged = export_until_killed(service, conversation.requests, at, random.uniform(0, 0.004))
        assert acknowledged in (at, at + 1)
    with RunningService(config) as service:
        with Exporter(service.addresses["grpc"]) as export:
            for request in conversation.requests[max(0, acknowledged - 3) :]:  # some of them for the second time
                export(request)
        webhooks.wait_for("runaway-conversation")
        assert service.stop() == 0
    deliveries = webhooks.of("runaway-conversation")
    assert {one.headers["webhook-id"] for one in deliveries} == {deliveries[0].body["id"]}, (
        "one event, told under one id"
    )
    for delivery in deliveries:
        assert round(delivery.body["value"] * 1e9) == conversation.spent[crossing]
        assert delivery.body["samples"] == crossing + 1
        assert delivery.body["group"] == {"conversation": "conv-0314"}
    assert {(one.body["rule"]["name"], one.body["event"]) for one in webhooks.deliveries} == {
        ("runaway-conversation", "firing")
    }
