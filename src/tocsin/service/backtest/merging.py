"""Batches that are each in about the order of time, as one stream in order of time; bounded in memory.

Rows wait until every source is a while past them. A row that comes later than that goes out late, and the engine counts
it where it belongs, as it does with any late span.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from tocsin.engine.batches import conformed
from tocsin.model.batch import SpanBatch

__all__ = ["in_order"]

_MOST_ROWS: Final = 1_000_000
"""That wait; past it the older half goes out."""


def in_order(sources: Sequence[Iterator[SpanBatch]], *, rows: int, slack_ns: int) -> Iterator[SpanBatch]:
    """Yield the rows of all sources sorted by end, about so many at a time.

    Args:
        sources: of batches, none empty.
        rows: in a batch, but for the last.
        slack_ns: by how much a row may be out of order and still be put in its place.
    """
    newest: dict[int, int] = dict.fromkeys(range(len(sources)), -1)
    held: list[SpanBatch] = []
    waiting = 0
    again_at = rows
    while newest:
        source = min(newest, key=lambda number: newest[number])
        batch = next(sources[source], None)
        if batch is None:
            del newest[source]
            continue
        held.append(batch)
        waiting += len(batch)
        newest[source] = max(newest[source], int(batch.end.max()))
        if waiting < again_at:
            continue
        whole = _sorted(held)
        ready = int(np.searchsorted(whole.end, min(newest.values()) - slack_ns))
        ready = max(ready, waiting // 2 if waiting > _MOST_ROWS else 0)
        cut = ready // rows * rows if ready >= rows else 0
        for begin in range(0, cut, rows):
            yield _part(whole, begin, begin + rows)
        held = [_part(whole, cut, waiting)] if cut < waiting else []
        waiting -= cut
        # Sorted again only once there is as much more: what waits is not sorted for every batch.
        again_at = waiting + max(rows, waiting // 2)
    if held:
        whole = _sorted(held)
        for begin in range(0, waiting, rows):
            yield _part(whole, begin, min(begin + rows, waiting))


def _sorted(batches: Sequence[SpanBatch]) -> SpanBatch:
    first = batches[0]
    whole = SpanBatch.concat([conformed(batch, first.labels, first.numbers) for batch in batches])
    if len(whole) < 2 or (np.diff(whole.end) >= 0).all():
        return whole
    return whole.take(np.argsort(whole.end, kind="stable"))


def _part(batch: SpanBatch, begin: int, end: int) -> SpanBatch:
    if begin == 0 and end == len(batch):
        return batch
    part = batch.take(slice(begin, end))  # type: ignore[arg-type]  # a slice takes as well
    return part.with_labels({name: column.compacted() for name, column in part.labels.items()})
