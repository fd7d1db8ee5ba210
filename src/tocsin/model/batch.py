"""Spans in canonical form: what the engine reads, whatever dialect they were written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import TextColumn, distinct_codes

__all__ = ["ABSENT", "NANO_USD", "CostSource", "Needs", "SpanBatch", "SpanClass"]

NANO_USD = 1_000_000_000
"""Money inside is int64 nano-USD: one dollar is this many."""

ABSENT = -1
"""Stands for an unknown token count in int64 columns."""


class SpanClass(IntEnum):
    """What a span is, decided by `tocsin.semconv` from the dialect's own markers."""

    OTHER = 0
    """Not a GenAI span; it still carries attributes for its trace."""
    LLM = 1
    EMBEDDINGS = 2
    TOOL = 3
    RETRIEVAL = 4
    AGENT = 5
    CHAIN = 6
    MEMORY = 7
    EVALUATION = 8
    """A `gen_ai.evaluation.result` log record."""
    USAGE = 9
    """A zero-length record with the usage and the duration of a streamed sibling LLM span (logfire): billed, but not a
    call. Without token counts the stream's usage is unknown."""
    DUPLICATE = 10
    """A raw copy or a pending copy of another span: never a sample."""


class CostSource(IntEnum):
    """Where a cost comes from."""

    NONE = 0
    """No cost is due: not a billable span, or a failed call without usage."""
    REPORTED = 1
    COMPUTED = 2
    UNPRICED = 3
    """The call cost something that we do not know: no price for its model, or no usage on it."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the loaded rules read; decides what is decoded."""

    labels: frozenset[str] = frozenset()
    """Short names (`conversation`, `model`, …) or attribute keys, as text."""
    numbers: frozenset[str] = frozenset()
    """Metric names that are attributes (`judge_score`, …) or attribute keys, as numbers."""


@dataclass(slots=True)
class SpanBatch:
    """n usable spans (or evaluation records) as columns, row by row.

    `tocsin.semconv` fills all but the cost columns, `tocsin.pricing` those; afterwards nobody writes to it.
    """

    arrival: NDArray[np.int64]
    """[n] wall clock when the request arrived, Unix nanoseconds."""
    trace_hi: NDArray[np.uint64]
    """[n] first half of the trace id, big-endian; both halves 0 for an evaluation without one."""
    trace_lo: NDArray[np.uint64]
    span_id: NDArray[np.uint64]
    """[n] 0 for an evaluation without one."""
    parent_id: NDArray[np.uint64]
    """[n] 0 for a root."""
    start: NDArray[np.int64]
    """[n] Unix nanoseconds."""
    end: NDArray[np.int64]
    """[n] event time, Unix nanoseconds; never before `start`."""
    latency: NDArray[np.int64]
    """[n] nanoseconds of the call: end - start, or what the dialect states where that is known to be wrong."""
    span_class: NDArray[np.uint8]
    """[n] SpanClass."""
    failed: NDArray[np.bool_]
    """[n] span status is ERROR."""
    scope: NDArray[np.uint32]
    """[n] a number of the instrumentation scope's name: two spans of one call that two libraries wrote differ in it."""
    wraps: NDArray[np.bool_]
    """[n] written by a framework's instrumentation (LangChain, LlamaIndex, …): if a model call, then around one that a
    provider's instrumentation may write as well."""
    deferred: NDArray[np.bool_]
    """[n] a model call whose usage and duration stand on a USAGE row; `latency` here ends before the answer began."""
    input_tokens: NDArray[np.int64]
    """[n] everything the provider read, cached tokens included; ABSENT where unknown."""
    output_tokens: NDArray[np.int64]
    """[n] everything generated, reasoning included; ABSENT where unknown."""
    cache_read_tokens: NDArray[np.int64]
    """[n] part of input_tokens; ABSENT where the dialect does not say."""
    cache_write_tokens: NDArray[np.int64]
    """[n] part of input_tokens, 5-minute and 1-hour writes together."""
    cache_write_1h_tokens: NDArray[np.int64]
    """[n] the part of cache_write_tokens with the 1-hour price."""
    reasoning_tokens: NDArray[np.int64]
    """[n] part of output_tokens."""
    input_audio_tokens: NDArray[np.int64]
    output_audio_tokens: NDArray[np.int64]
    reported_usd: NDArray[np.float64]
    """[n] US dollars that the span itself states; NaN where it states none, or 0 for want of a price."""
    ttft_ms: NDArray[np.float64]
    """[n] time to first token, milliseconds; NaN where unknown."""
    adjusted_count: NDArray[np.float64]
    """[n] how many spans this one stands for by its sampling threshold (tracestate `ot=th:`); 1 where unsampled."""
    labels: Mapping[str, TextColumn]
    """Every label of `Needs.labels`, and always `model`, `provider`, `service`, `response_id`, `tool`, `agent`,
    `prompt_version`.
    `trace` is not among them: it is the trace id."""
    numbers: Mapping[str, NDArray[np.float64]]
    """Every number of `Needs.numbers`; NaN where absent or not finite."""

    cost_nano: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """[n] nano-USD; 0 where `cost_source` is NONE or UNPRICED."""
    computed_nano: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """[n] nano-USD by the price table; ABSENT where it has no price or there is no usage."""
    cost_source: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """[n] CostSource."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.end)

    def take(self, rows: NDArray[np.intp]) -> "SpanBatch":
        """Return a batch of these rows, in this order; label dictionaries are shared, so some values may be unused."""
        columns = {
            name: getattr(self, name)[rows]
            for name in self.__slots__
            if name not in ("labels", "numbers") and len(getattr(self, name)) == len(self)
        }
        return replace(
            self,
            **columns,
            labels={name: TextColumn(label.code[rows], label.values) for name, label in self.labels.items()},
            numbers={name: column[rows] for name, column in self.numbers.items()},
        )

    def with_labels(self, labels: Mapping[str, TextColumn]) -> "SpanBatch":
        """Return the same rows with other label columns."""
        return replace(self, labels=labels)

    def conformed(self, labels: Mapping[str, TextColumn], numbers: Mapping[str, NDArray[np.float64]]) -> "SpanBatch":
        """Return the same rows with other label and number columns."""
        return replace(self, labels=labels, numbers=numbers)

    @classmethod
    def concat(cls, batches: "Sequence[SpanBatch]") -> "SpanBatch":
        """Return the rows of several batches as one; all must have the same labels and numbers."""
        first = batches[0]
        if len(batches) == 1:
            return first
        columns = {
            name: np.concatenate([getattr(batch, name) for batch in batches])
            for name in cls.__slots__
            if name not in ("labels", "numbers")
        }
        return cls(
            **columns,
            labels={name: _joined([batch.labels[name] for batch in batches]) for name in first.labels},
            numbers={name: np.concatenate([batch.numbers[name] for batch in batches]) for name in first.numbers},
        )


def _joined(columns: Sequence[TextColumn]) -> TextColumn:
    """Return the columns as one, in time that goes by rows where they share a dictionary of values."""
    begins: dict[int, int] = {}  # identity of a dictionary -> where its values begin among those of all
    values: list[str] = []
    for column in columns:
        if id(column.values) not in begins:
            begins[id(column.values)] = len(values)
            values += column.values
    code = np.concatenate([column.code for column in columns])
    if len(begins) > 1:
        shift = np.repeat([begins[id(column.values)] for column in columns], [len(column.code) for column in columns])
        code = np.where(code < 0, -1, code + shift)
    used, places = distinct_codes(code, len(values))
    texts = [values[place] for place in used.tolist()] if len(used) < len(values) else values
    known = dict.fromkeys(texts)
    if len(known) == len(texts):
        return TextColumn(places, texts)
    for number, text in enumerate(known):
        known[text] = number
    codes = np.array([*map(known.__getitem__, texts), -1], np.int32)  # the last is what -1 finds
    return TextColumn(codes[places], list(known))
