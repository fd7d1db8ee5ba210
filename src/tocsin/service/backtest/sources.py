"""Where spans to replay come from: what the service recorded, or files of OTLP requests."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from tocsin import decode
from tocsin.engine.batches import conformed
from tocsin.history.recorded import RecordedSince, read_back
from tocsin.journal.directory import SegmentFile, segments_in
from tocsin.journal.reading import read_segments
from tocsin.journal.record import Record, RecordKind
from tocsin.model.batch import Needs, SpanBatch
from tocsin.pricing import PriceBook
from tocsin.receivers.intake import Signal
from tocsin.semconv.config import AttributesConfig
from tocsin.semconv.normalizer import Normalizer
from tocsin.service.backtest.failures import BacktestError, InputProblems
from tocsin.service.backtest.framing import Message, messages_of
from tocsin.service.backtest.merging import in_order
from tocsin.service.backtest.period import Period

__all__ = ["Files", "History", "Part", "Source"]

ALWAYS: Final = ("model", "provider", "service", "response_id", "tool", "agent", "prompt_version")
"""Labels that every batch has."""
ROWS: Final = 65_536
"""In a part that is put in order."""
_GATHERED_BYTES: Final = 4 * 1024 * 1024
_GATHERED: Final = 512
_MOST_FILES: Final = 1000
_SLACK_NS: Final = 60 * 10**9
"""How much later than others, in event time, a span may come and still be put in order."""


@dataclass(frozen=True, slots=True)
class Part:
    """What the engine is given at a time."""

    wall: int
    """Wall clock of then, Unix nanoseconds."""
    time: int | None
    """Event time goes on to here first; None: the rows are in order of time, and it goes on with them."""
    batch: SpanBatch | None
    done: float
    """The share of the input that was read: 0 to 1."""


class Source(Protocol):
    """Something to replay. One thread at a time reads it."""

    problems: InputProblems

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def lacking(self) -> Mapping[str, int]:
        """Labels and numbers that rules read and the source did not keep -> of how many spans."""
        ...

    def parts(self, needs: Needs, period: Period) -> Iterator[Part]:
        """Yield what there is in a period, in order, with what is needed; nothing where there is nothing.

        Raises:
            BacktestError: it can't be read.
        """
        ...


@dataclass(slots=True)
class History:
    """The journal of a service, which may be running.

    As it was recorded (`sort=False`) the engine is given what the service's was given, in the same portions, so that
    the same rules find the same alerts under the same ids. Sorted by time it is given large portions, two to three
    times as fast; a span that came late is then judged at its own time, not when it came.
    """

    directory: Path
    """`journal` in `storage.directory`."""
    sort: bool = False
    problems: InputProblems = field(default_factory=InputProblems)
    lacking: dict[str, int] = field(default_factory=dict)
    recorded: RecordedSince | None = None
    """Since when what was recorded; None: read it when it is asked for."""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"the history in {self.directory}"

    def parts(self, needs: Needs, period: Period) -> Iterator[Part]:
        """See `Source.parts`. A journal that is not there, or has nothing, raises BacktestError."""
        records = self._records(period)
        if not self.sort:
            for record, done in records:
                batch = None if record.batch is None else self._conformed(record.batch, needs)
                yield Part(record.wall, record.time, batch, done)
            return
        reach = _Reach()
        batches = (self._conformed(record.batch, needs) for record in reach.over(records) if record.batch is not None)
        for batch in in_order([batches], rows=ROWS, slack_ns=_SLACK_NS):
            yield Part(int(batch.end[-1]), None, batch, reach.done)

    def _records(self, period: Period) -> Iterator[tuple[Record, float]]:
        """Yield the records of a period by their wall clock, with how far it is through."""
        first, until = 0, min(period.end or time.time_ns(), time.time_ns())
        for _, record in self._read(period):
            if record.kind is RecordKind.RULES or (period.begin is not None and record.wall < period.begin):
                continue
            if period.end is not None and record.wall > period.end:
                return
            first = first or record.wall
            yield record, min(1.0, (record.wall - first) / max(until - first, 1))

    def _read(self, period: Period) -> Iterator[tuple[int, Record]]:
        try:
            segments = segments_in(self.directory)
        except OSError as error:
            raise BacktestError(
                f"{self.directory}: nothing is recorded there ({error.strerror}); name the configuration of a service "
                "that has run with --config (its storage.directory is looked at, with journal.enabled), or files of "
                "OTLP requests with --input"
            ) from error
        if not segments:
            raise BacktestError(
                f"{self.directory} is empty: the service has recorded nothing yet, or journal.enabled is off; or name "
                "files of OTLP requests with --input"
            )
        return read_segments(self.directory, self._skipped(segments, period), damaged=self._damaged)

    @staticmethod
    def _skipped(segments: Sequence[SegmentFile], period: Period) -> int:
        """Return the position up to which all is older than the period: a file is last written to after its records."""
        after = 0
        for segment, following in pairwise(segments):
            if period.begin is None or segment.modified() * 1e9 >= period.begin:
                break
            after = following.first - 1
        return after

    def _damaged(self, segment: SegmentFile) -> None:
        self.problems.add(str(segment.path), "is damaged; what can be read of it is used")

    def _conformed(self, batch: SpanBatch, needs: Needs) -> SpanBatch:
        batch, missing = read_back(batch, needs)
        for name in missing:
            # What is recorded and no span has takes no room, so it is not there either.
            if not self._since().was(name, int(batch.arrival[0])):
                self.lacking[name] = self.lacking.get(name, 0) + len(batch)
        return conformed(batch, dict.fromkeys((*ALWAYS, *sorted(needs.labels))), sorted(needs.numbers))

    def _since(self) -> RecordedSince:
        if self.recorded is None:
            self.recorded = RecordedSince.of(self.directory)
        return self.recorded


class _Reach:
    """How far an iterator has come, for whoever reads what was made of it."""

    def __init__(self) -> None:
        self.done = 0.0

    def over(self, records: Iterable[tuple[Record, float]]) -> Iterator[Record]:
        """Yield the records."""
        for record, self.done in records:
            yield record


class Files:
    """Files of OTLP requests, traces and logs mixed; read once, merged by time."""

    def __init__(
        self,
        paths: Sequence[Path],
        prices: PriceBook,
        attributes: AttributesConfig | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Make a source.

        Args:
            paths: at most 1,000, each in about the order of time.
            prices: what calls cost.
            attributes: the `attributes` of a configuration.
            name: what people call them; None: their paths.

        Raises:
            BacktestError: there are none, or too many.
        """
        if not paths or len(paths) > _MOST_FILES:
            raise BacktestError(f"name 1 to {_MOST_FILES} files of OTLP requests with --input, not {len(paths)}")
        self.problems = InputProblems()
        self.lacking: Mapping[str, int] = {}
        self._paths = list(paths)
        self._name = name
        self._prices = prices
        self._attributes = attributes or AttributesConfig()
        self._read: dict[Path, int] = {}

    @property
    def name(self) -> str:
        """What people call it."""
        if self._name is not None:
            return self._name
        names = ", ".join(map(str, self._paths[:3]))
        return names if len(self._paths) <= 3 else f"{names} and {len(self._paths) - 3} more files"

    def parts(self, needs: Needs, period: Period) -> Iterator[Part]:
        """See `Source.parts`. A file that can't be opened raises BacktestError."""
        needs = Needs(needs.labels | self._prices.needs.labels, needs.numbers | self._prices.needs.numbers)
        normalizer = Normalizer(needs, self._attributes)
        reader = _Requests(normalizer, decode.decoder(normalizer.projection), self._prices, self.problems)
        size = sum(_size_of(path) for path in self._paths)
        batches = [reader.batches(self._messages(path)) for path in self._paths]
        for batch in in_order(batches, rows=ROWS, slack_ns=_SLACK_NS):
            within = _within(batch, period)
            if within is not None:
                done = min(1.0, sum(self._read.values()) / max(size, 1))
                yield Part(int(within.end[-1]), None, within, done)

    def _messages(self, path: Path) -> Iterator[Message]:
        def read(at: int) -> None:
            self._read[path] = at

        return messages_of(path, self.problems, read)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror}; name files of OTLP requests with --input") from error


def _within(batch: SpanBatch, period: Period) -> SpanBatch | None:
    """Return the rows of a sorted batch that end in a period; None for none."""
    begin = 0 if period.begin is None else int(np.searchsorted(batch.end, period.begin))
    end = len(batch) if period.end is None else int(np.searchsorted(batch.end, period.end, side="right"))
    if begin >= end:
        return None
    return batch if end - begin == len(batch) else batch.take(np.arange(begin, end))


class _Requests:
    """Requests to priced batches, several at a time; as the service does it, without its counters."""

    def __init__(
        self, normalizer: Normalizer, decoder: decode.Decoder, prices: PriceBook, problems: InputProblems
    ) -> None:
        self._normalizer = normalizer
        self._decoder = decoder
        self._prices = prices
        self._problems = problems

    def batches(self, messages: Iterable[Message]) -> Iterator[SpanBatch]:
        """Yield the usable spans of some requests in order, a signal at a time."""
        held: list[Message] = []
        size = 0
        for message in messages:
            if held and (message.signal is not held[0].signal or size > _GATHERED_BYTES or len(held) >= _GATHERED):
                yield from self._batch(held)
                held, size = [], 0
            held.append(message)
            size += len(message.data)
        if held:
            yield from self._batch(held)

    def _batch(self, messages: Sequence[Message]) -> Iterator[SpanBatch]:
        traces = messages[0].signal is Signal.TRACES
        requests = [message.data for message in messages]
        decoded = self._decoder.traces(requests) if traces else self._decoder.logs(requests)
        for message, error in zip(messages, decoded.errors, strict=True):
            if error is not None:
                self._problems.add(message.place, str(error))
        columns = decoded.columns
        if not len(columns):
            return
        arrival = columns.end.astype(np.int64)
        normalized = (self._normalizer.spans if traces else self._normalizer.logs)(columns, arrival)
        for reason, rows in normalized.rejected.items():
            told = str(reason)
            self._problems.rejected[told] = self._problems.rejected.get(told, 0) + len(rows)
        batch = normalized.batch
        if len(batch):
            self._prices.price(batch)
            batch.arrival = batch.end
            yield batch
