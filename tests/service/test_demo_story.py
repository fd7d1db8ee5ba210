"""The story that the demo tells is the one that it promises."""

import time
from collections import Counter

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.model.batch import NANO_USD
from tocsin.pricing import PriceBook, PricesConfig, Usage
from tocsin.service.demo.story import DURATION_NS, RUNAWAY, moments, request_of


def test_the_runaway_conversation_is_240_calls_for_over_a_thousand_dollars_within_90_seconds() -> None:
    runaway = [moment for moment in moments() if moment.conversation == RUNAWAY]
    assert len(runaway) == 240
    assert runaway[-1].at - runaway[0].at < 90 * 10**9
    book = PriceBook(PricesConfig())
    costs = []
    for moment in runaway:
        usage = Usage(input=moment.input_tokens, output=moment.output_tokens)
        explained = book.explain(moment.provider, moment.model, usage=usage, at=time.time_ns())
        costs.append(explained.total_nano or 0)
    assert 1000 * NANO_USD < sum(costs) < 1100 * NANO_USD
    assert max(costs) < 5 * NANO_USD


def test_the_story_is_told_in_order_and_always_the_same() -> None:
    story = moments()
    assert [moment.at for moment in story] == sorted(moment.at for moment in story)
    assert story[-1].at < DURATION_NS
    assert story == moments()
    assert len({moment.span_id for moment in story}) == len(story)


def test_a_request_carries_the_spans_at_their_time_and_no_cost() -> None:
    story = moments()
    request = ExportTraceServiceRequest.FromString(request_of(story, began_at=10**18))
    spans = request.resource_spans[0].scope_spans[0].spans
    assert [span.end_time_unix_nano - 10**18 for span in spans] == [moment.at for moment in story]
    keys = Counter(pair.key for span in spans for pair in span.attributes)
    assert keys["gen_ai.conversation.id"] == len(story)
    assert not any("cost" in key for key in keys)
