"""Data and rules made to cost much: one rule degrades, and the others and their alerts do not notice."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService
from webhook_receiver import WebhookReceiver

MIB = 1024 * 1024
QUIET = """
- name: quiet
  metric: count
  window: 5m
  filters: {agent: "~watched"}
  condition: gt
  threshold: 9
  notify: [hook]
"""
NOISY = """
- name: noisy
  metric: count
  window: 5m
  group_by: conversation
  condition: gt
  threshold: 1000000
  notify: [hook]
"""


class Flood:
    """Sends requests that a function makes, as fast as they are taken, in a thread; a context manager."""

    def __init__(self, address: str, make: Callable[[int], bytes]) -> None:
        self.sent = 0
        self._address = address
        self._make = make
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Flood":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with Exporter(self._address) as export:
            while not self._stop.is_set():
                export(self._make(self.sent))
                self.sent += 1


def calls(random: Random, count: int, **attributes: str) -> bytes:
    now = time.time_ns()
    return request_of(Call.drawn(random, end=now, attributes=attributes) for _ in range(count)).SerializeToString()


def of_many(random: Random, label: str, count: int = 2000) -> bytes:
    """Return a request whose calls have a new value of a label each."""
    now = time.time_ns()
    return request_of(
        Call.drawn(random, end=now, attributes={label: random.randbytes(16).hex()}) for _ in range(count)
    ).SerializeToString()


GROUPED = {
    "gen_ai.conversation.id": "conversation",
    "tenant.id": "tenant",
    "gen_ai.request.model": "model",
    "gen_ai.agent.name": "agent",
}
WATCHED = {"gen_ai.agent.name": "watched"}


@pytest.mark.slow
def test_a_rule_with_more_groups_than_allowed_delays_no_other_rules_alert(
    tmp_path: Path, webhooks: WebhookReceiver
) -> None:
    config = write_configuration(
        tmp_path / "c.yaml", NOISY + QUIET, webhook=webhooks.url, more="limits: {groups: 5000}\n"
    )
    requests = [of_many(Random(seed), "gen_ai.conversation.id") for seed in range(40)]
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        with Flood(service.addresses["grpc"], lambda number: requests[number % 40]) as flood:
            service.wait_for_metric("tocsin_overflow_samples_total", 10_000, seconds=20)
            begun = time.monotonic()
            export(calls(Random(99), 10, **WATCHED))
            [delivery] = webhooks.wait_for("quiet")
            assert delivery.at - begun < 2
            assert delivery.body["samples"] == 10
        assert flood.sent > 5
        assert service.metric("tocsin_series", rule="noisy") <= 5001
        assert service.resident_bytes() < 400 * MIB


@pytest.mark.slow
def test_a_pathological_expression_costs_time_in_proportion_to_the_text(
    tmp_path: Path, webhooks: WebhookReceiver
) -> None:
    slow = r"""
- name: expression
  metric: count
  window: 5m
  filters: {conversation: '~(a*)*(a|a?)*(a+)+b'}
  condition: gt
  threshold: 1000000
  notify: [hook]
"""
    config = write_configuration(tmp_path / "c.yaml", slow + QUIET, webhook=webhooks.url)
    random = Random(2)
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        begun = time.monotonic()
        for number in range(20):
            export(calls(random, 10, **{"gen_ai.conversation.id": "a" * 900 + f"{number}"}))
        export(calls(random, 10, **WATCHED))
        webhooks.wait_for("quiet")
        assert time.monotonic() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize("label", GROUPED)
def test_ten_thousand_new_values_in_each_request_do_not_grow_without_bound(
    label: str, tmp_path: Path, webhooks: WebhookReceiver
) -> None:
    config = write_configuration(
        tmp_path / "c.yaml",
        NOISY.replace(
            "conversation", {"gen_ai.conversation.id": "conversation", "tenant.id": "tenant"}.get(label, "model")
        )
        + QUIET,
        webhook=webhooks.url,
        more="limits: {groups: 2000, traces: 1000, waiting: 1000, evidence: 10000}\n",
    )
    random = Random(2)
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        for _ in range(3):
            export(of_many(random, label, 10_000))
        before = service.resident_bytes()
        for _ in range(6):
            export(of_many(random, label, 10_000))
        # Spans are recognised for ten minutes when they are delivered again: some 60 bytes each.
        assert service.resident_bytes() - before < 6 * 10_000 * 100 + 48 * MIB
        export(calls(random, 10, **WATCHED))
        webhooks.wait_for("quiet")
        assert len(service.get("/metrics")) < 2 * MIB


@pytest.mark.slow
def test_a_very_large_batch_delays_small_ones_by_little(tmp_path: Path, webhooks: WebhookReceiver) -> None:
    config = write_configuration(tmp_path / "c.yaml", NOISY, webhook=webhooks.url)
    large = of_many(Random(5), "gen_ai.conversation.id", 60_000)
    assert len(large) > 12 * MIB
    random = Random(6)
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        export(calls(random, 1))
        sender = threading.Thread(target=lambda: export(large))
        sender.start()
        took = []
        with Exporter(service.addresses["grpc"]) as other:
            while sender.is_alive():
                begun = time.monotonic()
                other(calls(random, 1))
                took.append(time.monotonic() - begun)
        sender.join()
        assert max(took) < 2
        assert service.wait_for_metric("tocsin_samples_total", 60_000, rule="noisy") == 60_000
