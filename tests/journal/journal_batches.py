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


_WIDTHS = st.sampled_from([0, 1, 3, 8, 9, 16, 17, 24, 31, 32, 33, 40, 47, 48, 63, 64])
_BASES = st.one_of(st.sampled_from([0, 2**64 - 1, 2**63 - 1]), st.integers(0, 2**64 - 1))
_STYLES = st.lists(st.tuples(_WIDTHS, _BASES), min_size=1, max_size=5)
"""How columns look: bits that vary, and around which number; each column gets one of them."""


def _batches(rows: int) -> st.SearchStrategy[SpanBatch]:
    names = st.text(max_size=5)
    return st.builds(
        _drawn,
        st.just(rows),
        st.integers(0, 10_000),
        _STYLES,
        st.booleans(),
        st.dictionaries(names, _label(rows), max_size=4),
        st.lists(names, unique=True, max_size=3),
    )


def _drawn(
    rows: int,
    seed: int,
    styles: list[tuple[int, int]],
    priced: bool,
    labels: dict[str, TextColumn],
    numbers: list[str],
) -> SpanBatch:
    rng = np.random.default_rng(seed)

    def column(kind: type[np.generic]) -> NDArray[np.generic]:
        return _column(rng, rows, kind, *styles[rng.integers(len(styles))])

    fixed = {name: column(kind) for name, kind in _KINDS.items() if priced or name not in _COSTS}
    floats = {name: column(np.float64) for name in numbers}
    return SpanBatch(**fixed, labels=labels, numbers=floats)  # type: ignore[arg-type]  # by its name


def _column(rng: np.random.Generator, rows: int, kind: type[np.generic], width: int, base: int) -> NDArray[np.generic]:
    """Return a column that is constant, narrow around some number, or anything; floats with all their bits."""
    values = rng.integers(0, 1 << width, rows, np.uint64) if width < 64 else _any(rng, rows)
    values = values + np.uint64(base)
    if kind is np.bool_:
        return values & np.uint64(1) != 0
    if np.dtype(kind).itemsize == 8:
        return values.view(kind)
    return (values & np.uint64((1 << np.dtype(kind).itemsize * 8) - 1)).astype(kind)


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
