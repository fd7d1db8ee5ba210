"""From the span that goes too far to the call that is refused, and back: the real service and a real Guard."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from configurations import write_configuration
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from running_service import RunningService

from tocsin.guard import BlockedError, Guard, GuardUnavailableError

RULES = """
- name: runaway
  metric: cost
  window: 5m
  group_by: conversation
  condition: gt
  threshold: $1
  notify: [terminal]
  actions:
    - block: conversation
      ttl: 1h
- name: on-trial
  mode: shadow
  metric: cost
  window: 5m
  group_by: tenant
  condition: gt
  threshold: $1
  notify: [terminal]
  actions:
    - block: tenant
"""


class Shop:
    """An application that asks the guard before each call, and sends a span after it."""

    def __init__(self, service: RunningService) -> None:
        exporter = OTLPSpanExporter(endpoint=f"http://{service.addresses['grpc']}", insecure=True)
        self.provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("shop")

    def call(self, guard: Guard, conversation: str, *, tokens: int = 1_000_000) -> None:
        guard.check(conversation=conversation, tenant="acme")
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.conversation.id": conversation,
            "tenant.id": "acme",
            "gen_ai.usage.input_tokens": tokens,
            "gen_ai.usage.output_tokens": 10,
        }
        self.tracer.start_span("chat gpt-4o", attributes=attributes).end()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_configuration(tmp_path / "tocsin.yaml", RULES)


@pytest.fixture
def service(config: Path) -> Iterator[RunningService]:
    with RunningService(config) as running:
        yield running


def asked(service: RunningService, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Return status and document of the API's answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{service.addresses['api']}/api/v1/blocks{path}", data, method=method)
    for name, value in ({"content-type": "application/json"} if data else {}).items():
        request.add_header(name, value)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own service
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def until(guard: Guard, *, blocked: bool, seconds: float = 10, **labels: str) -> None:
    deadline = time.monotonic() + seconds
    while guard.is_blocked(**labels) != blocked:
        assert time.monotonic() < deadline, (labels, guard.problem)
        time.sleep(0.001)  # a guard is asked, it does not call


def test_a_span_over_the_threshold_stops_the_next_call_and_one_call_lifts_it(service: RunningService) -> None:
    with Guard(service.addresses["grpc"]) as guard:
        shop = Shop(service)
        shop.call(guard, "conv-1")
        until(guard, blocked=True, conversation="conv-1")
        with pytest.raises(BlockedError) as refused:
            shop.call(guard, "conv-1")
        assert (refused.value.label, refused.value.value, refused.value.rule) == ("conversation", "conv-1", "runaway")
        assert refused.value.until is not None
        shop.call(guard, "conv-2", tokens=10)
        assert not guard.is_blocked(tenant="acme"), "a rule on trial does not act"

        assert asked(service, "GET", "/check?tenant=acme&conversation=conv-1")[1]["blocked"] is True
        status, lifted = asked(service, "DELETE", "?label=conversation&value=conv-1&reason=it%20is%20fine")
        assert (status, lifted["kept"]) == (200, True)
        until(guard, blocked=False, conversation="conv-1")
        shop.call(guard, "conv-1", tokens=10)
        assert asked(service, "GET", "/check?conversation=conv-1") == (200, {"blocked": False})
        changes = asked(service, "GET", "/history?label=conversation&value=conv-1")[1]["changes"]
        assert [(one["action"], one["by"]) for one in changes] == [
            ("unblocked", "anonymous"),
            ("blocked", "rule default/runaway"),
        ]
        assert changes[0]["reason"] == "it is fine"
        assert changes[1]["alert"] == refused.value.alert_id


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill -9"])
def test_blocks_and_unblocks_survive_an_end_of_any_kind(config: Path, end: str) -> None:
    with RunningService(config) as first:
        with Guard(first.addresses["grpc"]) as guard:
            shop = Shop(first)
            for conversation in ("conv-1", "conv-2"):
                shop.call(guard, conversation)
                until(guard, blocked=True, conversation=conversation)
        assert asked(first, "DELETE", "?label=conversation&value=conv-1")[1]["kept"] is True
        if end == "kill -9":
            first.signal(signal.SIGKILL)
            first.process.wait(10)
    with RunningService(config) as second, Guard(second.addresses["grpc"]) as guard:
        assert not guard.is_blocked(conversation="conv-1"), "what was lifted is not blocked by the replay"
        assert guard.is_blocked(conversation="conv-2")
        assert len(asked(second, "GET", "")[1]["blocks"]) == 1


@pytest.mark.slow
def test_a_guard_goes_on_by_what_it_knows_and_comes_back_by_itself(config: Path) -> None:
    text = config.read_text()
    with RunningService(config) as first:
        address = first.addresses["grpc"]
        config.write_text(text.replace("grpc: {endpoint: 127.0.0.1:0}", f"grpc: {{endpoint: {address}}}"))
        body = {"label": "tenant", "value": "acme", "ttl": "1h", "reason": "a drill"}
        assert asked(first, "POST", "", body)[0] == 201
        opened = Guard(address, max_stale=3)
        closed = Guard(address, fail="closed", max_stale=3)
        with opened, closed:
            until(opened, blocked=True, tenant="acme")
            closed.check(conversation="conv-1")
            first.stop()
            deadline = time.monotonic() + 10
            while not closed.is_blocked(conversation="conv-1"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with pytest.raises(GuardUnavailableError):
                closed.check(conversation="conv-1")
            opened.check(conversation="conv-1")
            assert opened.is_blocked(tenant="acme"), "what is known to be blocked stays so until its end"
            with RunningService(config) as second:
                until(closed, blocked=False, seconds=20, conversation="conv-1")
                assert asked(second, "DELETE", "?label=tenant&value=acme")[0] == 200
                until(opened, blocked=False, tenant="acme")


def test_a_block_by_hand_ends_by_itself(service: RunningService) -> None:
    with Guard(service.addresses["grpc"]) as guard:
        body = {"label": "agent", "value": "planner", "ttl": "700ms", "reason": "a drill"}
        assert asked(service, "POST", "", body)[0] == 201
        until(guard, blocked=True, agent="planner")
        until(guard, blocked=False, agent="planner")
        assert asked(service, "GET", "/check?agent=planner")[1] == {"blocked": False}


def test_a_proxy_is_told_by_headers(service: RunningService) -> None:
    body = {"label": "conversation", "value": "conv-ü", "ttl": "1h", "reason": "a drill"}
    assert asked(service, "POST", "", body)[0] == 201
    name = "conv-ü".encode().decode("latin-1")
    assert asked(service, "GET", "/authorize/v1/chat/completions", x_conversation_id="conv-1")[0] == 200
    assert asked(service, "POST", "/authorize/v1/chat/completions")[0] == 200
    status, told = asked(service, "POST", "/authorize/v1/chat/completions", x_conversation_id=name)
    assert (status, told["blocked"], told["reason"]) == (403, True, "a drill")


def test_a_coroutine_asks_without_waiting(service: RunningService) -> None:
    async def ask() -> bool:
        async with Guard(service.addresses["grpc"], fail="closed") as guard:
            return guard.is_blocked(conversation="conv-1")

    assert asyncio.run(ask()) is False


def test_the_command_blocks_shows_and_lifts(service: RunningService) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        url = f"http://{service.addresses['api']}"
        done = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "tocsin", "block", *arguments, "--url", url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = run("add", "conversation=conv-7", "--ttl", "5m", "--reason", "too loud")
    assert code == 0, said
    assert "conversation=conv-7 until" in said
    assert run("check", "conversation=conv-7", "tenant=acme")[0] == 3
    code, said = run("list", "--json")
    assert [one["reason"] for one in json.loads(said)] == ["too loud"]
    assert run("remove", "conversation=conv-7") == (0, "lifted: conversation=conv-7\n")
    assert run("check", "conversation=conv-7") == (0, "not blocked\n")
    code, said = run("remove", "conversation=conv-7")
    assert (code, said) == (1, "conversation=conv-7: it is not blocked\n")
    assert "unblocked conversation=conv-7 by anonymous: lifted by hand" in run("history")[1]
