"""Recorded spans of a time in large portions, so that what is done once for each portion costs nothing a span."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tocsin.engine.batches import conformed
from tocsin.history.failures import HistoryError
from tocsin.journal.directory import segments_in
from tocsin.journal.reading import read_spans
from tocsin.model.batch import SpanBatch

__all__ = ["EVER", "portions"]

EVER: Final = (0, (1 << 63) - 1)
"""From the first time to the last."""
_ROWS: Final = 65_536
_BATCHES: Final = 4096
_NAMES: Final = 4096
"""Labels and numbers of a portion together."""


def portions(directory: Path, times: tuple[int, int], told: Callable[[str], None]) -> Iterator[SpanBatch]:
    """Yield what a journal has of a time, in the order in which it came. A service may write meanwhile.

    Args:
        directory: of the journal.
        times: from and up to, event time, Unix nanoseconds.
        told: given a sentence for each file that could not be read in full.

    Raises:
        HistoryError: there is no journal, or it can't be read.
    """
    try:
        if not segments_in(directory):
            raise HistoryError(
                f"{directory} is empty: nothing is recorded yet, or journal.enabled is off in the configuration"
            )
        yield from _gathered(read_spans(directory, *times, told=told), times)
    except OSError as error:
        raise HistoryError(
            f"{directory}: nothing is recorded there ({error.strerror}); name the configuration of a service that has "
            "run with --config, or the directory of its journal with --directory"
        ) from error


def _gathered(batches: Iterator[SpanBatch], times: tuple[int, int]) -> Iterator[SpanBatch]:
    held: list[SpanBatch] = []
    rows, names = 0, set[str]()
    for batch in batches:
        part = _within(batch, times)
        if part is None:
            continue
        held.append(part)
        rows += len(part)
        names.update(part.labels, part.numbers)
        if rows >= _ROWS or len(held) >= _BATCHES or len(names) >= _NAMES:
            yield _whole(held)
            held, rows = [], 0
            names.clear()
    if held:
        yield _whole(held)


def _within(batch: SpanBatch, times: tuple[int, int]) -> SpanBatch | None:
    kept = (batch.end >= times[0]) & (batch.end < times[1])
    if kept.all():
        return batch
    return batch.take(np.flatnonzero(kept)) if kept.any() else None


def _whole(batches: Sequence[SpanBatch]) -> SpanBatch:
    labels = dict.fromkeys(name for batch in batches for name in batch.labels)
    numbers = dict.fromkeys(name for batch in batches for name in batch.numbers)
    return SpanBatch.concat([conformed(batch, labels, numbers) for batch in batches])
