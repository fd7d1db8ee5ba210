"""A query over what was recorded: spans, samples as rules' queries see them, and alerts."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tocsin.history.alerts import fill_alerts
from tocsin.history.columns import COLUMNS
from tocsin.history.failures import HistoryError
from tocsin.history.macros import MACROS
from tocsin.history.metrics import NUMERIC, SKETCH, Samples
from tocsin.history.naming import Named, named_in
from tocsin.history.portions import EVER, portions
from tocsin.history.recorded import RecordedSince
from tocsin.history.store import MEMORY, Store, storing
from tocsin.rules.sql.config import SqlConfig
from tocsin.storage.alerts import AlertRow

__all__ = ["Answer", "Question", "asking"]

_VARIABLE: Final = re.compile(r"\$\{(start_time|end_time|interval)\}")
_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask of which history."""

    text: str
    """SQL, as DuckDB has it; `${start_time}`, `${end_time}` and `${interval}` stand for what is given here."""
    journal: Path
    times: tuple[int, int] = EVER
    """From and up to which event time, Unix nanoseconds, spans are looked at."""
    start: int | None = None
    end: int | None = None
    interval: str | None = None
    names: SqlConfig = field(default_factory=SqlConfig)
    """What metrics, models and dimensions of queries stand for."""
    alerts: Callable[[], Sequence[AlertRow]] = tuple
    memory: str = MEMORY

    def filled(self) -> str:
        """Return the text with its variables filled in.

        Raises:
            HistoryError: one of them was not given.
        """
        given = {
            "start_time": None if self.start is None else _time(self.start),
            "end_time": None if self.end is None else _time(self.end),
            "interval": self.interval,
        }
        options = {"start_time": "--start", "end_time": "--end", "interval": "--interval"}

        def value(found: re.Match[str]) -> str:
            given_value = given[found[1]]
            if given_value is None:
                raise HistoryError(f"the query has ${{{found[1]}}}; say what it stands for with {options[found[1]]}")
            return given_value

        return _VARIABLE.sub(value, self.text)


@dataclass(slots=True)
class Answer:
    """What a query returned; read within the block that asked."""

    names: Sequence[str]
    rows: Iterator[tuple[Any, ...]]
    told: list[str]
    """What people should know of it: files that could not be read, attributes that were not recorded all the time."""
    spans: int
    """That were looked at."""


@contextmanager
def asking(question: Question, *, told: Callable[[str], None] | None = None) -> Iterator[Answer]:
    """Ask, and give the answer to the block.

    Args:
        question: see there.
        told: given each of `Answer.told` as soon as it is known.

    Raises:
        HistoryError: the query is wrong, or the history can't be read.
    """
    text = question.filled()
    named = named_in(text)
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if told is not None:
            told(sentence)

    with storing(memory=question.memory) as store:
        store.database.execute(MACROS)
        attributes = _fill(store, question, named, say)
        for sentence in RecordedSince.of(question.journal).lacking(
            named.names | named.texts, attributes, question.times
        ):
            say(sentence)
        store.lock()
        cursor = store.database.execute(text)
        names = [each[0] for each in cursor.description or ()]
        yield Answer(names, _rows(cursor), said, store.rows)


def _fill(store: Store, question: Question, named: Named, say: Callable[[str], None]) -> list[str]:
    """Put in what the query reads; return the names of attributes."""
    whole = named.has("attributes")

    def wanted(name: str) -> bool:
        return name == "span_class" or named.has(name) or (whole and name not in COLUMNS)

    spans = named.reads("spans") or named.reads("records")
    samples = Samples(store, named, question.names) if named.reads(NUMERIC) or named.reads(SKETCH) else None
    if spans or samples is not None:
        for batch in portions(question.journal, question.times, say):
            if spans:
                store.take(batch, wanted)
            if samples is not None:
                samples.take(batch)
    attributes = store.finish(wanted, [name for name in sorted(named.names) if "." in name])
    if named.reads("alerts"):
        fill_alerts(store, question.alerts())
    return attributes


def _rows(cursor: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401  # DuckDB is an extra
    while rows := cursor.fetchmany(1000):
        yield from rows


def _time(at: int) -> str:
    seconds, rest = divmod(at, _NS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000).isoformat()
