"""A batch as columns of Arrow: what the tables of queries and the files of exports are made of.

An attribute has two: its texts under `KEY`, its numbers under `KEY` and a mark. Which of them a table shows is known
only once all of it was read.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tocsin.history.config import LABELS, NUMBERS
from tocsin.history.failures import needs
from tocsin.model.batch import ABSENT, NANO_USD, CostSource, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn

__all__ = ["COLUMNS", "NUMBER_MARK", "arrow", "text_of"]

NUMBER_MARK: Final = "\x1fnumber"

_Make = Callable[[SpanBatch], Any]
_CLASSES: Final = [each.name.lower() for each in SpanClass]
_SOURCES: Final = [each.name.lower() for each in CostSource]


def _pa() -> Any:  # noqa: ANN401  # a module
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships none
    except ImportError as error:
        raise needs("pyarrow") from error
    return pa


def _words(codes: NDArray[np.uint8], words: list[str]) -> Any:  # noqa: ANN401  # an array of Arrow
    pa = _pa()
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), words).cast(pa.string())


def _hex(*parts: NDArray[np.uint64]) -> Any:  # noqa: ANN401  # an array of Arrow
    """Return [n] ids as text; NULL where all of one is zero."""
    raw = np.stack(parts, axis=1).astype(">u8").tobytes().hex()
    size = 16 * len(parts)
    texts = [raw[at : at + size] for at in range(0, len(raw), size)]
    missing = np.logical_and.reduce([part == 0 for part in parts])
    return _pa().array(texts, _pa().string(), mask=missing)


def _time(nanoseconds: NDArray[np.int64]) -> Any:  # noqa: ANN401  # an array of Arrow
    return _pa().array(nanoseconds // 1000, _pa().int64()).cast(_pa().timestamp("us", "UTC"))


def _count(values: NDArray[np.int64]) -> Any:  # noqa: ANN401  # an array of Arrow
    return _pa().array(values, _pa().int64(), mask=values == ABSENT)


def _float(values: NDArray[np.float64]) -> Any:  # noqa: ANN401  # an array of Arrow
    return _pa().array(values, _pa().float64(), mask=~np.isfinite(values))


def _usd(nano: NDArray[np.int64], missing: NDArray[np.bool_]) -> Any:  # noqa: ANN401  # an array of Arrow
    return _pa().array(nano / NANO_USD, _pa().float64(), mask=missing)


_BILLED: Final = np.isin(
    np.arange(len(SpanClass)), [SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.AGENT, SpanClass.USAGE]
)


def _cost(batch: SpanBatch) -> Any:  # noqa: ANN401  # an array of Arrow
    """Return what a call cost: NULL where nobody knows, and on spans that cost nothing of their own."""
    own = _BILLED[batch.span_class] & (batch.cost_source != CostSource.UNPRICED)
    # An agent's span has a cost where it stands for a remote one.
    own &= (batch.span_class != SpanClass.AGENT) | (batch.cost_source != CostSource.NONE)
    return _usd(batch.cost_nano, ~own)


def _total(batch: SpanBatch) -> Any:  # noqa: ANN401  # an array of Arrow
    read, written = batch.input_tokens, batch.output_tokens
    total = np.maximum(read, 0) + np.maximum(written, 0)
    return _count(np.where((read == ABSENT) & (written == ABSENT), ABSENT, total))


def _label(name: str, batch: SpanBatch) -> Any:  # noqa: ANN401  # an array of Arrow
    return text_of(batch.labels.get(name), len(batch))


def _number(name: str, batch: SpanBatch) -> Any:  # noqa: ANN401  # an array of Arrow
    return _float(batch.numbers.get(name, np.full(len(batch), np.nan)))


COLUMNS: Final[Mapping[str, tuple[str, _Make]]] = {
    "timestamp": ("TIMESTAMPTZ", lambda batch: _time(batch.end)),
    "trace_id": ("VARCHAR", lambda batch: _hex(batch.trace_hi, batch.trace_lo)),
    "span_id": ("VARCHAR", lambda batch: _hex(batch.span_id)),
    "parent_id": ("VARCHAR", lambda batch: _hex(batch.parent_id)),
    "span_class": ("VARCHAR", lambda batch: _words(batch.span_class, _CLASSES)),
    **{name: ("VARCHAR", partial(_label, name)) for name in LABELS},
    "failed": ("BOOLEAN", lambda batch: _pa().array(batch.failed)),
    "cost_usd": ("DOUBLE", _cost),
    "cost_source": ("VARCHAR", lambda batch: _words(batch.cost_source, _SOURCES)),
    "reported_usd": ("DOUBLE", lambda batch: _float(batch.reported_usd)),
    "computed_usd": ("DOUBLE", lambda batch: _usd(batch.computed_nano, batch.computed_nano == ABSENT)),
    "latency_ms": ("DOUBLE", lambda batch: _pa().array(batch.latency / 1e6)),
    "time_to_first_token_ms": ("DOUBLE", lambda batch: _float(batch.ttft_ms)),
    "total_tokens": ("BIGINT", _total),
    "input_tokens": ("BIGINT", lambda batch: _count(batch.input_tokens)),
    "output_tokens": ("BIGINT", lambda batch: _count(batch.output_tokens)),
    "cached_tokens": ("BIGINT", lambda batch: _count(batch.cache_read_tokens)),
    "cache_write_tokens": ("BIGINT", lambda batch: _count(batch.cache_write_tokens)),
    "reasoning_tokens": ("BIGINT", lambda batch: _count(batch.reasoning_tokens)),
    **{name: ("DOUBLE", partial(_number, name)) for name in NUMBERS},
    "sampled_from": ("DOUBLE", lambda batch: _float(batch.adjusted_count)),
    "started_at": ("TIMESTAMPTZ", lambda batch: _time(batch.start)),
    "received_at": ("TIMESTAMPTZ", lambda batch: _time(batch.arrival)),
}
"""Name -> type in SQL, and what it is of a batch. Every other column is an attribute."""


def text_of(column: TextColumn | None, rows: int) -> Any:  # noqa: ANN401  # an array of Arrow
    """Return [n] a text column as Arrow; NULL where it is absent."""
    pa = _pa()
    if column is None or not len(column.values):
        return pa.nulls(rows, pa.string())
    # Half of a surrogate pair can come from JSON; no database takes one.
    values = [value.encode("utf-8", "replace").decode() for value in column.values]
    codes = pa.array(column.code, pa.int32(), mask=column.code < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(values, pa.string())).cast(pa.string())


def arrow(batch: SpanBatch, wanted: Callable[[str], bool]) -> Any:  # noqa: ANN401  # a table of Arrow
    """Return the wanted columns of a batch as a table; attributes as far as any row has them."""
    pa = _pa()
    columns = {name: make(batch) for name, (_, make) in COLUMNS.items() if wanted(name)}
    for name, label in batch.labels.items():
        if name not in COLUMNS and wanted(name) and (label.code >= 0).any():
            columns[name] = text_of(label, len(batch))
    for name, number in batch.numbers.items():
        if name not in COLUMNS and wanted(name) and np.isfinite(number).any():
            columns[name + NUMBER_MARK] = _float(number)
    return pa.table(columns) if columns else pa.table({"timestamp": COLUMNS["timestamp"][1](batch)})
