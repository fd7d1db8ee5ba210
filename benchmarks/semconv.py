"""What the semantic conventions cost: decoded columns to a canonical batch, 22 OTel attributes a span.

Goals on 2 cores: at most 0.8 µs a span at 512 rows, at most 150 µs for a batch of 10 rows.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tocsin.decode import decoder
from tocsin.model.batch import Needs
from tocsin.semconv import Normalizer

__all__ = ["run"]

_NEEDS = Needs(labels=frozenset({"conversation", "tenant", "environment", "service"}))
_START = 1_790_000_000_000_000_000
_MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-pro")
_PAYLOADS = Path(__file__).parent.parent / "tests" / "payloads"


def _request(spans: int) -> bytes:
    """Return one export request: chat spans as current OTel instrumentations write them, without bodies."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(
        [_text("service.name", "support-bot"), _text("deployment.environment.name", "production")]
    )
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "opentelemetry.instrumentation.genai.openai", "1.3b0"
    for number in range(spans):
        span = scope.spans.add(
            trace_id=(number // 4 + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            name=f"chat {_MODELS[number % 4]}",
            kind=3,
            start_time_unix_nano=_START + number * 1_000_000,
            end_time_unix_nano=_START + number * 1_000_000 + 800_000_000,
        )
        span.attributes.extend(_attributes(number))
    return request.SerializeToString()


def _attributes(number: int) -> list[KeyValue]:
    model = _MODELS[number % 4]
    return [
        _text("gen_ai.operation.name", "chat"),
        _text("gen_ai.provider.name", "openai"),
        _text("gen_ai.request.model", model),
        _text("gen_ai.response.model", f"{model}-2025-08-06"),
        _text("gen_ai.response.id", f"chatcmpl-{number:012d}"),
        _text("gen_ai.conversation.id", f"conv-{number % 97}"),
        _text("app.tenant.id", f"tenant-{number % 13}"),
        _text("user.id", f"user-{number % 61}"),
        _text("gen_ai.agent.name", "support"),
        _text("gen_ai.prompt.version", f"v{number % 3}"),
        _whole("gen_ai.usage.input_tokens", 1200 + number),
        _whole("gen_ai.usage.output_tokens", 80 + number),
        _whole("gen_ai.usage.cache_read.input_tokens", 1024 * (number % 2)),
        _whole("gen_ai.usage.reasoning.output_tokens", 16),
        KeyValue(key="gen_ai.response.time_to_first_chunk", value=AnyValue(double_value=0.21)),
        KeyValue(key="gen_ai.request.temperature", value=AnyValue(double_value=0.2)),
        _whole("gen_ai.request.max_tokens", 800),
        KeyValue(key="gen_ai.request.stream", value=AnyValue(bool_value=True)),
        _text("server.address", "api.openai.com"),
        _whole("server.port", 443),
        _text("openai.response.service_tier", "default"),
        _text("openai.response.system_fingerprint", "fp_0001"),
    ]


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _whole(key: str, value: int) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(int_value=value))


def _microseconds(work: Callable[[], object], seconds: float = 1.0) -> float:
    """Return the median time of one call."""
    work()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - began)
    return median(times) / 1000


def _of(request: bytes) -> tuple[Callable[[], object], int]:
    normalizer = Normalizer(_NEEDS)
    columns = decoder(normalizer.projection).traces([request]).columns
    arrival = np.full(len(columns), _START, np.int64)
    return lambda: normalizer.spans(columns, arrival), len(columns)


def run() -> list[dict[str, Any]]:
    """Return the medians."""
    results: list[dict[str, Any]] = []
    for spans in (512, 10):
        work, _ = _of(_request(spans))
        took = _microseconds(work)
        results.append({"name": f"semconv, {spans} OTel spans, a batch", "value": took, "unit": "µs"})
        results.append({"name": f"semconv, {spans} OTel spans, a span", "value": took / spans, "unit": "µs"})
    for file in ("litellm-01", "langfuse-01", "openinference-06", "traceloop-05"):
        work, spans = _of((_PAYLOADS / f"{file}.traces.pb").read_bytes())
        took = _microseconds(work, 0.5)
        results.append({"name": f"semconv, {file} ({spans} spans), a span", "value": took / spans, "unit": "µs"})
    return results


if __name__ == "__main__":
    for result in run():
        sys.stdout.write(f"{result['name']:<60} {result['value']:9.3f} {result['unit']}\n")
