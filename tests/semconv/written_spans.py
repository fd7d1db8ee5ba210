"""Spans as a test writes them, through protobuf and a decoder to a canonical batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from tocsin.decode import decoder
from tocsin.model.batch import Needs, SpanClass
from tocsin.semconv import AttributesConfig, Normalized, Normalizer

START = 1_790_000_000_000_000_000
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Written:
    """One span; ids are given by position unless written."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = "span"
    scope: tuple[str, str] = ("test", "1.0")
    resource: Mapping[str, Any] = field(default_factory=dict)
    trace_id: bytes = (1).to_bytes(16, "big")
    span_id: bytes | None = None
    start: int = START
    end: int = START + SECOND
    status: int = 0
    trace_state: str = ""
    events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()


def any_value(value: Any) -> AnyValue:  # noqa: ANN401
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=attributes_of(value)))
        case _:
            return AnyValue()


def attributes_of(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def request_of(spans: Sequence[Written]) -> bytes:
    request = ExportTraceServiceRequest()
    for number, written in enumerate(spans):
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(attributes_of(written.resource))
        scope = resource.scope_spans.add()
        scope.scope.name, scope.scope.version = written.scope
        span = scope.spans.add(
            trace_id=written.trace_id,
            span_id=(number + 1).to_bytes(8, "big") if written.span_id is None else written.span_id,
            name=written.name,
            start_time_unix_nano=written.start,
            end_time_unix_nano=written.end,
            trace_state=written.trace_state,
        )
        span.attributes.extend(attributes_of(written.attributes))
        span.status.code = written.status  # type: ignore[assignment]
        for name, time, attributes in written.events:
            span.events.add(name=name, time_unix_nano=time).attributes.extend(attributes_of(attributes))
    return request.SerializeToString()


def normalized(
    *spans: Written,
    labels: Sequence[str] = (),
    numbers: Sequence[str] = (),
    attributes: AttributesConfig | None = None,
) -> Normalized:
    normalizer = Normalizer(Needs(frozenset(labels), frozenset(numbers)), attributes)
    decoded = decoder(normalizer.projection).traces([request_of(spans)])
    assert decoded.errors == [None] or decoded.errors == (None,)
    return normalizer.spans(decoded.columns, np.full(len(spans), START, np.int64))


def evaluations(*records: Mapping[str, Any], numbers: Sequence[str] = (), labels: Sequence[str] = ()) -> Normalized:
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add().scope_logs.add()
    for record in records:
        written = logs.log_records.add(event_name="gen_ai.evaluation.result", time_unix_nano=START)
        written.attributes.extend(attributes_of(record))
    normalizer = Normalizer(Needs(frozenset(labels), frozenset(numbers)))
    decoded = decoder(normalizer.projection).logs([request.SerializeToString()])
    return normalizer.logs(decoded.columns, np.full(len(decoded.columns), START, np.int64))


def texts(found: Normalized, label: str) -> list[str | None]:
    column = found.batch.labels[label]
    return [None if code < 0 else column.values[code] for code in column.code.tolist()]


def classes(found: Normalized) -> list[SpanClass]:
    return [SpanClass(code) for code in found.batch.span_class.tolist()]


def llm(**tokens: int) -> dict[str, Any]:
    """Return the attributes of a chat span in the current convention; `input=5` is `gen_ai.usage.input_tokens`."""
    names = {
        "input": "gen_ai.usage.input_tokens",
        "output": "gen_ai.usage.output_tokens",
        "cache_read": "gen_ai.usage.cache_read.input_tokens",
        "cache_write": "gen_ai.usage.cache_write.input_tokens",
        "reasoning": "gen_ai.usage.reasoning.output_tokens",
        "total": "gen_ai.usage.total_tokens",
    }
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
    } | {names[name]: count for name, count in tokens.items()}
