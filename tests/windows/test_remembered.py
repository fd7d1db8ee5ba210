"""What codes stand for is found once for the parts of a batch, and again once it may be something else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.model.columns import TextColumn
from tocsin.windows.groups import OVERFLOW, Groups
from tocsin.windows.texts import Texts

VALUES = ["a", "b", "c", "d", "e"]


def column(code: list[int], values: list[str]) -> TextColumn:
    return TextColumn(np.array(code, np.int32), values)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), width=st.integers(1, 2), limit=st.integers(2, 8))
def test_parts_of_a_batch_get_the_slots_that_batches_of_their_own_get(
    data: st.DataObject, width: int, limit: int
) -> None:
    shared, apart = Groups(width, limit), Groups(width, limit)
    lists = [list(VALUES) for _ in range(width)]
    for now in range(data.draw(st.integers(1, 8))):
        rows = data.draw(st.integers(1, 6))
        codes = [data.draw(st.lists(st.integers(-1, 4), min_size=rows, max_size=rows)) for _ in range(width)]
        slots = shared.slots_of([column(code, values) for code, values in zip(codes, lists, strict=True)])
        own = apart.slots_of([column(code, list(VALUES)) for code in codes])
        assert slots.tolist() == own.tolist()
        for row, slot in enumerate(slots.tolist()):
            key = tuple(VALUES[code[row]] for code in codes)
            if any(code[row] < 0 for code in codes):
                assert slot == -1
            else:
                assert shared.keys[slot] in (key, (OVERFLOW,) * width)
        for groups in (shared, apart):
            groups.seen(slots[slots >= 0], np.full(int((slots >= 0).sum()), now))
        if data.draw(st.booleans()):
            before = data.draw(st.integers(0, now + 1))
            swept = [groups.sweep(before, lambda _: False).tolist() for groups in (shared, apart)]
            assert swept[0] == swept[1]


def test_a_group_gets_a_slot_only_when_a_row_has_it() -> None:
    groups = Groups(1, 100)
    assert groups.slots_of([column([3, 3, -1], VALUES)]).tolist() == [0, 0, -1]
    assert len(groups) == 1


@pytest.mark.parametrize("rows", [1, 9])
def test_texts_of_parts_have_one_number_also_after_the_unused_were_found(rows: int) -> None:
    texts, values = Texts(), list(VALUES)
    first = texts.numbers("model", column([0, 1, -1] * rows, values))
    texts.sweep(lambda used: used.__setitem__(first[:1], True))  # only "a" is still somewhere
    again = texts.numbers("model", column([4, 1, 0] * rows, values))
    assert again[2] == first[0]
    assert [texts.text(number) for number in again[:3].tolist()] == ["e", "b", "a"]
