"""Live spend: what model calls cost now, by conversation, tenant, agent and model, whether a rule asks for it or not.

Each paid call counts once, at its own event time, and under the labels that its trace gives it, as for rules. A call
whose label is not known yet counts in the totals at once, and under the label when a span brings it.

The rows of a batch are put aside, which takes a microsecond or two, and counted together with those of other batches
once a second, or when somebody asks: the cost of counting is per batch. Bounded: see `tocsin.windows.heaviest`, and
`_PENDING` for the calls whose labels are awaited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.ancestry import Ancestry, Keys
from tocsin.model.batch import CostSource, SpanBatch, SpanClass
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.heaviest import Heaviest, Standing
from tocsin.windows.texts import Texts

__all__ = ["BY", "FOLLOWED", "MEASURES", "KeySpend", "Spend", "SpendReport", "Sums"]

FOLLOWED: Final = ("conversation", "tenant", "agent")
"""Labels that a call may have from its trace."""
BY: Final = (*FOLLOWED, "model")
MEASURES: Final = ("nano_usd", "tokens", "calls", "errors", "unpriced")
_SETTLE_NS: Final = 1_000_000_000
_SETTLE_ROWS: Final = 32_768
"""Rows that are put aside at the most: some milliseconds of counting."""
_PENDING: Final = 16_384
"""Calls whose labels are awaited, at the most; the oldest count without."""
_PENDING_UNHEARD: Final = 1024
"""Those of them that only lack labels which no span ever had."""
_STEPS: Final = 60

Column = NDArray[Any]
_PENDING_COLUMNS: Final = ("time", *MEASURES, "trace", "parent", "missing")
_TYPES: Final = {name: np.uint64 if name in ("trace", "parent") else np.int64 for name in _PENDING_COLUMNS}


@dataclass(frozen=True, slots=True)
class Sums:
    """What some calls are in all."""

    nano_usd: int
    """A lower bound where some are unpriced."""
    tokens: int
    """Input and output."""
    calls: int
    errors: int
    """Calls that failed."""
    unpriced: int
    """Calls that cost something that nobody knows."""

    def less(self, other: "Sums") -> "Sums":
        """Return the rest; never less than nothing."""
        return Sums(*(max(0, getattr(self, name) - getattr(other, name)) for name in MEASURES))


@dataclass(frozen=True, slots=True)
class KeySpend:
    """One value of a label and its calls."""

    value: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class SpendReport:
    """A window's spend by one label."""

    by: str
    begins: int
    """Event time, Unix nanoseconds; the window is as long as asked, or longer by less than a pane."""
    ends: int
    total: Sums
    """Exact."""
    without: Sums
    """Of the total: calls without the label."""
    keys: Sequence[KeySpend]
    """Those that were asked for, the heaviest first."""
    offset: int
    """How many heavier ones were passed over."""
    known: int
    """How many keys are held in all."""
    rest: Sums
    """Of the total: what has the label and is not in `keys`."""
    most_more: Sums
    """How much more than stated one key may have; 0 where sums are exact."""
    course: Sequence[tuple[int, int]]
    """(begin, Unix nanoseconds; nano-USD) of 60 steps or so, the oldest first."""


class Spend:
    """Counts paid calls by the labels of `BY`; owned by an engine, which tells it of calls and of time."""

    def __init__(self) -> None:
        self._windows = Heaviest(BY, len(MEASURES))
        self._aside: list[_Aside] = []
        self._rows = 0
        self._settled = 0
        """Event time up to which all was counted."""
        self._heard = dict.fromkeys(FOLLOWED, False)
        """Whether any span ever had the label."""
        self._pending = _nothing_pending()

    def follow(self, ancestry: Ancestry) -> None:
        """Take texts and labels of traces from here."""
        self._ancestry = ancestry
        ancestry.marks = self._mark_texts

    def take(
        self, batch: SpanBatch, billed: NDArray[np.bool_], keys: Keys, codes: Mapping[str, NDArray[np.int32]]
    ) -> None:
        """Put the paid calls of a batch aside; `codes` ([n] each) are what `Ancestry.codes_of` says of it."""
        for label in FOLLOWED:
            if batch.labels[label].values:
                self._heard[label] = True
        rows = billed.nonzero()[0]
        if len(rows):
            self._aside.append(_Aside(batch, rows, keys, {label: codes[label] for label in FOLLOWED}))
            self._rows += len(rows)

    def elapse(self, now: int) -> None:
        """Let event time be `now`, Unix nanoseconds; counts what was put aside if it is time to."""
        if self._rows >= _SETTLE_ROWS or now >= self._settled + _SETTLE_NS:
            self.settle(now)

    def settle(self, now: int) -> None:
        """Count all that was put aside, at event time `now`."""
        self._settled = now
        self._windows.move(now)
        aside, self._aside, self._rows = self._aside, [], 0
        self._retry()
        if aside:
            self._count(aside)

    def report(
        self, by: str, window_ns: int, now: int, *, order: str = "nano_usd", offset: int = 0, limit: int = 100
    ) -> SpendReport:
        """Return a window's spend by a label of `BY` at event time `now`, the keys with most of a measure first.

        Args:
            by: the label.
            window_ns: up to an hour.
            now: event time, Unix nanoseconds.
            order: one of `MEASURES`.
            offset: keys to pass over.
            limit: keys at the most.
        """
        self.settle(now)
        total = Sums(*self._windows.totals(now, window_ns))
        standing = self._windows.standing(by, now, window_ns)
        labelled = Sums(*standing.labelled)
        ranked = _ranked(standing, MEASURES.index(order), offset + limit)[offset:]
        columns = [column[ranked].tolist() for column in standing.sums]
        texts = self._ancestry.texts.objects(standing.codes[ranked]).tolist()
        keys = [KeySpend(text, Sums(*sums)) for text, *sums in zip(texts, *columns, strict=True)]
        listed = Sums(*map(sum, columns))
        return SpendReport(
            by,
            now - window_ns,
            now,
            total,
            total.less(labelled),
            keys,
            offset,
            len(standing.codes),
            labelled.less(listed),
            Sums(*standing.most_more),
            self._windows.course(now, window_ns, max(window_ns // _STEPS, 1)),
        )

    def _count(self, aside: "Sequence[_Aside]") -> None:
        """Count rows: in the totals, and under the labels that are known; those that lack some wait for them."""
        columns = {name: _joined([each.column(name) for each in aside]) for name in _READ}
        times, measures = columns["end"], _measures(columns)
        self._windows.add(times, measures)
        self._add(times, measures, "model", _models(aside, self._ancestry.texts))
        missing = np.zeros(len(times), np.int64)
        for bit, label in enumerate(FOLLOWED):
            codes = _joined([each.of(each.codes[label]) for each in aside])
            missing[self._add(times, measures, label, codes)] |= 1 << bit
        rows = self._awaited(missing)
        if len(rows):
            traces, parents = (_joined([each.column(name) for each in aside]) for name in ("trace", "parent"))
            whole = (times, *measures, traces, parents, missing)
            kept = (column[rows].astype(_TYPES[name]) for name, column in zip(_PENDING_COLUMNS, whole, strict=True))
            self._resolve(dict(zip(_PENDING_COLUMNS, kept, strict=True)))

    def _awaited(self, missing: Column) -> NDArray[np.intp]:
        """Return which rows are waited for, by the bits of the labels that they lack."""
        heard = sum(1 << bit for bit, label in enumerate(FOLLOWED) if self._heard[label])
        asked = (missing & heard).nonzero()[0]
        unheard = ((missing & heard == 0) & (missing != 0)).nonzero()[0][-_PENDING_UNHEARD:]
        return np.sort(np.concatenate([asked, unheard])) if len(unheard) else asked

    def _add(self, times: Column, measures: tuple[Column, ...], label: str, codes: Column) -> NDArray[np.intp]:
        """Count rows under a label; return which of them lack it."""
        known = codes.nonzero()[0]
        if len(known) == len(codes):
            self._windows.add_keys(label, times, codes, measures)
            return known[:0]
        if len(known):
            self._windows.add_keys(label, times[known], codes[known], tuple(column[known] for column in measures))
        return (codes == 0).nonzero()[0]

    def _retry(self) -> None:
        pending, self._pending = self._pending, _nothing_pending()
        if len(pending["time"]):
            self._resolve(pending)

    def _resolve(self, rows: dict[str, Column]) -> None:
        """Count rows under those labels that their traces have by now; what may still come is waited for."""
        missing = rows["missing"]
        measures = tuple(rows[name] for name in MEASURES)
        for bit, label in enumerate(FOLLOWED):
            asked = (missing & (1 << bit)).nonzero()[0]
            if not len(asked) or not self._heard[label]:
                continue
            codes = self._ancestry.label_of(rows["trace"][asked], rows["parent"][asked], label)
            known = codes.nonzero()[0]
            if len(known):
                found = asked[known]
                columns = tuple(column[found] for column in measures)
                self._windows.add_keys(label, rows["time"][found], codes[known], columns)
                missing[found] &= ~(1 << bit)
        self._wait(rows)

    def _wait(self, rows: dict[str, Column]) -> None:
        kept = self._awaited(rows["missing"])
        kept = kept[self._ancestry.is_open(rows["trace"][kept])]
        before = self._pending
        self._pending = {
            name: np.concatenate([before[name], column[kept]])[-_PENDING:] for name, column in rows.items()
        }

    def _mark_texts(self, used: NDArray[np.bool_]) -> None:
        self._windows.mark(used)
        for each in self._aside:
            for codes in each.codes.values():
                used[codes] = True

    def freeze(self) -> Frozen:
        """Return the state; what was put aside is counted first."""
        self.settle(self._settled)
        windows, pending, heard = self._windows.freeze(self._ancestry.texts), self._pending, dict(self._heard)
        settled = self._settled

        def state() -> State:
            return {
                "settled": settled,
                "heard": [label for label, known in heard.items() if known],
                "pending": {name: packed(column) for name, column in pending.items()},
                "rows": len(pending["time"]),
                "windows": windows(),
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take a state."""
        self._settled = section.integer("settled")
        heard = section.texts("heard")
        self._heard = {label: label in heard for label in FOLLOWED}
        size, held = section.integer("rows", most=_PENDING), section.part("pending")
        self._pending = {name: held.array(name, dtype, size) for name, dtype in _TYPES.items()}
        self._windows.thaw(section.part("windows"), self._ancestry.texts)


class _Aside:
    """Paid calls of one batch that are to be counted; holds the columns that are read, not the batch."""

    __slots__ = ("_columns", "_rows", "codes", "model")

    def __init__(
        self, batch: SpanBatch, rows: NDArray[np.intp], keys: Keys, codes: Mapping[str, NDArray[np.int32]]
    ) -> None:
        self._rows = None if len(rows) == len(batch) else rows
        self._columns = {name: getattr(batch, name) for name in _READ} | {"trace": keys.trace, "parent": keys.parent}
        self.codes = codes
        self.model = batch.labels["model"]

    def of(self, column: Column) -> Column:
        """Return the calls' part of a column of the batch."""
        return column if self._rows is None else column[self._rows]

    def column(self, name: str) -> Column:
        return self.of(self._columns[name])


_READ: Final = ("end", "span_class", "failed", "input_tokens", "output_tokens", "cost_nano", "cost_source")


def _ranked(standing: Standing, measure: int, most: int) -> NDArray[np.intp]:
    """Return which rows have most of a measure, of equal ones those with more of the others; the heaviest first."""
    sums = standing.sums
    rows = np.arange(len(standing.codes))
    if len(rows) > 4 * most:
        rows = np.argpartition(sums[measure], len(rows) - most)[-most:]
    columns = [column[rows] for column in (*sums[::-1], sums[measure])]
    return rows[np.lexsort(columns)[::-1]][:most]


def _measures(columns: Mapping[str, Column]) -> tuple[Column, ...]:
    """Return the columns of `MEASURES`."""
    classes = columns["span_class"]
    calls = (classes == SpanClass.LLM) | (classes == SpanClass.EMBEDDINGS)
    tokens = np.maximum(columns["input_tokens"], 0) + np.maximum(columns["output_tokens"], 0)
    unpriced = columns["cost_source"] == CostSource.UNPRICED
    # As floats, which hold them exactly (see MAX_CALL_NANO, MAX_TOKENS), they are summed in half the time.
    nano = columns["cost_nano"].astype(np.float64)
    return nano, tokens.astype(np.float64), calls, calls & columns["failed"], unpriced


def _nothing_pending() -> dict[str, Column]:
    return {name: np.zeros(0, dtype) for name, dtype in _TYPES.items()}


def _joined(columns: Sequence[Column]) -> Column:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _models(aside: Sequence[_Aside], texts: Texts) -> Column:
    """Return the numbers of all calls' models; those of small batches are looked up together."""
    values: list[str] = []
    codes = []
    for each in aside:
        own = each.of(each.model.code)
        codes.append(np.where(own < 0, own, own + len(values)) if values else own)
        values += each.model.values
    return texts.codes(values)[_joined(codes)]
