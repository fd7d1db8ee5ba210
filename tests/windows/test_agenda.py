"""The agenda against a list of notes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.windows.agenda import Agenda

GRID = 100
notes = st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 1000))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("note"), notes),
        st.tuples(st.just("each"), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1000)), max_size=6)),
        st.tuples(st.just("take"), st.integers(0, 1100)),
        st.tuples(st.just("renumber"), st.sets(st.integers(0, 9))),
    ),
    max_size=15,
)


def slots(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


def on_grid(time: int) -> int:
    return -(-time // GRID) * GRID


@given(steps)
def test_a_slot_is_taken_at_the_first_instant_of_the_grid_after_its_time(course: list[tuple[str, object]]) -> None:
    agenda = Agenda(GRID)
    held: list[tuple[int, int]] = []
    for name, argument in course:
        match name, argument:
            case "note", (list() as values, int() as time):
                agenda.note(slots(values), time)
                held += [(on_grid(time), value) for value in values]
            case "each", list() as pairs:
                agenda.note_each(slots([one for one, _ in pairs]), np.array([time for _, time in pairs], np.int64))
                held += [(on_grid(time), value) for value, time in pairs]
            case "take", int() as now:
                wanted = sorted({value for time, value in held if time <= now})
                assert agenda.take(now).tolist() == wanted
                held = [(time, value) for time, value in held if time > now]
            case "renumber", set() as dropped:
                moved = np.full(10, -1, np.int32)
                kept = [value for value in range(10) if value not in dropped]
                moved[kept] = np.arange(len(kept))
                agenda.renumber(moved)
                held = [(time, int(moved[value])) for time, value in held if moved[value] >= 0]
            case _:
                pass
        earliest = min((time for time, _ in held), default=None)
        found = agenda.next_time
        assert earliest is None or (found is not None and found <= earliest)
    assert agenda.take(10_000).tolist() == sorted({value for _, value in held})
    assert agenda.next_time is None
