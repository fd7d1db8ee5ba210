"""What a test writes of spans, as the OTLP requests that an application would send, and as the engine's batch.

Short names become the first attribute that the configuration has behind them, so that a test holds a configuration's
own `attributes:` too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tocsin import decode
from tocsin.engine.batches import conformed
from tocsin.errors import TocsinError
from tocsin.model.batch import Needs, SpanBatch
from tocsin.pricing import PriceBook
from tocsin.semconv.config import AttributesConfig
from tocsin.semconv.normalizer import Normalizer
from tocsin.semconv.table import Alias, How, Table

__all__ = ["Item", "Spelling", "batch_of"]

Value = str | bool | int | float | list[object] | dict[str, object]
_OPERATIONS: Final = {
    "llm": "chat",
    "embeddings": "embeddings",
    "tool": "execute_tool",
    "retrieval": "retrieval",
    "agent": "invoke_agent",
    "chain": "chain",
    "memory": "search_memory",
}
_EVALUATION: Final = "gen_ai.evaluation.result"
_IN_A_REQUEST: Final = 1000
_TOKENS: Final = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cache_read",
    "reasoning_tokens": "reasoning",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A span, or the record of an evaluation."""

    at: int
    """When it ends, nanoseconds after the test's start."""
    kind: str
    trace: str
    """Items of one name are of one trace."""
    span: str
    parent: str | None = None
    latency_ns: int = 10**9
    failed: bool = False
    attributes: Mapping[str, Value] = field(default_factory=dict)
    resource: Mapping[str, Value] = field(default_factory=dict)


class Spelling:
    """Which attribute stands for a short name or a number."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def is_of_resource(self, name: str) -> bool:
        """Return whether a label belongs to the resource, like `service`."""
        label = self._table.labels.get(name)
        return label is not None and label.resource_first

    def write(self, name: str, value: str | float, into: dict[str, Value]) -> None:
        """Write a label or a number as the attribute that comes first; one that has none as itself."""
        alias = self._alias(name)
        if alias is None:
            into[name] = value
            return
        if not isinstance(value, str):
            value = value / alias.factor
            value = int(value) if value == int(value) and abs(value) < 2**53 else value
        if alias.how is How.JSON:
            _put(into, alias, value)
        else:
            into[alias.key] = value

    def _alias(self, name: str) -> Alias | None:
        if name in self._table.labels:
            aliases = self._table.labels[name].aliases
        elif name in _TOKENS:
            aliases = self._table.tokens[_TOKENS[name]]
        else:
            aliases = self._table.numbers.get(name, ())
        # An operation is said by what says the kind, and the first of that is another product's.
        if name == "operation" and any(alias.key == "gen_ai.operation.name" for alias in aliases):
            return Alias("gen_ai.operation.name")
        plain = (alias for alias in aliases if alias.event is None and alias.indexed is None and not alias.take)
        return next((alias for alias in plain if alias.how in (How.PLAIN, How.JSON) and "(" not in alias.key), None)


def _put(into: dict[str, Value], alias: Alias, value: Value) -> None:
    """Write a value into the JSON text of an attribute, beside what is in it."""
    held = into.get(alias.key)
    document = orjson.loads(held) if isinstance(held, str) else {}
    inner = document
    for part in alias.at[0][:-1]:
        inner = inner.setdefault(part, {})
    inner[alias.at[0][-1]] = value
    into[alias.key] = orjson.dumps(document).decode()


def batch_of(
    items: Sequence[Item], start: int, needs: Needs, prices: PriceBook, attributes: AttributesConfig
) -> SpanBatch | None:
    """Return items as priced spans in order of time; None for none.

    Args:
        items: in any order.
        start: when the test starts, Unix nanoseconds.
        needs: of the rules.
        prices: what calls cost.
        attributes: what stands behind short names.

    Raises:
        TocsinError: a span can't be used.
    """
    needs = Needs(needs.labels | prices.needs.labels, needs.numbers | prices.needs.numbers)
    normalizer = Normalizer(needs, attributes)
    decoder = decode.decoder(normalizer.projection)
    spans = [item for item in items if item.kind != "evaluation"]
    records = [item for item in items if item.kind == "evaluation"]
    batches = []
    for some, traces in ((spans, True), (records, False)):
        if not some:
            continue
        requests = [
            (_traces if traces else _logs)(some[begin : begin + _IN_A_REQUEST], start)
            for begin in range(0, len(some), _IN_A_REQUEST)
        ]
        decoded = decoder.traces(requests) if traces else decoder.logs(requests)
        for error in filter(None, decoded.errors):
            raise error
        arrival = decoded.columns.end.astype(np.int64)
        normalized = (normalizer.spans if traces else normalizer.logs)(decoded.columns, arrival)
        if normalized.rejected:
            reason = next(iter(normalized.rejected))
            raise TocsinError(f"{len(some) - len(normalized.batch)} spans can't be used: {reason}")
        prices.price(normalized.batch)
        batches.append(normalized.batch)
    if not batches:
        return None
    first = batches[0]
    whole = SpanBatch.concat([conformed(batch, first.labels, first.numbers) for batch in batches])
    return whole.take(np.argsort(whole.end, kind="stable"))


def _traces(items: Sequence[Item], start: int) -> bytes:
    request = ExportTraceServiceRequest()
    scopes: dict[tuple[tuple[str, Value], ...], list[Span]] = {}
    for item in items:
        scopes.setdefault(tuple(item.resource.items()), []).append(_span(item, start))
    for resource, spans in scopes.items():
        of_resource = request.resource_spans.add(resource=Resource(attributes=_pairs(dict(resource))))
        scope = of_resource.scope_spans.add()
        scope.scope.name = "tocsin.test"
        scope.spans.extend(spans)
    return request.SerializeToString()


def _logs(items: Sequence[Item], start: int) -> bytes:
    request = ExportLogsServiceRequest()
    for item in items:
        of_resource = request.resource_logs.add(resource=Resource(attributes=_pairs(item.resource)))
        scope = of_resource.scope_logs.add()
        scope.scope.name = "tocsin.test"
        scope.log_records.append(
            LogRecord(
                time_unix_nano=start + item.at,
                trace_id=_id(item.trace, 16),
                span_id=_id(f"{item.trace}\0{item.span}", 8),
                event_name=_EVALUATION,
                attributes=_pairs(item.attributes),
            )
        )
    return request.SerializeToString()


def _span(item: Item, start: int) -> Span:
    operation = {"gen_ai.operation.name": _OPERATIONS[item.kind]} if item.kind in _OPERATIONS else {}
    end = start + item.at
    return Span(
        trace_id=_id(item.trace, 16),
        span_id=_id(f"{item.trace}\0{item.span}", 8),
        parent_span_id=_id(f"{item.trace}\0{item.parent}", 8) if item.parent is not None else b"",
        name=item.kind,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=max(1, end - item.latency_ns),
        end_time_unix_nano=end,
        attributes=_pairs({**operation, **item.attributes}),
        status=Status(code=Status.STATUS_CODE_ERROR) if item.failed else None,
    )


def _id(name: str, size: int) -> bytes:
    """Return an id that is the same for the same name."""
    return hashlib.blake2b(name.encode(), digest_size=size).digest()


def _pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: object) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int() if abs(value) < 2**63:
            return AnyValue(int_value=value)
        case int() | float():
            return AnyValue(double_value=float(value))
        case list():
            return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
        case dict():
            pairs = [KeyValue(key=str(key), value=_value(each)) for key, each in value.items()]
            return AnyValue(kvlist_value=KeyValueList(values=pairs))
        case None:
            return AnyValue()
        case _:
            return AnyValue(string_value=str(value))
