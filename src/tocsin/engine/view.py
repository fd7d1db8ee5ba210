"""One chunk of a batch as rules look at it: values, filters and groups, each computed once for all rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import ABSENT, CostSource, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.rules.filters import Filter
from tocsin.rules.rule import Metric
from tocsin.windows.groups import Groups

__all__ = ["BILLED", "NUMBERS", "SCALE", "Measured", "View", "classes_of", "label_of", "labelled"]

Result = TypeVar("Result")

BILLED = frozenset({Metric.COST, Metric.TOKENS, Metric.INPUT_TOKENS, Metric.OUTPUT_TOKENS, Metric.CACHED_TOKENS})
BILLED |= {Metric.REASONING_TOKENS, Metric.UNPRICED_RATIO, Metric.COST_MISMATCH, Metric.COST_PER_TRACE}
"""Metrics of what is paid for: usage records count, calls that another span repeats do not."""

_ON_RECORDS = BILLED | {Metric.LATENCY}
"""Metrics that a usage record has and not the call's own span, where that one ended before its stream."""

SCALE = {Metric.COST: 1e9, Metric.COST_PER_TRACE: 1e9, Metric.LATENCY: 1e6}
"""Raw units in one of the metric's: nano-USD in a dollar, nanoseconds in a millisecond; 1 for the others."""

_CALLS = frozenset({SpanClass.LLM, SpanClass.EMBEDDINGS})
_ANY = frozenset(SpanClass) - {SpanClass.DUPLICATE}
NUMBERS = frozenset(
    {Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT, Metric.ATTRIBUTE}
)
"""Metrics that are an attribute's own number: any span that carries it is a sample."""


def classes_of(metric: Metric, spans: frozenset[SpanClass] | None) -> frozenset[SpanClass]:
    """Return which spans are samples: what the rule says, else the metric's own choice."""
    if spans is not None:
        return spans | {SpanClass.USAGE} if metric in _ON_RECORDS and SpanClass.LLM in spans else spans
    if metric in NUMBERS:
        return _ANY
    if metric in BILLED:
        return _CALLS | {SpanClass.USAGE, SpanClass.AGENT}
    if metric is Metric.LATENCY:
        return frozenset({SpanClass.LLM, SpanClass.USAGE})
    return frozenset({SpanClass.LLM}) if metric is Metric.TIME_TO_FIRST_TOKEN else _CALLS


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric over the rows of a view."""

    values: NDArray[Any]
    """[n] int64 or float64, in raw units."""
    valid: NDArray[np.bool_] | None
    """[n] rows that have a value (or are unpriced); None: all."""
    counts: NDArray[np.int64] | None = None
    unpriced: NDArray[np.bool_] | None = None


@dataclass(slots=True)
class View:
    """Rows of a batch, ordered by time, with what the trace told about them."""

    batch: SpanBatch
    counted: NDArray[np.bool_]
    """[n] not a repetition of a call that another span stands for."""
    missing: NDArray[np.uint64] | None = None
    """[n] bits of the inherited labels that are not known yet; None: nothing is missing anywhere."""
    before: NDArray[np.uint64] | None = None
    """[n] what was missing when these rows were looked at the last time; None: this is the first time."""
    final: bool = False
    """Nothing more will become known of these rows."""
    agents_only: bool = False
    """The rows are agent spans whose own usage turned out to be nobody else's: they are billed, and seen already."""
    _cache: dict[Any, Any] = field(default_factory=dict)

    def remembered(self, key: object, make: Callable[[], Result]) -> Result:
        """Return what `make` gives, made once for this view."""
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = make()
        return found

    def measure(self, metric: Metric, attribute: str | None) -> Measured:
        """Return a metric's values."""
        batch = self.batch
        match metric:
            case Metric.COST | Metric.COST_PER_TRACE:
                unpriced = batch.cost_source == CostSource.UNPRICED
                usage = batch.span_class == SpanClass.USAGE
                counts = (~usage).astype(np.int64) if usage.any() else None
                return Measured(batch.cost_nano, None, counts, unpriced if unpriced.any() else None)
            case Metric.LATENCY:
                return Measured(batch.latency, ~batch.deferred if batch.deferred.any() else None)
            case Metric.ERROR_RATE:
                return Measured(batch.failed.astype(np.int64), None)
            case Metric.SUCCESS_RATE:
                return Measured((~batch.failed).astype(np.int64), None)
            case Metric.COUNT:
                return Measured(np.ones(len(batch), np.int64), None)
            case Metric.UNPRICED_RATIO:
                known = batch.cost_source != CostSource.NONE
                return Measured((batch.cost_source == CostSource.UNPRICED).astype(np.int64), known)
            case Metric.COST_MISMATCH:
                return self._mismatch()
            case Metric.TIME_TO_FIRST_TOKEN:
                return Measured(batch.ttft_ms, ~np.isnan(batch.ttft_ms))
            case Metric.TOKENS | Metric.INPUT_TOKENS | Metric.OUTPUT_TOKENS:
                return self._tokens(metric)
            case Metric.CACHED_TOKENS:
                return Measured(batch.cache_read_tokens, batch.cache_read_tokens != ABSENT)
            case Metric.REASONING_TOKENS:
                return Measured(batch.reasoning_tokens, batch.reasoning_tokens != ABSENT)
            case _:
                numbers = batch.numbers[attribute or metric.value]
                return Measured(numbers, np.isfinite(numbers))

    def _tokens(self, metric: Metric) -> Measured:
        read, written = self.batch.input_tokens, self.batch.output_tokens
        if metric is Metric.INPUT_TOKENS:
            return Measured(read, read != ABSENT)
        if metric is Metric.OUTPUT_TOKENS:
            return Measured(written, written != ABSENT)
        return Measured(np.maximum(read, 0) + np.maximum(written, 0), (read != ABSENT) | (written != ABSENT))

    def _mismatch(self) -> Measured:
        batch = self.batch
        known = ~np.isnan(batch.reported_usd) & (batch.computed_nano > 0)
        computed = np.where(known, batch.computed_nano, 1) / 1e9
        return Measured(np.where(known, np.abs(batch.reported_usd - computed) / computed, np.nan), known)

    def of_classes(self, classes: frozenset[SpanClass], *, billed: bool) -> NDArray[np.bool_]:
        """Return [n] which rows are spans of these classes; billed: as far as they stand for a call of their own."""
        key = ("classes", classes, billed)
        found = self._cache.get(key)
        if found is None:
            table = np.zeros(len(SpanClass), np.bool_)
            table[[int(each) for each in classes]] = True
            if billed and not self.agents_only:
                table[SpanClass.AGENT] = False
            found = table[self.batch.span_class]
            calls_only = classes <= (_CALLS | {SpanClass.USAGE, SpanClass.AGENT})
            if billed or calls_only:
                found = found & self.counted
            self._cache[key] = found
        return found

    def passing(self, filters: tuple[Filter, ...]) -> NDArray[np.bool_] | None:
        """Return [n] which rows pass all filters; None: all do."""
        if not filters:
            return None
        key = ("filters", filters)
        found = self._cache.get(key)
        if found is None:
            found = self._passes(filters[0])
            for each in filters[1:]:
                found = found & self._passes(each)
            self._cache[key] = found
        return found

    def _passes(self, one: Filter) -> NDArray[np.bool_]:
        key = ("filter", one)
        found = self._cache.get(key)
        if found is None:
            text = self.text(one.label)
            found = self._cache[key] = one.table(text.values)[text.code]
        return found

    def text(self, label: str) -> TextColumn:
        """Return a label's column; `trace` is the trace id in hex."""
        if label != "trace":
            return self.batch.labels[label]
        found = self._cache.get("trace")
        if found is None:
            ids = np.stack([self.batch.trace_hi, self.batch.trace_lo], axis=1)
            distinct, code = np.unique(ids, axis=0, return_inverse=True)
            values = [f"{high:016x}{low:016x}" for high, low in distinct.tolist()]
            found = self._cache["trace"] = TextColumn(code.reshape(-1).astype(np.int32), values)
        return found

    def slots(self, grouping: tuple[tuple[str, ...], ...], groups: Groups) -> NDArray[np.int32]:
        """Return [n] the slot of each row's group, -1 where it has none."""
        key = ("slots", grouping)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._slots(grouping, groups)
            grouped = found >= 0
            if grouped.all():
                groups.seen(found, self.batch.end)
            else:
                groups.seen(found[grouped], self.batch.end[grouped])
        return found

    def _slots(self, grouping: tuple[tuple[str, ...], ...], groups: Groups) -> NDArray[np.int32]:
        if not grouping:
            groups.slot(())
            return np.zeros(len(self.batch), np.int32)
        return groups.slots_of([self._first_known(entry) for entry in grouping])

    def _first_known(self, entry: Sequence[str]) -> TextColumn:
        """Return the first known of a grouping entry's labels; of alternatives each value says whose it is."""
        if len(entry) == 1:
            return self.text(entry[0])
        code = np.full(len(self.batch), -1, np.int32)
        values: list[str] = []
        for label in entry:
            column = self.text(label).compacted()
            fills = (code < 0) & (column.code >= 0)
            if fills.any():
                code[fills] = column.code[fills] + len(values)
                values += [labelled(label, value) for value in column.values]
        return TextColumn(code, values)


def labelled(label: str, value: str) -> str:
    """Return a group's value that says which of several alternative labels it is of."""
    return f"{label}\0{value}"


def label_of(entry: Sequence[str], value: str) -> tuple[str, str]:
    """Return (label, value) of a group's value for a grouping entry; the reverse of `labelled`."""
    label, mark, rest = value.partition("\0")
    return (label, rest) if mark and label in entry else (entry[0], value)
