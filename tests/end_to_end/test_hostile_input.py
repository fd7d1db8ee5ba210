"""Bytes that are no requests, and a million groups: refused or bounded, and others do not notice."""

import time
import urllib.error
import urllib.request
from pathlib import Path
from random import Random

import grpc
import pytest
from configurations import write_configuration
from otlp_requests import Call, Exporter, request_of
from running_service import RunningService
from webhook_receiver import WebhookReceiver

RULE = """
- name: runaway-conversation
  metric: count
  window: 5m
  group_by: conversation
  condition: gt
  threshold: 99
  notify: [hook]
"""


def call_of(random: Random, conversation: str) -> Call:
    return Call.drawn(random, end=time.time_ns(), attributes={"gen_ai.conversation.id": conversation})


def answer_to(export: Exporter, request: bytes) -> grpc.StatusCode:
    try:
        export(request)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def test_garbage_is_refused_and_does_not_disturb_others(tmp_path: Path, webhooks: WebhookReceiver) -> None:
    random = Random(9)
    config = write_configuration(tmp_path / "c.yaml", RULE, webhook=webhooks.url)
    good = request_of([call_of(random, "conv-1")]).SerializeToString()
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        answers = []
        for number in range(200):
            cut = bytearray(good[: random.randrange(1, len(good))])
            for _ in range(3):
                cut[random.randrange(len(cut))] = random.randrange(256)
            answers.append(answer_to(export, bytes(cut)))
            if number % 2:
                assert export(request_of([call_of(random, "victim")]).SerializeToString()) == b""
        for path in ("/v1/traces", "/v1/nothing", "/"):
            with pytest.raises(urllib.error.HTTPError) as answer:
                urllib.request.urlopen(f"http://{service.addresses['http']}{path}", data=b"\xff" * 1000, timeout=10)
            assert 400 <= answer.value.code < 500
            answer.value.close()
        assert set(answers) <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
        refused = answers.count(grpc.StatusCode.INVALID_ARGUMENT)
        assert refused > 100
        assert service.metric("tocsin_refused_requests_total") >= refused
        # The hundredth call of the victim is counted like any other.
        [delivery] = webhooks.wait_for("runaway-conversation")
        assert (delivery.body["group"], delivery.body["samples"]) == ({"conversation": "victim"}, 100)
    assert not any("Traceback" in line for line in service.lines)


@pytest.mark.slow
def test_a_million_groups_are_bounded_and_a_known_one_still_rings(tmp_path: Path, webhooks: WebhookReceiver) -> None:
    random = Random(9)
    config = write_configuration(tmp_path / "c.yaml", RULE, webhook=webhooks.url, more="limits: {groups: 10000}\n")
    template = [call_of(random, f"{number:012}") for number in range(2000)]
    serialized = request_of(template).SerializeToString()
    with RunningService(config) as service, Exporter(service.addresses["grpc"]) as export:
        assert export(request_of([call_of(random, "victim")]).SerializeToString()) == b""
        places = [
            (serialized.find(f"{number:012}".encode()), serialized.find(call.span_id))
            for number, call in enumerate(template)
        ]
        data = bytearray(serialized)
        for round_ in range(500):
            # Other conversations and span ids of the same length: the request stays well formed.
            for number, (conversation, span_id) in enumerate(places):
                data[conversation : conversation + 12] = f"{round_:06}{number:06}".encode()
                data[span_id : span_id + 8] = random.randbytes(8)
            assert export(bytes(data)) == b""
        assert service.metric("tocsin_samples_total", rule="runaway-conversation") == 1_000_001
        assert service.metric("tocsin_series", rule="runaway-conversation") <= 10_001
        assert service.metric("tocsin_overflow_samples_total") >= 980_000
        assert service.resident_bytes() < 600 * 1024 * 1024
        victim = [call_of(random, "victim") for _ in range(99)]
        export(request_of(victim).SerializeToString())
        groups = [one.body["group"] for one in webhooks.wait_for("runaway-conversation", count=2)]
        assert {"conversation": "victim"} in groups
