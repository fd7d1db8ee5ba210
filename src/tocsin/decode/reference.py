"""The plain decoder: protobuf parses the messages, Python walks them. Right by definition, and the fallback.

It parses with OTLP's own descriptors, changed as `tocsin.decode.schema` says. What is decided here and not by
protobuf (caps, replaced characters, which of several wins) is the definition that `tocsin.decode.wire` must
meet to the bit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError as ProtobufDecodeError

from tocsin.decode import schema
from tocsin.decode.limits import MOST_CELLS, MOST_ROWS, NAME_CAP, TRACE_STATE_CAP, Footprint, refused
from tocsin.decode.prefixed import Admission, Prefixed
from tocsin.decode.schema import Parsed
from tocsin.decode.tabulate import Attributes, Group, Row, Value, columns_of
from tocsin.errors import DecodeError
from tocsin.model.columns import DEFAULT_CAP, Decoded, Flaw, Projection, ScopeName, ValueKind

__all__ = ["Decoder"]

_ABSENT: Value = (ValueKind.ABSENT, float("nan"), None)
_NAN = float("nan")
_Item = TypeVar("_Item")
_Read = tuple[list[Group], int, bool]
"""Groups, skipped records, and whether keys were left out."""
_GroupsOf = Callable[[bytes], _Read]
_NOTHING: _Read = ([], 0, False)
_SPAN_KINDS = range(6)
_STATUS_CODES = range(3)


class Decoder:
    """Extracts a projection's attributes; immutable, so threads may share one."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._caps = {key.encode(): (key, cap) for key, cap in projection.attributes.items()}
        self._indexed = [(pattern, pattern[0].encode(), pattern[1].encode()) for pattern in projection.indexed]
        self._event_times = {name.encode(): name for name in projection.event_times}
        self._event_attributes: dict[bytes, dict[bytes, str]] = {}
        for name, key in projection.event_attributes:
            self._event_attributes.setdefault(name.encode(), {})[key.encode()] = f"{name}/{key}"
        self._log_events = {name.encode() for name in projection.log_events}
        self._prefixed = Prefixed(projection)

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportTraceServiceRequest messages into one set of columns."""
        return self._decoded("traces", requests, self._spans_of)

    def logs(self, requests: Sequence[bytes]) -> Decoded:
        """Decode serialized ExportLogsServiceRequest messages into one set of columns."""
        return self._decoded("logs", requests, self._records_of)

    def _decoded(self, signal: str, requests: Sequence[bytes], groups_of: _GroupsOf) -> Decoded:
        # Lists, so that a request which turns out to be malformed near its end leaves nothing.
        found: list[_Read] = []
        footprints: list[Footprint | None] = []
        reasons: list[str | None] = []
        together = Footprint()
        for request in requests:
            try:
                read = groups_of(request)
            except (ProtobufDecodeError, _TooManyError) as error:
                reasons.append(str(error) or type(error).__name__)
                footprints.append(None)
                read = _NOTHING
            else:
                reasons.append(None)
                own = _footprint(read[0])
                footprints.append(own)
                together += own
            if together.cells > MOST_CELLS:
                found.clear()  # From here on only sizes are wanted; what there is room for is read again.
            else:
                found.append(read)
        if together.cells > MOST_CELLS:
            no_room = refused(footprints, MOST_CELLS)
            reasons = [own or other for own, other in zip(reasons, no_room, strict=True)]
            found = [
                groups_of(request) if not why else _NOTHING for request, why in zip(requests, reasons, strict=True)
            ]
        return self._joined(signal, found, reasons)

    def _joined(self, signal: str, found: list[_Read], reasons: list[str | None]) -> Decoded:
        offsets = [0]
        for groups, _, _ in found:
            offsets.append(offsets[-1] + sum(len(own) for group in groups for _, own in group.scopes))
        columns = columns_of(
            [group for groups, _, _ in found for group in groups],
            self._projection,
            skipped=sum(skipped for _, skipped, _ in found),
            crowded=sum(crowded for _, _, crowded in found),
        )
        errors = [DecodeError(f"OTLP {signal} request refused: {why}") if why else None for why in reasons]
        return Decoded(columns, offsets, errors)

    def _spans_of(self, request: bytes) -> _Read:
        left, more = _Allowance(), self._prefixed.admission()
        message: Parsed = schema.TracesRequest.FromString(request)
        groups = []
        for entry in left.resources(message.resource_spans):
            scopes = []
            for scope_spans in left.scopes(entry.scope_spans):
                rows = [self._span(span, more) for span in left.rows(scope_spans.spans)]
                scopes.append((_scope(scope_spans.scope), rows))
            groups.append(self._group(entry.resource, scopes, more))
        return groups, 0, more.crowded

    def _records_of(self, request: bytes) -> _Read:
        left, more = _Allowance(), self._prefixed.admission()
        message: Parsed = schema.LogsRequest.FromString(request)
        groups = []
        skipped = 0
        for entry in left.resources(message.resource_logs):
            scopes = []
            for scope_logs in left.scopes(entry.scope_logs):
                named = [(record, _event_name(record)) for record in scope_logs.log_records]
                wanted = [(record, name) for record, name in named if name in self._log_events]
                skipped += len(named) - len(wanted)
                rows = [self._record(record, name, more) for record, name in left.rows(wanted)]
                scopes.append((_scope(scope_logs.scope), rows))
            groups.append(self._group(entry.resource, scopes, more))
        return groups, skipped, more.crowded

    def _group(self, parts: Sequence[bytes], scopes: list[tuple[ScopeName, list[Row]]], more: Admission) -> Group:
        resource: Parsed = schema.Resource()
        for part in parts:
            resource.MergeFromString(part)
        attributes: Attributes = {}
        own = self._prefixed.admission()
        for pair in resource.attributes:
            projected = self._caps.get(pair.key) or own.entry(pair.key)
            if projected is not None:
                key, cap = projected
                attributes[key] = _value(pair, cap)
        more.crowded |= own.crowded
        # A resource in several parts is never taken for another.
        same_as = b"" if not parts else parts[0] if len(parts) == 1 else None
        return Group(same_as, attributes, scopes)

    def _span(self, span: Parsed, more: Admission) -> Row:
        row = Row(
            *_ids(span),
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            kind=span.kind if span.kind in _SPAN_KINDS else 0,
            status=span.status.code if span.status.code in _STATUS_CODES else 0,
            name=_text(span.name, NAME_CAP),
            trace_state=_text(span.trace_state, TRACE_STATE_CAP),
        )
        match len(span.parent_span_id):
            case 0:
                pass
            case 8:
                row.parent_id = span.parent_span_id
            case _:
                row.flaw |= Flaw.PARENT_ID
        self._keep_attributes(row, span.attributes, more)
        if self._event_times or self._event_attributes:
            self._keep_events(row, span.events)
        return row

    def _record(self, record: Parsed, name: bytes, more: Admission) -> Row:
        row = Row(
            *_ids(record),
            end=record.time_unix_nano or record.observed_time_unix_nano,
            name=_text(name, NAME_CAP),
        )
        self._keep_attributes(row, record.attributes, more)
        return row

    def _keep_attributes(self, row: Row, pairs: Sequence[Parsed], more: Admission) -> None:
        for pair in pairs:
            projected = self._caps.get(pair.key) or more.entry(pair.key)
            lists = [pattern for pattern in self._indexed if _is_element(pair.key, *pattern[1:])]
            if projected is None and not lists:
                continue
            key, cap = projected or ("", DEFAULT_CAP)
            value = _value(pair, cap)
            if projected:
                row.attributes[key] = value
            for pattern, _, _ in lists:
                count, maximum = row.lists.get(pattern, (0, _NAN))
                number = value[1] if value[0] in (ValueKind.INT, ValueKind.DOUBLE) else _NAN
                # Not `not number <= maximum`: a NaN among the numbers must not hide the others.
                larger = number if maximum != maximum or number > maximum else maximum
                row.lists[pattern] = (count + 1, larger)

    def _keep_events(self, row: Row, events: Sequence[bytes]) -> None:
        for data in events:
            event: Parsed = schema.Event.FromString(data)
            time_name = self._event_times.get(event.name)
            if time_name is not None and event.time_unix_nano:
                earliest = row.event_times.get(time_name, event.time_unix_nano)
                row.event_times[time_name] = min(earliest, event.time_unix_nano)
            wanted = self._event_attributes.get(event.name, {})
            own = {wanted[pair.key]: _value(pair, DEFAULT_CAP) for pair in event.attributes if pair.key in wanted}
            for column, value in own.items():
                row.event_attributes.setdefault(column, value)


def _footprint(groups: Sequence[Group]) -> Footprint:
    scopes = [rows for group in groups for _, rows in group.scopes]
    rows = [row for own in scopes for row in own]
    kinds = ("attributes", "event_attributes", "lists", "event_times")
    columns = {(kind, name) for row in rows for kind in kinds for name in getattr(row, kind)}
    of_resources = {name for group in groups for name in group.resource}
    return Footprint(len(rows), frozenset(columns), len(groups), frozenset(of_resources), len(scopes))


class _TooManyError(Exception):
    """The request has more entries of a kind than one request may have."""


class _Counter:
    """Passes entries on, as many as one request may have."""

    def __init__(self) -> None:
        self._left = MOST_ROWS

    def __call__(self, entries: Iterable[_Item]) -> Iterator[_Item]:
        for entry in entries:
            self._left -= 1
            if self._left < 0:
                raise _TooManyError("too many resources, scopes or rows in one request: send smaller batches")
            yield entry


class _Allowance:
    """How much one request may bring."""

    def __init__(self) -> None:
        self.resources, self.scopes, self.rows = _Counter(), _Counter(), _Counter()


def _scope(scope: Parsed) -> ScopeName:
    return ScopeName(_text(scope.name, NAME_CAP), _text(scope.version, NAME_CAP))


def _ids(message: Parsed) -> tuple[bytes, bytes, Flaw]:
    flaw = Flaw.NONE
    trace_id, span_id = message.trace_id, message.span_id
    if len(trace_id) != 16 or not any(trace_id):
        flaw |= Flaw.TRACE_ID
        trace_id = bytes(16)
    if len(span_id) != 8 or not any(span_id):
        flaw |= Flaw.SPAN_ID
        span_id = bytes(8)
    return trace_id, span_id, flaw


def _event_name(record: Parsed) -> bytes:
    """Return the field if it is set, else the attribute `event.name`, else `event_name`; of each the last."""
    attributes = {b"event.name": b"", b"event_name": b""}
    for pair in record.attributes:
        if pair.key in attributes:
            value = _any_value(pair)
            attributes[pair.key] = value.string_value if value.WhichOneof("value") == "string_value" else b""
    name: bytes = record.event_name
    return name or attributes[b"event.name"] or attributes[b"event_name"]


def _is_element(key: bytes, prefix: bytes, suffix: bytes) -> bool:
    if len(key) <= len(prefix) + len(suffix) or not (key.startswith(prefix) and key.endswith(suffix)):
        return False
    return key[len(prefix) : len(key) - len(suffix)].isdigit()  # of bytes: ASCII digits only


def _any_value(pair: Parsed) -> Parsed:
    """Parse a KeyValue's value; several are merged, as protobuf merges a message that is not repeated."""
    value: Parsed = schema.AnyValue()
    for part in pair.value:
        value.MergeFromString(part)
    return value


def _value(pair: Parsed, cap: int) -> Value:
    value = _any_value(pair)
    match value.WhichOneof("value"):
        case None:
            return _ABSENT
        case "string_value":
            return ValueKind.STRING, _NAN, _text(value.string_value, cap)
        case "bool_value":
            return ValueKind.BOOL, float(value.bool_value), None
        case "int_value":
            return ValueKind.INT, float(value.int_value), None
        case "double_value":
            return ValueKind.DOUBLE, value.double_value, None
        case "bytes_value":
            return ValueKind.BYTES, _NAN, _short(value.bytes_value, cap)
        case "array_value":
            return ValueKind.ARRAY, _NAN, _short(value.array_value, cap)
        case _:
            return ValueKind.KVLIST, _NAN, _short(value.kvlist_value, cap)


def _text(data: bytes, cap: int) -> str:
    """Return the text without what is over `cap` bytes, cut where a character begins.

    A character has at most three continuation bytes, so the cut moves back by at most three. Then what is not
    UTF-8 is replaced by U+FFFD.
    """
    if len(data) > cap:
        end = cap
        while end > 0 and cap - end < 3 and data[end] & 0xC0 == 0x80:
            end -= 1
        data = data[:end]
    return data.decode("utf-8", errors="replace")


def _short(data: bytes, cap: int) -> bytes:
    return data if len(data) <= cap else b""
