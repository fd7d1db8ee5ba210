"""A service inside this process: what an edit does to it, and what its parts are told."""

import time
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import httpx2
import pytest
from otlp_requests import Call, request_of
from webhook_receiver import WebhookReceiver

from tocsin.alerts.event import AlertEvent
from tocsin.errors import ConfigError
from tocsin.service.loading import Loaded, load_text
from tocsin.service.serve import Service, ready_line


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service keeps goes to the working directory."""
    monkeypatch.chdir(tmp_path)


EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
RANDOM = Random(11)


def loaded(rules: str, *, webhook: str = "", more: str = "") -> Loaded:
    hook = f"\n  hook: {{type: webhook, url: {webhook}, allow_private: true}}" if webhook else ""
    return load_text(
        "receivers: {otlp: {grpc: {endpoint: 127.0.0.1:0}, http: {endpoint: 127.0.0.1:0}}}\n"
        "api: {endpoint: 127.0.0.1:0}\n"
        f"contact_points:\n  terminal: {{type: log}}{hook}\n{more}\n"
        f"rules:\n{rules}"
    )


def counting(name: str, threshold: int, notify: str = "terminal") -> str:
    return (
        f"  - {{name: {name}, metric: count, window: 10m, condition: gt, threshold: {threshold}, notify: [{notify}]}}\n"
    )


async def send(address: str, number: int) -> None:
    calls = [Call.drawn(RANDOM, end=time.time_ns()) for _ in range(number)]
    async with grpc.aio.insecure_channel(address) as channel:
        export: Any = channel.unary_unary(EXPORT)
        await export(request_of(calls).SerializeToString(), timeout=10)


async def test_an_edit_keeps_the_windows_of_rules_that_did_not_change() -> None:
    events: list[AlertEvent] = []
    service = Service(loaded(counting("kept", 5)), also=events.append)
    async with service.running() as status:
        await send(status.receivers["grpc"], 4)
        await service.adopt(loaded(counting("kept", 5) + counting("added", 1)))
        await send(status.receivers["grpc"], 2)
        assert status.rules == 2
    # The new rule reads the window that is there, and what it says is true at once.
    assert [(event.rule.name, event.evidence.samples) for event in events] == [("added", 4), ("kept", 6)]


async def test_an_edit_that_is_not_valid_leaves_everything_as_it_was() -> None:
    events: list[AlertEvent] = []
    service = Service(loaded(counting("kept", 1)), also=events.append)
    async with service.running() as status:
        await service.adopt(ConfigError("rules.yaml:1:1: what, and what to do"))
        assert status.rule_errors == ("rules.yaml:1:1: what, and what to do",)
        await send(status.receivers["grpc"], 2)
        assert [event.rule.name for event in events] == ["kept"]
        await service.adopt(loaded(counting("kept", 1)))
        assert not status.rule_errors


async def test_new_prices_hold_from_the_next_span(webhooks: WebhookReceiver) -> None:
    rules = "  - {name: cost, metric: cost, condition: gt, threshold: $500, notify: [hook]}\n"
    prices = "prices: {prefer: computed, overrides: {gpt-4o: {input: 1000000, output: 0, per: 1M}}}\n"
    service = Service(loaded(rules, webhook=webhooks.url))
    async with service.running() as status:
        await send(status.receivers["grpc"], 1)
        await service.adopt(loaded(rules, webhook=webhooks.url, more=prices))
        await send(status.receivers["grpc"], 1)
    [delivery] = webhooks.of("cost")
    assert delivery.body["value"] == pytest.approx(1000)


async def test_the_api_shows_what_runs() -> None:
    service = Service(loaded(counting("quiet", 100)))
    async with service.running() as status, httpx2.AsyncClient() as client:
        await send(status.receivers["grpc"], 3)
        base = f"http://{status.receivers['api']}"
        ready = (await client.get(f"{base}/readyz")).json()
        assert ready["receivers"] == status.receivers
        assert ready["contact_points"] == ["terminal"]
        metrics = (await client.get(f"{base}/metrics")).text
        assert 'tocsin_samples_total{rule="quiet"} 3.0' in metrics
        assert 'tocsin_tokens_total{model="gpt-4o",provider="openai",type="input"} 3000.0' in metrics
        line = ready_line(status, 0.5)
    assert line.endswith("; 1 rule; contact points: terminal")
    assert f"grpc {status.receivers['grpc']}" in line
    assert status.stopping
