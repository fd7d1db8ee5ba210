"""The pipeline: what is offered is evaluated once and answered, whatever arrives together or fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random

import numpy as np
import pytest
from otlp_requests import Call, Value, request_of

from tocsin import decode
from tocsin.alerts.event import AlertEvent
from tocsin.errors import DecodeError, OverloadedError, TocsinError
from tocsin.model.batch import Needs, SpanBatch
from tocsin.model.columns import Decoded
from tocsin.pricing import PriceBook, PricesConfig
from tocsin.receivers.intake import Receipt, Signal
from tocsin.rules.rule import Rule
from tocsin.semconv.normalizer import Normalizer
from tocsin.service.pipeline import INLINE_BYTES, MOST_REST_SECONDS, SLICE_ROWS, Pipeline
from tocsin.service.stages import Decodes, Stages

RANDOM = Random(3)


class Engine:
    """Remembers what it was given: a border of the pipeline, in place of the rules."""

    def __init__(self) -> None:
        self.time = 0
        self.spans: list[int] = []
        self.sizes: list[int] = []
        self.cost_nano = 0
        self.advanced = asyncio.Event()
        self.rules: list[Sequence[Rule]] = []
        self.fails = False

    def ingest(self, batch: SpanBatch, now: int) -> list[AlertEvent]:
        if self.fails:
            raise ZeroDivisionError
        assert (batch.arrival <= now).all()
        self.spans += batch.span_id.tolist()
        self.sizes.append(len(batch))
        self.cost_nano += int(batch.cost_nano.sum())
        return []

    def advance(self, now: int) -> list[AlertEvent]:
        self.advanced.set()
        return []

    def replace_rules(self, rules: Sequence[Rule], now: int) -> list[AlertEvent]:
        self.rules.append(rules)
        return []


class SlowDecoder:
    """Decodes when it is let: stands for a large request in its thread."""

    def __init__(self, inner: Decodes) -> None:
        self.inner = inner
        self.requests: list[int] = []
        self.fails_on = b""

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        self.requests.append(len(requests))
        if self.fails_on and any(self.fails_on in request for request in requests):
            raise IndexError
        return self.inner.traces(requests)

    def logs(self, requests: Sequence[bytes]) -> Decoded:
        self.requests.append(len(requests))
        return self.inner.logs(requests)


def stages() -> Stages:
    normalizer = Normalizer(Needs(labels=frozenset({"conversation"})))
    return Stages(SlowDecoder(decode.decoder(normalizer.projection)), normalizer, PriceBook(PricesConfig()))


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def pipeline(engine: Engine) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(stages(), engine, lambda _: None, in_flight_bytes=64_000_000)
    async with pipeline.running():
        yield pipeline


def calls(number: int, attributes: Mapping[str, Value] | None = None) -> list[Call]:
    now = time.time_ns()
    return [Call.drawn(RANDOM, end=now - index, attributes=attributes or {}) for index in range(number)]


def large_calls() -> list[Call]:
    """Return calls whose request is decoded in a thread."""
    some = calls(1500, attributes={"conversation": "x" * 900})
    assert request_of(some).ByteSize() > INLINE_BYTES
    return some


def ids(some: Sequence[Call]) -> list[int]:
    return [int.from_bytes(call.span_id, "big") for call in some]


async def offered(pipeline: Pipeline, some: Sequence[Call]) -> Receipt:
    return await pipeline.offer(Signal.TRACES, request_of(some).SerializeToString(), transport="grpc")


async def test_a_request_that_finds_it_idle_is_evaluated_before_offer_gives_way(
    pipeline: Pipeline, engine: Engine
) -> None:
    some = calls(3)
    coroutine = offered(pipeline, some)
    with pytest.raises(StopIteration) as answer:
        coroutine.send(None)  # one step, without the event loop
    assert answer.value.value == Receipt()
    assert engine.spans == ids(some)
    assert engine.cost_nano == 3 * (1000 * 2500 + 100 * 10_000)


async def test_requests_that_wait_are_evaluated_together_and_in_order(pipeline: Pipeline, engine: Engine) -> None:
    large = large_calls()
    small = [calls(2) for _ in range(50)]
    answers = await asyncio.gather(*(offered(pipeline, some) for some in (large, *small)))
    assert set(answers) == {Receipt()}
    assert engine.spans == ids(large) + [one for some in small for one in ids(some)]
    assert engine.sizes == [1600]


async def test_the_engine_gets_a_large_batch_in_slices(pipeline: Pipeline, engine: Engine) -> None:
    some = calls(2 * SLICE_ROWS + 10)
    assert await offered(pipeline, some) == Receipt()
    assert engine.sizes == [SLICE_ROWS, SLICE_ROWS, 10]
    assert engine.spans == ids(some)


async def test_a_receipt_counts_the_spans_of_its_own_request_only(pipeline: Pipeline) -> None:
    large = large_calls()
    bad = [*calls(2), Call(b"short", b"12345678", 1, 2), Call(b"", b"", 1, 2)]
    _, good_receipt, bad_receipt = await asyncio.gather(
        offered(pipeline, large), offered(pipeline, calls(2)), offered(pipeline, bad)
    )
    assert good_receipt == Receipt()
    assert bad_receipt.rejected == 2
    assert "2 trace id" in bad_receipt.reason


async def test_bytes_that_are_no_request_are_refused_alone(pipeline: Pipeline, engine: Engine) -> None:
    large, small = large_calls(), calls(2)
    outcomes = await asyncio.gather(
        offered(pipeline, large),
        pipeline.offer(Signal.TRACES, b"\xff\xff\xff", transport="grpc"),
        offered(pipeline, small),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Receipt, DecodeError, Receipt]
    assert engine.spans == ids(large) + ids(small)


async def test_a_defect_that_one_request_meets_does_not_reach_its_neighbours(
    pipeline: Pipeline, engine: Engine
) -> None:
    decoder = pipeline._stages.decoder
    assert isinstance(decoder, SlowDecoder)
    decoder.fails_on = b"poison"
    large, small = large_calls(), calls(2)
    outcomes = await asyncio.gather(
        offered(pipeline, large),
        offered(pipeline, small),
        offered(pipeline, calls(1, attributes={"note": "poison"})),
        offered(pipeline, calls(1)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, TocsinError, Receipt]
    assert len(engine.spans) == 1503


async def test_a_defect_of_the_engine_is_told_to_the_sender_and_survived(pipeline: Pipeline, engine: Engine) -> None:
    engine.fails = True
    with pytest.raises(TocsinError, match="internal error"):
        await offered(pipeline, calls(1))
    engine.fails = False
    assert await offered(pipeline, calls(1)) == Receipt()


async def test_offers_past_the_limit_are_refused_with_a_wish_for_later(engine: Engine) -> None:
    pipeline = Pipeline(stages(), engine, lambda _: None, in_flight_bytes=1000)
    with pytest.raises(OverloadedError, match="limit is 1000") as refused:
        await offered(pipeline, calls(10))
    assert refused.value.reason == "in_flight_bytes"
    assert refused.value.retry_after > 0
    assert engine.spans == []


async def test_offers_are_refused_while_the_process_is_over_its_memory_limit(engine: Engine) -> None:
    pipeline = Pipeline(stages(), engine, lambda _: None, memory_bytes=1)
    pipeline._look_at_memory()
    with pytest.raises(OverloadedError) as refused:
        await offered(pipeline, calls(1))
    assert refused.value.reason == "memory"
    pipeline.limit(in_flight_bytes=10**9, memory_bytes=10**15)
    pipeline._look_at_memory()
    assert await offered(pipeline, calls(1)) == Receipt()


async def test_what_was_accepted_is_finished_before_it_stops_and_the_rest_is_refused(engine: Engine) -> None:
    pipeline = Pipeline(stages(), engine, lambda _: None)
    large, small = large_calls(), calls(2)
    async with pipeline.running(), asyncio.TaskGroup() as tasks:
        offers = [tasks.create_task(offered(pipeline, some)) for some in (large, small)]
        await asyncio.sleep(0)
    assert [offer.result() for offer in offers] == [Receipt(), Receipt()]
    assert engine.spans == ids(large) + ids(small)
    with pytest.raises(OverloadedError, match="stopping"):
        await offered(pipeline, calls(1))
    assert pipeline.in_flight_bytes == 0


async def test_stopping_finishes_what_a_gone_client_left_behind(engine: Engine) -> None:
    pipeline = Pipeline(stages(), engine, lambda _: None)
    large = large_calls()
    async with pipeline.running():
        offer = asyncio.create_task(offered(pipeline, large))
        await asyncio.sleep(0)
        offer.cancel()
    assert engine.spans == ids(large)


async def test_rules_and_parts_change_between_batches(pipeline: Pipeline, engine: Engine) -> None:
    new = stages()
    large = large_calls()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(offered(pipeline, large))
        await asyncio.sleep(0)
        tasks.create_task(pipeline.swap(new, ()))
        await asyncio.sleep(0)
        tasks.create_task(offered(pipeline, calls(1)))
    assert engine.rules == [()]
    assert engine.sizes == [1500, 1]
    decoder = new.decoder
    assert isinstance(decoder, SlowDecoder)
    assert decoder.requests == [1]


async def test_time_goes_on_without_spans(pipeline: Pipeline, engine: Engine) -> None:
    async with asyncio.timeout(5):
        await engine.advanced.wait()


async def test_logs_and_traces_that_wait_are_each_evaluated_together(pipeline: Pipeline, engine: Engine) -> None:
    large = large_calls()
    await asyncio.gather(
        offered(pipeline, large),
        offered(pipeline, calls(1)),
        pipeline.offer(Signal.LOGS, b"", transport="http"),
        offered(pipeline, calls(1)),
    )
    decoder = pipeline._stages.decoder
    assert isinstance(decoder, SlowDecoder)
    assert decoder.requests == [3, 1]
    assert np.sum(engine.sizes) == 1502


async def test_a_burst_of_small_requests_is_gathered_to_a_few_batches(pipeline: Pipeline, engine: Engine) -> None:
    requests = [calls(2) for _ in range(160)]

    async def one_by_one(mine: Sequence[Sequence[Call]]) -> None:
        for some in mine:
            assert await offered(pipeline, some) == Receipt()

    await asyncio.gather(*(one_by_one(requests[sender::20]) for sender in range(20)))
    assert sorted(engine.spans) == sorted(one for some in requests for one in ids(some))
    assert len(engine.sizes) < len(requests) / 4


async def test_requests_with_pauses_are_not_kept_waiting(pipeline: Pipeline, engine: Engine) -> None:
    for number in range(1, 4):
        coroutine = offered(pipeline, calls(1))
        with pytest.raises(StopIteration):
            coroutine.send(None)  # done in one step, without the event loop
        assert len(engine.sizes) == number
        await asyncio.sleep(2 * MOST_REST_SECONDS)  # longer than requests are gathered for
