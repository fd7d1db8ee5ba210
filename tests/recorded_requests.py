"""Recorded requests as decoded columns, and what their index says about each span."""

import base64
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.decode import decoder
from tocsin.model.batch import ABSENT, Needs, SpanClass
from tocsin.model.columns import SpanColumns
from tocsin.semconv import AttributesConfig, Normalized, Normalizer

DIRECTORY = Path(__file__).parent / "payloads"
INDEX: list[dict[str, Any]] = json.loads((DIRECTORY / "INDEX.json").read_text("utf-8"))["payloads"]
TRACES = [entry for entry in INDEX if entry["signal"] == "traces"]
LOGS = [entry for entry in INDEX if entry["signal"] == "logs"]

EVERYTHING = Needs(
    labels=frozenset(
        {
            "conversation", "tenant", "user", "environment", "service", "operation", "error_type",
            "finish_reason", "data_source", "evaluation",
        }
    ),
    numbers=frozenset({"judge_score", "relevance_score", "top_score", "retrieved_count", "relevance"}),
)  # fmt: skip


@cache
def request_of(file: str) -> bytes:
    """Return a recorded request as protobuf bytes; OTLP/JSON has its ids in hexadecimal."""
    data = (DIRECTORY / file).read_bytes()
    if not file.endswith(".json"):
        return data
    document = json.loads(data)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    parsed = json_format.ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    return parsed.SerializeToString()


def columns_of(file: str, normalizer: Normalizer) -> SpanColumns:
    decoding = decoder(normalizer.projection)
    decode = decoding.logs if ".logs." in file else decoding.traces
    decoded = decode([request_of(file)])
    assert decoded.errors[0] is None
    return decoded.columns


def normalized(file: str, needs: Needs = EVERYTHING, attributes: AttributesConfig | None = None) -> Normalized:
    normalizer = Normalizer(needs, attributes)
    columns = columns_of(file, normalizer)
    arrival = np.full(len(columns), 1_800_000_000_000_000_000, np.int64)
    return normalizer.logs(columns, arrival) if ".logs." in file else normalizer.spans(columns, arrival)


def row_of(found: Normalized, call: dict[str, Any]) -> int:
    """Return the row of a span of the index."""
    trace, span = int(call["trace_id"], 16), int(call["span_id"], 16)
    batch = found.batch
    hit = (
        (batch.trace_hi == np.uint64(trace >> 64))
        & (batch.trace_lo == np.uint64(trace & (1 << 64) - 1))
        & (batch.span_id == np.uint64(span))
    )
    assert hit.sum() == 1
    return int(np.flatnonzero(hit)[0])


def text(found: Normalized, label: str, row: int) -> str | None:
    column = found.batch.labels[label]
    code = int(column.code[row])
    return None if code < 0 else column.values[code]


def calls_of(entry: dict[str, Any], found: Normalized) -> Iterator[tuple[dict[str, Any], int]]:
    """Return the model calls of an index entry, each with the row of the span that stands for it."""
    for call in entry["expected"]["llm_calls"] + entry["expected"]["embedding_calls"]:
        yield call, row_of(found, call)


def expected_tokens(call: dict[str, Any], name: str) -> int:
    """Return the provider's count, or what the library made of it, or ABSENT where the span doesn't carry it."""
    said = (call.get("payload_says_otherwise") or {}).get(name)
    if said:
        return int(next(iter(said.values())))
    if not call["usage_in_payload"] or name in call["not_in_this_span"]:
        return ABSENT
    return int(call["usage"][name])


def expected_sum(entry: dict[str, Any], found: Normalized, name: str) -> int:
    """Return the provider's total, less what no span carries, with what a library counted differently."""
    calls = [call for call, _ in calls_of(entry, found)]
    difference = sum(max(expected_tokens(call, name), 0) - int(call["usage"][name]) for call in calls if call["usage"])
    # What the client span of a stream lacks, its usage record has.
    carried = int(getattr(found.batch, name)[found.batch.span_class == SpanClass.USAGE].clip(0).sum())
    return int(entry["expected"]["totals"][name]) + difference + carried
