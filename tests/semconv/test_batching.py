"""How spans are put into requests and batches changes nothing about them."""

from itertools import accumulate

import numpy as np
from recorded_requests import EVERYTHING, TRACES, columns_of, normalized, request_of, text

from tocsin.decode import decoder, reference
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import SpanColumns
from tocsin.semconv import Normalized, Normalizer


def spans_of(columns: SpanColumns, normalizer: Normalizer) -> Normalized:
    return normalizer.spans(columns, np.zeros(len(columns), np.int64))


def assert_same_rows(one: Normalized, rows: range, other: Normalized) -> None:
    assert len(rows) == len(other.batch)
    for name in SpanBatch.__slots__:
        if name in ("labels", "numbers", "arrival") or name.startswith("cost") or name == "computed_nano":
            continue
        column = getattr(one.batch, name)[rows.start : rows.stop]
        np.testing.assert_array_equal(column, getattr(other.batch, name), err_msg=name)
    for name, numbers in other.batch.numbers.items():
        np.testing.assert_array_equal(one.batch.numbers[name][rows.start : rows.stop], numbers, err_msg=name)
    for name in other.batch.labels:
        assert [text(one, name, row) for row in rows] == [text(other, name, row) for row in range(len(rows))], name


def test_all_recorded_requests_in_one_batch_equal_each_alone() -> None:
    normalizer = Normalizer(EVERYTHING)
    decoded = decoder(normalizer.projection).traces([request_of(entry["file"]) for entry in TRACES])
    together = spans_of(decoded.columns, normalizer)
    ends = list(accumulate(entry["spans"] for entry in TRACES))
    for entry, end in zip(TRACES, ends, strict=True):
        assert_same_rows(together, range(end - entry["spans"], end), normalized(entry["file"]))


def test_both_decoders_lead_to_the_same_batch() -> None:
    normalizer = Normalizer(EVERYTHING)
    for entry in TRACES:
        fast = spans_of(columns_of(entry["file"], normalizer), normalizer)
        decoded = reference.Decoder(normalizer.projection).traces([request_of(entry["file"])])
        assert_same_rows(fast, range(len(fast.batch)), spans_of(decoded.columns, normalizer))
