"""What is passed on with costs: those of the price table, on the spans that they belong to."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_requests import Call
from otlp_requests import request_of as request_with
from recorded_requests import TRACES, request_of

from tocsin import decode
from tocsin.errors import TocsinError
from tocsin.model.batch import Needs
from tocsin.model.columns import Decoded
from tocsin.pricing.book import PriceBook
from tocsin.pricing.config import PricesConfig
from tocsin.receivers.intake import Signal
from tocsin.semconv import Normalizer
from tocsin.service.stages import Offer, Prepared, Stages

KEY = "app.llm.cost_usd"
NOW = 1_790_000_000_000_000_000


def stages(*, add_cost: bool = True) -> Stages:
    prices = PriceBook(PricesConfig())
    normalizer = Normalizer(Needs(prices.needs.labels, prices.needs.numbers))
    return Stages(decode.decoder(normalizer.projection), normalizer, prices, add_cost=add_cost)


def offers(*requests: bytes) -> list[Offer]:
    return [Offer(Signal.TRACES, data, "grpc", NOW) for data in requests]


def spans_of(request: bytes) -> list[Span]:
    parsed = ExportTraceServiceRequest.FromString(request)
    return [span for resource in parsed.resource_spans for scope in resource.scope_spans for span in scope.spans]


def costs_of(request: bytes) -> list[float | None]:
    found: list[float | None] = []
    for span in spans_of(request):
        values = [pair.value.double_value for pair in span.attributes if pair.key == KEY]
        assert len(values) <= 1
        found.append(values[0] if values else None)
    return found


def call(number: int, **more: Any) -> Call:  # noqa: ANN401 - the fields of Call
    return Call(bytes([1] * 16), number.to_bytes(8, "big"), NOW - 10**9, NOW, **more)


def priced() -> bytes:
    """Five spans: priced, unusable (no id), unpriced, priced, not billable."""
    calls = [
        call(1),
        call(0),
        call(3, model="nobody-knows-it"),
        call(4, input_tokens=2000),
        call(5, attributes={"gen_ai.operation.name": "execute_tool"}),
    ]
    return request_with(calls).SerializeToString()


def test_each_priced_span_gets_its_own_cost_and_no_other_does() -> None:
    request = priced()
    prepared = stages().prepare(offers(request))
    [onward] = prepared.onward
    first, *between, fourth, last = costs_of(onward)
    assert first == 1000 * 2.5e-6 + 100 * 10e-6
    assert between == [None, None]
    assert fourth == 2000 * 2.5e-6 + 100 * 10e-6
    assert last is None
    assert without_costs(onward) == without_costs(request)


def without_costs(request: bytes) -> dict[str, Any]:
    parsed = ExportTraceServiceRequest.FromString(request)
    for resource in parsed.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                kept = [pair for pair in span.attributes if pair.key != KEY]
                del span.attributes[:]
                span.attributes.extend(kept)
    return MessageToDict(parsed)


def test_requests_that_are_evaluated_together_keep_their_costs_apart() -> None:
    bad, empty = b"\x0a\xff", b""
    plain = request_with([call(9, model="nobody-knows-it")]).SerializeToString()
    prepared = stages().prepare(offers(priced(), bad, empty, plain, priced()))
    assert isinstance(prepared.answers[1], TocsinError)
    assert prepared.onward[1:4] == (bad, empty, plain)
    assert prepared.onward[0] == prepared.onward[4]
    assert [cost is not None for cost in costs_of(prepared.onward[0])] == [True, False, False, True, False]


def test_nothing_is_done_unless_asked_for() -> None:
    assert stages(add_cost=False).prepare(offers(priced())).onward == ()
    logs = Offer(Signal.LOGS, b"", "grpc", NOW)
    assert stages().prepare([logs]).onward == ()


class Spoiled:
    """A decoder that fails for several requests at once, so that each is prepared alone."""

    def __init__(self, inner: decode.Decoder) -> None:
        self.inner = inner

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        if len(requests) > 1:
            raise RuntimeError("for the test")
        return self.inner.traces(requests)

    logs = traces


def test_requests_that_are_prepared_alone_have_their_costs_too() -> None:
    plain = stages()
    spoiled = Stages(Spoiled(plain.decoder), plain.normalizer, plain.prices, add_cost=True)
    bare = request_with([call(9, model="nobody-knows-it")]).SerializeToString()
    alone: Prepared = spoiled.prepare(offers(priced(), bare))
    assert alone.onward == plain.prepare(offers(priced(), bare)).onward


@pytest.mark.parametrize("file", [entry["file"] for entry in TRACES])
def test_recorded_requests_get_the_costs_that_the_batch_has(file: str) -> None:
    request = request_of(file)
    prepared = stages().prepare(offers(request))
    onward = prepared.onward[0] if prepared.onward else request
    stated = costs_of(request)
    added = [new for new, old in zip(costs_of(onward), stated, strict=True) if new is not None and old is None]
    assert [new for new, old in zip(costs_of(onward), stated, strict=True) if old is not None] == [
        old for old in stated if old is not None
    ]
    if prepared.batches:
        [batch] = prepared.batches
        assert math.isclose(sum(added), batch.cost_nano.sum() / 1e9, abs_tol=1e-9)
