"""A batch as bytes: exact, small, and no danger when it is damaged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_batches import assert_same_batch, batch, batches

from tocsin.errors import CorruptError
from tocsin.journal import codec
from tocsin.journal.span_batch_pb2 import SpanBatch as Message
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn


@settings(deadline=None)
@given(batches())
def test_what_is_decoded_is_what_was_encoded_to_the_bit(spans: SpanBatch) -> None:
    assert_same_batch(codec.decode(codec.encode(spans)), spans)


@settings(deadline=None)
@given(batches())
def test_what_was_decoded_may_be_written_to_and_is_contiguous(spans: SpanBatch) -> None:
    found = codec.decode(codec.encode(spans))
    for name in found.__slots__:
        column = getattr(found, name)
        if isinstance(column, np.ndarray):
            assert column.flags.c_contiguous, name
            assert column.flags.aligned, name


@settings(deadline=None)
@given(batches(), st.data())
def test_a_truncated_batch_is_an_error_and_never_another_batch(spans: SpanBatch, data: st.DataObject) -> None:
    encoded = codec.encode(spans)
    cut = data.draw(st.integers(0, max(0, len(encoded) - 1)))
    try:
        found = codec.decode(encoded[:cut])
    except CorruptError:
        return
    # A message cut between two fields is a message: only whoever keeps its length or checksum can tell.
    assert len(found) in (0, len(spans))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_flipped_bytes_are_an_error_or_a_batch_of_bounded_size(seed: int, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(batch(20, seed)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(st.integers(0, 255))
    try:
        found = codec.decode(bytes(encoded))
    except CorruptError:
        return
    assert len(found) <= 8 * len(encoded)
    for label in found.labels.values():
        assert ((label.code >= -1) & (label.code < len(label.values))).all()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_a_batch(data: bytes) -> None:
    try:
        codec.decode(data)
    except CorruptError:
        return


def test_many_rows_in_few_bytes_are_refused() -> None:
    message = Message.FromString(codec.encode(batch(4)))
    message.rows = 2**31
    with pytest.raises(CorruptError, match="fewer values than rows"):
        codec.decode(message.SerializeToString())


def test_rows_that_are_all_the_same_still_take_a_bit_each() -> None:
    same = batch(1).take(np.zeros(10_000, np.intp))
    encoded = codec.encode(same)
    assert_same_batch(codec.decode(encoded), same)
    assert len(encoded) < 10_000 / 8 + 400


def test_a_column_that_a_newer_writer_added_is_left_out() -> None:
    spans = batch(9)
    message = Message.FromString(codec.encode(spans))
    data = message.data
    fixed = len(message.columns)
    bits = sum(-(-9 // 8) for width in message.widths if width == 1)
    newer = Message(
        rows=message.rows, columns=[*message.columns[:fixed]], empty=message.empty, labels=message.labels,
        numbers=message.numbers, data=data, values=message.values, text=message.text,
    )  # fmt: skip
    newer.columns.append(99)  # type: ignore[arg-type]  # a number that this program does not know
    widths, bases = list(message.widths), list(message.bases)
    newer.widths.extend([*widths[:fixed], 8, *widths[fixed:]])
    newer.bases.extend([*bases[:fixed], -5, *bases[fixed:]])
    before = sum(9 for width in widths[:fixed] if width == 8)
    newer.data = data[: bits + before] + bytes(range(9)) + data[bits + before :]
    assert_same_batch(codec.decode(newer.SerializeToString()), spans)


def test_a_column_that_an_older_writer_did_not_know_has_its_default() -> None:
    spans = batch(5)
    message = Message.FromString(codec.encode(spans))
    assert Message.Column.Value("REASONING_TOKENS") in message.columns
    spans.reasoning_tokens = np.full(5, -1)
    message = Message.FromString(codec.encode(spans))
    assert Message.Column.Value("REASONING_TOKENS") not in message.columns
    assert_same_batch(codec.decode(message.SerializeToString()), spans)


def test_the_columns_of_the_program_are_those_of_the_schema() -> None:
    known = [name.lower() for name, number in Message.Column.items() if number]
    assert known == [column.name for column in codec._COLUMNS]


def test_values_that_no_row_has_are_not_kept_where_there_are_many() -> None:
    spans = batch(2)
    many = TextColumn(np.array([700, -1], np.int32), [f"secret-{number}" for number in range(1000)])
    encoded = codec.encode(spans.with_labels({"conversation": many}))
    assert b"secret-700" in encoded
    assert encoded.count(b"secret-") == 1


def test_too_many_names_are_refused_by_the_writer() -> None:
    spans = batch(1)
    numbers = {str(number): np.zeros(1) for number in range(codec.MOST_NAMES + 1)}
    with pytest.raises(ValueError, match="at most 4096"):
        codec.encode(spans.conformed({}, numbers))


def test_a_span_takes_under_ninety_bytes() -> None:
    assert len(codec.encode(batch(512))) / 512 < 90
