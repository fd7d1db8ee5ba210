"""From decoded columns to canonical ones: the entry of this package, and its fast path.

Nothing here loops over rows: the cost is per column that occurs and per distinct value. Structured texts (a
usage object as JSON) are the exception, parsed once per distinct text. Held by benchmarks/semconv.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import ABSENT, Needs, SpanBatch, SpanClass
from tocsin.model.columns import Projection, SpanColumns, TextColumn
from tocsin.semconv.amounts import first_finite, non_negative, reported_usd
from tocsin.semconv.columns import Batch
from tocsin.semconv.config import AttributesConfig
from tocsin.semconv.kinds import classified
from tocsin.semconv.labels import Labels
from tocsin.semconv.plan import TTFT, Occurrence, Plan
from tocsin.semconv.recording import NOTHING, Recorder, Recording, cut
from tocsin.semconv.reductions import some
from tocsin.semconv.sampling import adjusted_counts
from tocsin.semconv.scopes import Scopes
from tocsin.semconv.tokens import TOKENS, Tokens, read_tokens, settled
from tocsin.semconv.usable import Unusable, Usable, usable_records, usable_spans

__all__ = ["Normalized", "Normalizer"]

_MAX_TTFT_MS = 86_400_000.0
_MAX_LATENCY_MS = 86_400_000.0
_STATUS_ERROR = 2


@dataclass(frozen=True, slots=True)
class Normalized:
    """The usable rows of a batch in canonical form, and what became of the others."""

    batch: SpanBatch
    rows: NDArray[np.intp]
    """[len(batch)] the input row of each row of `batch`, ascending."""
    rejected: Mapping[Unusable, NDArray[np.intp]]
    """Input rows that can't be used, by reason, ascending; a row stands under one reason."""
    flawed: Mapping[str, int]
    """How many values were refused, their spans used without them: `tokens`, `cost`, `time_to_first_token`,
    `latency`, `number`, `document` (a structured text that can't be read)."""
    left_out: int = 0
    """Attributes that were not recorded because there are too many, and requests that had too many of them."""


class Normalizer:
    """Turns decoded spans and log records into batches for one set of rules.

    It holds no state between calls but which attributes came in by the beginning of their keys, where any do.
    """

    def __init__(
        self, needs: Needs, attributes: AttributesConfig | None = None, recording: Recording = NOTHING
    ) -> None:
        """Make one.

        Args:
            needs: of the rules.
            attributes: what stands behind short names; None: as built in.
            recording: what is kept beside what rules need.
        """
        table = (attributes or AttributesConfig()).table()
        self._table = table
        self._plan = Plan(table, needs, recording)
        self._recorder = Recorder(recording)
        self._labels = Labels(table)
        self._scopes = Scopes(table.wrapping_scopes, table.late_usage_scopes)

    @property
    def projection(self) -> Projection:
        """What a decoder has to extract: the rules' own attributes, and what is always needed."""
        return self._plan.projection

    def spans(self, columns: SpanColumns, arrival: NDArray[np.int64]) -> Normalized:
        """Return the spans in canonical form; `arrival` [n] is when each row's request came, Unix ns."""
        usable = usable_spans(columns)
        batch = Batch(columns)
        occurrence = self._plan.occurrence(columns)
        flawed: dict[str, int] = {}
        model = self._labels.column(batch, "model", occurrence.of_label)
        tokens = read_tokens(batch, occurrence.tokens)
        batch.classes = classified(
            batch, self._table.kinds, lambda: _model_masks(model), tokens.any, lambda: self._scopes.late_usage(columns)
        )
        provider = self._labels.provider(batch, model, occurrence.of_label)
        settled(batch, tokens, self._table.exclusive_input, provider, model)
        flawed["tokens"] = tokens.flawed
        latency = self._latency(batch, usable, occurrence, flawed)
        known = {"model": model, "provider": provider}
        canonical = self._batch(batch, usable, arrival, latency, tokens, known, occurrence, flawed)
        return _narrowed(canonical, usable, batch, flawed, self._record(canonical, batch, occurrence, flawed))

    def logs(self, columns: SpanColumns, arrival: NDArray[np.int64]) -> Normalized:
        """Return evaluation records as rows of class EVALUATION; columns as for spans.

        The score is `judge_score`, and also the number that is called as the evaluation itself, where one is
        needed.
        """
        usable = usable_records(columns)
        batch = Batch(columns)
        batch.classes = np.full(batch.size, np.uint8(SpanClass.EVALUATION))
        occurrence = self._plan.occurrence(columns)
        flawed: dict[str, int] = {}
        tokens = Tokens(np.full((len(TOKENS), batch.size), ABSENT, np.int64), frozenset(), 0)
        latency = np.zeros(batch.size, np.int64)
        canonical = self._batch(batch, usable, arrival, latency, tokens, {}, occurrence, flawed)
        self._scored(canonical, batch, occurrence, flawed)
        return _narrowed(canonical, usable, batch, flawed, self._record(canonical, batch, occurrence, flawed))

    def _record(self, canonical: SpanBatch, batch: Batch, occurrence: Occurrence, flawed: dict[str, int]) -> int:
        """Add what is recorded and no rule reads, where any row has it; return how much was left out."""
        labels, numbers = dict(canonical.labels), dict(canonical.numbers)
        for name in self._plan.recorded_labels:
            if any(occurrence.of_label(name)):
                column = self._labels.column(batch, name, occurrence.of_label)
                if some(column.code >= 0):
                    labels[name] = cut(column)
        for name in self._plan.recorded_numbers:
            if name in occurrence.numbers:
                numbers[name], infinite = first_finite(batch, occurrence.numbers[name])
                flawed["number"] = flawed.get("number", 0) + infinite
        left_out = self._recorder.add(batch.columns, labels, numbers)
        canonical.labels, canonical.numbers = labels, numbers
        return left_out + batch.columns.crowded

    def _batch(
        self,
        batch: Batch,
        usable: Usable,
        arrival: NDArray[np.int64],
        latency: NDArray[np.int64],
        tokens: Tokens,
        known: Mapping[str, TextColumn],
        occurrence: Occurrence,
        flawed: dict[str, int],
    ) -> SpanBatch:
        columns = batch.columns
        reported, flawed["cost"] = reported_usd(batch, occurrence.numbers.get("cost", ()))
        first_token, flawed[TTFT] = self._first_token(batch, occurrence)
        trace = np.ascontiguousarray(columns.trace_id).view(">u8").astype(np.uint64)
        return SpanBatch(
            arrival=arrival,
            trace_hi=trace[:, 0],
            trace_lo=trace[:, 1],
            span_id=np.ascontiguousarray(columns.span_id).view(">u8").astype(np.uint64)[:, 0],
            parent_id=np.ascontiguousarray(columns.parent_id).view(">u8").astype(np.uint64)[:, 0],
            start=usable.start,
            end=usable.end,
            latency=latency,
            span_class=batch.classes,
            failed=columns.status == _STATUS_ERROR,
            scope=self._scopes.identity(columns),
            wraps=self._scopes.wrapping(columns),
            deferred=self._deferred(batch, tokens),
            input_tokens=tokens.column("input"),
            output_tokens=tokens.column("output"),
            cache_read_tokens=tokens.column("cache_read"),
            cache_write_tokens=tokens.column("cache_write"),
            cache_write_1h_tokens=tokens.column("cache_write_1h"),
            reasoning_tokens=tokens.column("reasoning"),
            input_audio_tokens=tokens.column("input_audio"),
            output_audio_tokens=tokens.column("output_audio"),
            reported_usd=reported,
            ttft_ms=first_token,
            adjusted_count=adjusted_counts(columns.trace_state, batch.size),
            labels={
                name: known.get(name) or self._labels.column(batch, name, occurrence.of_label)
                for name in self._plan.labels
            },
            numbers=self._numbers(batch, occurrence, first_token, flawed),
        )

    def _deferred(self, batch: Batch, tokens: Tokens) -> NDArray[np.bool_]:
        """Return [n] which calls are streams that got no further than the headers in their own span."""
        hit = self._scopes.late_usage(batch.columns)
        if not some(hit):
            return hit
        hit &= (batch.classes == SpanClass.LLM) & (batch.columns.status != _STATUS_ERROR)
        return hit & ~tokens.any()

    def _first_token(self, batch: Batch, occurrence: Occurrence) -> tuple[NDArray[np.float64], int]:
        numbers, infinite = first_finite(batch, occurrence.numbers.get(TTFT, ()))
        numbers, bad = non_negative(numbers, _MAX_TTFT_MS)
        return numbers, infinite + bad

    def _numbers(
        self, batch: Batch, occurrence: Occurrence, first_token: NDArray[np.float64], flawed: dict[str, int]
    ) -> dict[str, NDArray[np.float64]]:
        numbers = {}
        for name in self._plan.numbers:
            if name == TTFT:
                numbers[name] = first_token
                continue
            numbers[name], infinite = first_finite(batch, occurrence.numbers.get(name, ()))
            flawed["number"] = flawed.get("number", 0) + infinite
        return numbers

    def _latency(
        self, batch: Batch, usable: Usable, occurrence: Occurrence, flawed: dict[str, int]
    ) -> NDArray[np.int64]:
        """Return [n] nanoseconds: what a dialect states whose span ends too early, else end - start."""
        latency = usable.end - usable.start
        aliases = occurrence.numbers.get("latency", ())
        if not aliases or not (batch.classes == SpanClass.USAGE).any():
            return latency
        stated, infinite = first_finite(batch, aliases)
        stated, bad = non_negative(stated, _MAX_LATENCY_MS)
        flawed["latency"] = infinite + bad
        missing = np.isnan(stated)
        return np.where(missing, latency, (np.where(missing, 0.0, stated) * 1e6).astype(np.int64))

    def _scored(self, canonical: SpanBatch, batch: Batch, occurrence: Occurrence, flawed: dict[str, int]) -> None:
        """Write each score into the number that is called as its evaluation, where the rules need one."""
        names = self._labels.column(batch, "evaluation", occurrence.of_label)
        needed = [(code, name) for code, name in enumerate(names.values) if name in canonical.numbers]
        if not needed:
            return
        score, infinite = first_finite(batch, occurrence.numbers.get("judge_score", ()))
        flawed["number"] = flawed.get("number", 0) + infinite
        numbers = dict(canonical.numbers)
        for code, name in needed:
            numbers[name] = np.where(names.code == code, score, numbers[name])
        canonical.numbers = numbers


def _model_masks(model: TextColumn) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return [n] whether a row names a model, and whether that makes embeddings."""
    embeds = np.array([*("embed" in value.lower() for value in model.values), False])
    return model.code >= 0, embeds[model.code]


def _narrowed(canonical: SpanBatch, usable: Usable, batch: Batch, flawed: dict[str, int], left_out: int) -> Normalized:
    flawed["document"] = batch.documents.broken
    counted = {kind: count for kind, count in flawed.items() if count}
    if usable.rows is None:
        return Normalized(canonical, np.arange(batch.size, dtype=np.intp), {}, counted, left_out)
    return Normalized(canonical.take(usable.rows), usable.rows, usable.rejected, counted, left_out)
