# ruff: noqa: ANN401  # a provider's answer is a document
"""A support shop whose agents call a model, traced with OpenTelemetry; after a while one agent runs away.

Run, each in a terminal of its own, after `pip install -r requirements.txt`:

    python provider.py
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 python shop.py --tocsin http://127.0.0.1:8417

What an application has to do for Tocsin is `traced_call`: one span a call, with the model and its tokens. Asking before
each call (`refusal`) is what makes a rule's `actions: block` stop an agent.
"""

import argparse
import json
import random
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

QUESTIONS = ("Where is my parcel?", "Can I return the shoes?", "The code you sent does not work.")
RUNAWAY = "conv-0314"


@dataclass
class Conversation:
    """What one customer and one agent said so far."""

    name: str
    agent: str
    tenant: str
    model: str
    messages: list[dict[str, str]] = field(default_factory=list)


class Shop:
    """Agents that ask a provider, and a guard before that."""

    def __init__(self, provider: str, tocsin: str | None, tracer: trace.Tracer) -> None:
        self.provider = provider
        self.tocsin = tocsin
        self.tracer = tracer

    def turn(self, conversation: Conversation, said: str) -> str | None:
        """Let the agent answer, and return None; or return why it must not."""
        if (why := self.refusal(conversation)) is not None:
            return why
        conversation.messages.append({"role": "user", "content": said})
        with self.tracer.start_as_current_span(f"invoke_agent {conversation.agent}") as span:
            span.set_attribute("gen_ai.operation.name", "invoke_agent")
            span.set_attribute("gen_ai.agent.name", conversation.agent)
            span.set_attribute("gen_ai.conversation.id", conversation.name)
            span.set_attribute("tenant.id", conversation.tenant)
            conversation.messages.append(self.traced_call(conversation))
        return None

    def traced_call(self, conversation: Conversation) -> dict[str, str]:
        """Call the model within a span that says which, for whom, and how many tokens it took."""
        with self.tracer.start_as_current_span(f"chat {conversation.model}", kind=trace.SpanKind.CLIENT) as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.provider.name", "openai")
            span.set_attribute("gen_ai.request.model", conversation.model)
            span.set_attribute("gen_ai.conversation.id", conversation.name)
            answer = self._complete(conversation)
            span.set_attribute("gen_ai.response.model", answer["model"])
            span.set_attribute("gen_ai.usage.input_tokens", answer["usage"]["prompt_tokens"])
            span.set_attribute("gen_ai.usage.output_tokens", answer["usage"]["completion_tokens"])
            message: dict[str, str] = answer["choices"][0]["message"]
            return message

    def refusal(self, conversation: Conversation) -> str | None:
        """Return why the conversation is blocked, or None; None as well while nobody can be asked."""
        if self.tocsin is None:
            return None
        asked = urllib.parse.urlencode({"conversation": conversation.name, "tenant": conversation.tenant})
        try:
            with urllib.request.urlopen(f"{self.tocsin}/api/v1/blocks/check?{asked}", timeout=0.5) as answer:
                found = json.load(answer)
        except OSError:
            return None  # fail open: a shop that sells without its guard, rather than one that does not sell
        return str(found["reason"]) if found["blocked"] else None

    def _complete(self, conversation: Conversation) -> Any:
        body = json.dumps({"model": conversation.model, "messages": conversation.messages}).encode()
        request = urllib.request.Request(
            f"{self.provider}/chat/completions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def sell(shop: Shop, *, seconds: float, runaway_after: float) -> None:
    """Serve customers for so many seconds; from `runaway_after` on, one agent sends ever more of its context."""
    began = time.monotonic()
    runaway: Conversation | None = None
    customers = 0
    while (passed := time.monotonic() - began) < seconds:
        customers += 1
        customer = Conversation(f"conv-{customers}", "support", random.choice(("acme", "globex")), "gpt-4o-mini")
        for question in QUESTIONS[: random.randint(1, 3)]:
            shop.turn(customer, question)
        if runaway is None and passed >= runaway_after:
            runaway = Conversation(RUNAWAY, "researcher", "acme", "gpt-4o")
            say(f"{RUNAWAY}: an agent begins to read everything again before each answer")
        if runaway is not None and (why := shop.turn(runaway, "Read this again. " + "…" * 100_000)) is not None:
            say(f"{RUNAWAY}: refused after {len(runaway.messages) // 2} calls: {why}")
            runaway, runaway_after = None, seconds  # once is enough
        time.sleep(0.2)
    say(f"served {customers} customers")


def say(line: str) -> None:
    """Tell what happens."""
    print(f"shop: {line}", flush=True)


def main() -> None:
    """Open the shop as the command line says."""
    parser = argparse.ArgumentParser(description="A support shop with agents, traced with OpenTelemetry.")
    parser.add_argument("--provider", default="http://127.0.0.1:9100/v1", help="an address as OpenAI's clients take it")
    parser.add_argument("--tocsin", help="Tocsin's API, asked before each call; nobody is asked without it")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long; for ever, if not said")
    parser.add_argument("--runaway-after", type=float, default=20, metavar="SECONDS", help="when an agent runs away")
    given = parser.parse_args()
    spans = TracerProvider()  # OTEL_SERVICE_NAME is its name, OTEL_EXPORTER_OTLP_ENDPOINT where spans go
    # An alert comes no sooner than the exporter sends: 5 s by default.
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
    shop = Shop(given.provider, given.tocsin, spans.get_tracer("shop"))
    try:
        sell(shop, seconds=given.seconds, runaway_after=given.runaway_after)
    finally:
        spans.shutdown()


if __name__ == "__main__":
    main()
