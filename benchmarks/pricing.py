"""Pricing: microseconds per span of `PriceBook.price`, beside a price looked up and computed span by span.

Run: `python -m benchmarks.pricing`. Goal: at most 0.3 µs per span at 512 spans a batch.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from genai_prices import Usage, calc_price

from tocsin.model.batch import ABSENT, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.pricing import PriceBook, PricesConfig

MODELS = [
    "gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "claude-sonnet-4-5-20250929", "claude-haiku-4-5",
    "gemini-2.5-pro", "deepseek-chat", "mistral-large-latest", "my-model",
]  # fmt: skip
PROVIDERS = ["openai", "openai", "anthropic", "anthropic", "gcp.gemini", "deepseek", "mistral_ai", "self"]
OVERRIDES = {"my-model": {"input": 2.5, "output": 10, "cache_read": 1.25}}


def batch_of(rows: int, names: Sequence[str], *, cached: bool = True) -> SpanBatch:
    """A batch as decoded traffic looks: 8 models, prompts of some thousand tokens, half of them partly
    cached."""
    random = np.random.default_rng(rows)
    model = random.integers(0, len(names), rows).astype(np.int32)
    provider = model % len(PROVIDERS)
    read = random.integers(100, 20_000, rows)
    absent = np.full(rows, ABSENT)
    ids = np.arange(1, rows + 1, dtype=np.uint64)
    end = 1_790_000_000 * 10**9 + random.integers(0, 10**9, rows)
    return SpanBatch(
        arrival=end, trace_hi=ids, trace_lo=ids, span_id=ids, parent_id=np.zeros(rows, np.uint64),
        start=end, end=end, latency=np.zeros(rows, np.int64),
        span_class=np.full(rows, SpanClass.LLM, np.uint8),
        failed=np.zeros(rows, np.bool_), scope=np.ones(rows, np.uint32), wraps=np.zeros(rows, np.bool_),
        deferred=np.zeros(rows, np.bool_), input_tokens=read, output_tokens=random.integers(1, 2_000, rows),
        cache_read_tokens=np.where(model % 2 == 0, read // 2, ABSENT) if cached else absent,
        cache_write_tokens=absent, cache_write_1h_tokens=absent, reasoning_tokens=absent,
        input_audio_tokens=absent, output_audio_tokens=absent, reported_usd=np.full(rows, np.nan),
        ttft_ms=np.full(rows, np.nan),
        adjusted_count=np.ones(rows), numbers={},
        labels={"model": TextColumn(model, names), "provider": TextColumn(provider, PROVIDERS)},
    )  # fmt: skip


def seconds_of(batch: Callable[[], SpanBatch], work: Callable[[SpanBatch], None], least: float = 0.2) -> float:
    """Return the median seconds of one call of `work`, the making of its batch left out."""
    work(batch())
    times: list[float] = []
    while sum(times) < least:
        given = batch()
        start = time.perf_counter()
        work(given)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def span_by_span(batch: SpanBatch) -> None:
    """What a look-up per span costs: genai-prices' own calculation."""
    when = datetime(2026, 9, 1, tzinfo=UTC)
    model, provider = batch.labels["model"], batch.labels["provider"]
    for row in range(len(batch)):
        name = model.values[model.code[row]]
        if name in OVERRIDES:
            continue
        usage = Usage(
            input_tokens=int(batch.input_tokens[row]),
            output_tokens=int(batch.output_tokens[row]),
            cache_read_tokens=max(int(batch.cache_read_tokens[row]), 0),
        )
        who = provider.values[provider.code[row]]
        calc_price(usage, name, provider_id=who, genai_request_timestamp=when)


def run() -> list[dict[str, object]]:
    """Return the rows of the table, in microseconds per span."""
    book = PriceBook(PricesConfig.model_validate({"overrides": OVERRIDES}))
    rows = []

    def add(name: str, batch: Callable[[], SpanBatch], work: Callable[[SpanBatch], None], target: str = "") -> None:
        value = seconds_of(batch, work) / len(batch()) * 1e6
        rows.append({"name": f"pricing, {name}", "value": value, "unit": "µs/span", "target": target})

    def same(count: int, names: Sequence[str] = MODELS, *, cached: bool = True) -> Callable[[], SpanBatch]:
        batch = batch_of(count, names, cached=cached)
        return lambda: batch

    fresh = iter(range(10**9))

    def never_seen() -> SpanBatch:
        return batch_of(512, [f"gpt-4o-{next(fresh)}" for _ in range(512)])

    add("10 a batch", same(10), book.price)
    add("512 a batch", same(512), book.price, "<= 0.3")
    add("512 a batch, nothing cached", same(512, cached=False), book.price)
    add("8192 a batch", same(8192), book.price)
    add("512 a batch, about 320 names", same(512, [f"{MODELS[i % 4]}-{i}" for i in range(512)]), book.price)
    add("512 a batch, all names new (hostile)", never_seen, book.price)
    add("512 a batch, genai-prices span by span", same(512), span_by_span)
    return rows


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:<48}{row['value']:>10.3f} {row['unit']}")
