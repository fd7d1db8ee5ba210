"""Model calls as plain values, and as a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tocsin.model.batch import ABSENT, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn


@dataclass(frozen=True)
class Call:
    model: str | None = "gpt-4o"
    provider: str | None = "openai"
    tenant: str | None = None
    span_class: SpanClass = SpanClass.LLM
    failed: bool = False
    end: int = 1_790_000_000 * 10**9
    input: int = ABSENT
    output: int = ABSENT
    cache_read: int = ABSENT
    cache_write: int = ABSENT
    cache_write_1h: int = ABSENT
    reasoning: int = ABSENT
    input_audio: int = ABSENT
    output_audio: int = ABSENT
    reported: float = float("nan")


def call_with(counts: Mapping[str, Any], model: str, provider: str | None = None, end: int = 0) -> Call:
    return Call(model=model, provider=provider, end=end, **counts)


def text_column(texts: Sequence[str | None]) -> TextColumn:
    values = list(dict.fromkeys(text for text in texts if text is not None))
    codes = [values.index(text) if text is not None else -1 for text in texts]
    return TextColumn(np.array(codes, np.int32), values)


def batch_of_calls(calls: Sequence[Call]) -> SpanBatch:
    def whole(name: str) -> np.ndarray:
        return np.array([getattr(call, name) for call in calls], np.int64)

    n = len(calls)
    ids = np.arange(1, n + 1, dtype=np.uint64)
    end = whole("end")
    return SpanBatch(
        arrival=end,
        trace_hi=ids,
        trace_lo=ids,
        span_id=ids,
        parent_id=np.zeros(n, np.uint64),
        start=end,
        end=end,
        latency=np.zeros(n, np.int64),
        span_class=np.array([call.span_class for call in calls], np.uint8),
        failed=np.array([call.failed for call in calls], np.bool_),
        scope=np.ones(n, np.uint32),
        wraps=np.zeros(n, np.bool_),
        deferred=np.zeros(n, np.bool_),
        input_tokens=whole("input"),
        output_tokens=whole("output"),
        cache_read_tokens=whole("cache_read"),
        cache_write_tokens=whole("cache_write"),
        cache_write_1h_tokens=whole("cache_write_1h"),
        reasoning_tokens=whole("reasoning"),
        input_audio_tokens=whole("input_audio"),
        output_audio_tokens=whole("output_audio"),
        reported_usd=np.array([call.reported for call in calls], np.float64),
        ttft_ms=np.full(n, np.nan),
        adjusted_count=np.ones(n),
        labels={
            "model": text_column([call.model for call in calls]),
            "provider": text_column([call.provider for call in calls]),
            "tenant": text_column([call.tenant for call in calls]),
        },
        numbers={},
    )
