"""Text columns as one: the same texts in the same rows, at a cost that goes by rows."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model.batch import _joined
from tocsin.model.columns import TextColumn

dictionaries = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5)


@st.composite
def columns(draw: st.DrawFn) -> list[TextColumn]:
    shared = draw(st.lists(dictionaries, min_size=1, max_size=3))
    parts = []
    for _ in range(draw(st.integers(1, 6))):
        values = draw(st.sampled_from(shared))  # the same object, as `SpanBatch.take` leaves it
        codes = draw(st.lists(st.integers(-1, len(values) - 1), max_size=6))
        parts.append(TextColumn(np.array(codes, np.int32), values))
    return parts


def texts(column: TextColumn) -> list[str | None]:
    return [column.values[code] if code >= 0 else None for code in column.code.tolist()]


@given(columns())
def test_joined_columns_have_the_rows_of_all_and_no_value_twice_or_unused(parts: list[TextColumn]) -> None:
    joined = _joined(parts)
    assert texts(joined) == [text for part in parts for text in texts(part)]
    assert len(set(joined.values)) == len(joined.values)
    assert set(joined.values) == {text for text in texts(joined) if text is not None}
    assert joined.code.dtype == np.int32


def test_rows_that_share_a_large_dictionary_are_joined_in_time_that_goes_by_rows() -> None:
    values = [f"value {number}" for number in range(10_000)]
    parts = [TextColumn(np.array([number], np.int32), values) for number in range(10_000)]
    begun = time.thread_time()
    assert len(_joined(parts).values) == 10_000
    assert time.thread_time() - begun < 1  # by rows times values it takes a minute
