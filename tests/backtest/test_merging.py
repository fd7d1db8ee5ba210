"""Batches in about the order of time become one stream in order of time."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import EPOCH, SECOND, Span, batch_of

from tocsin.model.batch import SpanBatch
from tocsin.service.backtest import merging
from tocsin.service.backtest.merging import in_order


def source(times: list[list[int]], first: int) -> Iterator[SpanBatch]:
    for number, batch in enumerate(times):
        yield batch_of(
            [
                Span(EPOCH + at * SECOND, trace=first, span=number * 100 + row + 1, labels={"conversation": f"c{at}"})
                for row, at in enumerate(batch)
            ]
        )


@settings(max_examples=80, deadline=None)
@given(
    times=st.lists(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5), max_size=8), min_size=1, max_size=3),
    rows=st.integers(1, 6),
)
def test_rows_come_sorted_where_all_are_within_the_slack_and_none_is_lost(
    times: list[list[list[int]]], rows: int
) -> None:
    found = list(in_order([source(each, n + 1) for n, each in enumerate(times)], rows=rows, slack_ns=31 * SECOND))
    ends = [end for batch in found for end in batch.end.tolist()]
    assert ends == sorted(EPOCH + at * SECOND for each in times for batch in each for at in batch)
    assert all(len(batch) == rows for batch in found[:-1])
    for batch in found:
        conversation = batch.labels["conversation"]
        told = [conversation.values[code] for code in conversation.code.tolist()]
        assert told == [f"c{(end - EPOCH) // SECOND}" for end in batch.end.tolist()]
    ids = [pair for batch in found for pair in zip(batch.trace_lo.tolist(), batch.span_id.tolist(), strict=True)]
    assert len(ids) == len(set(ids))


def test_no_more_rows_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_MOST_ROWS", 40)
    given_out = 0

    def counted() -> Iterator[SpanBatch]:
        nonlocal given_out
        for batch in source([[0] * 10] * 50, 1):
            given_out += len(batch)
            yield batch

    taken = 0
    for batch in in_order([counted()], rows=5, slack_ns=SECOND):
        taken += len(batch)
        assert given_out - taken <= 60
        assert (np.diff(batch.end) >= 0).all()
    assert taken == 500
