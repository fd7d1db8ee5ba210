"""The story of 03:14: a quiet shop, and one conversation whose agent sends its whole context again and again.

240 calls of a little over four dollars: no single one is remarkable, together they are over $1,000 in 85 seconds.
The costs are not in the spans; Tocsin computes them from model and tokens.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["DURATION_NS", "RUNAWAY", "Moment", "moments", "request_of"]

_MS: Final = 1_000_000
_SECOND: Final = 1_000_000_000
DURATION_NS: Final = 95 * _SECOND
RUNAWAY: Final = "conv-0314"

_RUNAWAY_CALLS: Final = 240
_RUNAWAY_FROM: Final = 6 * _SECOND
_RUNAWAY_LASTS: Final = 85 * _SECOND
_PROMPT_CHANGES: Final = 45 * _SECOND
_INDEX_BREAKS: Final = 62 * _SECOND
_CONVERSATIONS: Final = 12
_TURN_EVERY: Final = 5 * _SECOND
_TENANTS: Final = ("acme", "globex", "initech", "umbrella")
_MODELS: Final = (("openai", "gpt-5-mini"), ("openai", "gpt-4o"), ("anthropic", "claude-haiku-4-5"))

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Moment:
    """One span of the story."""

    at: int
    """When it ended, nanoseconds since the story began."""
    duration: int
    trace_id: bytes
    span_id: bytes
    name: str
    conversation: str
    tenant: str
    attributes: Mapping[str, Value]
    provider: str = ""
    """Empty for a retrieval, as the following are."""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


def moments(seed: int = 314) -> list[Moment]:
    """Return the story in the order of its time; the same for the same seed."""
    random = Random(seed)  # noqa: S311  # a story, no secret
    told = [*_background(random), *_runaway(random)]
    return sorted((moment for moment in told if moment.at < DURATION_NS), key=lambda moment: moment.at)


def request_of(some: Iterable[Moment], began_at: int) -> bytes:
    """Return an export request with these spans, for a story that began at `began_at`, Unix nanoseconds."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(
        _pairs({"service.name": "support-agent", "deployment.environment.name": "production"})
    )
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "tocsin.demo"
    scope_spans.spans.extend(_span(moment, began_at) for moment in some)
    return request.SerializeToString()


def _background(random: Random) -> Iterator[Moment]:
    """A dozen conversations of a few cents; their answers get worse with a prompt, their documents with an index."""
    for number in range(_CONVERSATIONS):
        conversation, tenant = f"conv-{random.randrange(1000, 9999)}", _TENANTS[number % len(_TENANTS)]
        provider, model = _MODELS[number % len(_MODELS)]
        at = random.randrange(_TURN_EVERY)
        while at < DURATION_NS:
            trace_id = random.randbytes(16)
            relevance = random.gauss(0.81 if at < _INDEX_BREAKS else 0.38, 0.03)
            yield _retrieval(random, at - 900 * _MS, conversation, tenant, trace_id, relevance)
            new_prompt = at > _PROMPT_CHANGES
            yield _call(
                random,
                at,
                conversation,
                tenant,
                trace_id,
                (provider, model, random.randrange(800, 6000), random.randrange(100, 700)),
                {
                    "gen_ai.prompt.version": "v42" if new_prompt else "v41",
                    "app.llm.judge.score": random.gauss(0.58 if new_prompt else 0.86, 0.03),
                },
            )
            at += int(_TURN_EVERY * random.uniform(0.6, 1.4))


def _runaway(random: Random) -> Iterator[Moment]:
    trace_id = b""
    for number in range(_RUNAWAY_CALLS):
        if number % 20 == 0:
            trace_id = random.randbytes(16)
        at = _RUNAWAY_FROM + number * _RUNAWAY_LASTS // _RUNAWAY_CALLS
        usage = ("anthropic", "claude-sonnet-4-5", 640_000 + number * 500, 1_500)
        yield _call(random, at, RUNAWAY, "acme", trace_id, usage, {"gen_ai.agent.name": "researcher"})


def _call(
    random: Random,
    at: int,
    conversation: str,
    tenant: str,
    trace_id: bytes,
    usage: tuple[str, str, int, int],
    more: Mapping[str, Value],
) -> Moment:
    provider, model, input_tokens, output_tokens = usage
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
        **more,
    }
    duration = random.randrange(300, 900) * _MS
    span_id = random.randbytes(8)
    return Moment(
        at, duration, trace_id, span_id, f"chat {model}", conversation, tenant, attributes,
        provider, model, input_tokens, output_tokens,
    )  # fmt: skip


def _retrieval(random: Random, at: int, conversation: str, tenant: str, trace_id: bytes, relevance: float) -> Moment:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "kb-support",
        "app.rag.retrieved_count": 5,
        "app.rag.relevance_score": relevance,
    }
    duration = random.randrange(20, 90) * _MS
    span_id = random.randbytes(8)
    return Moment(max(at, 0), duration, trace_id, span_id, "retrieval kb-support", conversation, tenant, attributes)


def _span(moment: Moment, began_at: int) -> Span:
    end = began_at + moment.at
    everywhere: dict[str, Value] = {
        "gen_ai.conversation.id": moment.conversation,
        "app.tenant.id": moment.tenant,
    }
    return Span(
        trace_id=moment.trace_id,
        span_id=moment.span_id,
        name=moment.name,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=end - moment.duration,
        end_time_unix_nano=end,
        attributes=_pairs({**everywhere, **moment.attributes}),
    )


def _pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: Value) -> AnyValue:
    match value:
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
