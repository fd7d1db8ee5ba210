"""Groups against a dict: slots are stable while a group lives, and used again afterwards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.windows.groups import OVERFLOW, Groups, grown

names = st.lists(st.sampled_from("abcdefghij"), max_size=8)
courses = st.lists(st.tuples(names, st.integers(1, 40)), min_size=1, max_size=12)


def never(slot: int) -> bool:
    return False


@given(courses)
def test_slots_are_those_of_their_groups_until_they_are_swept(course: list[tuple[list[str], int]]) -> None:
    groups = Groups(1, 100)
    held: dict[str, tuple[int, int]] = {}
    now = 0
    for values, passed in course:
        now += passed
        slots = groups.slots_of_texts(values)
        assert slots[-1] == -1
        assert slots.dtype == np.int32
        for value, slot in zip(values, slots[:-1].tolist(), strict=True):
            assert held.get(value, (slot, 0))[0] == slot, "a group keeps its slot"
            assert groups.keys[slot] == (value,)
            assert groups.slot((value,)) == groups.find((value,)) == slot
            held[value] = slot, now
        groups.seen(slots[:-1], np.full(len(values), now))
        assert len({slot for slot, _ in held.values()}) == len(held) == len(groups)
        gone = groups.sweep(now - 30, never)
        assert {value for value, (_, last) in held.items() if last < now - 30} == {
            value for value, (slot, _) in held.items() if slot in gone
        }
        held = {value: entry for value, entry in held.items() if entry[0] not in gone}
        assert groups.find(("z",)) is None
    assert groups.capacity <= 16


def test_a_value_that_stands_twice_in_one_batch_is_one_group() -> None:
    groups = Groups(1, 100)
    first, second, other, _ = groups.slots_of_texts(["acme", "acme", "other"]).tolist()
    assert first == second != other
    assert len(groups) == 2
    groups.sweep(1, never)
    groups.sweep(1, never)
    assert len(groups) == 0


def test_spared_groups_stay() -> None:
    groups = Groups(1, 100)
    quiet, firing = groups.slot(("quiet",)), groups.slot(("firing",))
    groups.seen(np.array([quiet, firing], np.int32), np.array([5, 5]))
    assert groups.sweep(6, lambda slot: slot == firing).tolist() == [quiet]
    assert groups.find(("quiet",)) is None
    assert groups.find(("firing",)) == firing
    assert groups.slot(("new",)) == quiet


def test_past_the_limit_new_groups_share_one_that_says_so() -> None:
    groups = Groups(1, 3)
    known = groups.slots_of_texts(["a", "b", "c"])[:-1].tolist()
    assert groups.overflowed == 0
    slots = groups.slots_of_texts(["d", "a", "e"])
    assert slots[1] == known[0]
    assert slots[0] == slots[2]
    assert groups.keys[slots[0]] == (OVERFLOW,)
    groups.seen(slots[:-1], np.array([1, 1, 1]))
    assert groups.overflowed == 2, "samples of groups past the limit are counted"
    assert len(groups) == 4


def test_the_overflow_group_takes_no_place_of_another() -> None:
    groups = Groups(2, 2)
    first, second = groups.slot(("a", "x")), groups.slot(("b", "x"))
    over = groups.slot(("c", "x"))
    assert groups.keys[over] == (OVERFLOW, OVERFLOW)
    groups.seen(np.array([first, second, over], np.int32), np.array([1, 9, 9]))
    groups.sweep(5, never)
    assert groups.keys[groups.slot(("c", "x"))] == ("c", "x")
    assert groups.slot(("d", "x")) == over
    groups.sweep(20, never)
    assert len(groups) == 0
    again = [groups.slot((name, "x")) for name in "abc"]
    assert len(set(again)) == 3
    assert groups.keys[again[2]] == (OVERFLOW, OVERFLOW)


def test_a_group_that_is_called_like_the_overflow_is_it() -> None:
    groups = Groups(1, 2)
    own = groups.slot((OVERFLOW,))
    groups.slot(("a",))
    assert groups.slot(("b",)) == own


def test_a_grouping_without_labels_has_one_slot_whatever_the_limit() -> None:
    groups = Groups(0, 0)
    assert groups.slot(()) == groups.slot(()) == 0
    assert groups.overflowed == 0


def test_there_is_room_for_any_number() -> None:
    groups = Groups(1, 10_000)
    slots = groups.slots_of_texts([str(i) for i in range(5000)])[:-1]
    assert sorted(slots.tolist()) == list(range(5000))
    assert groups.capacity >= 5000
    assert len(groups.last_time) == len(groups.keys) == groups.capacity
    assert grown(np.ones((2, 3)), 4, 0).tolist() == [[1] * 3] * 2 + [[0] * 3] * 2
