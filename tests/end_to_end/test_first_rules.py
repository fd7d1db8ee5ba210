"""The rules that people write first, from a real exporter to the log and a webhook, held against plain arithmetic."""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from configurations import write_configuration
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer, set_span_in_context
from running_service import RunningService
from webhook_receiver import WebhookReceiver

RULES = """
- name: expensive-trace
  scope: trace
  metric: cost
  condition: gt
  threshold: $0.50
  group_by: trace
  notify: [terminal, hook]
- name: slow-trace
  scope: trace
  metric: latency
  condition: gt
  threshold: 3000
  group_by: trace
  notify: [hook]
- name: many-errors
  metric: error_rate
  window: 10m
  condition: gt
  threshold: 5%
  min_samples: 20
  notify: [hook]
- name: one-tenant
  scope: trace
  metric: cost
  condition: gt
  threshold: $0.50
  group_by: trace
  filters: {tenant: acme}
  notify: [hook]
- name: runaway-conversation
  severity: critical
  metric: cost
  window: 5m
  group_by: conversation
  condition: gt
  threshold: $25
  notify: [terminal, hook]
"""

USD_PER_TOKEN = {"gpt-4o": (2.5e-6, 10e-6), "claude-sonnet-4-5": (3e-6, 15e-6)}


class Shop:
    """An application with a real OpenTelemetry SDK and OTLP/gRPC exporter."""

    def __init__(self, address: str) -> None:
        self.provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        exporter = OTLPSpanExporter(endpoint=f"http://{address}", insecure=True)
        self.provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
        self.tracer: Tracer = self.provider.get_tracer("shop")
        self.now = time.time_ns()

    def trace(self, *calls: tuple[str, int, int], seconds: float = 1.0, failed: bool = False, **more: str) -> str:
        """Send a trace with a root and these model calls (model, input and output tokens); return its id in hex."""
        attributes = {key.replace("__", "."): value for key, value in more.items()}
        begin = self.now - int(seconds * 1e9)
        root = self.tracer.start_span("answer", start_time=begin, attributes=attributes)
        for model, input_tokens, output_tokens in calls:
            span = self.tracer.start_span(
                f"chat {model}",
                context=set_span_in_context(root),
                start_time=begin,
                attributes={
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai" if model.startswith("gpt") else "anthropic",
                    "gen_ai.request.model": model,
                    "gen_ai.usage.input_tokens": input_tokens,
                    "gen_ai.usage.output_tokens": output_tokens,
                    **attributes,
                },
            )
            if failed:
                span.set_status(Status(StatusCode.ERROR))
            span.end(begin + int(seconds * 1e9))
        root.end(self.now)
        return f"{root.get_span_context().trace_id:032x}"

    def flush(self) -> None:
        """Send everything, and wait for the answers."""
        assert self.provider.force_flush(10_000)

    def close(self) -> None:
        """Stop the exporter."""
        self.provider.shutdown()


def usd(*calls: tuple[str, int, int]) -> float:
    return sum(
        input_tokens * USD_PER_TOKEN[model][0] + output_tokens * USD_PER_TOKEN[model][1]
        for model, input_tokens, output_tokens in calls
    )


@pytest.fixture
def service(tmp_path: Path, webhooks: WebhookReceiver) -> Iterator[RunningService]:
    config = write_configuration(tmp_path / "tocsin.yaml", RULES, webhook=webhooks.url)
    with RunningService(config) as running:
        yield running


@pytest.fixture
def shop(service: RunningService) -> Iterator[Shop]:
    shop = Shop(service.addresses["grpc"])
    yield shop
    shop.close()


def test_a_trace_that_costs_too_much_rings_with_what_it_costs(
    service: RunningService, shop: Shop, webhooks: WebhookReceiver
) -> None:
    cheap = [("gpt-4o", 1000, 100)]
    calls = [("gpt-4o", 100_000, 2_000), ("claude-sonnet-4-5", 80_000, 1_000)]
    assert usd(*cheap) < 0.5 < usd(*calls)
    shop.trace(*cheap)
    trace_id = shop.trace(*calls)
    shop.flush()
    [delivery] = webhooks.wait_for("expensive-trace")
    assert delivery.body["value"] == pytest.approx(usd(*calls), abs=1e-9)
    assert delivery.body["unit"] == "USD"
    assert delivery.body["threshold"] == 0.5
    assert delivery.body["group"] == {"trace": trace_id}
    assert [one["trace_id"] for one in delivery.body["traces"]] == [trace_id]
    assert service.wait_for_line("expensive-trace")


def test_a_slow_trace_rings_with_its_latency(service: RunningService, shop: Shop, webhooks: WebhookReceiver) -> None:
    shop.trace(("gpt-4o", 10, 10), seconds=2.9)
    trace_id = shop.trace(("gpt-4o", 10, 10), seconds=3.4)
    shop.flush()
    [delivery] = webhooks.wait_for("slow-trace")
    assert delivery.body["value"] == pytest.approx(3400)
    assert delivery.body["unit"] == "ms"
    assert delivery.body["group"] == {"trace": trace_id}


def test_errors_over_five_percent_ring_but_not_before_there_are_enough_samples(
    service: RunningService, shop: Shop, webhooks: WebhookReceiver
) -> None:
    random = Random(5)
    failures = [True] + [False] * 18  # one of 19 is over 5 %, but 19 are too few
    failures += [random.random() < 0.1 for _ in range(60)]
    expected = None
    for number, failed in enumerate(failures, start=1):
        shop.trace(("gpt-4o", 10, 10), failed=failed)
        shop.flush()
        rate = sum(failures[:number]) / number
        if expected is None and number >= 20 and rate > 0.05:
            expected = (number, rate)
    assert expected is not None
    [delivery] = webhooks.wait_for("many-errors")
    assert (delivery.body["samples"], delivery.body["value"]) == (expected[0], pytest.approx(expected[1]))
    assert delivery.body["unit"] == "ratio"


def test_a_rule_for_one_tenant_is_silent_for_the_others(
    service: RunningService, shop: Shop, webhooks: WebhookReceiver
) -> None:
    calls = [("gpt-4o", 300_000, 0)]
    shop.trace(*calls, tenant__id="globex")
    shop.trace(*calls)
    trace_id = shop.trace(*calls, tenant__id="acme")
    shop.flush()
    webhooks.wait_for("expensive-trace", count=3)
    [delivery] = webhooks.wait_for("one-tenant")
    assert delivery.body["group"] == {"trace": trace_id}


def test_a_conversation_of_240_cheap_calls_rings_once_on_the_call_that_crosses_the_line(
    service: RunningService, shop: Shop, webhooks: WebhookReceiver
) -> None:
    random = Random(314)
    spent, expected = 0.0, None
    for number in range(1, 241):
        call = ("claude-sonnet-4-5", random.randrange(100_000, 200_000), random.randrange(100, 3_000))
        spent += usd(call)
        shop.trace(call, gen_ai__conversation__id="conv-0314")
        shop.trace(("gpt-4o", 1000, 100), gen_ai__conversation__id=f"conv-{number % 7}")
        if expected is None and spent > 25:
            expected = (number, spent)
        if expected is None or number % 20 == 0:
            shop.flush()
    assert expected is not None
    assert spent > 100
    [delivery] = webhooks.wait_for("runaway-conversation")
    assert delivery.body["group"] == {"conversation": "conv-0314"}
    assert delivery.body["value"] == pytest.approx(expected[1], abs=1e-9)
    assert delivery.body["samples"] == expected[0]
    assert delivery.body["window"]["seconds"] == 300
    assert delivery.body["drivers"][0] == {"attribute": "model", "value": "claude-sonnet-4-5", "share": 1.0}
    assert service.metric("tocsin_samples_total", rule="runaway-conversation") == 480
    assert len(webhooks.of("runaway-conversation")) == 1
    assert service.metric("tocsin_cost_usd_total", model="claude-sonnet-4-5") == pytest.approx(spent)
    assert sum("runaway-conversation" in line for line in service.lines) == 1
