"""What a span is: the markers of every dialect, in the order in which they are to be trusted.

Source: the table's `kinds`; a later marker is asked only where an earlier one said nothing that is known.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import SpanClass
from tocsin.model.columns import AttributeColumn, ValueKind
from tocsin.semconv.columns import Batch
from tocsin.semconv.reductions import largest
from tocsin.semconv.table import Kind

__all__ = ["classified"]

_Mask = NDArray[np.bool_]
_Codes = NDArray[np.uint8]

_STRING = int(ValueKind.STRING)
_LLM = np.uint8(SpanClass.LLM)
_USAGE = np.uint8(SpanClass.USAGE)
_DUPLICATE = np.uint8(SpanClass.DUPLICATE)

_UNKNOWN = 255
_RECORD = 254
"""A log record in a span's clothes (logfire): what it is depends on its usage."""
_RECORDS_KEY = "logfire.span_type"
_BY_MODEL = 253
"""A model call; the model's name tells which kind."""
_DECISION = 252
"""A model call if it has usage, else glue."""

_WORDS = {kind.name.lower(): int(kind) for kind in SpanClass} | {
    "record": _RECORD,
    "by_model": _BY_MODEL,
    "decision": _DECISION,
}


def classified(
    batch: Batch,
    kinds: Sequence[Kind],
    model: Callable[[], tuple[_Mask, _Mask]],
    usage: Callable[[], _Mask],
    late_usage: Callable[[], _Mask],
) -> _Codes:
    """Return [n] the SpanClass of each row.

    `model` returns [n] whether a row names a model, and whether that model makes embeddings; `usage` returns
    [n] whether it has any token count; `late_usage` [n] whether its instrumentation writes the usage of streams on
    records. They are called only where the markers leave something open.
    """
    codes: _Codes | None = None
    records: _Mask | None = None
    for kind in kinds:
        if not kind.key:
            codes = _by_presence(batch, kind, codes, model)
            continue
        column = batch.columns.attributes.get(kind.key)
        if column is None:
            continue
        found = _marked(column, kind)
        if kind.key == _RECORDS_KEY:
            records = found == _RECORD
            found = np.where(records, np.uint8(_UNKNOWN), found)
        codes = found if codes is None else np.where(codes == _UNKNOWN, found, codes)
    if codes is None:
        codes = np.full(batch.size, _UNKNOWN, np.uint8)
    if largest(codes, initial=0) >= _DECISION:
        codes = _resolved(codes, model, usage)
    if records is not None and records.any():
        codes = _records(codes, records, usage(), late_usage())
    return _without_free_calls(batch, codes)


def _marked(column: AttributeColumn, kind: Kind) -> _Codes:
    table = [_code_of(value, kind) if isinstance(value, str) else _UNKNOWN for value in column.values]
    found = np.array([*table, _UNKNOWN], np.uint8)[column.code]
    return (
        found if largest(column.kind, initial=0) <= _STRING else np.where(column.code >= 0, found, np.uint8(_UNKNOWN))
    )


def _code_of(value: str, kind: Kind) -> int:
    word = value.lower()
    name = kind.values.get(word)
    if name is None:
        name = next((name for ending, name in kind.endings.items() if word.endswith(ending)), None)
    return _UNKNOWN if name is None else _WORDS[name]


def _by_presence(
    batch: Batch, kind: Kind, codes: _Codes | None, model: Callable[[], tuple[_Mask, _Mask]]
) -> _Codes | None:
    if kind.scope and all(scope.name != kind.scope for scope in batch.columns.scopes):
        return codes
    columns = [column for key in kind.any_of if (column := batch.columns.attributes.get(key)) is not None]
    named = [name in kind.names for name in batch.columns.name.values] if kind.names else []
    if not (columns or any(named)) or (codes is not None and largest(codes, initial=0) != _UNKNOWN):
        return codes
    hit: _Mask = np.zeros(batch.size, np.bool_)
    if any(named):
        hit = np.array([*named, False])[batch.columns.name.code]
    for column in columns:
        hit |= column.kind != ValueKind.ABSENT
    if kind.scope:
        hit &= batch.scoped([kind.scope])
    if codes is not None:
        hit &= codes == _UNKNOWN
    if kind.without_model and hit.any():
        hit &= ~model()[0]
    unknown = np.full(batch.size, _UNKNOWN, np.uint8) if codes is None else codes
    return np.where(hit, np.uint8(_WORDS[kind.kind]), unknown)


def _resolved(codes: _Codes, model: Callable[[], tuple[_Mask, _Mask]], usage: Callable[[], _Mask]) -> _Codes:
    has_model, embeds = model()
    has_usage = usage()
    call = np.where(embeds, np.uint8(SpanClass.EMBEDDINGS), np.uint8(SpanClass.LLM))
    other = np.uint8(SpanClass.OTHER)
    codes = np.where(codes == _DECISION, np.where(has_usage, SpanClass.LLM, SpanClass.CHAIN).astype(np.uint8), codes)
    codes = np.where(codes == _BY_MODEL, np.where(has_model, call, other), codes)
    return np.where(codes == _UNKNOWN, np.where(has_model & has_usage, call, other), codes)


def _records(codes: _Codes, records: _Mask, usage: _Mask, late_usage: _Mask) -> _Codes:
    """Return the classes with log records settled.

    With usage, or by an instrumentation whose streams end on such a record, one is the usage of a streamed sibling;
    else a second mention of the sibling's call.
    """
    calls = (codes == SpanClass.LLM) | (codes == SpanClass.EMBEDDINGS)
    codes = np.where(records & calls, np.where(late_usage, _USAGE, _DUPLICATE), codes)
    return np.where(records & usage, _USAGE, codes)


def _without_free_calls(batch: Batch, codes: _Codes) -> _Codes:
    """Return the classes where counting tokens at the provider, which is free, is no model call."""
    names = batch.columns.name
    if "count_tokens" not in "\n".join(names.values):
        return codes
    hit = np.array([*("count_tokens" in name for name in names.values), False])[names.code] & (codes == _LLM)
    return np.where(hit, np.uint8(SpanClass.OTHER), codes)
