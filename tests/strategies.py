"""Generators that tests of several packages share: OTLP messages as a client library could send them, and odder."""

from dataclasses import replace

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tocsin.model.columns import Projection

__all__ = [
    "KEYS",
    "PREFIX_PROJECTION",
    "PROJECTION",
    "any_values",
    "attributes",
    "export_logs",
    "export_requests",
    "spans",
]

PREFIXED = (
    "app.a",
    "app.b",
    "app.c",
    "app.d",
    "app.secret",
    "app.secret.no",
    "app.x.content",
    "app.",
    "app.é",
    "exception/short",
    "app." + "l" * 252,
    "app." + "l" * 253,
    "apq",
    "shorter",
)
"""Keys of which PREFIX_PROJECTION reads some by their beginning."""

KEYS = (
    "gen_ai.request.model", "gen_ai.conversation.id", "gen_ai.usage.input_tokens", "short", "none",
    "docs.0.score", "docs.17.score", "docs.x.score", "docs..score", "event.name", "event_name", "unread", "", *PREFIXED,
)  # fmt: skip
"""Attribute keys that generated messages use; PROJECTION reads most of them."""

PROJECTION = Projection(
    attributes={key: 64 for key in KEYS if key != "unread" and key not in PREFIXED}
    | {"short": 5, "none": 0, "docs.17.score": 1024},
    indexed=[("docs.", ".score"), ("docs.", ""), ("", "")],
    event_times=["first_token", "exception"],
    event_attributes=[("exception", "short"), ("exception", "gen_ai.request.model"), ("choice", "short")],
    log_events=["gen_ai.evaluation.result", "choice"],
)

PREFIX_PROJECTION = replace(
    PROJECTION,
    prefixes=["app.", "sho", "exception/"],
    barred=["app.secret", "app.secret.*", "*.content"],
    most_prefixed=4,
)
"""The same and keys by their beginning, fewer at a time than there are."""

_TEXTS = st.one_of(
    st.sampled_from(["gpt-5", "claude", "", "é" * 3, "日本語テキスト", "a" * 64, "ä" * 40, "🔔" * 20, "x" * 400]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
_TIMES = st.one_of(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(10**18, 2 * 10**18))
_EVENT_NAMES = st.sampled_from(["gen_ai.evaluation.result", "choice", "exception", "first_token", "other", ""])


def any_values() -> st.SearchStrategy[AnyValue]:
    """Return values of every kind, also none, nested up to a few levels."""
    plain = st.one_of(
        st.builds(AnyValue, string_value=_TEXTS),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(AnyValue, double_value=st.floats()),
        st.builds(AnyValue, bytes_value=st.binary(max_size=100)),
        st.just(AnyValue()),
    )
    return st.recursive(plain, _containers, max_leaves=4)


def _containers(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    arrays = st.builds(ArrayValue, values=st.lists(values, max_size=3))
    pairs = st.lists(st.builds(KeyValue, key=st.sampled_from(KEYS), value=values), max_size=3)
    return st.one_of(
        st.builds(AnyValue, array_value=arrays),
        st.builds(AnyValue, kvlist_value=st.builds(KeyValueList, values=pairs)),
    )


def attributes() -> st.SearchStrategy[list[KeyValue]]:
    """Return attribute lists; keys repeat, and some are flattened list elements."""
    return st.lists(st.builds(KeyValue, key=st.sampled_from(KEYS), value=any_values()), max_size=6)


def _ids(size: int) -> st.SearchStrategy[bytes]:
    odd = st.sampled_from([b"", bytes(size), b"\x01", b"\x02" * (size + 1)])
    return st.one_of(st.binary(min_size=size, max_size=size), odd)


def spans() -> st.SearchStrategy[Span]:
    """Return spans with events and links, good ids and bad ones."""
    events = st.builds(
        Span.Event, time_unix_nano=_TIMES, name=_EVENT_NAMES, attributes=attributes(),
        dropped_attributes_count=st.integers(0, 2**32 - 1),
    )  # fmt: skip
    return st.builds(
        Span,
        trace_id=_ids(16),
        span_id=_ids(8),
        parent_span_id=_ids(8),
        trace_state=st.sampled_from(["", "ot=th:8", "v=" + "x" * 600]),
        flags=st.integers(0, 2**32 - 1),
        name=st.one_of(_TEXTS, st.just("é" * 200)),
        kind=st.integers(-1, 7),
        start_time_unix_nano=_TIMES,
        end_time_unix_nano=_TIMES,
        attributes=attributes(),
        events=st.lists(events, max_size=3),
        links=st.lists(st.builds(Span.Link, trace_id=_ids(16), attributes=attributes()), max_size=1),
        status=st.builds(Status, code=st.integers(-1, 4), message=_TEXTS),
    )


_RESOURCES = st.builds(Resource, attributes=attributes())
_SCOPES = st.builds(
    InstrumentationScope,
    name=st.sampled_from(["", "openai", "langchain", "n" * 300]),
    version=st.sampled_from(["", "1.0"]),
    attributes=attributes(),
)


def export_requests() -> st.SearchStrategy[ExportTraceServiceRequest]:
    """Return trace export requests, some of them empty."""
    scope_spans = st.builds(ScopeSpans, scope=_SCOPES, spans=st.lists(spans(), max_size=4), schema_url=_TEXTS)
    entries = st.builds(ResourceSpans, resource=_RESOURCES, scope_spans=st.lists(scope_spans, max_size=2))
    return st.builds(ExportTraceServiceRequest, resource_spans=st.lists(entries, max_size=2))


def export_logs() -> st.SearchStrategy[ExportLogsServiceRequest]:
    """Return log export requests; the event name stands in the field, in an attribute, or in both."""
    records = st.builds(
        LogRecord,
        time_unix_nano=_TIMES,
        observed_time_unix_nano=_TIMES,
        severity_text=_TEXTS,
        body=any_values(),
        attributes=st.lists(st.one_of(_event_name_attributes(), st.deferred(_one_attribute)), max_size=5),
        trace_id=_ids(16),
        span_id=_ids(8),
        event_name=_EVENT_NAMES,
    )
    scope_logs = st.builds(ScopeLogs, scope=_SCOPES, log_records=st.lists(records, max_size=4))
    entries = st.builds(ResourceLogs, resource=_RESOURCES, scope_logs=st.lists(scope_logs, max_size=2))
    return st.builds(ExportLogsServiceRequest, resource_logs=st.lists(entries, max_size=2))


def _one_attribute() -> st.SearchStrategy[KeyValue]:
    return st.builds(KeyValue, key=st.sampled_from(KEYS), value=any_values())


def _event_name_attributes() -> st.SearchStrategy[KeyValue]:
    names = st.builds(AnyValue, string_value=_EVENT_NAMES)
    return st.builds(KeyValue, key=st.sampled_from(["event.name", "event_name"]), value=names)
