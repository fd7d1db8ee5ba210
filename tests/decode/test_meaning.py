"""What the columns say, against a plain walk over the official messages."""

import math
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from strategies import PROJECTION, export_logs, export_requests

from tocsin.decode import decoder
from tocsin.model.columns import DEFAULT_CAP, AttributeColumn, Flaw, SpanColumns, TextColumn, ValueKind

DECODER = decoder(PROJECTION)
Expected = tuple[ValueKind, object]


def cut(text: str, cap: int) -> str:
    """The longest prefix of whole characters within `cap` bytes."""
    while len(text.encode()) > cap:
        text = text[:-1]
    return text


def expected_value(value: AnyValue, cap: int) -> Expected:
    kind = value.WhichOneof("value")
    match kind:
        case "string_value":
            return ValueKind.STRING, cut(value.string_value, cap)
        case "bool_value":
            return ValueKind.BOOL, float(value.bool_value)
        case "int_value":
            return ValueKind.INT, float(value.int_value)
        case "double_value":
            return ValueKind.DOUBLE, struct.pack("<d", value.double_value)
        case "bytes_value":
            return ValueKind.BYTES, value.bytes_value if len(value.bytes_value) <= cap else b""
        case "array_value" | "kvlist_value":
            data = getattr(value, kind).SerializeToString()
            name = ValueKind.ARRAY if kind == "array_value" else ValueKind.KVLIST
            return name, data if len(data) <= cap else b""
        case _:
            return ValueKind.ABSENT, None


def expected_attributes(pairs: list[KeyValue]) -> dict[str, Expected]:
    found = {pair.key: expected_value(pair.value, PROJECTION.attributes.get(pair.key, 0)) for pair in pairs}
    return {
        key: value for key, value in found.items() if key in PROJECTION.attributes and value[0] is not ValueKind.ABSENT
    }


def cell(column: AttributeColumn, row: int) -> Expected:
    kind = ValueKind(column.kind[row])
    code = int(column.code[row])
    if kind in (ValueKind.STRING, ValueKind.BYTES, ValueKind.ARRAY, ValueKind.KVLIST):
        assert math.isnan(column.number[row])
        return kind, column.values[code]
    assert code == -1
    if kind is ValueKind.ABSENT:
        return kind, None
    number = float(column.number[row])
    return kind, struct.pack("<d", number) if kind is ValueKind.DOUBLE else number


def attributes_of(columns: dict[str, AttributeColumn], row: int) -> dict[str, Expected]:
    found = {key: cell(column, row) for key, column in columns.items()}
    return {key: value for key, value in found.items() if value[0] is not ValueKind.ABSENT}


def text(column: TextColumn, row: int) -> str:
    return column.values[column.code[row]] if column.code[row] >= 0 else ""


def expected_events(span: Span) -> tuple[dict[str, int], dict[str, Expected]]:
    times: dict[str, int] = {}
    found: dict[str, Expected] = {}
    for name in PROJECTION.event_times:
        own = [event.time_unix_nano for event in span.events if event.name == name and event.time_unix_nano]
        times |= {name: min(own)} if own else {}
    for name, key in PROJECTION.event_attributes:
        for event in span.events:
            values = [pair.value for pair in event.attributes if pair.key == key]
            if event.name == name and values:
                found[f"{name}/{key}"] = expected_value(values[-1], DEFAULT_CAP)
                break
    return times, {key: value for key, value in found.items() if value[0] is not ValueKind.ABSENT}


def check_span(columns: SpanColumns, row: int, span: Span) -> None:
    flaw = Flaw(int(columns.flaw[row]))
    for flag, name, size in ((Flaw.TRACE_ID, "trace_id", 16), (Flaw.SPAN_ID, "span_id", 8)):
        own = getattr(span, name)
        good = len(own) == size and any(own)
        assert (flag in flaw) is not good
        assert getattr(columns, name)[row].tobytes() == (own if good else bytes(size))
    parent = span.parent_span_id
    assert (Flaw.PARENT_ID in flaw) is (len(parent) not in (0, 8))
    assert columns.parent_id[row].tobytes() == (parent if len(parent) == 8 else bytes(8))
    assert (columns.start[row], columns.end[row]) == (span.start_time_unix_nano, span.end_time_unix_nano)
    assert columns.kind[row] == (span.kind if span.kind in range(6) else 0)
    assert columns.status[row] == (span.status.code if span.status.code in range(3) else 0)
    assert text(columns.name, row) == cut(span.name, 256)
    assert text(columns.trace_state, row) == cut(span.trace_state, 512)
    times, of_events = expected_events(span)
    assert {name: int(own[row]) for name, own in columns.event_time.items() if own[row]} == times
    assert attributes_of(dict(columns.attributes), row) == expected_attributes(list(span.attributes)) | of_events
    check_lists(columns, row, list(span.attributes))


def check_lists(columns: SpanColumns, row: int, pairs: list[KeyValue]) -> None:
    keys = {("docs.", ".score"): {"docs.0.score", "docs.17.score"}, ("docs.", ""): set(), ("", ""): set()}
    for pattern, elements in keys.items():
        own = [pair.value for pair in pairs if pair.key in elements]
        numbers = [float(value.int_value) for value in own if value.WhichOneof("value") == "int_value"]
        numbers += [value.double_value for value in own if value.WhichOneof("value") == "double_value"]
        numbers = [number for number in numbers if not math.isnan(number)]
        column = columns.indexed.get(pattern)
        assert (0 if column is None else column.count[row]) == len(own)
        if column is not None:
            np.testing.assert_equal(column.maximum[row], max(numbers, default=math.nan))


@given(st.lists(export_requests(), max_size=2))
@settings(max_examples=60, deadline=None)
def test_traces_say_what_the_official_messages_say(requests: list[ExportTraceServiceRequest]) -> None:
    decoded = DECODER.traces([request.SerializeToString() for request in requests])
    columns = decoded.columns
    row = 0
    for index, request in enumerate(requests):
        assert decoded.offsets[index] == row
        for entry in request.resource_spans:
            for scope_spans in entry.scope_spans:
                for span in scope_spans.spans:
                    check_span(columns, row, span)
                    own = attributes_of(dict(columns.resources), int(columns.resource[row]))
                    assert own == expected_attributes(list(entry.resource.attributes))
                    scope = columns.scopes[columns.scope[row]]
                    assert scope.name == cut(scope_spans.scope.name, 256)
                    assert scope.version == scope_spans.scope.version
                    row += 1
    assert len(columns) == decoded.offsets[-1] == row
    check_dictionaries(columns)


def check_dictionaries(columns: SpanColumns) -> None:
    """Codes point into values, which are distinct, all used, and in order of first appearance."""
    dictionaries: list[AttributeColumn | TextColumn] = [columns.name, columns.trace_state]
    for column in [*dictionaries, *columns.attributes.values(), *columns.resources.values()]:
        used = [int(code) for code in column.code if code >= 0]
        assert list(dict.fromkeys(used)) == list(range(len(column.values)))
        assert len(set(column.values)) == len(column.values)


@given(export_logs())
@settings(max_examples=60, deadline=None)
def test_logs_say_what_the_official_messages_say(request: ExportLogsServiceRequest) -> None:
    columns = DECODER.logs([request.SerializeToString()]).columns
    row = skipped = 0
    for entry in request.resource_logs:
        for scope_logs in entry.scope_logs:
            for record in scope_logs.log_records:
                values = {pair.key: pair.value for pair in record.attributes}
                named = [record.event_name]
                named += [values.get(key, AnyValue()).string_value for key in ("event.name", "event_name")]
                name = next((name for name in named if name), "")
                if name not in PROJECTION.log_events:
                    skipped += 1
                    continue
                assert text(columns.name, row) == name
                assert columns.end[row] == (record.time_unix_nano or record.observed_time_unix_nano)
                assert columns.start[row] == columns.kind[row] == columns.status[row] == 0
                own = attributes_of(dict(columns.attributes), row)
                assert own == expected_attributes(list(record.attributes))
                check_lists(columns, row, list(record.attributes))
                row += 1
    assert (len(columns), columns.skipped) == (row, skipped)
    check_dictionaries(columns)
