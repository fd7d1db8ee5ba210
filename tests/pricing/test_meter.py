"""The cost of a call: exact, whatever the tokens and the prices are."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np
import pytest
from calls import Call, batch_of_calls, call_with
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.model.batch import ABSENT, CostSource
from tocsin.pricing import MAX_CALL_NANO, PriceBook, PricesConfig

PARTS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
)
PART_OF = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "reasoning": "output",
    "output_audio": "output",
}

counts = st.one_of(
    st.just(ABSENT),
    st.integers(0, 300_000),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([200_000, 200_001]),
)
prices = st.decimals(0, 1000, places=7) | st.sampled_from([Decimal("0.0025"), Decimal("2.5"), Decimal(0)])
entries = st.fixed_dictionaries(
    {"input": prices},
    optional={
        **{part: prices for part in PARTS if part != "input"},
        "request": prices,
        "per": st.sampled_from(["1M", "1K"]),
        "tiers": st.lists(
            st.fixed_dictionaries(
                {"above": st.sampled_from([0, 1000, 200_000])}, optional=dict.fromkeys(PARTS, prices)
            ),
            max_size=3,
            unique_by=lambda tier: tier["above"],
        ),
    },
)
factors = st.none() | st.decimals(0, 2, places=9)
usages = st.fixed_dictionaries(dict.fromkeys(PARTS, counts))


def bill(entry: dict[str, object], factor: Decimal, usage: dict[str, int]) -> int | None:
    """One call, one token kind at a time, in Decimal: what the documentation says."""
    if all(count < 0 for count in usage.values()):
        return None
    used = {part: min(max(count, 0), 10**15) for part, count in usage.items()}
    write = max(used["cache_write"], used["cache_write_1h"])
    cached = used["cache_read"] + write
    audio = min(used["input_audio"], max(used["input"] - cached, 0))
    reasoning = min(used["reasoning"], used["output"])
    audio_out = min(used["output_audio"], used["output"] - reasoning)
    apart = {
        "input": max(used["input"] - cached, 0) - audio,
        "cache_read": used["cache_read"],
        "cache_write": write - used["cache_write_1h"],
        "cache_write_1h": used["cache_write_1h"],
        "input_audio": audio,
        "output": used["output"] - reasoning - audio_out,
        "reasoning": reasoning,
        "output_audio": audio_out,
    }
    own = {part: entry[part] for part in PARTS if part in entry}
    tiers = entry.get("tiers", [])
    assert isinstance(tiers, list)
    for tier in sorted(tiers, key=lambda tier: int(tier["above"])):
        if max(used["input"], cached) > tier["above"]:
            own |= {part: tier[part] for part in PARTS if part in tier}

    def price(part: str) -> Decimal:
        if part in own:
            return Decimal(str(own[part]))
        return price(PART_OF[part]) if part in PART_OF else Decimal(0)

    per = Decimal(1_000 if entry.get("per") == "1K" else 1_000_000)
    with localcontext(prec=100, rounding=ROUND_HALF_EVEN):
        grain = Decimal("0.000001")  # of a nano-dollar, for one token
        nano = sum((price(part) / per * factor * 10**9).quantize(grain) * tokens for part, tokens in apart.items())
        fee = (Decimal(str(entry.get("request", 0))) * factor * 10**9).quantize(Decimal(1))
        return min(int(Decimal(nano).quantize(Decimal(1)) + fee), MAX_CALL_NANO)


@settings(max_examples=300, deadline=None)
@given(entry=entries, factor=factors, calls=st.lists(usages, min_size=1, max_size=8))
def test_a_batch_costs_what_each_call_costs_alone(
    entry: dict[str, object], factor: Decimal | None, calls: list[dict[str, int]]
) -> None:
    config = {"overrides": {"m": entry}, "discounts": [{"factor": factor}] if factor is not None else []}
    book = PriceBook(PricesConfig.model_validate(config))
    batch = batch_of_calls([call_with(usage, model="m") for usage in calls])
    book.price(batch)
    for row, usage in enumerate(calls):
        expected = bill(entry, Decimal(1) if factor is None else factor, usage)
        if expected is None:
            assert (batch.computed_nano[row], batch.cost_source[row]) == (ABSENT, CostSource.UNPRICED)
        else:
            assert (batch.computed_nano[row], batch.cost_source[row]) == (expected, CostSource.COMPUTED)


@pytest.mark.parametrize(("tokens", "nano"), [(1, 0), (3, 2), (5, 2), (7, 4), (2, 1)])
def test_half_a_nano_dollar_goes_to_the_even_one(tokens: int, nano: int) -> None:
    batch = batch_of_calls([Call(model="m", input=tokens)])
    PriceBook(PricesConfig.model_validate({"overrides": {"m": {"input": "0.0005"}}})).price(batch)
    assert batch.cost_nano.tolist() == [nano]


def test_a_sum_of_many_costs_is_the_sum_of_the_exact_ones() -> None:
    batch = batch_of_calls([Call(model="gpt-4o-mini", input=1, output=1)] * 1000)
    PriceBook(PricesConfig()).price(batch)
    assert int(batch.cost_nano.sum()) == 1000 * (150 + 600)


def test_absurd_token_counts_cost_a_million_dollars_at_most() -> None:
    most = np.iinfo(np.int64).max
    batch = batch_of_calls([Call(input=most, output=most, cache_read=most), Call(input=1000, output=10)])
    PriceBook(PricesConfig()).price(batch)
    assert batch.cost_nano.tolist() == [MAX_CALL_NANO, 1000 * 2500 + 10 * 10_000]
