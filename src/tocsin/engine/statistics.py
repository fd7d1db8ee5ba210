"""What the engine counted since it started: for metrics, never for decisions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.alerts.state import AlertState
from tocsin.engine.watch import Watch
from tocsin.model.batch import SpanBatch, SpanClass
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State

__all__ = ["Counters", "EngineStatistics", "RuleKey", "Usage"]

_MAX_MODELS = 1000
_MAX_TABLE = 1 << 14
_OTHER = ("(other)", "(other)")

RuleKey = tuple[str, str]
TOKEN_TYPES = ("input", "cache_read", "cache_write", "output", "reasoning")


@dataclass(slots=True)
class EngineStatistics:
    """Cumulative counters, and a few present sizes."""

    samples: dict[RuleKey, int] = field(default_factory=dict)
    late: dict[RuleKey, int] = field(default_factory=dict)
    ungrouped: dict[RuleKey, int] = field(default_factory=dict)
    series: dict[RuleKey, int] = field(default_factory=dict)
    """Groups that are known now."""
    overflow: int = 0
    """Samples that went to an overflow group."""
    duplicates: int = 0
    future: int = 0
    late_in_trace: int = 0
    """Spans of traces that were complete already."""
    open_traces: int = 0
    waiting: int = 0
    firing: int = 0
    pending: int = 0
    cost_nano: dict[tuple[str, str], int] = field(default_factory=dict)
    """By (provider, model); each model call once."""
    tokens: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """By (provider, model, type)."""


@dataclass(slots=True)
class Counters:
    """What the engine itself counts, and what watches counted that are gone."""

    duplicates: int = 0
    future: int = 0
    samples: dict[RuleKey, int] = field(default_factory=dict)
    late: dict[RuleKey, int] = field(default_factory=dict)
    ungrouped: dict[RuleKey, int] = field(default_factory=dict)

    def keep(self, watch: Watch) -> None:
        """Add what a watch counted that is to go."""
        for past, column in zip(self._pasts(), (watch.samples, watch.late, watch.ungrouped), strict=True):
            for i, rule in enumerate(watch.rules):
                past[rule.key] = past.get(rule.key, 0) + int(column[i])

    def _pasts(self) -> tuple[dict[RuleKey, int], dict[RuleKey, int], dict[RuleKey, int]]:
        return self.samples, self.late, self.ungrouped

    def summed(
        self,
        watches: Iterable[Watch],
        usage: "Usage",
        *,
        overflow: int,
        late_in_trace: int,
        open_traces: int,
        waiting: int,
    ) -> EngineStatistics:
        """Return all that was counted, here, by the present watches, and elsewhere."""
        watches = list(watches)
        samples, late, ungrouped = counted = tuple(dict(past) for past in self._pasts())
        series: dict[RuleKey, int] = {}
        for watch in watches:
            for i, rule in enumerate(watch.rules):
                for counts, column in zip(counted, (watch.samples, watch.late, watch.ungrouped), strict=True):
                    counts[rule.key] = counts.get(rule.key, 0) + int(column[i])
                series[rule.key] = len(watch.groups) if watch.dispatch is None else 1
        states = [alert.state for watch in watches for alert in watch.alerts.values()]
        return EngineStatistics(
            samples,
            late,
            ungrouped,
            series,
            overflow=overflow,
            duplicates=self.duplicates,
            future=self.future,
            late_in_trace=late_in_trace,
            open_traces=open_traces,
            waiting=waiting,
            firing=states.count(AlertState.FIRING),
            pending=states.count(AlertState.PENDING),
            cost_nano=dict(usage.cost_nano),
            tokens=dict(usage.tokens),
        )

    def freeze(self) -> Frozen:
        """Return the counts."""
        fields: dict[str, State] = {"duplicates": self.duplicates, "future": self.future}
        for name in ("samples", "late", "ungrouped"):
            fields[name] = _listed(getattr(self, name))
        return lambda: fields

    def thaw(self, section: Section) -> None:
        """Take the counts of a state."""
        self.duplicates, self.future = section.integer("duplicates"), section.integer("future")
        for name in ("samples", "late", "ungrouped"):
            counts = _unlisted(section.part(name), 2)
            setattr(self, name, {(project, rule): count for (project, rule), count in counts.items()})


def _listed(counts: Mapping[Any, int]) -> State:
    return {"names": [list(names) for names in counts], "counts": list(counts.values())}


def _unlisted(section: Section, width: int) -> dict[tuple[str, ...], int]:
    names = section.text_lists("names")
    if any(len(each) != width for each in names):
        raise section.unfit("has a count of what can't be counted")
    return {tuple(each): count for each, count in zip(names, section.integers("counts", len(names)), strict=True)}


class Usage:
    """Cost and tokens of counted calls by provider and model; bounded, whatever names are sent."""

    def __init__(self) -> None:
        self.cost_nano: dict[tuple[str, str], int] = {}
        self.tokens: dict[tuple[str, str, str], int] = {}

    def freeze(self) -> Frozen:
        """Return what was counted."""
        cost, tokens = _listed(self.cost_nano), _listed(self.tokens)
        return lambda: {"cost": cost, "tokens": tokens}

    def thaw(self, section: Section) -> None:
        """Take what was counted."""
        cost, tokens = _unlisted(section.part("cost"), 2), _unlisted(section.part("tokens"), 3)
        self.cost_nano = {(provider, model): count for (provider, model), count in cost.items()}
        self.tokens = {(provider, model, kind): count for (provider, model, kind), count in tokens.items()}

    def add(self, batch: SpanBatch, billed: NDArray[np.bool_]) -> None:
        """Count the calls of a batch."""
        rows = np.flatnonzero(billed & (batch.span_class != SpanClass.DUPLICATE))
        if not len(rows):
            return
        provider, model = batch.labels["provider"], batch.labels["model"]
        width = len(model.values) + 1
        # Absent is code -1: moved up by one, the pairs are small numbers that a plain count can be kept of.
        pair = (provider.code[rows].astype(np.int64) + 1) * width + model.code[rows] + 1
        size = (len(provider.values) + 1) * width
        pairs: NDArray[np.int64] | None = None
        if size > _MAX_TABLE:
            pairs, pair = np.unique(pair, return_inverse=True)
            size = len(pairs)
        columns = (
            batch.input_tokens,
            batch.cache_read_tokens,
            batch.cache_write_tokens,
            batch.output_tokens,
            batch.reasoning_tokens,
        )
        cost = _sums(batch.cost_nano[rows], pair, size)
        tokens = [_sums(np.maximum(column[rows], 0), pair, size) for column in columns]
        for place in np.bincount(pair, minlength=size).nonzero()[0].tolist():
            code = place if pairs is None else int(pairs[place])
            found = _text(provider.values, code // width - 1), _text(model.values, code % width - 1)
            name = found if found in self.cost_nano or len(self.cost_nano) < _MAX_MODELS else _OTHER
            self.cost_nano[name] = self.cost_nano.get(name, 0) + int(cost[place])
            for kind, column in zip(TOKEN_TYPES, tokens, strict=True):
                key = (*name, kind)
                self.tokens[key] = self.tokens.get(key, 0) + int(column[place])


def _text(values: object, code: int) -> str:
    return "" if code < 0 else values[code]  # type: ignore[index]  # a column's values


def _sums(values: NDArray[np.int64], place: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    totals = np.zeros(size, np.int64)
    np.add.at(totals, place, values)
    return totals
