"""Spans as applications send them, through decoder, conventions, prices and the engine: what rules say of them.

Times are seconds since `BEGIN`, which is a midnight at which a month begins; cost is what the span itself reports.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.engine import Engine
from tocsin.model.batch import SpanBatch
from tocsin.pricing.book import PriceBook
from tocsin.pricing.config import PricesConfig
from tocsin.receivers.intake import Signal
from tocsin.service.loading import Loaded, load_text
from tocsin.service.serve import stages_of
from tocsin.service.stages import Offer

__all__ = ["BEGIN", "DAY", "HOUR", "Fired", "Played", "Score", "Span", "Value", "every", "loaded_file", "play", "tool"]

BEGIN = 1_790_812_800 * 10**9
"""1 October 2026, 00:00 UTC."""
HOUR = 3600.0
DAY = 24 * HOUR
_NS = 10**9
_REQUEST = 600.0
"""Seconds of event time that go into one request."""
Value = str | int | float


@dataclass(frozen=True)
class Span:
    """One model call, or what `attributes` make of it."""

    at: float
    """When it ended."""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    seconds: float = 1.0
    failed: bool = False
    trace: str = ""
    """Spans with the same text are of one trace; empty: alone."""
    parent: str = ""
    """The name of the span above it, of the same trace."""
    name: str = ""
    """Empty: nobody's parent."""
    resource: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """An evaluation that comes as a log record: `gen_ai.evaluation.result`."""

    at: float
    score: float
    arrives: float | None = None
    """None: at once."""
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Fired:
    """An alert that fired."""

    at: float
    rule: str
    group: Mapping[str, str]


@dataclass(frozen=True)
class Played:
    """What was said, in order."""

    events: Sequence[AlertEvent]

    @property
    def fired(self) -> list[Fired]:
        """Alerts that fired, escalations left out."""
        return [
            Fired((event.fired_at - BEGIN) / _NS, event.rule.name, dict(event.group))
            for event in self.events
            if event.transition is Transition.FIRING and event.escalated_from is None
        ]

    @property
    def resolved(self) -> list[str]:
        """Names of rules whose alerts ended."""
        return [event.rule.name for event in self.events if event.transition is Transition.RESOLVED]

    def rules(self) -> set[str]:
        """Names of rules that fired."""
        return {one.rule for one in self.fired}

    def groups(self, rule: str) -> list[Mapping[str, str]]:
        """Groups for which a rule fired, in order."""
        return [one.group for one in self.fired if one.rule == rule]


def tool(at: float, name: str, *, conversation: str = "c", seconds: float = 1.0) -> Span:
    """Return the execution of a tool."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.conversation.id": conversation,
    }
    return Span(at, attributes, seconds)


def every(step: float, begin: float, end: float) -> Iterable[float]:
    """Return times from `begin` to before `end`, `step` seconds apart."""
    count = int((end - begin) / step + 1e-9)
    return (begin + number * step for number in range(count))


def loaded_file(name: str) -> str:
    """Return the text of a file of rules beside this one."""
    return (Path(__file__).parent / name).read_text("utf-8")


def play(text: str, sent: Iterable[Span | Score], *, until: float = 0.0) -> Played:
    """Return what the rules of a configuration say of what is sent, and of the silence up to `until` after it."""
    loaded = load_text(text, environ={})
    engine = Engine(loaded.rules, loaded.configuration.trace, loaded.configuration.limits)
    events: list[AlertEvent] = []
    last = BEGIN
    for last, batch in _batches(loaded, sorted(sent, key=_arrival)):
        events += engine.ingest(batch, last)
    end = BEGIN + int(until * _NS)
    step = max((end - last) // 200, _NS)
    while last < end:
        last = min(last + step, end)
        events += engine.advance(last)
    return Played(events)


def _arrival(one: Span | Score) -> float:
    return one.at if isinstance(one, Span) or one.arrives is None else one.arrives


def _batches(loaded: Loaded, sent: Sequence[Span | Score]) -> Iterable[tuple[int, SpanBatch]]:
    stages = stages_of(loaded, PriceBook(PricesConfig()))
    number = 0
    for request in _requests(sent):
        now = BEGIN + int(_arrival(request[-1]) * _NS)
        for signal in (Signal.TRACES, Signal.LOGS):
            spans = [one for one in request if isinstance(one, Span)]
            scores = [one for one in request if isinstance(one, Score)]
            data = _traces(spans, number) if signal is Signal.TRACES else _logs(scores)
            number += len(spans) if signal is Signal.TRACES else 0
            prepared = stages.prepare([Offer(signal, data, "test", now)])
            assert not any(isinstance(answer, Exception) or answer.rejected for answer in prepared.answers)
            for batch in prepared.batches:
                yield now, batch


def _requests(sent: Sequence[Span | Score]) -> Iterable[list[Span | Score]]:
    request: list[Span | Score] = []
    for one in sent:
        if request and _arrival(one) - _arrival(request[0]) >= _REQUEST:
            yield request
            request = []
        request.append(one)
    if request:
        yield request


def _id(text: str, length: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=length).digest()


def _traces(spans: Sequence[Span], first: int) -> bytes:
    request = ExportTraceServiceRequest()
    for number, span in enumerate(spans, start=first):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.extend(_pairs({"service.name": "shop", **span.resource}))
        added = resource_spans.scope_spans.add().spans.add()
        trace = span.trace or f"alone {number}"
        added.trace_id = _id(trace, 16)
        added.span_id = _id(f"{trace} {span.name or number}", 8)
        if span.parent:
            added.parent_span_id = _id(f"{trace} {span.parent}", 8)
        added.name = "call"
        added.end_time_unix_nano = BEGIN + int(span.at * _NS)
        added.start_time_unix_nano = added.end_time_unix_nano - int(span.seconds * _NS)
        added.status.code = Status.STATUS_CODE_ERROR if span.failed else Status.STATUS_CODE_UNSET
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-2024-11-20",
            **span.attributes,
        }
        if attributes["gen_ai.operation.name"] != "chat":
            attributes = {key: value for key, value in attributes.items() if key != "gen_ai.request.model"}
        added.attributes.extend(_pairs(attributes))
    return request.SerializeToString()


def _logs(scores: Sequence[Score]) -> bytes:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for score in scores:
        record = records.add()
        record.time_unix_nano = BEGIN + int(score.at * _NS)
        record.event_name = "gen_ai.evaluation.result"
        record.attributes.extend(
            _pairs(
                {
                    "gen_ai.evaluation.name": "judge",
                    "gen_ai.evaluation.score.value": score.score,
                    **score.attributes,
                }
            )
        )
    return request.SerializeToString()


def _pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
