"""Numbers of texts: stable while a column has them, given to others afterwards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.windows.texts import Texts, kept_codes, with_room


def test_equal_texts_have_one_number_and_the_last_is_that_of_none() -> None:
    texts = Texts()
    codes = texts.codes(["a", "b", "a"])
    assert codes.tolist() == [1, 2, 1, 0]
    assert texts.codes(["b", "c"]).tolist() == [2, 3, 0]
    assert texts.objects(np.array([0, 3, 1])).tolist() == [None, "c", "a"]


words = st.lists(st.text("abcdefgh", min_size=1, max_size=2), min_size=1, max_size=12)


@given(st.lists(st.tuples(words, st.booleans(), st.integers(0, 40)), max_size=30))
def test_a_number_stands_for_its_text_as_long_as_a_column_has_it(steps: list[tuple[list[str], bool, int]]) -> None:
    texts, column = Texts(), np.zeros(0, np.int32)
    held: list[str] = []
    for values, is_swept, dropped in steps:
        column, held = np.concatenate([column, texts.codes(values)[:-1]]), held + values
        column, held = column[dropped:], held[dropped:]
        if is_swept:
            swept = column

            def mark(used: NDArray[np.bool_], column: NDArray[np.int32] = swept) -> None:
                used[column] = True

            texts.sweep(mark)
        assert texts.objects(column).tolist() == held
        back = Texts()
        kept = kept_codes(column, texts.values())
        assert isinstance(kept, dict)
        numbers = back.codes(kept["values"])[np.broadcast_to(kept["code"], len(column))]
        assert back.objects(numbers).tolist() == held


def test_texts_that_nobody_has_any_more_take_no_room() -> None:
    texts = Texts()
    for round_ in range(20):
        last = texts.codes([f"{round_} {n}" for n in range(10_000)])

        def mark(used: NDArray[np.bool_], codes: NDArray[np.int32] = last) -> None:
            used[codes] = True

        if texts.is_crowded:
            texts.sweep(mark)
    assert len(texts) <= 40_000


def test_a_column_of_many_texts_becomes_wider_and_keeps_what_it_had() -> None:
    texts = Texts()
    column = texts.column(4)
    assert column.dtype == np.uint16
    column[:2] = texts.codes(["a", "b"])[:-1]
    texts.codes([str(n) for n in range(1 << 16)])
    wide = with_room(column, 8, texts)
    assert wide.dtype == np.uint32
    assert wide.tolist() == [1, 2, 0, 0, 0, 0, 0, 0]
