"""A batch of spans as bytes and back, exact to the bit: `proto/tocsin/v1/span_batch.proto` says what they mean.

All columns become rows of one matrix of 64-bit integers, so that a batch takes a few dozen operations of numpy however
many columns it has: smallest and largest value of each, the difference to the smallest, and for each width in bits one
copy of all columns that have it. What is the same in every row takes no place in the data at all.
Measured in docs/decisions/0023-the-journal-is-segments-of-sqlite.md.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError
from numpy.typing import NDArray

from tocsin.errors import CorruptError
from tocsin.journal import span_batch_pb2
from tocsin.model.batch import ABSENT, SpanBatch
from tocsin.model.columns import TextColumn

__all__ = ["MOST_NAMES", "decode", "encode"]

MOST_NAMES: Final = 4096
"""Of labels and numbers together; bounds what a damaged payload can make a reader allocate."""

_Message = span_batch_pb2.SpanBatch
_Matrix = NDArray[np.int64]

_NAN: Final = int(np.array(np.nan).view(np.int64))
_ONE: Final = int(np.array(1.0).view(np.int64))


class _Column(NamedTuple):
    """How a column of a batch is kept; its number is its place in `_COLUMNS`, plus one."""

    name: str
    dtype: type[np.generic]
    default: int = 0


_COLUMNS: Final = (
    _Column("end", np.int64),
    _Column("arrival", np.int64),
    _Column("start", np.int64),
    _Column("latency", np.int64),
    _Column("trace_hi", np.uint64),
    _Column("trace_lo", np.uint64),
    _Column("span_id", np.uint64),
    _Column("parent_id", np.uint64),
    _Column("span_class", np.uint8),
    _Column("failed", np.bool_),
    _Column("scope", np.uint32),
    _Column("wraps", np.bool_),
    _Column("deferred", np.bool_),
    _Column("input_tokens", np.int64, ABSENT),
    _Column("output_tokens", np.int64, ABSENT),
    _Column("cache_read_tokens", np.int64, ABSENT),
    _Column("cache_write_tokens", np.int64, ABSENT),
    _Column("cache_write_1h_tokens", np.int64, ABSENT),
    _Column("reasoning_tokens", np.int64, ABSENT),
    _Column("input_audio_tokens", np.int64, ABSENT),
    _Column("output_audio_tokens", np.int64, ABSENT),
    _Column("reported_usd", np.float64, _NAN),
    _Column("ttft_ms", np.float64, _NAN),
    _Column("adjusted_count", np.float64, _ONE),
    _Column("cost_nano", np.int64),
    _Column("computed_nano", np.int64),
    _Column("cost_source", np.uint8),
)
_FIXED: Final = len(_COLUMNS)
_NUMBER_OF: Final = {column.name: number for number, column in enumerate(_COLUMNS, 1)}
_DEFAULT_LIST: Final = [column.default for column in _COLUMNS]
_DEFAULTS: Final = np.array(_DEFAULT_LIST, np.int64)
_UNKNOWN: Final = -1
_END, _START, _LATENCY, _COST, _COMPUTED = (
    _NUMBER_OF[name] - 1 for name in ("end", "start", "latency", "cost_nano", "computed_nano")
)

_WIDTHS: Final = np.array([0, 1, 8, 16, 24, 32, 40, 48, 64], np.uint8)
_LARGEST: Final = np.array([(1 << int(width)) - 1 for width in _WIDTHS[:-1]], np.uint64)
"""What fits in each width but the last."""
_PARTS: Final = {
    1: ("<u1",),
    8: ("<u1",), 16: ("<u2",), 24: ("<u2", "<u1"), 32: ("<u4",), 40: ("<u4", "<u1"), 48: ("<u4", "<u2"), 64: ("<i8",),
}  # fmt: skip
"""Low bits and, where the width is no power of two, high bits."""


def encode(batch: SpanBatch) -> bytes:
    """Return a batch as bytes; of the labels' values only those that some row has where there are more than rows.

    Raises:
        ValueError: it has over `MOST_NAMES` labels and numbers.
    """
    labels = {name: column.compacted() for name, column in batch.labels.items()}
    if len(labels) + len(batch.numbers) > MOST_NAMES:
        raise ValueError(f"a batch has at most {MOST_NAMES} labels and numbers, not {len(labels) + len(batch.numbers)}")
    rows = len(batch)
    empty = [column.name.upper() for column in _COLUMNS if len(getattr(batch, column.name)) != rows]
    message = _Message(rows=rows, empty=empty, labels=list(labels), numbers=list(batch.numbers))
    if not rows:
        message.values.extend([0] * len(labels))
        return message.SerializeToString()
    _put_text(message, [column.values for column in labels.values()])
    matrix = np.empty((_FIXED + len(labels) + len(batch.numbers), rows), np.int64)
    _fill(matrix, batch, message)
    for row, label in enumerate(labels.values(), _FIXED):
        matrix[row] = label.code
    for row, number in enumerate(batch.numbers.values(), _FIXED + len(labels)):
        matrix[row] = number.view(np.int64)
    _put_columns(message, matrix)
    return message.SerializeToString()


def decode(data: bytes) -> SpanBatch:
    """Return the batch that was encoded; its arrays are nobody else's.

    Raises:
        CorruptError: the bytes are no batch.
    """
    message = _Message()
    try:
        message.ParseFromString(data)
    except ProtobufError as error:
        raise CorruptError("the record is no message tocsin.v1.SpanBatch") from error
    labels, numbers = list(message.labels), list(message.numbers)
    matrix = _matrix_of(message, len(labels) + len(numbers))
    texts = _texts_of(message)
    codes = matrix[_FIXED : _FIXED + len(labels)]
    if message.rows and len(labels):
        most = np.array([len(values) for values in texts], np.int64)
        if (codes.min(axis=1) < -1).any() or (codes.max(axis=1) >= most).any():
            raise CorruptError("the record has a label without its value")
    short = codes.astype(np.int32)
    return SpanBatch(
        **_fixed_of(matrix, message),
        labels={name: TextColumn(short[row], texts[row]) for row, name in enumerate(labels)},
        numbers={name: matrix[row].view(np.float64) for row, name in enumerate(numbers, _FIXED + len(labels))},
    )


def _fill(matrix: _Matrix, batch: SpanBatch, message: span_batch_pb2.SpanBatch) -> None:
    """Put the fixed columns in their rows; the differences wrap, as they do when they are taken back."""
    rows = matrix.shape[1]
    for row, column in enumerate(_COLUMNS):
        values = getattr(batch, column.name)
        if len(values) == rows:
            matrix[row] = values.view(np.int64) if column.dtype is np.float64 else values
        else:
            matrix[row] = column.default
    start = matrix[_START]
    np.subtract(matrix[_END], start, out=start)
    matrix[_LATENCY] -= start
    if _COST + 1 not in message.empty and _COMPUTED + 1 not in message.empty:
        matrix[_COMPUTED] -= matrix[_COST]


def _put_columns(message: span_batch_pb2.SpanBatch, matrix: _Matrix) -> None:
    """Write the rows of the matrix, which is not the same afterwards."""
    base = matrix.min(axis=1)
    spread = (matrix.max(axis=1) - base).view(np.uint64)
    kind = np.searchsorted(_LARGEST, spread)
    kind[_END] = max(kind[_END], 1)
    skipped = (kind[:_FIXED] == 0) & (base[:_FIXED] == _DEFAULTS)
    kept = np.concatenate([np.flatnonzero(~skipped), np.arange(_FIXED, len(matrix))])
    message.columns.extend((kept[: len(kept) - len(matrix) + _FIXED] + 1).tolist())
    message.widths.extend(_WIDTHS[kind[kept]].tolist())
    message.bases.extend(base[kept].tolist())
    matrix -= base[:, np.newaxis]
    parts: list[bytes] = []
    for one in np.flatnonzero(np.bincount(kind, minlength=2)[1:]).tolist():
        block = matrix[kind == one + 1]
        width = int(_WIDTHS[one + 1])
        if width == 1:
            parts.append(np.packbits(block.astype(np.uint8), axis=1, bitorder="little").tobytes())
            continue
        low, *high = _PARTS[width]
        parts.append(block.astype(low).tobytes())
        parts.extend((block >> (8 * np.dtype(low).itemsize)).astype(part).tobytes() for part in high)
    message.data = b"".join(parts)


def _matrix_of(message: span_batch_pb2.SpanBatch, names: int) -> _Matrix:
    """Return all columns of a message as rows, the fixed ones first."""
    rows, data = message.rows, message.data
    if not rows:
        return np.zeros((_FIXED + names, 0), np.int64)
    widths = list(message.widths)
    if names > MOST_NAMES or len(widths) != len(message.columns) + names or len(message.bases) != len(widths):
        raise CorruptError("the record's columns do not fit together")
    if _END + 1 not in message.columns or rows > 8 * len(data):
        raise CorruptError("the record has fewer values than rows")
    base = [*_DEFAULT_LIST, *[0] * names]
    of_width: dict[int, list[int]] = {}
    for place, width, least in zip(_places(message, names), widths, message.bases, strict=True):
        if place != _UNKNOWN:
            base[place] = least
        if width:
            of_width.setdefault(width, []).append(place)
    matrix = np.empty((_FIXED + names, rows), np.int64)
    matrix[:] = np.array(base, np.int64)[:, np.newaxis]
    offset = 0
    for width in sorted(of_width):
        places = of_width[width]
        if width not in _PARTS:
            raise CorruptError(f"the record has a column of {width} bits")
        end = offset + len(places) * _bytes_of(rows, width)
        block = _block_of(data[offset:end], width, len(places), rows)
        for place, values in zip(places, block, strict=True):
            if place != _UNKNOWN:
                matrix[place] += values
        offset = end
    if offset != len(data):
        raise CorruptError("the record's values do not fit its columns")
    return matrix


def _places(message: span_batch_pb2.SpanBatch, names: int) -> list[int]:
    """Return the row of the matrix for each column in the message's order; columns of a newer writer have none."""
    fixed = [number - 1 if 0 < number <= _FIXED else _UNKNOWN for number in message.columns]
    return [*fixed, *range(_FIXED, _FIXED + names)]


def _bytes_of(rows: int, width: int) -> int:
    """Return the length of a column in the data."""
    return -(-rows // 8) if width == 1 else rows * (width // 8)


def _block_of(data: bytes, width: int, columns: int, rows: int) -> NDArray[np.generic]:
    """Return [columns, rows] the values of one width."""
    if len(data) != columns * _bytes_of(rows, width):
        raise CorruptError("the record ends within a column")
    if width == 1:
        packed = np.frombuffer(data, np.uint8).reshape(columns, -1)
        return np.unpackbits(packed, axis=1, count=rows, bitorder="little")
    low, *high = _PARTS[width]
    count = columns * rows
    block = np.frombuffer(data, low, count)
    if high:
        upper = np.frombuffer(data, high[0], count, offset=count * block.itemsize)
        block = block | upper.astype(np.int64) << 8 * block.itemsize
    return block.reshape(columns, rows)


def _fixed_of(matrix: _Matrix, message: span_batch_pb2.SpanBatch) -> dict[str, NDArray[Any]]:
    """Return the columns that every batch has; the matrix is theirs from now on."""
    empty = set(message.empty)
    start = matrix[_START]
    matrix[_LATENCY] += start
    np.subtract(matrix[_END], start, out=start)
    if _COST + 1 not in empty and _COMPUTED + 1 not in empty:
        matrix[_COMPUTED] += matrix[_COST]
    fixed: dict[str, NDArray[Any]] = {}
    for row, column in enumerate(_COLUMNS):
        values = matrix[row]
        if row + 1 in empty:
            fixed[column.name] = np.zeros(0, column.dtype)
        elif column.dtype is np.int64:
            fixed[column.name] = values
        elif values.itemsize == np.dtype(column.dtype).itemsize:
            fixed[column.name] = values.view(column.dtype)
        else:
            fixed[column.name] = values.astype(column.dtype)
    return fixed


def _put_text(message: span_batch_pb2.SpanBatch, columns: Sequence[Sequence[str]]) -> None:
    message.values.extend(map(len, columns))
    values = [value for column in columns for value in column]
    joined = "\0".join(values)
    if joined.count("\0") != max(len(values) - 1, 0) or "" in values:
        message.lengths.extend(map(len, values))
        joined = "".join(values)
    # Half of a surrogate pair can come from JSON, and is kept as it is.
    message.text = joined.encode("utf-8", "surrogatepass")


def _texts_of(message: span_batch_pb2.SpanBatch) -> list[list[str]]:
    """Return the values of each label."""
    try:
        text = message.text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptError("the record's texts are not UTF-8") from error
    counts = list(message.values)
    if message.lengths:
        ends = list(accumulate(message.lengths))
        values = [text[end - length : end] for length, end in zip(message.lengths, ends, strict=True)]
        if ends[-1] != len(text):
            raise CorruptError("the record's texts do not fit their lengths")
    else:
        values = text.split("\0") if text else []
    if len(counts) != len(message.labels) or sum(counts) != len(values):
        raise CorruptError("the record's texts do not fit its labels")
    ends = list(accumulate(counts))
    return [values[end - count : end] for count, end in zip(counts, ends, strict=True)]
