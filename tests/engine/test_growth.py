"""What traces add up to after each span of a request is what they add up to when the spans come one by one."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.engine.growth import Course, Growth, counted_rows
from tocsin.rules.rule import Metric
from tocsin.windows.traces import SUMS, Contribution, Traces, TraceTimes

METRICS = frozenset({Metric.COST, Metric.LATENCY, Metric.ERROR_RATE})
SECOND = 10**9

rows = st.tuples(
    st.integers(0, 3),  # trace
    st.integers(1, 50),  # start
    st.integers(0, 20),  # length
    st.booleans(),  # root
    st.booleans(),  # failed
    st.integers(-3, 9),  # cost
    st.booleans(),  # whether it adds anything
)


def traces() -> Traces:
    return Traces((), TraceTimes(SECOND, SECOND, SECOND), 100)


def added(spans: list[tuple[Any, ...]]) -> Contribution:
    _, start, length, root, failed, cost, _ = zip(*spans, strict=True)
    begin = np.array(start, np.int64)
    sums = {name: np.array(cost, np.int64) for name in SUMS}
    never, nobody = np.zeros(len(spans), np.bool_), np.zeros(len(spans), np.uint64)
    flags = np.array(root, np.bool_), np.array(failed, np.bool_)
    return Contribution(begin, begin + np.array(length, np.int64), *flags, never, nobody, sums)


def told(known: Traces, spans: list[tuple[Any, ...]]) -> Growth:
    keys = np.array([trace + 1 for trace, *_ in spans], np.uint64)
    nothing = np.zeros(len(spans), np.uint64)
    slots = known.slots(keys, nothing, nothing, np.ones(len(spans), np.int64))
    growth = Growth(known, slots, METRICS)
    own = np.array([row for row, span in enumerate(spans) if span[-1]], np.intp)
    if len(own):
        contribution = added([spans[row] for row in own.tolist()])
        known.add(slots[own], contribution)
        growth.note(own, contribution)
    return growth


def said(growth: Growth) -> list[tuple[int, int, bool]]:
    columns = growth.sum("cost"), growth.latency(), growth.failed()
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(past=st.lists(rows, max_size=4), spans=st.lists(rows, min_size=1, max_size=12))
def test_a_request_of_spans_is_followed_as_if_each_had_come_alone(
    past: list[tuple[Any, ...]], spans: list[tuple[Any, ...]]
) -> None:
    together, singly = traces(), traces()
    for known in (together, singly):
        if past:
            told(known, past)
    assert said(told(together, spans)) == [said(told(singly, [span]))[0] for span in spans]


@given(keys=st.lists(st.integers(0, 3), min_size=1, max_size=12), data=st.data())
def test_a_course_knows_what_came_before_and_after_of_its_own_key(keys: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-9, 9), min_size=len(keys), max_size=len(keys)))
    column, course = np.array(values), Course(np.array(keys))
    later = [
        sum(v for k, v in zip(keys[i + 1 :], values[i + 1 :], strict=True) if k == key) for i, key in enumerate(keys)
    ]
    least = [min(v for k, v in zip(keys[: i + 1], values, strict=False) if k == key) for i, key in enumerate(keys)]
    assert course.came_later(column).tolist() == later
    assert course.running(np.minimum, column).tolist() == least
    assert course.is_single == (len(set(keys)) == len(keys))
    assert course.firsts().tolist() == [keys.index(key) for key in sorted(set(keys))]


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 5)), min_size=1, max_size=12),
    held=st.dictionaries(st.integers(0, 2), st.integers(-2, 5), max_size=3),
)
def test_a_trace_counts_where_it_is_new_or_more_than_it_ever_was(
    steps: list[tuple[int, int]], held: dict[int, int]
) -> None:
    counted, expected = dict(held), []
    for row, (trace, value) in enumerate(steps):
        if trace not in counted or value > counted[trace]:
            expected.append((row, value - counted.get(trace, 0)))
            counted[trace] = value
    traces_of = np.array([trace for trace, _ in steps])
    known = [((), held[trace], 0) if trace in held else None for trace in sorted(set(traces_of.tolist()))]
    growth, found = counted_rows(Course(traces_of), np.array([value for _, value in steps]), known)
    assert list(zip(found.tolist(), growth[found].tolist(), strict=True)) == expected
