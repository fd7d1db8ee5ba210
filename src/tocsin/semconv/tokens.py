"""Token counts: many spellings of one number, and whether the cached tokens are inside the input count.

Afterwards `input` is everything the provider read and `output` everything it generated, whatever the dialect
wrote. The reasons, and what is certain and what is a convention, stand in docs/decisions/0006.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import ABSENT, SpanClass
from tocsin.model.columns import ScopeName, TextColumn, ValueKind
from tocsin.semconv.columns import Batch
from tocsin.semconv.reductions import largest, some
from tocsin.semconv.table import Alias, ExclusiveInput, How

__all__ = ["MAX_TOKENS", "TOKENS", "Tokens", "read_tokens", "settled"]

MAX_TOKENS = 10**12
"""More than this is no token count."""

TOKENS = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "output_audio",
    "cache_write_5m",
    "uncached_input",
    "total",
)
"""Rows of the matrix; the first eight are columns of a span batch, the others help to settle them."""

_INPUT, _OUTPUT, _READ, _WRITE, _WRITE_1H, _REASONING, _IN_AUDIO, _OUT_AUDIO, _WRITE_5M, _UNCACHED, _TOTAL = range(11)

_PLAIN, _DOUBLE = How.PLAIN, int(ValueKind.DOUBLE)

_Counts = NDArray[np.int64]
_Mask = NDArray[np.bool_]


class Tokens:
    """Token counts as rows of one matrix, ABSENT where unknown."""

    def __init__(self, counts: _Counts, present: frozenset[int], flawed: int) -> None:
        self.counts = counts
        """[11, n]"""
        self.present = present
        """Rows that may hold a count."""
        self.flawed = flawed
        """Counts that were none: negative, not finite, absurd."""

    def column(self, name: str) -> _Counts:
        """Return [n] counts."""
        row: _Counts = self.counts[TOKENS.index(name)]
        return row

    def any(self) -> _Mask:
        """Return [n] whether a row has an input or an output count."""
        hit: _Mask = (self.counts[_INPUT] >= 0) | (self.counts[_OUTPUT] >= 0)
        return hit


def read_tokens(batch: Batch, occurring: Mapping[str, Sequence[Alias]]) -> Tokens:
    """Return the counts as written; `occurring` has the aliases that occur, best first.

    Aliases on one span are one number: the first counts, nothing is added.
    """
    counts = np.full((len(TOKENS), batch.size), ABSENT, np.int64)
    rows = [row for row, name in enumerate(TOKENS) if occurring.get(name)]
    flawed = 0
    if rows:
        numbers = np.full((len(rows), batch.size), np.nan)
        for position, row in enumerate(rows):
            flawed += _first_number(batch, occurring[TOKENS[row]], numbers[position])
        good = (numbers >= 0) & (numbers <= MAX_TOKENS)
        flawed += int(np.count_nonzero(~good & ~np.isnan(numbers)))
        counts[rows] = np.where(good, numbers, float(ABSENT)).astype(np.int64)
    return Tokens(counts, frozenset(rows), flawed)


def _first_number(batch: Batch, aliases: Sequence[Alias], out: NDArray[np.float64]) -> int:
    """Write [n] the first number into `out`; return how many were written as NaN."""
    nans = 0
    for position, alias in enumerate(aliases):
        numbers = batch.number(alias, np.isnan(out) if position else None)
        if position == 0:
            out[:] = numbers
        else:
            np.copyto(out, numbers, where=np.isnan(out))
        if alias.how is _PLAIN:
            kind = batch.columns.attributes[alias.key].kind
            if largest(kind, initial=0) >= _DOUBLE:
                nans += int(np.count_nonzero((kind == _DOUBLE) & np.isnan(numbers)))
        if position + 1 < len(aliases) and not some(np.isnan(out)):
            break
    return nans


def settled(
    batch: Batch, tokens: Tokens, exclusive: Sequence[ExclusiveInput], provider: TextColumn, model: TextColumn
) -> None:
    """Make the parts agree with their wholes, in place."""
    if not batch.size:
        return
    counts, present = tokens.counts, tokens.present
    if _TOTAL in present:
        _from_total(counts)
    if {_WRITE_5M, _WRITE_1H} & present:
        _write_split(counts)
    if _UNCACHED in present:
        _from_uncached(counts)
    if {_READ, _WRITE, _WRITE_5M, _WRITE_1H} & present:
        _with_cache(batch, counts, exclusive, provider, model)
    if _REASONING in present:
        _with_reasoning(counts)
    if {_IN_AUDIO, _OUT_AUDIO} & present:
        np.minimum(counts[_IN_AUDIO], counts[_INPUT], out=counts[_IN_AUDIO])
        np.minimum(counts[_OUT_AUDIO], counts[_OUTPUT], out=counts[_OUT_AUDIO])
    _without_empty_usage(batch, counts)


def _write_split(counts: _Counts) -> None:
    """A cache write is at least its 5-minute and 1-hour parts."""
    parts = np.maximum(counts[_WRITE_5M], 0) + np.maximum(counts[_WRITE_1H], 0)
    known = np.maximum(counts[_WRITE_5M], counts[_WRITE_1H]) >= 0
    np.copyto(counts[_WRITE], np.maximum(parts, counts[_WRITE]), where=known)


def _from_uncached(counts: _Counts) -> None:
    """Where a dialect counts the uncached part and left out the whole."""
    cached = np.maximum(counts[_READ], 0) + np.maximum(counts[_WRITE], 0)
    known = (counts[_INPUT] < 0) & (counts[_UNCACHED] >= 0)
    np.copyto(counts[_INPUT], counts[_UNCACHED] + cached, where=known)


def _with_cache(
    batch: Batch,
    counts: _Counts,
    exclusive: Sequence[ExclusiveInput],
    provider: TextColumn,
    model: TextColumn,
) -> None:
    cached = np.maximum(counts[_READ], 0) + np.maximum(counts[_WRITE], 0)
    partly = cached > 0
    if not some(partly):
        return
    # A part can't exceed its whole, and a total that holds all four apart says so itself.
    outside = cached > counts[_INPUT]
    whole = counts[_INPUT] + np.maximum(counts[_OUTPUT], 0)
    outside |= (counts[_TOTAL] == whole + cached) & (counts[_INPUT] >= 0)
    names = {scope.name for scope in batch.columns.scopes}
    for one in exclusive:
        if one.scope in names:
            outside |= _excludes(batch, one, provider, model)
    outside &= partly
    counts[_INPUT] = np.where(outside, np.maximum(counts[_INPUT], 0) + cached, counts[_INPUT])


def _excludes(batch: Batch, one: ExclusiveInput, provider: TextColumn, model: TextColumn) -> _Mask:
    """Return [n] whether the convention of an instrumentation leaves the cached tokens out."""
    hits = [_is_scope(scope, one) for scope in batch.columns.scopes]
    keep: _Mask = np.array([*hits, False])[batch.columns.scope]
    if not any(hits):
        return keep
    if one.providers or one.or_models:
        keep = keep & (
            _matching(provider, lambda name: name in one.providers)
            | _matching(model, lambda name: any(part in name for part in one.or_models))
        )
    if one.not_models:
        keep = keep & ~_matching(model, lambda name: any(part in name for part in one.not_models))
    for key in one.unless_any_of:
        column = batch.columns.attributes.get(key)
        if column is not None:
            keep = keep & (column.kind == ValueKind.ABSENT)
    return keep


def _matching(column: TextColumn, test: Callable[[str], bool]) -> _Mask:
    hits: _Mask = np.array([*(test(value) for value in column.values), False])[column.code]
    return hits


def _is_scope(scope: ScopeName, one: ExclusiveInput) -> bool:
    if scope.name != one.scope:
        return False
    if one.before:
        return not scope.version or _version(scope.version) < _version(one.before)
    return not one.through or _version(scope.version) <= _version(one.through)


@lru_cache(maxsize=1024)
def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", text)[:3])


def _with_reasoning(counts: _Counts) -> None:
    """Reasoning is inside the output, except where arithmetic shows it to be outside (xAI's own API)."""
    reasoning, output = counts[_REASONING], counts[_OUTPUT]
    outside = reasoning > output
    apart = counts[_INPUT] + output + reasoning
    outside |= (counts[_TOTAL] == apart) & (counts[_INPUT] >= 0) & (output >= 0)
    outside &= reasoning > 0
    counts[_OUTPUT] = np.where(outside, np.maximum(output, 0) + reasoning, output)


def _from_total(counts: _Counts) -> None:
    """A total gives the one of input and output that is missing."""
    for missing, other in ((_INPUT, _OUTPUT), (_OUTPUT, _INPUT)):
        known = (counts[missing] < 0) & (counts[other] >= 0) & (counts[_TOTAL] >= counts[other])
        counts[missing] = np.where(known, counts[_TOTAL] - counts[other], counts[missing])


def _without_empty_usage(batch: Batch, counts: _Counts) -> None:
    """A call that succeeded read something: nothing read and nothing generated means that nobody told."""
    empty = (counts[_INPUT] == 0) & (counts[_OUTPUT] <= 0)
    if not some(empty):
        return
    calls = (batch.classes == SpanClass.LLM) | (batch.classes == SpanClass.EMBEDDINGS)
    empty &= calls & (batch.columns.status != 2)
    for row in range(8):
        np.copyto(counts[row], ABSENT, where=empty)
