"""A model call is counted once, whoever wrote spans of it, however they arrive; and two calls are two."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_requests import TRACES, calls_of, expected_sum, normalized
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, rule_of, splits

from tocsin.engine.engine import Engine
from tocsin.engine.statistics import TOKEN_TYPES
from tocsin.engine.twins import Twins
from tocsin.model.batch import SpanBatch, SpanClass
from tocsin.pricing import PriceBook
from tocsin.pricing.config import PricesConfig
from tocsin.rules.rule import Metric

COUNT = rule_of(name="calls", metric=Metric.COUNT, window_ns=60 * MINUTE, threshold=10**9)
MILLISECOND = SECOND // 1000
TOKENS = {f"{kind}_tokens": kind for kind in TOKEN_TYPES}
PROVIDER, FRAMEWORK, OTHER_LIBRARY = 1, 2, 3


@dataclass(frozen=True)
class Counted:
    calls: int
    tokens: dict[str, int]
    cost_nano: int


def counted(batches: Sequence[SpanBatch]) -> Counted:
    """What an engine has counted once all traces are complete."""
    engine = Engine([COUNT])
    now = max(int(batch.end.max()) for batch in batches) + 1
    for batch in batches:
        engine.ingest(batch, now)
    engine.advance(now + 3 * 60 * MINUTE)
    statistics = engine.statistics
    tokens = dict.fromkeys(TOKENS.values(), 0)
    for (_, _, kind), count in statistics.tokens.items():
        tokens[kind] += count
    return Counted(statistics.samples[COUNT.key], tokens, sum(statistics.cost_nano.values()))


def arrivals(batch: SpanBatch, order: str) -> list[SpanBatch]:
    rows = np.argsort(batch.end, kind="stable")
    match order:
        case "in one request":
            return [batch]
        case "span by span":
            return [batch.take(rows[i : i + 1]) for i in range(len(rows))]
        case "span by span, the last first":
            return [batch.take(rows[i : i + 1]) for i in reversed(range(len(rows)))]
        case _:
            half = (len(rows) + 1) // 2
            return [batch.take(part) for part in (rows[:half], rows[half:]) if len(part)]


@pytest.mark.parametrize("order", ["in one request", "span by span", "span by span, the last first", "in two halves"])
@pytest.mark.parametrize("entry", TRACES, ids=[entry["file"] for entry in TRACES])
def test_the_sums_of_recorded_requests_are_the_providers(entry: dict[str, Any], order: str) -> None:
    found = normalized(entry["file"])
    PriceBook(PricesConfig()).price(found.batch)
    rows = [row for _, row in calls_of(entry, found)]
    paid = [*rows, *np.flatnonzero(found.batch.span_class == SpanClass.USAGE).tolist()]

    result = counted(arrivals(found.batch, order))

    assert result.tokens == {kind: expected_sum(entry, found, name) for name, kind in TOKENS.items()}
    assert result.cost_nano == int(found.batch.cost_nano[paid].sum())
    # An outer span without usage that came first is a call of its own, for nobody knows yet that it is not.
    silent = "vercel-ai-7-04" in entry["file"] and order.endswith("first")
    assert result.calls == len(rows) + (2 if silent else 0)


def call(number: int, *, end: int = 0, tokens: tuple[int, int] = (100, 10), **fields: Any) -> Span:  # noqa: ANN401
    """A root span of a provider's instrumentation; `end` in milliseconds."""
    labels = {"service": "bot", "model": "gpt-4o", **fields.pop("labels", {})}
    made = Span(EPOCH + end * MILLISECOND, number, number, labels=labels, scope=PROVIDER, cost_nano=1000)
    read, written = tokens
    return replace(made, input_tokens=read, output_tokens=written, **fields)


def around(inner: Span, number: int = 0, **fields: Any) -> Span:  # noqa: ANN401
    """The span that a framework writes around a call, in a trace of its own."""
    trace = number or inner.trace + 10**6
    outer = replace(inner, trace=trace, span=trace, parent=0, scope=FRAMEWORK, wraps=True)
    labels = {name: value for name, value in inner.labels.items() if name != "response_id"}
    wider = {"time": inner.time + 2 * MILLISECOND, "latency": inner.latency + 4 * MILLISECOND, "labels": labels}
    return replace(outer, **{**wider, **fields})


def of(*spans: Span) -> Counted:
    return counted([batch_of(spans)])


def one_by_one(*spans: Span) -> Counted:
    return counted([batch_of([span]) for span in spans])


def test_a_frameworks_span_and_the_one_inside_it_are_one_call_in_any_order() -> None:
    inner = call(1)
    outer = around(inner)
    for result in (of(inner, outer), one_by_one(inner, outer), one_by_one(outer, inner)):
        assert (result.calls, result.tokens["input"], result.cost_nano) == (1, 100, 1000)


def test_concurrent_equal_calls_of_one_library_are_all_counted() -> None:
    calls = [call(number) for number in range(1, 21)]
    assert of(*calls).calls == one_by_one(*calls).calls == 20
    frameworks = [around(each) for each in calls]
    assert of(*frameworks).calls == one_by_one(*frameworks).calls == 20


def test_concurrent_equal_calls_that_a_framework_made_are_as_many_as_there_are() -> None:
    spans = [span for number in range(1, 21) for span in (call(number), around(call(number)))]
    assert of(*spans).calls == one_by_one(*spans).calls == one_by_one(*reversed(spans)).calls == 20


def test_equal_calls_of_two_services_are_two() -> None:
    inner = call(1)
    assert of(inner, around(inner, labels={"service": "batch", "model": "gpt-4o"})).calls == 2


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"service": "bot", "model": "gpt-4o-mini"}},
        {"input_tokens": 101},
        {"output_tokens": 11},
        {"latency": SECOND // 2},
        {"time": EPOCH - 2 * MILLISECOND},
        {"span_class": SpanClass.EMBEDDINGS},
    ],
    ids=lambda change: next(iter(change)),
)
def test_spans_that_differ_in_what_both_state_are_two_calls(change: dict[str, Any]) -> None:
    inner = call(1)
    outer = around(inner, **change)
    assert of(inner, outer).calls == one_by_one(outer, inner).calls == 2


@pytest.mark.parametrize("name", ["gpt-4o-2024-08-06", "openai/gpt-4o", "GPT-4o", "gpt-4o-latest", None])
def test_a_model_may_be_named_with_its_version_or_its_host_or_not_at_all(name: str | None) -> None:
    inner = call(1)
    outer = around(inner, labels={"service": "bot"} | ({"model": name} if name else {}))
    assert of(inner, outer).calls == 1


def test_usage_counts_whichever_of_the_two_spans_has_it() -> None:
    for silent_outer in (True, False):
        inner = call(1, tokens=(-1, -1) if not silent_outer else (100, 10))
        outer = around(inner, input_tokens=-1 if silent_outer else 100, output_tokens=-1 if silent_outer else 10)
        assert (of(inner, outer).calls, of(inner, outer).tokens["input"]) == (1, 100)
        assert one_by_one(inner, outer).tokens["input"] == one_by_one(outer, inner).tokens["input"] == 100


def test_usage_counts_whichever_of_two_nested_spans_has_it() -> None:
    for silent_outer in (True, False):
        inner = call(1, tokens=(100, 10) if silent_outer else (-1, -1), parent=2)
        outer = around(inner, input_tokens=-1 if silent_outer else 100, output_tokens=-1 if silent_outer else 10)
        outer = replace(outer, trace=1, span=2)
        assert (of(inner, outer).calls, of(inner, outer).tokens["input"]) == (1, 100)
        assert one_by_one(inner, outer).tokens["input"] == one_by_one(outer, inner).tokens["input"] == 100


def test_an_attempt_that_failed_is_not_the_call_that_succeeded_after_it() -> None:
    failed = call(1, end=-700, tokens=(-1, -1), failed=True, latency=SECOND // 10)
    inner = call(2, latency=SECOND // 2)
    outer = around(inner, latency=2 * SECOND)
    for result in (of(failed, inner, outer), one_by_one(failed, inner, outer), one_by_one(outer, failed, inner)):
        assert (result.calls, result.tokens["input"]) == (2, 100)


def test_a_failed_call_without_usage_is_one_failure() -> None:
    inner = call(1, tokens=(-1, -1), failed=True)
    assert of(inner, around(inner)).calls == one_by_one(around(inner), inner).calls == 1


def test_the_first_pair_of_a_service_is_found_among_what_came_before() -> None:
    inner = call(1)
    noise = [call(number, end=number, labels={"service": f"s{number % 7}"}) for number in range(10, 200)]
    assert one_by_one(inner, *noise, around(inner)).calls == 1 + len(noise)


def test_a_second_span_that_comes_over_a_minute_of_other_calls_later_is_a_call() -> None:
    inner = call(1, end=-3_600_000 // 2)
    pair = [call(3, end=-1), around(call(3, end=-1))]
    between = [call(number, end=number, tokens=(number, 1)) for number in range(10, 30)]
    assert one_by_one(*pair, inner, *between, around(inner)).calls == 3 + len(between)


def test_mocks_with_one_constant_response_id_are_all_counted() -> None:
    calls = [call(number, end=number * 10, labels={"response_id": "chatcmpl-123"}) for number in range(1, 101)]
    result = of(*calls)
    assert (result.calls, result.tokens["input"]) == (100, 10_000)
    assert one_by_one(*calls).calls == 100


def test_one_response_id_from_two_libraries_is_one_call() -> None:
    first = call(1, labels={"response_id": "msg_1"})
    second = replace(first, trace=2, span=2, scope=OTHER_LIBRARY, latency=first.latency - MILLISECOND)
    assert of(first, second).calls == one_by_one(first, second).calls == one_by_one(second, first).calls == 1


def test_mocks_with_one_constant_response_id_and_two_libraries_are_counted_once_each() -> None:
    spans = []
    for number in range(1, 51):
        first = call(number, end=number * 2000, labels={"response_id": "chatcmpl-123"})
        spans += [first, replace(first, trace=number + 10**6, span=number + 10**6, scope=OTHER_LIBRARY)]
    assert of(*spans).calls == one_by_one(*spans).calls == 50


@st.composite
def framed_calls(draw: st.DrawFn, *, alike: bool) -> list[Span]:
    """Calls that a framework made, two spans each; no two with the same counts, or most of them."""
    spans: list[Span] = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        tokens = (draw(st.integers(1, 2)), 1) if alike else (number, number)
        inner = call(number, end=draw(st.integers(0, 3000)), tokens=tokens, latency=draw(st.integers(1, 2000)) * 10**6)
        spans += [inner, around(inner)]
    return draw(st.permutations(spans))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_calls_that_differ_are_counted_once_in_any_order_and_split(data: st.DataObject) -> None:
    spans = data.draw(framed_calls(alike=False))
    parts = [batch_of(part) for part in data.draw(splits(spans)) if part]
    result = counted(parts)
    assert result.calls == len(spans) // 2
    assert result.tokens["input"] == sum(span.input_tokens for span in spans) // 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_call_is_lost_however_alike_they_are(data: st.DataObject) -> None:
    spans = data.draw(framed_calls(alike=True))
    result = counted([batch_of(part) for part in data.draw(splits(spans)) if part])
    assert result.calls >= len(spans) // 2


@pytest.mark.parametrize("services", [1, 6_000])
def test_calls_that_wait_for_a_second_span_are_bounded(services: int) -> None:
    twins = Twins()
    for first in range(1, 80_000, 20_000):
        spans = [
            call(number, end=number % 1000, tokens=(number, 1), labels={"service": f"s{number % services}"})
            for number in range(first, first + 20_000)
        ]
        batch = batch_of([replace(span, wraps=span.span // services % 2 == 1) for span in spans])
        assert not twins.repeated(batch, np.zeros(len(batch), np.bool_)).any()
        assert len(twins) <= 65_536
