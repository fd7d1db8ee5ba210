"""The messages that the reference decoder parses: OTLP's own, without what no rule can read.

OTLP's descriptors are copied to a private pool and changed so that protobuf looks exactly at what the native
decoder looks at, and no further:

- Fields that are never read are removed. On the wire they are then unknown fields, skipped by their length.
- Strings become bytes, so that invalid UTF-8 in a prompt that nobody reads refuses no request (the collector
  does not validate either), and invalid UTF-8 in a value that is read can be replaced.
- What is only read where a rule asks for it becomes `repeated bytes`, each to be parsed (and merged) on
  demand: the value of an attribute, a resource, a span's events. Arrays and key-value lists stay bytes for
  ever.
"""

from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

__all__ = ["AnyValue", "Event", "LogsRequest", "Parsed", "Resource", "TracesRequest"]

Parsed: TypeAlias = Any
"""A parsed message of this module: its class is made at run time, so no type checker knows its fields."""

_FieldProto = descriptor_pb2.FieldDescriptorProto

_FILES = (common_pb2, resource_pb2, trace_pb2, logs_pb2, trace_service_pb2, logs_service_pb2)

_READ: dict[str, frozenset[str]] = {
    "ExportTraceServiceRequest": frozenset({"resource_spans"}),
    "ResourceSpans": frozenset({"resource", "scope_spans"}),
    "ScopeSpans": frozenset({"scope", "spans"}),
    "Span": frozenset(
        {"trace_id", "span_id", "trace_state", "parent_span_id", "name", "kind", "start_time_unix_nano"}
        | {"end_time_unix_nano", "attributes", "events", "status"}
    ),
    "Event": frozenset({"time_unix_nano", "name", "attributes"}),
    "Status": frozenset({"code"}),
    "ExportLogsServiceRequest": frozenset({"resource_logs"}),
    "ResourceLogs": frozenset({"resource", "scope_logs"}),
    "ScopeLogs": frozenset({"scope", "log_records"}),
    "LogRecord": frozenset(
        {"time_unix_nano", "observed_time_unix_nano", "attributes", "trace_id", "span_id", "event_name"}
    ),
    "Resource": frozenset({"attributes"}),
    "InstrumentationScope": frozenset({"name", "version"}),
    "KeyValue": frozenset({"key", "value"}),
    "AnyValue": frozenset(
        {
            "string_value",
            "bool_value",
            "int_value",
            "double_value",
            "array_value",
            "kvlist_value",
            "bytes_value",
        }
    ),
}
"""Message -> the fields that are read; other messages keep none."""

_ON_DEMAND = {
    ("ResourceSpans", "resource"),
    ("ResourceLogs", "resource"),
    ("Span", "events"),
    ("KeyValue", "value"),
}
_UNREAD = {("AnyValue", "array_value"), ("AnyValue", "kvlist_value")}


def _adapt(message: descriptor_pb2.DescriptorProto) -> None:
    kept = [field for field in message.field if field.name in _READ.get(message.name, ())]
    for field in kept:
        place = (message.name, field.name)
        if place in _ON_DEMAND:
            field.label = _FieldProto.LABEL_REPEATED
        if place in _ON_DEMAND or place in _UNREAD or field.type == _FieldProto.TYPE_STRING:
            field.type = _FieldProto.TYPE_BYTES
            field.ClearField("type_name")
    del message.field[:]
    message.field.extend(kept)
    if not any(field.HasField("oneof_index") for field in kept):
        del message.oneof_decl[:]
    for nested in message.nested_type:
        _adapt(nested)


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for module in _FILES:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            _adapt(message)
        del file.service[:]
        pool.Add(file)
    return pool


_POOL = _pool()


def _message(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"opentelemetry.proto.{name}"))


TracesRequest = _message("collector.trace.v1.ExportTraceServiceRequest")
LogsRequest = _message("collector.logs.v1.ExportLogsServiceRequest")
Resource = _message("resource.v1.Resource")
Event = _message("trace.v1.Span.Event")
AnyValue = _message("common.v1.AnyValue")
