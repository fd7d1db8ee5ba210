"""Makes the bundled day of traffic: `python -m tocsin.service.backtest.traffic [FILE]` writes it, the same each time.

A support shop on 10 March 2026, in UTC: 700 conversations that follow the hours of the day, each turn a
retrieval and a model call, every other answer judged by an evaluation record a few seconds later. And:

- 03:14, one conversation whose agent sends its whole context again and again: 240 calls in 85 seconds, about $1,000;
- 09:40 to 10:25, the provider `openai` answers eight times as slowly;
- 13:00, prompt v42 goes out: its answers are judged at 0.62 where v41 had 0.86;
- 16:20 to 17:05, the documents of `kb-support` are the wrong ones: relevance 0.38 in place of 0.81.

Ids count up in place of being random, so that the file is small; costs are not in the spans.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tocsin.service.backtest.sample import sample_files

__all__ = ["main", "requests"]

_MS: Final = 1_000_000
_SECOND: Final = 1_000 * _MS
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_BEGIN: Final = int(datetime(2026, 3, 10, tzinfo=UTC).timestamp()) * _SECOND
_CONVERSATIONS: Final = 700
_TURN_EVERY: Final = 40 * _SECOND
_RUNAWAY_FROM, _RUNAWAY_LASTS, _RUNAWAY_CALLS = 3 * _HOUR + 14 * _MINUTE, 85 * _SECOND, 240
_SLOW: Final = range(9 * _HOUR + 40 * _MINUTE, 10 * _HOUR + 25 * _MINUTE)
_NEW_PROMPT: Final = 13 * _HOUR
_WRONG_DOCUMENTS: Final = range(16 * _HOUR + 20 * _MINUTE, 17 * _HOUR + 5 * _MINUTE)
_TENANTS: Final = ("acme", "globex", "initech", "umbrella")
_MODELS: Final = (("openai", "gpt-5-mini"), ("openai", "gpt-4o"), ("anthropic", "claude-haiku-4-5"))
_IN_A_REQUEST: Final = 200

Value = str | int | float


@dataclass(frozen=True, slots=True)
class _Item:
    at: int
    """When it ended, or was said; nanoseconds of the day."""
    what: Span | LogRecord


def requests(seed: int = 314) -> Iterator[bytes]:
    """Yield the day as OTLP requests, traces and logs mixed, in order of time."""
    random = Random(seed)  # noqa: S311  # a story, no secret
    items = sorted((*_conversations(random), *_runaway(random)), key=lambda item: item.at)
    for item in items:
        if isinstance(item.what, Span):
            item.what.start_time_unix_nano += _BEGIN
            item.what.end_time_unix_nano += _BEGIN
        else:
            item.what.time_unix_nano = _BEGIN + item.at
    for begin in range(0, len(items), _IN_A_REQUEST):
        some = items[begin : begin + _IN_A_REQUEST]
        yield from _requests_of(item.what for item in some)


def main() -> None:
    """Write the day to the package, or to the file that is named."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else sample_files()[1]
    framed = b"".join(len(request).to_bytes(4, "big") + request for request in requests())
    path.write_bytes(zstandard.ZstdCompressor(level=22).compress(framed))


def _conversations(random: Random) -> Iterator[_Item]:
    number = 0
    for conversation in range(_CONVERSATIONS):
        provider, model = random.choice(_MODELS)
        tenant, at = random.choice(_TENANTS), _hour_of_day(random)
        for _ in range(random.randint(1, 5)):
            if at >= _DAY:
                break
            number += 1
            yield from _turn(random, number, at, (f"conv-{2000 + conversation}", tenant, provider, model))
            at += int(_TURN_EVERY * random.uniform(0.5, 2.5))


def _hour_of_day(random: Random) -> int:
    """Return a moment of the day; four times as many at noon as at midnight."""
    while True:
        at = random.randrange(_DAY)
        if random.random() < 0.625 - 0.375 * math.cos(2 * math.pi * at / _DAY):
            return at


def _turn(random: Random, number: int, at: int, of: tuple[str, str, str, str]) -> Iterator[_Item]:
    conversation, tenant, provider, model = of
    trace = number.to_bytes(16, "big")
    relevance = random.gauss(0.38 if at in _WRONG_DOCUMENTS else 0.81, 0.04)
    searched = random.randrange(20, 90) * _MS
    everywhere: dict[str, Value] = {"gen_ai.conversation.id": conversation, "app.tenant.id": tenant}
    retrieval: dict[str, Value] = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "kb-support",
        "app.rag.relevance_score": round(relevance, 2),
    }
    yield _span(at, searched, trace, 2 * number, "retrieval kb-support", {**everywhere, **retrieval})
    took = int(random.lognormvariate(0.1, 0.4) * 1000) * _MS
    if provider == "openai" and at in _SLOW:
        took *= 8
    at += took
    prompt = "v42" if at > _NEW_PROMPT else "v41"
    usage = random.randrange(80, 600) * 10, random.randrange(10, 70) * 10
    chat = _chat(provider, model, usage, {"gen_ai.prompt.version": prompt})
    yield _span(at, took, trace, 2 * number + 1, f"chat {model}", {**everywhere, **chat})
    if number % 2 == 0:
        score = min(1.0, max(0.0, random.gauss(0.62 if prompt == "v42" else 0.86, 0.05)))
        at += random.randrange(1500, 6000) * _MS
        judged: dict[str, Value] = {
            "gen_ai.evaluation.name": "helpfulness",
            "gen_ai.evaluation.score.value": round(score, 2),
            "gen_ai.prompt.version": prompt,
        }
        span_id = (2 * number + 1).to_bytes(8, "big")
        name = "gen_ai.evaluation.result"
        yield _Item(at, LogRecord(trace_id=trace, span_id=span_id, event_name=name, attributes=_pairs(judged)))


def _runaway(random: Random) -> Iterator[_Item]:
    for number in range(_RUNAWAY_CALLS):
        trace = ((1 << 40) + number // 20).to_bytes(16, "big")
        at = _RUNAWAY_FROM + number * _RUNAWAY_LASTS // _RUNAWAY_CALLS
        usage = 640_000 + number * 500, 1_500
        chat = _chat("anthropic", "claude-sonnet-4-5", usage, {"gen_ai.agent.name": "researcher"})
        everywhere: dict[str, Value] = {"gen_ai.conversation.id": "conv-0314", "app.tenant.id": "acme"}
        yield _span(at, random.randrange(300, 900) * _MS, trace, (1 << 40) + number, "chat", {**everywhere, **chat})


def _chat(provider: str, model: str, usage: tuple[int, int], more: dict[str, Value]) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": usage[0],
        "gen_ai.usage.output_tokens": usage[1],
        **more,
    }


def _span(at: int, took: int, trace: bytes, number: int, name: str, attributes: dict[str, Value]) -> _Item:
    at = max(at, took)
    span = Span(
        trace_id=trace,
        span_id=number.to_bytes(8, "big"),
        name=name,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=at - took,
        end_time_unix_nano=at,
        attributes=_pairs(attributes),
    )
    return _Item(at, span)


def _requests_of(items: Iterable[Span | LogRecord]) -> Iterator[bytes]:
    resource = Resource(
        attributes=_pairs({"service.name": "support-agent", "deployment.environment.name": "production"})
    )
    traces, logs = ExportTraceServiceRequest(), ExportLogsServiceRequest()
    spans = traces.resource_spans.add(resource=resource).scope_spans.add()
    records = logs.resource_logs.add(resource=resource).scope_logs.add()
    spans.scope.name = records.scope.name = "shop"
    for item in items:
        if isinstance(item, Span):
            spans.spans.append(item)
        else:
            records.log_records.append(item)
    if spans.spans:
        yield traces.SerializeToString()
    if records.log_records:
        yield logs.SerializeToString()


def _pairs(attributes: dict[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: Value) -> AnyValue:
    match value:
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)


if __name__ == "__main__":
    main()
