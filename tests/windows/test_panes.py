"""How wide panes are, when they leave, and that merging their chunks loses nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.windows.panes import Panes, merge_tail, runs_of
from tocsin.windows.reach import pane_width

SECOND = 1_000_000_000
MINUTE = 60 * SECOND

windows = st.one_of(
    st.sampled_from([1, 10, SECOND, 30 * SECOND, 5 * MINUTE, 5 * MINUTE + 1, 60 * MINUTE, 7 * 24 * 60 * MINUTE]),
    st.integers(1, 30 * 24 * 60 * MINUTE),
)
Held = tuple[tuple[int, ...]]


@given(windows)
def test_a_pane_is_a_second_at_most_up_to_five_minutes_and_a_three_hundredth_above(window_ns: int) -> None:
    width = pane_width(window_ns)
    assert width >= 1
    assert width <= (SECOND if window_ns <= 5 * MINUTE else window_ns / 300)
    assert width <= window_ns


@given(windows, st.lists(st.integers(0, 10**19), min_size=1, max_size=20), st.integers(0, 2 * 10**19))
def test_a_window_is_never_shorter_than_asked_and_longer_by_at_most_a_pane(
    window_ns: int, times: list[int], now: int
) -> None:
    times = [time % (2**62) for time in times]
    now %= 2**62
    panes: Panes[Held] = Panes(window_ns)
    for time in times:
        panes.append(time // panes.width_ns, ((time,),))
    removed = {time for chunk in panes.move_to(now)[1] for time in chunk[0]}
    held = {time for chunks in panes.chunks.values() for chunk in chunks for time in chunk[0]}
    assert removed | held == set(times)
    assert not removed & held
    assert all(time <= now - window_ns for time in removed)
    assert all(time > now - window_ns - panes.width_ns for time in held)
    late = panes.is_late(np.array(times, np.int64), now)
    assert {time for time, is_late in zip(times, late.tolist(), strict=True) if is_late} == removed


@given(windows, st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_the_next_change_is_the_first_instant_at_which_something_leaves(window_ns: int, times: list[int]) -> None:
    panes: Panes[Held] = Panes(window_ns)
    for time in times:
        panes.append(time // panes.width_ns, ((time,),))
    held = len(panes.chunks)
    while (due := panes.next_change) is not None:
        assert panes.move_to(due - 1) == ([], [])
        assert panes.move_to(due)[1] != []
        held -= 1
        assert len(panes.chunks) == held
    assert held == 0


def test_panes_leave_in_order_of_time_whatever_the_order_of_arrival() -> None:
    panes: Panes[Held] = Panes(10 * SECOND)
    for pane in (5, 3, 9, 4):
        panes.append(pane, ((pane,),))
    assert [chunk[0][0] for chunk in panes.move_to(10**15)[1]] == [3, 4, 5, 9]
    assert panes.next_change is None


@given(st.lists(st.integers(0, 5), max_size=30))
def test_runs_cover_all_rows_once(values: list[int]) -> None:
    ordered = np.sort(np.array(values, np.int64))
    rows = [row for _, run in runs_of(ordered) for row in range(run.start, run.stop)]
    assert rows == list(range(len(values)))
    assert [pane for pane, _ in runs_of(ordered)] == sorted(set(values))


@given(st.lists(st.integers(1, 50), max_size=400))
def test_chunks_of_a_pane_stay_few_and_lose_nothing(sizes: list[int]) -> None:
    merged_rows = 0

    def merge(chunks: list[Held]) -> Held:
        nonlocal merged_rows
        every = tuple(row for chunk in chunks for row in chunk[0])
        merged_rows += len(every)
        return (every,)

    chunks: list[Held] = []
    for place, size in enumerate(sizes):
        chunks.append(((place,) * size,))
        merge_tail(chunks, merge)
        assert len(chunks) < 32
    every = [row for chunk in chunks for row in chunk[0]]
    assert every == [place for place, size in enumerate(sizes) for _ in range(size)]
    assert merged_rows <= 12 * sum(sizes)
