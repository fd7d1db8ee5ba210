"""The price book: which price a call gets, and where its cost comes from."""

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest
from calls import Call, batch_of_calls, call_with
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.model.batch import ABSENT, CostSource, SpanBatch, SpanClass
from tocsin.pricing import MAX_CALL_NANO, PriceBook, PricesConfig, Usage
from tocsin.pricing.catalogue import MAX_NAMES

NONE, REPORTED, COMPUTED, UNPRICED = CostSource


def priced(*calls: Call, **config: object) -> SpanBatch:
    batch = batch_of_calls(calls)
    PriceBook(PricesConfig.model_validate(config)).price(batch)
    return batch


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("provider", "model", "input_price"),
    [
        ("openai", "gpt-4o", 2_500),
        ("openai", "gpt-4o-2024-08-06", 2_500),
        ("openai", "gpt-4o-mini-2024-07-18", 150),
        (None, "gpt-4o-mini", 150),
        ("langgraph", "gpt-4o-mini", 150),
        ("azure.ai.openai", "gpt-4o-mini", 150),
        ("openai", "openai/gpt-4o-mini", 150),
        ("openai", "claude-sonnet-4-5-20250929", 3_000),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", 3_000),
        ("gcp.vertex_ai", "claude-sonnet-4@20250514", 3_000),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.0-flash", 100),
        ("gcp.gemini", "models/gemini-2.0-flash", 100),
        ("litellm", "openrouter/anthropic/claude-3-haiku", 250),
    ],
)
def test_knows_models_by_the_names_that_spans_use(provider: str | None, model: str, input_price: int) -> None:
    batch = priced(Call(model=model, provider=provider, input=1000, output=0))
    assert batch.computed_nano.tolist() == [1000 * input_price]


@pytest.mark.parametrize("model", ["llama3", "", "gpt", "x" * 1000, "/", "a/b/c", "😀", "..", "@", ":", "-2024-01-01"])
def test_an_unknown_model_is_unpriced_not_free(model: str) -> None:
    batch = priced(Call(model=model or None, provider=None, input=1000, output=10))
    assert (batch.computed_nano.tolist(), batch.cost_source.tolist()) == ([ABSENT], [UNPRICED])
    assert batch.cost_nano.tolist() == [0]


def test_a_model_billed_by_what_spans_do_not_report_is_unpriced() -> None:
    assert priced(Call(model="whisper-1", input=10, output=10)).cost_source.tolist() == [UNPRICED]


def test_every_source_of_a_cost() -> None:
    batch = priced(
        Call(input=1000, output=10),
        Call(input=1000, output=10, reported=0.5),
        Call(model="nobody's", reported=0.5),
        Call(model="nobody's", input=1),
        Call(),  # it succeeded, so it cost something
        Call(failed=True),
        Call(failed=True, input=1000, output=0),
        Call(span_class=SpanClass.USAGE, input=1000, output=0),
        Call(span_class=SpanClass.USAGE),  # the record of a stream that was not told its usage
        Call(span_class=SpanClass.AGENT, input=1000, output=0),
        Call(span_class=SpanClass.AGENT),
        Call(span_class=SpanClass.TOOL, input=1000, output=0, reported=1.0),
        Call(span_class=SpanClass.DUPLICATE, input=1000, output=0, reported=1.0),
        Call(span_class=SpanClass.EMBEDDINGS, model="text-embedding-3-small", input=1000),
    )
    assert batch.cost_source.tolist() == [
        COMPUTED, REPORTED, REPORTED, UNPRICED, UNPRICED, NONE, COMPUTED,
        COMPUTED, UNPRICED, COMPUTED, NONE, NONE, NONE, COMPUTED,
    ]  # fmt: skip
    half = 500_000_000
    assert batch.cost_nano.tolist() == [
        2_600_000, half, half, 0, 0, 0, 2_500_000, 2_500_000, 0, 2_500_000, 0, 0, 0, 20_000,
    ]  # fmt: skip
    assert batch.computed_nano[:3].tolist() == [2_600_000, 2_600_000, ABSENT]


def test_computed_may_be_preferred() -> None:
    batch = priced(
        Call(input=1000, output=10, reported=0.5),
        Call(model="nobody's", input=1, reported=0.5),
        prefer="computed",
    )
    assert batch.cost_nano.tolist() == [2_600_000, 500_000_000]
    assert batch.cost_source.tolist() == [COMPUTED, REPORTED]


@pytest.mark.parametrize("stated", [float("inf"), -float("inf"), -1.0, float("nan")])
def test_a_stated_cost_that_is_none_is_ignored(stated: float) -> None:
    assert priced(Call(input=1000, output=0, reported=stated)).cost_nano.tolist() == [2_500_000]


def test_an_absurd_stated_cost_is_cut() -> None:
    assert priced(Call(reported=1e300)).cost_nano.tolist() == [MAX_CALL_NANO]


def test_an_empty_batch_is_priced() -> None:
    assert len(priced().cost_nano) == 0


def test_an_override_replaces_the_table_also_for_dated_names() -> None:
    batch = priced(
        Call(model="gpt-4o-2024-08-06", input=1000, output=0),
        Call(model="GPT-4o", input=1000, output=0),
        Call(model="gpt-4o-mini", input=1000, output=0),
        overrides={"gpt-4o": {"input": 1, "output": 2}},
    )
    assert batch.computed_nano.tolist() == [1_000_000, 1_000_000, 150_000]


def test_an_override_of_a_provider_is_for_that_provider() -> None:
    calls = [Call(model="m", provider=provider, input=1000) for provider in ("azure.ai.openai", "openai", None)]
    batch = priced(*calls, overrides={"azure/m": {"input": 1}, "m": {"input": 3}})
    assert batch.computed_nano.tolist() == [1_000_000, 3_000_000, 3_000_000]


def test_globs_apply_in_order_after_exact_names() -> None:
    batch = priced(
        *(Call(model=model, input=1000) for model in ("my-model", "my-model-v2", "my-other")),
        overrides={"my-model*": {"input": 2}, "my-*": {"input": 3}, "my-model": {"input": 1}},
    )
    assert batch.computed_nano.tolist() == [1_000_000, 2_000_000, 3_000_000]


def test_a_dated_override_holds_in_its_time_and_the_table_outside() -> None:
    moments = [
        ns(2026, 3, 31, 23, 59, 59),
        ns(2026, 4, 1),
        ns(2026, 4, 30, 23),
        ns(2026, 5, 1),
        ns(2026, 6, 1),
    ]
    batch = priced(
        *(Call(input=1000, output=0, end=end) for end in moments),
        overrides={
            "gpt-4o": [
                {"input": 1, "output": 2, "valid_from": "2026-04-01", "valid_to": "2026-04-30"},
                {"input": 2, "output": 2, "valid_from": "2026-05-15"},
            ]
        },
    )
    assert batch.computed_nano.tolist() == [2_500_000, 1_000_000, 1_000_000, 2_500_000, 2_000_000]


def test_a_request_may_have_a_fee() -> None:
    batch = priced(Call(model="m", input=1000), overrides={"m": {"input": 1, "request": 0.01}})
    assert batch.computed_nano.tolist() == [11_000_000]


def test_discounts_are_by_provider_tenant_and_model_and_the_first_counts() -> None:
    batch = priced(
        Call(input=1000, output=0),
        Call(input=1000, output=0, tenant="acme-eu"),
        Call(input=1000, output=0, tenant="Other"),
        Call(input=1000, provider="azure.ai.openai", output=0),
        Call(model="gpt-4o-mini", input=1000, output=0),
        discounts=[
            {"tenant": "acme-*", "factor": 0.5},
            {"provider": "azure", "factor": 0.9},
            {"model": "*-mini", "factor": 0},
        ],
    )
    assert batch.computed_nano.tolist() == [2_500_000, 1_250_000, 2_500_000, 2_250_000, 0]


def test_the_tenant_is_asked_for_only_where_a_discount_reads_it() -> None:
    assert PriceBook(PricesConfig()).needs.labels == frozenset()
    config = PricesConfig.model_validate({"discounts": [{"tenant": "a", "factor": 1}]})
    assert PriceBook(config).needs.labels == {"tenant"}


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    model=st.sampled_from(
        ["gpt-4o", "deepseek-chat", "deepseek-v4-flash", "claude-sonnet-4-5", "claude-sonnet-4-6",
         "gemini-2.5-pro", "gpt-4o-audio-preview"]
    ),
)  # fmt: skip
def test_costs_what_genai_prices_says_at_any_time(data: st.DataObject, model: str) -> None:
    calls = []
    for _ in range(data.draw(st.integers(1, 5))):
        read, write, plain, out = (data.draw(st.integers(0, 300_000)) for _ in range(4))
        write_1h, reasoning = data.draw(st.integers(0, write)), data.draw(st.integers(0, out))
        when = data.draw(st.integers(ns(2024, 1, 1), ns(2027, 12, 1)))
        calls.append(
            Call(
                model=model, provider=None, end=when, input=read + write + plain, cache_read=read,
                cache_write=write, cache_write_1h=write_1h, output=out, reasoning=reasoning,
            )
        )  # fmt: skip
    batch = priced(*calls)
    for row, call in enumerate(calls):
        usage = TheirUsage(
            input_tokens=call.input, cache_read_tokens=call.cache_read, cache_write_tokens=call.cache_write,
            cache_write_1h_tokens=call.cache_write_1h, output_tokens=call.output,
            output_reasoning_tokens=call.reasoning,
        )  # fmt: skip
        when_utc = datetime.fromtimestamp(call.end // 10**9, UTC)
        theirs = calc_price(usage, model, genai_request_timestamp=when_utc).total_price
        assert abs(batch.computed_nano[row] - theirs * 10**9) <= 1


def test_lists_unpriced_models_with_counts_and_keeps_them_over_a_reload() -> None:
    book = PriceBook(PricesConfig())
    book.price(
        batch_of_calls(
            [
                Call(model="m1", input=1, end=5),
                Call(model="m1", input=1, end=9),
                Call(model="m2", input=1),
                Call(),
            ]
        )
    )
    assert [(entry.model, entry.count, entry.reason) for entry in book.unpriced()] == [
        ("m1", 2, "no price"), ("gpt-4o", 1, "no usage"), ("m2", 1, "no price"),
    ]  # fmt: skip
    assert book.unpriced()[0].last_seen == 9
    after = PriceBook(PricesConfig.model_validate({"overrides": {"m1": {"input": 1}}}), previous=book)
    assert [entry.model for entry in after.unpriced()] == ["gpt-4o", "m2"]


def test_an_agent_that_repeats_usage_is_not_listed_as_unpriced() -> None:
    book = PriceBook(PricesConfig())
    book.price(batch_of_calls([Call(model="m", span_class=SpanClass.AGENT, input=1)]))
    assert book.unpriced() == []


def test_names_made_by_an_attacker_do_not_grow_memory() -> None:
    book = PriceBook(PricesConfig.model_validate({"discounts": [{"tenant": "a*", "factor": 0.5}]}))
    before = 0
    tracemalloc.start()
    try:
        for round_ in range(6):
            if round_ == 4:
                before = tracemalloc.get_traced_memory()[0]
            names = [f"gpt-4o-{round_}-{number}" for number in range(2_000)]
            book.price(batch_of_calls([Call(model=name, tenant=name, input=1) for name in names]))
            names = [f"unheard-{round_}-{number}" for number in range(1_000)]
            book.price(batch_of_calls([Call(model=name, provider=name, input=1) for name in names]))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(book._catalogue) == MAX_NAMES
    assert len(book.unpriced()) == 1_000
    assert grown < 2_000_000


def test_explains_a_price() -> None:
    config = PricesConfig.model_validate(
        {
            "overrides": {"m": {"input": 1, "output": 4, "tiers": [{"above": "1K", "input": 2}]}},
            "discounts": [{"provider": "openai", "factor": 0.5}],
        }
    )
    book = PriceBook(config)
    why = book.explain("openai", "m", usage=Usage(input=2000, output=100, reasoning=40), at=0)
    assert (why.priced, why.table, why.matched, why.above) == (True, "prices.overrides", "m", 1000)
    assert why.discount == "x 0.5 for provider openai"
    assert why.total_nano == 2_200_000
    assert {line.kind: (line.tokens, line.priced_as) for line in why.lines} == {
        "input": (2000, "input"), "output": (60, "output"), "reasoning": (40, "output"),
    }  # fmt: skip
    assert why.total_nano == sum(line.usd for line in why.lines) * 10**9


def test_explains_what_it_does_not_know() -> None:
    why = PriceBook(PricesConfig()).explain(None, "gtp-4o", at=0)
    assert (why.priced, why.total_nano) == (False, None)
    assert "gpt-4o" in why.near


@settings(max_examples=50, deadline=None)
@given(
    model=st.sampled_from(["gpt-4o", "m", "claude-sonnet-4-5", "whisper-1"]),
    tokens=st.tuples(*[st.integers(-1, 400_000)] * 4),
    at=st.integers(ns(2024, 1, 1), ns(2027, 1, 1)),
)
def test_explains_the_very_cost_that_spans_get(model: str, tokens: tuple[int, ...], at: int) -> None:
    read, cached, out, reasoning = tokens
    overrides = {"m": {"input": 1, "valid_to": "2025-06-30"}}
    book = PriceBook(PricesConfig.model_validate({"overrides": overrides}))
    counts = {"input": read, "cache_read": cached, "output": out, "reasoning": reasoning}
    batch = batch_of_calls([call_with(counts, model=model, provider=None, end=at)])
    book.price(batch)
    usage = Usage(**counts)
    explained = book.explain(None, model, usage=usage, at=at).total_nano
    assert batch.computed_nano.tolist() == [ABSENT if explained is None else explained]


def test_a_batch_costs_the_same_in_any_order_and_split() -> None:
    random = np.random.default_rng(7)
    calls = [
        Call(
            model=str(random.choice(["gpt-4o", "m", "claude-sonnet-4-5"])),
            input=int(random.integers(0, 400_000)),
            output=int(random.integers(0, 4_000)),
            end=ns(2026, 1, 1) + int(random.integers(0, 10**16)),
        )
        for _ in range(200)
    ]
    whole = priced(*calls)
    assert priced(*calls[::-1]).cost_nano.tolist() == whole.cost_nano.tolist()[::-1]
    assert priced(*calls[:70]).cost_nano.tolist() == whole.cost_nano[:70].tolist()
