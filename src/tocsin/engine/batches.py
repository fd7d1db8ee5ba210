"""Rows of batches that parts of the engine keep for a while, as state."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import CostSource, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State

__all__ = ["ALWAYS", "Recent", "conformed", "parted", "state_of", "states_of", "thawed_batch", "thawed_batches"]

ALWAYS = ("model", "provider", "service", "response_id", "tool", "agent", "prompt_version")
"""Labels that every batch has."""

_INTEGERS = (
    "arrival", "start", "end", "latency", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "cache_write_1h_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "cost_nano",
    "computed_nano",
)  # fmt: skip
_COLUMNS: dict[str, type[np.generic]] = {
    **dict.fromkeys(_INTEGERS, np.int64),
    **dict.fromkeys(("trace_hi", "trace_lo", "span_id", "parent_id"), np.uint64),
    **dict.fromkeys(("failed", "wraps", "deferred"), np.bool_),
    **dict.fromkeys(("reported_usd", "ttft_ms", "adjusted_count"), np.float64),
    "span_class": np.uint8,
    "cost_source": np.uint8,
    "scope": np.uint32,
}
_BLOCK_ROWS = 2048
_MOST_FRESH = 64
_BELOW = {"span_class": len(SpanClass), "cost_source": len(CostSource)}


def conformed(batch: SpanBatch, labels: Iterable[str], numbers: Iterable[str]) -> SpanBatch:
    """Return the batch with exactly these labels and numbers; those it lacks (rules were edited) are absent."""
    labels, numbers = tuple(labels), tuple(numbers)
    if batch.labels.keys() == set(labels) and batch.numbers.keys() == set(numbers):
        return batch
    absent = TextColumn(np.full(len(batch), -1, np.int32), [])
    return batch.conformed(
        {label: batch.labels.get(label, absent) for label in labels},
        {name: batch.numbers.get(name, np.full(len(batch), np.nan)) for name in numbers},
    )


def state_of(batches: Sequence[SpanBatch], labels: Iterable[str] | None = None) -> State:
    """Return the rows of batches one after another, with all their labels and numbers, or with these labels alone."""
    if not batches:
        return None
    if labels is None:
        labels = dict.fromkeys(label for batch in batches for label in batch.labels)
        numbers = dict.fromkeys(name for batch in batches for name in batch.numbers)
    else:
        labels, numbers = dict.fromkeys(labels), {}
    whole = SpanBatch.concat([conformed(batch, labels, numbers) for batch in batches])
    columns: dict[str, State] = {name: packed(getattr(whole, name)) for name in _COLUMNS}
    texts: dict[str, State] = {}
    for label, column in whole.labels.items():
        used = TextColumn(column.code, column.values).compacted()
        texts[label] = {"code": packed(used.code), "values": list(used.values)}
    return {
        "rows": len(whole),
        "columns": columns,
        "labels": texts,
        "numbers": {name: packed(column) for name, column in whole.numbers.items()},
    }


def states_of(batches: Sequence[SpanBatch], labels: Iterable[str]) -> State:
    """Return batches with these labels alone, each for itself again later."""
    return {"sizes": np.array([len(batch) for batch in batches], np.int64), "batch": state_of(batches, labels)}


def thawed_batches(section: Section) -> list[SpanBatch]:
    """Return the batches of a state."""
    sizes = section.array("sizes", np.int64, least=0, below=1 << 31)
    if not len(sizes):
        return []
    whole = thawed_batch(section.part("batch"))
    if int(sizes.sum()) != len(whole):
        raise section.unfit("has another number of rows than it says")
    return [parted(whole, slice(begin, end)) for begin, end in pairwise([0, *np.cumsum(sizes).tolist()])]


class Recent:
    """Rows of the latest batches as far as some columns and labels go; the others are absent, and take no room.

    Blocks of a few thousand rows are made of them, so that what a batch has beside is not kept for its sake.
    """

    def __init__(self, columns: Iterable[str], labels: Iterable[str], rows: int) -> None:
        """Make it; at least so many `rows` stay, and a block more at the most."""
        self._columns = frozenset(columns)
        self._labels = tuple(labels)
        self._limit = rows
        self._blocks: deque[SpanBatch] = deque()
        self._fresh: list[tuple[SpanBatch, NDArray[np.intp]]] = []
        self._rows = self._fresh_rows = 0

    def add(self, batch: SpanBatch, rows: NDArray[np.intp]) -> None:
        """Keep some rows of a batch."""
        if not len(rows):
            return
        self._fresh.append((batch, rows))
        self._fresh_rows += len(rows)
        self._rows += len(rows)
        if self._fresh_rows >= _BLOCK_ROWS or len(self._fresh) >= _MOST_FRESH:
            self._blocks.append(self._slim(self._fresh))
            self._fresh, self._fresh_rows = [], 0
        while self._blocks and self._rows - len(self._blocks[0]) >= self._limit:
            self._rows -= len(self._blocks.popleft())

    def __iter__(self) -> Iterator[SpanBatch]:
        """Yield the rows, the oldest first."""
        yield from self._blocks
        if self._fresh:
            yield self._slim(self._fresh)

    def _slim(self, parts: Sequence[tuple[SpanBatch, NDArray[np.intp]]]) -> SpanBatch:
        size = sum(len(rows) for _, rows in parts)
        columns = {
            name: np.concatenate([getattr(batch, name)[rows] for batch, rows in parts])
            if name in self._columns
            else np.broadcast_to(dtype(0), size)
            for name, dtype in _COLUMNS.items()
        }
        labels = {}
        for label in self._labels:
            codes, values = [], list[str]()
            for batch, rows in parts:
                text = TextColumn(batch.labels[label].code[rows], batch.labels[label].values).compacted()
                codes.append(np.where(text.code < 0, np.int32(-1), text.code + np.int32(len(values))))
                values += text.values
            labels[label] = TextColumn(np.concatenate(codes), values)
        return SpanBatch(**columns, labels=labels, numbers={})

    def freeze(self) -> Frozen:
        """Return the rows; no batch is ever changed."""
        blocks, fresh = list(self._blocks), list(self._fresh)

        def state() -> State:
            whole = [*blocks, *([self._slim(fresh)] if fresh else [])]
            sizes = np.array([len(batch) for batch in whole], np.int64)
            return {"blocks": len(blocks), "sizes": sizes, "batch": state_of(whole, self._labels)}

        return state

    def thaw(self, section: Section) -> None:
        """Take the rows of a state."""
        batches = thawed_batches(section)
        parts = [(batch, np.arange(len(batch))) for batch in batches]
        blocks = section.integer("blocks", most=len(batches))
        self._blocks, self._fresh = deque(self._slim([part]) for part in parts[:blocks]), parts[blocks:]
        self._rows, self._fresh_rows = sum(map(len, batches)), sum(map(len, batches[blocks:]))


def parted(batch: SpanBatch, rows: slice) -> SpanBatch:
    """Return some rows on end, without copying."""
    return batch.take(rows)  # type: ignore[arg-type]  # a slice takes as well


def thawed_batch(section: Section) -> SpanBatch:
    """Return the rows of a state as one batch."""
    size = section.integer("rows", most=1 << 31)
    held, texts, numbers = section.part("columns"), section.part("labels"), section.part("numbers")
    columns: dict[str, NDArray[Any]] = {
        name: held.array(name, dtype, size, below=_BELOW.get(name)) for name, dtype in _COLUMNS.items()
    }
    labels = {}
    for label in texts.names():
        text = texts.part(label)
        values = text.texts("values")
        labels[label] = TextColumn(text.array("code", np.int32, size, least=-1, below=len(values)), values)
    return SpanBatch(
        **columns,
        labels=labels,
        numbers={name: numbers.array(name, np.float64, size) for name in numbers.names()},
    )
