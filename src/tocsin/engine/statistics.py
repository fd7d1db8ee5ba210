"""What the engine counted since it started: for metrics, never for decisions."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import SpanBatch, SpanClass

__all__ = ["EngineStatistics", "Usage"]

_MAX_MODELS = 1000
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


class Usage:
    """Cost and tokens of counted calls by provider and model; bounded, whatever names are sent."""

    def __init__(self) -> None:
        self.cost_nano: dict[tuple[str, str], int] = {}
        self.tokens: dict[tuple[str, str, str], int] = {}

    def add(self, batch: SpanBatch, billed: NDArray[np.bool_]) -> None:
        """Count the calls of a batch."""
        rows = np.flatnonzero(billed & (batch.span_class != SpanClass.DUPLICATE))
        if not len(rows):
            return
        provider, model = batch.labels["provider"], batch.labels["model"]
        combined = provider.code[rows].astype(np.int64) * (len(model.values) + 1) + model.code[rows]
        _, first, place = np.unique(combined, return_index=True, return_inverse=True)
        names = [
            (_text(provider.values, int(provider.code[row])), _text(model.values, int(model.code[row])))
            for row in rows[first].tolist()
        ]
        columns = (
            batch.input_tokens,
            batch.cache_read_tokens,
            batch.cache_write_tokens,
            batch.output_tokens,
            batch.reasoning_tokens,
        )
        cost = _sums(batch.cost_nano[rows], place, len(names))
        tokens = [_sums(np.maximum(column[rows], 0), place, len(names)) for column in columns]
        for i, found in enumerate(names):
            name = found if found in self.cost_nano or len(self.cost_nano) < _MAX_MODELS else _OTHER
            self.cost_nano[name] = self.cost_nano.get(name, 0) + cost[i]
            for kind, column in zip(TOKEN_TYPES, tokens, strict=True):
                key = (*name, kind)
                self.tokens[key] = self.tokens.get(key, 0) + column[i]


def _text(values: object, code: int) -> str:
    return "" if code < 0 else values[code]  # type: ignore[index]  # a column's values


def _sums(values: NDArray[np.int64], place: NDArray[np.intp], size: int) -> list[int]:
    totals = np.zeros(size, np.int64)
    np.add.at(totals, place, values)
    return totals.tolist()
