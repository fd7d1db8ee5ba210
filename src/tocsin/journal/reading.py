"""Reads a journal's segments in order; whoever may read its files can, also while it is written."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from tocsin.journal.directory import SegmentFile, segments_in
from tocsin.journal.record import Record
from tocsin.journal.segment import records_of
from tocsin.model.batch import SpanBatch
from tocsin.telemetry import journal as events

__all__ = ["read_segments", "read_spans"]


def read_segments(
    directory: Path, after: int, *, own: bool = False, damaged: Callable[[SegmentFile], None] | None = None
) -> Iterator[tuple[int, Record]]:
    """Yield the records past a position in order. Damage is left out and reported, once for each segment. Blocks.

    Args:
        directory: of the journal.
        after: the position.
        own: this process has locked the directory.
        damaged: told of a segment that SQLite could not read in full, after what it could read of it.

    Raises:
        OSError: the directory can't be read.
    """
    last = after
    for segment in _wanted(segments_in(directory), after):
        damage = _Damage()
        for row, record in records_of(segment.path, last, damage.found, own=own):
            # Before the first record that is asked for any may be gone: segments past their age are.
            if row.previous > max(last, damage.last) and last:
                damage.found(row.previous, None)
            last = row.position
            yield last, record
        if damage.records:
            events.records_corrupt(segment=segment.path.name, first=damage.first, records=damage.records)
        if damage.reason is not None and not segment.corrupt:
            events.segment_set_aside(segment=segment.path.name, reason=damage.reason)
            if damaged is not None:
                damaged(segment)


def read_spans(directory: Path, begin: int, end: int, told: Callable[[str], None] | None = None) -> Iterator[SpanBatch]:
    """Yield the batches that may have spans of a time, in the order in which they came. Blocks.

    A service may write the journal meanwhile, and remove segments of it: what is gone is left out.

    Args:
        directory: of the journal.
        begin: event time, Unix nanoseconds.
        end: the first one that is not wanted.
        told: given a sentence for each segment that could not be read in full.

    Raises:
        OSError: the directory can't be read.
    """
    for segment in segments_in(directory):
        damage = _Damage()
        for _, record in records_of(segment.path, 0, damage.found, own=False, times=(begin, end)):
            if record.batch is not None and len(record.batch):
                yield record.batch
        if told is not None and (damage.records or damage.reason is not None):
            told(_sentence(segment, damage))


def _sentence(segment: SegmentFile, damage: "_Damage") -> str:
    if not segment.path.exists():
        return f"{segment.path.name} was removed before it was read to its end: its retention was over"
    reason = damage.reason or f"{damage.records} records"
    return f"{segment.path} is damaged ({reason}); what can be read of it is used"


def _wanted(segments: list[SegmentFile], after: int) -> list[SegmentFile]:
    """Return the segments that can hold records past a position: those that do not end before it."""
    ended = [segment for segment, following in pairwise(segments) if following.first <= after + 1]
    return segments[len(ended) :]


class _Damage:
    """What was found in one segment."""

    def __init__(self) -> None:
        self.records = 0
        self.first = 0
        self.last = 0
        self.reason: str | None = None

    def found(self, position: int, reason: str | None) -> None:
        if reason is not None:
            self.reason = reason
            return
        if not self.records:
            self.first = position
        self.last = position
        self.records += 1
