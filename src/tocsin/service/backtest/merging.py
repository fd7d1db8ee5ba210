"""Batches that are each in about the order of time, as one stream in order of time; bounded in memory.

Rows wait until every source is a while past them. A row that comes later than that goes out late, and the engine counts
it where it belongs, as it does with any late span.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tocsin.engine.batches import conformed, parted
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
    held = _Held()
    again_at = rows
    while newest:
        source = min(newest, key=lambda number: newest[number])
        batch = next(sources[source], None)
        if batch is None:
            del newest[source]
            continue
        held.add(batch)
        newest[source] = max(newest[source], int(batch.end.max()))
        if held.rows < again_at:
            continue
        again_at = held.rows + rows // 4
        until = min(newest.values()) - slack_ns
        if held.rows > _MOST_ROWS:
            until = max(until, held.median() + 1)
        elif held.least_before(until) < rows:
            continue
        whole = held.taken(until)
        cut = len(whole) // rows * rows
        for begin in range(0, cut, rows):
            yield _part(whole, begin, begin + rows)
        if cut < len(whole):
            held.give_back(_part(whole, cut, len(whole)))
        again_at = held.rows + rows // 4
    if held.rows:
        whole = held.taken(None)
        for begin in range(0, len(whole), rows):
            yield _part(whole, begin, min(begin + rows, len(whole)))


@dataclass(slots=True)
class _Waiting:
    batch: SpanBatch
    first: int
    last: int


class _Held:
    """Batches that wait. Only what goes out is put in order, so that a row is sorted once however long it waits."""

    def __init__(self) -> None:
        self.rows = 0
        self._batches: list[_Waiting] = []

    def add(self, batch: SpanBatch) -> None:
        """Keep a batch, behind the others."""
        self._batches.append(_Waiting(batch, int(batch.end.min()), int(batch.end.max())))
        self.rows += len(batch)

    def give_back(self, batch: SpanBatch) -> None:
        """Keep a sorted batch that went out and did not fill up: it came before the others."""
        self._batches.insert(0, _Waiting(batch, int(batch.end[0]), int(batch.end[-1])))
        self.rows += len(batch)

    def least_before(self, until: int) -> int:
        """Return how many rows of whole batches end before `until`: so many at least."""
        return sum(len(each.batch) for each in self._batches if each.last < until)

    def median(self) -> int:
        """Return the time that half of the rows do not end after."""
        ends = np.concatenate([each.batch.end for each in self._batches])
        return int(np.partition(ends, len(ends) // 2)[len(ends) // 2])

    def taken(self, until: int | None) -> SpanBatch:
        """Remove the rows that end before `until` (None: all), and return them in order; there are some."""
        going: list[SpanBatch] = []
        staying: list[_Waiting] = []
        for each in self._batches:
            if until is None or each.last < until:
                going.append(each.batch)
            elif each.first >= until:
                staying.append(each)
            else:
                early = each.batch.end < until
                going.append(each.batch.take(early.nonzero()[0]))
                late = each.batch.take((~early).nonzero()[0])
                staying.append(_Waiting(late, int(late.end.min()), each.last))
        self._batches = staying
        self.rows = sum(len(each.batch) for each in staying)
        return _sorted(going)


def _sorted(batches: Sequence[SpanBatch]) -> SpanBatch:
    first = batches[0]
    whole = SpanBatch.concat([conformed(batch, first.labels, first.numbers) for batch in batches])
    if len(whole) < 2 or (np.diff(whole.end) >= 0).all():
        return whole
    return whole.take(np.argsort(whole.end, kind="stable"))


def _part(batch: SpanBatch, begin: int, end: int) -> SpanBatch:
    if begin == 0 and end == len(batch):
        return batch
    part = parted(batch, slice(begin, end))
    return part.with_labels({name: column.compacted() for name, column in part.labels.items()})
