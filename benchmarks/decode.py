"""How fast OTLP bytes become columns, against a server that walks protobuf messages.

Both sides take the same serialized requests: 512 spans of 22 attributes as the load generator writes them,
with and without prompt and completion. The walk is what a plain Python server does: parse with the official
classes, then read every attribute of every span into a dict. The decoders read a projection of 150 keys,
about what a full set of rules asks for; most are absent. Thread CPU time in interleaved rounds, so that
neither other processes nor a warm cache favour one side. Run: `python -m benchmarks.decode`.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tocsin.decode import NATIVE, decoder, reference
from tocsin.model.columns import Projection

__all__ = ["main", "projection", "request", "run"]

SPANS = 512
ROUNDS = 15
_BODIES = (("gen_ai.input.messages", 0.75), ("gen_ai.output.messages", 0.25))
_REASONS = KeyValue(
    key="gen_ai.response.finish_reasons",
    value=AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="stop")])),
)
_KEYS = (
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model",
    "gen_ai.response.id", "gen_ai.conversation.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.agent.name", "app.tenant.id", "error.type",
)  # fmt: skip
"""The keys of the spans that rules read: 12 of 22."""


def projection() -> Projection:
    """Return 150 keys: those of the spans that a rule may read, and those of other dialects, which are
    absent."""
    others = [f"dialect.{number // 12}.attribute.{number % 12}.name" for number in range(150 - len(_KEYS))]
    return Projection(
        attributes=dict.fromkeys([*_KEYS, *others], 1024),
        indexed=[("retrieval.documents.", ".document.score")],
        event_times=["gen_ai.content.first_token"],
    )


def request(spans: int, body_bytes: int, seed: int = 1) -> bytes:
    """Return a serialized request; `body_bytes` of text are spread over prompt and completion of each
    span."""
    draw = random.Random(seed)
    message = ExportTraceServiceRequest()
    entry = message.resource_spans.add()
    for key, value in (("service.name", "checkout"), ("telemetry.sdk.language", "python")):
        entry.resource.attributes.append(_pair(key, value))
    scope = entry.scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.openai_v2"
    for _ in range(spans):
        scope.spans.append(_span(draw, body_bytes))
    return message.SerializeToString()


def run() -> list[dict[str, Any]]:
    """Return the ratios and times that `python -m benchmarks` prints; nothing without the native decoder."""
    if not NATIVE:
        return []
    rows = [
        _against_walk("decode against upb walked, no bodies", 0, ">= 30"),
        _against_walk("decode against upb walked, 2 kB bodies", 2 * 1024, ""),
        _against_walk("decode against upb walked, 16 kB bodies", 16 * 1024, ">= 60"),
    ]
    return [*rows, _small(), _reference()]


def _against_walk(name: str, body_bytes: int, target: str) -> dict[str, Any]:
    data = request(SPANS, body_bytes)
    native = decoder(projection())
    sides = _rounds([lambda: walk(data), lambda: native.traces([data])], [1, 8])
    ratios = [walked / scanned for walked, scanned in zip(*sides, strict=True)]
    per_span = statistics.median(sides[1]) / SPANS * 1e6
    note = f"{per_span:.2f} µs per span; upb walked {statistics.median(sides[0]) / SPANS * 1e6:.1f} µs"
    return _row(name, ratios, "times", target, note)


def _small() -> dict[str, Any]:
    data = request(10, 0)
    native = decoder(projection())
    (times,) = _rounds([lambda: native.traces([data])], [300])
    return _row("decode of a request with 10 spans", [time * 1e6 for time in times], "µs", "<= 30", "")


def _reference() -> dict[str, Any]:
    data = request(SPANS, 0)
    plain = reference.Decoder(projection())
    sides = _rounds([lambda: walk(data), lambda: plain.traces([data])], [1, 1])
    ratios = [walked / plainly for walked, plainly in zip(*sides, strict=True)]
    return _row("the fallback against upb walked, no bodies", ratios, "times", "", "without cargo")


def walk(data: bytes) -> list[dict[str, Any]]:
    """Read every attribute of every span, as plain servers do."""
    found = []
    for entry in ExportTraceServiceRequest.FromString(data).resource_spans:
        resource = _attributes(entry.resource.attributes)
        for scope in entry.scope_spans:
            for span in scope.spans:
                ids = (span.trace_id, span.span_id, span.parent_span_id)
                times = (span.start_time_unix_nano, span.end_time_unix_nano)
                own = (resource, ids, times, span.name, span.kind, span.status.code)
                found.append({"span": own, **_attributes(span.attributes)})
    return found


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)


def _rounds(sides: Sequence[Callable[[], object]], repeats: Sequence[int]) -> list[list[float]]:
    """Return per side the CPU seconds of one call, round by round; the first round does not count."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(ROUNDS + 1):
        for own, side, repeat in zip(times, sides, repeats, strict=True):
            begun = time.thread_time()
            for _ in range(repeat):
                side()
            own.append((time.thread_time() - begun) / repeat)
    return [own[1:] for own in times]


def _row(name: str, values: Sequence[float], unit: str, target: str, note: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": statistics.median(values),
        "unit": unit,
        "target": target,
        "low": min(values),
        "high": max(values),
        "rounds": len(values),
        "note": note,
    }


def _span(draw: random.Random, body_bytes: int) -> Span:
    start = 1_760_000_000_000_000_000 + draw.randrange(10**9)
    span = Span(
        trace_id=draw.randbytes(16),
        span_id=draw.randbytes(8),
        parent_span_id=draw.randbytes(8),
        name="chat gpt-5-mini",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + draw.randrange(10**10),
    )
    model = draw.choice(("gpt-5-mini", "gpt-5", "claude-sonnet-4-5"))
    values: dict[str, str | int | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.response.model": f"{model}-2025-08-07",
        "gen_ai.response.id": f"chatcmpl-{draw.randbytes(8).hex()}",
        "gen_ai.conversation.id": f"conv-{draw.randrange(10**9):09}",
        "gen_ai.agent.name": "support-agent",
        "gen_ai.output.type": "text",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.top_p": 0.95,
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.usage.input_tokens": draw.randrange(200, 2000),
        "gen_ai.usage.output_tokens": draw.randrange(20, 500),
        "gen_ai.usage.cache_read.input_tokens": draw.randrange(1000),
        "server.address": "api.provider.example",
        "server.port": 443,
        "app.tenant.id": f"tenant-{draw.randrange(10**5):05}",
        "app.feature": draw.choice(("chat", "search", "summaries")),
        "app.prompt.version": "v17",
        "user.id": "user-4711",
        "session.id": "session-0815",
    }
    span.attributes.append(_REASONS)
    span.attributes.extend(_pair(key, value) for key, value in values.items())
    for key, share in _BODIES if body_bytes else ():
        span.attributes.append(_pair(key, _prose(int(body_bytes * share))))
    return span


def _prose(size: int) -> str:
    line = "The customer asks why the parcel has not arrived, and when the refund will be paid. "
    return (line * (size // len(line) + 1))[:size]


def _pair(key: str, value: str | float) -> KeyValue:
    match value:
        case str():
            return KeyValue(key=key, value=AnyValue(string_value=value))
        case int():
            return KeyValue(key=key, value=AnyValue(int_value=value))
        case _:
            return KeyValue(key=key, value=AnyValue(double_value=value))


def main() -> None:
    """Print the table."""
    for row in run():
        goal = f"  (goal {row['target']})" if row["target"] else ""
        extremes = f"{row['low']:.1f} to {row['high']:.1f}"
        print(f"{row['name']:45} {row['value']:8.1f} {row['unit']}  [{extremes}]{goal}  {row['note']}")


if __name__ == "__main__":
    main()
