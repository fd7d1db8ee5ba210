"""Batches, records and small logs for the tests of the journal."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.journal.config import JournalConfig
from tocsin.journal.record import Record, RecordKind
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn

__all__ = ["SMALL", "assert_same_batch", "assert_same_record", "batch", "batches", "record", "wal_of"]

SMALL = JournalConfig.model_validate({"segment_size": "64KiB", "max_size": "100MiB"})
"""Many segments of few records."""

_KINDS: Mapping[str, type[np.generic]] = {
    "arrival": np.int64, "trace_hi": np.uint64, "trace_lo": np.uint64, "span_id": np.uint64, "parent_id": np.uint64,
    "start": np.int64, "end": np.int64, "latency": np.int64, "span_class": np.uint8, "failed": np.bool_,
    "scope": np.uint32, "wraps": np.bool_, "deferred": np.bool_, "input_tokens": np.int64, "output_tokens": np.int64,
    "cache_read_tokens": np.int64, "cache_write_tokens": np.int64, "cache_write_1h_tokens": np.int64,
    "reasoning_tokens": np.int64, "input_audio_tokens": np.int64, "output_audio_tokens": np.int64,
    "reported_usd": np.float64, "ttft_ms": np.float64, "adjusted_count": np.float64,
    "cost_nano": np.int64, "computed_nano": np.int64, "cost_source": np.uint8,
}  # fmt: skip
_COSTS = ("cost_nano", "computed_nano", "cost_source")


def batch(rows: int, seed: int = 0) -> SpanBatch:
    """Return spans as they come: ids at random, times near each other, much that is the same in all."""
    rng = np.random.default_rng(seed)
    columns: dict[str, NDArray[np.generic]] = {name: np.zeros(rows, kind) for name, kind in _KINDS.items()}
    for name in ("trace_hi", "trace_lo", "span_id"):
        columns[name] = rng.integers(0, 2**64, rows, np.uint64)
    end = 1_790_000_000_000_000_000 + rng.integers(0, 4_000_000_000, rows)
    start = end - rng.integers(0, 9_000_000_000, rows)
    columns |= {"end": end, "start": start, "latency": end - start, "reported_usd": np.full(rows, np.nan)}
    columns |= {"failed": rng.random(rows) < 0.1, "cost_nano": rng.integers(0, 2**33, rows)}
    columns["computed_nano"] = columns["cost_nano"].copy()
    code = np.arange(rows, dtype=np.int32)
    labels = {
        "conversation": TextColumn(code, [f"conv-{seed}-{row}" for row in range(rows)]),
        "model": TextColumn(np.zeros(rows, np.int32), ["gpt-4o"] if rows else []),
        "tenant": TextColumn(np.full(rows, -1, np.int32), []),
    }
    numbers = {"judge_score": rng.random(rows), "app.unread": np.full(rows, np.nan)}
    return SpanBatch(**columns, labels=labels, numbers=numbers)  # type: ignore[arg-type]  # by its name


def record(rows: int = 3, seed: int = 0) -> Record:
    """Return a record of spans."""
    return Record(1_790_000_000_000_000_000 + seed, 17 + seed, batch=batch(rows, seed))


def wal_of(segment: Path) -> Path:
    """Return where SQLite keeps what is not yet in a database."""
    return segment.with_name(segment.name + "-wal")


def batches() -> st.SearchStrategy[SpanBatch]:
    """Return batches with every width of number, every kind of float, and labels with odd and unused values."""
    return st.integers(0, 40).flatmap(_batches)


def _batches(rows: int) -> st.SearchStrategy[SpanBatch]:
    priced = st.booleans()
    columns = {name: _column(rows, kind) for name, kind in _KINDS.items() if name not in _COSTS}
    costs = {name: _column(rows, _KINDS[name]) for name in _COSTS}
    names = st.text(max_size=5)
    return st.builds(
        lambda fixed, cost, paid, labels, numbers: SpanBatch(
            **fixed, **(cost if paid else {}), labels=labels, numbers=numbers
        ),
        st.fixed_dictionaries(columns),
        st.fixed_dictionaries(costs),
        priced,
        st.dictionaries(names, _label(rows), max_size=4),
        st.dictionaries(names, _column(rows, np.float64), max_size=3),
    )


def _column(rows: int, kind: type[np.generic]) -> st.SearchStrategy[NDArray[np.generic]]:
    """Return columns that are constant, narrow around some number, or anything; floats with all their bits."""
    bits = 64 if np.dtype(kind).itemsize == 8 else np.dtype(kind).itemsize * 8
    widths = st.sampled_from([0, 1, 3, 8, 9, 16, 17, 24, 31, 32, 33, 40, 47, 48, 63, 64])
    bases = st.one_of(st.just(0), st.just(2**64 - 1), st.just(2**63 - 1), st.integers(0, 2**64 - 1))

    def of(width: int, base: int, seed: int) -> NDArray[np.generic]:
        rng = np.random.default_rng(seed)
        spread = rng.integers(0, 1 << width, rows, np.uint64, endpoint=False) if width < 64 else _any(rng, rows)
        values = spread + np.uint64(base)
        if kind is np.bool_:
            return values & np.uint64(1) != 0
        if kind is np.float64:
            return values.view(np.float64)
        return values.view(kind) if bits == 64 else (values & np.uint64((1 << bits) - 1)).astype(kind)

    return st.builds(of, widths, bases, st.integers(0, 1000))


def _any(rng: np.random.Generator, rows: int) -> NDArray[np.uint64]:
    return rng.integers(0, 2**64 - 1, rows, np.uint64, endpoint=True)


def _label(rows: int) -> st.SearchStrategy[TextColumn]:
    texts = st.one_of(
        st.sampled_from(["gpt-4o", "a\0b", "é", "🔔", "\0", "\ud800", "x" * 300]),
        st.text(st.characters(), min_size=1, max_size=8),
    )
    values = st.lists(texts, unique=True, max_size=rows + 5)
    return st.builds(
        lambda values, seed: TextColumn(
            np.random.default_rng(seed).integers(-1, len(values), rows).astype(np.int32), values
        ),
        values,
        st.integers(0, 1000),
    )


def assert_same_batch(found: SpanBatch | None, expected: SpanBatch | None) -> None:
    """Hold two batches to be equal to the bit; of labels the values of the rows, wherever they stand."""
    if expected is None:
        assert found is None
        return
    assert found is not None
    for name in _KINDS:
        left, right = getattr(found, name), getattr(expected, name)
        assert left.dtype == right.dtype, name
        assert left.tobytes() == right.tobytes(), name
    assert list(found.labels) == list(expected.labels)
    for name, column in expected.labels.items():
        assert _values(found.labels[name]) == _values(column), name
    assert list(found.numbers) == list(expected.numbers)
    for name, number in expected.numbers.items():
        assert found.numbers[name].tobytes() == number.tobytes(), name


def _values(column: TextColumn) -> list[str | None]:
    return [column.values[code] if code >= 0 else None for code in column.code.tolist()]


def assert_same_record(found: Record, expected: Record) -> None:
    """Hold two records to be equal."""
    assert (found.kind, found.wall, found.time) == (expected.kind, expected.wall, expected.time)
    assert found.rules == expected.rules
    if expected.kind is RecordKind.SPANS:
        assert_same_batch(found.batch, expected.batch)
