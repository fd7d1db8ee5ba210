"""OTLP/JSON becomes the protobuf that means the same, or is refused with the place that is wrong."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from strategies import export_logs, export_requests

from tocsin.decode import decoder
from tocsin.decode.json import MAX_DEPTH, logs_from_json, traces_from_json
from tocsin.errors import DecodeError
from tocsin.model.columns import Projection

PAYLOADS = Path(__file__).parent.parent / "payloads"
_IDS = {"traceId", "spanId", "parentSpanId"}


def as_otlp_json(message: Any) -> bytes:  # noqa: ANN401  # any message
    """What protobuf writes, with OTLP's exceptions: hexadecimal ids and numbers for enums."""
    body = json_format.MessageToDict(message, use_integers_for_enums=True)

    def hexed(value: Any) -> Any:  # noqa: ANN401  # any JSON
        if isinstance(value, list):
            return [hexed(item) for item in value]
        if isinstance(value, dict):
            return {key: _hex(item) if key in _IDS else hexed(item) for key, item in value.items()}
        return value

    return json.dumps(hexed(body)).encode()


def _hex(text: str) -> str:
    holder = AnyValue()
    json_format.ParseDict({"bytesValue": text}, holder)
    return holder.bytes_value.hex()


def traces(body: object) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(traces_from_json(json.dumps(body).encode()))


def span(body: object) -> Span:
    return traces({"resourceSpans": [{"scopeSpans": [{"spans": [body]}]}]}).resource_spans[0].scope_spans[0].spans[0]


def value(body: object) -> AnyValue:
    return span({"attributes": [{"key": "k", "value": body}]}).attributes[0].value


@given(export_requests())
@settings(max_examples=50, deadline=None)
def test_json_of_traces_becomes_the_same_message(request: ExportTraceServiceRequest) -> None:
    # As text, for NaN is not equal to itself, and JSON does not carry its payload bits.
    assert str(ExportTraceServiceRequest.FromString(traces_from_json(as_otlp_json(request)))) == str(request)


@given(export_logs())
@settings(max_examples=50, deadline=None)
def test_json_of_logs_becomes_the_same_message(request: ExportLogsServiceRequest) -> None:
    assert str(ExportLogsServiceRequest.FromString(logs_from_json(as_otlp_json(request)))) == str(request)


def test_recorded_json_decodes_to_its_spans() -> None:
    decode = decoder(Projection(attributes={"ai.model.id": 100, "ai.usage.promptTokens": 8})).traces
    for path in sorted(PAYLOADS.glob("*.traces.json")):
        body = json.loads(path.read_bytes())
        written = [own for entry in body["resourceSpans"] for scope in entry["scopeSpans"] for own in scope["spans"]]
        columns = decode([traces_from_json(path.read_bytes())]).columns
        assert [own["spanId"] for own in written] == [row.tobytes().hex() for row in columns.span_id]
        assert [int(own["endTimeUnixNano"]) for own in written] == columns.end.tolist()
        assert "ai.model.id" in columns.attributes


def test_integers_may_be_numbers_or_strings() -> None:
    for written in (7, "7", 7.0):
        assert value({"intValue": written}).int_value == 7
    assert value({"intValue": "-9223372036854775808"}).int_value == -(2**63)
    assert span({"endTimeUnixNano": "18446744073709551615"}).end_time_unix_nano == 2**64 - 1


def test_enums_may_be_numbers_or_names() -> None:
    for written in (3, "3", "SPAN_KIND_CLIENT"):
        assert span({"kind": written}).kind == 3
    assert span({"status": {"code": "STATUS_CODE_ERROR"}}).status.code == 2


def test_numbers_that_json_lacks_are_strings() -> None:
    assert math.isnan(value({"doubleValue": "NaN"}).double_value)
    assert value({"doubleValue": "-Infinity"}).double_value == -math.inf
    assert value({"doubleValue": "0.5"}).double_value == 0.5


def test_bytes_are_base64_of_either_alphabet_padded_or_not() -> None:
    for written in ("+/8=", "-_8=", "-_8"):
        assert value({"bytesValue": written}).bytes_value == b"\xfb\xff"


def test_unknown_fields_and_nulls_are_ignored() -> None:
    assert span({"name": None, "surprise": [{}], "trace_id": 7, "kind": None}) == Span()
    assert traces({}) == ExportTraceServiceRequest()


def test_empty_lists_are_values() -> None:
    assert value({"arrayValue": {}}).WhichOneof("value") == "array_value"
    assert value({"kvlistValue": {"values": []}}).WhichOneof("value") == "kvlist_value"
    assert value({}).WhichOneof("value") is None


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("traceId", "xyz"), ("traceId", "abc"), ("traceId", 5), ("name", 5), ("kind", "CLIENT"), ("kind", 2**31),
        ("kind", True), ("endTimeUnixNano", -1), ("endTimeUnixNano", "1_0"), ("endTimeUnixNano", 0.5),
        ("endTimeUnixNano", "٣"), ("endTimeUnixNano", 2**64), ("endTimeUnixNano", ""), ("status", []),
        ("attributes", {}), ("attributes", "x"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_place(field: str, written: object) -> None:
    with pytest.raises(DecodeError, match=f"/resourceSpans/0/scopeSpans/0/spans/0/{field}: "):
        span({field: written})


def test_refusals_never_quote_what_a_client_wrote() -> None:
    with pytest.raises(DecodeError) as caught:
        value({"intValue": "my secret prompt"})
    assert "secret" not in str(caught.value)
    assert "/attributes/0/value/intValue: a whole number is expected, not a string" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b"null", b"\xff", b'{"resourceSpans": NaN}', b'{"resourceSpans": "\\ud800"}']
)
def test_what_is_no_otlp_json_is_refused(data: bytes) -> None:
    for convert in (traces_from_json, logs_from_json):
        with pytest.raises(DecodeError):
            convert(data.replace(b"Spans", b"Logs") if convert is logs_from_json else data)


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> object:
        body: object = {"stringValue": "x"}
        for _ in range(depth):
            body = {"arrayValue": {"values": [body]}}
        return body

    value(nested(40))
    with pytest.raises(DecodeError, match=f"nested more than {MAX_DEPTH} deep"):
        value(nested(60))
    deep = b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(DecodeError):
        traces_from_json(deep)
