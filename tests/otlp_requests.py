"""OTLP requests for tests: model calls as the GenAI conventions write them, and a plain client that sends bytes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

__all__ = ["Call", "Exporter", "Value", "request_of"]

Value = str | int | float | bool


@dataclass(frozen=True)
class Call:
    """One model call as a span."""

    trace_id: bytes
    span_id: bytes
    start: int
    end: int
    model: str = "gpt-4o"
    input_tokens: int = 1000
    output_tokens: int = 100
    failed: bool = False
    parent_id: bytes = b""
    attributes: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def drawn(cls, random: Random, *, end: int, duration_ns: int = 800_000_000, **more: object) -> "Call":
        """Return a call with random ids that ended at `end`."""
        drawn = {"trace_id": random.randbytes(16), "span_id": random.randbytes(8), "start": end - duration_ns}
        return cls(**{**drawn, "end": end, **more})  # type: ignore[arg-type]  # the caller names real fields


def request_of(calls: Iterable[Call], *, resource: Mapping[str, Value] | None = None) -> ExportTraceServiceRequest:
    """Return an export request with these calls."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(_pairs(resource or {"service.name": "shop"}))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "tests"
    scope_spans.spans.extend(_span(call) for call in calls)
    return request


def _span(call: Call) -> Span:
    return Span(
        trace_id=call.trace_id,
        span_id=call.span_id,
        parent_span_id=call.parent_id,
        name=f"chat {call.model}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=call.start,
        end_time_unix_nano=call.end,
        status=Status(code=Status.STATUS_CODE_ERROR if call.failed else Status.STATUS_CODE_UNSET),
        attributes=_pairs(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai" if call.model.startswith("gpt") else "anthropic",
                "gen_ai.request.model": call.model,
                "gen_ai.usage.input_tokens": call.input_tokens,
                "gen_ai.usage.output_tokens": call.output_tokens,
                **call.attributes,
            }
        ),
    )


def _pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)


class Exporter:
    """Sends serialized trace requests over one gRPC connection; a context manager."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._export: Any = self._channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")

    def __call__(self, request: bytes) -> bytes:
        """Return the serialized answer.

        Raises:
            grpc.RpcError: it was refused.
        """
        answer: bytes = self._export(request, timeout=30)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
