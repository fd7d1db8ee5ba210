"""Every aggregate over every kind of window, against the raw samples: offsets, buckets, periods, compact panes."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from test_sketches import assert_quantiles
from test_sums import assert_floats, assert_integers
from window_histories import Row, samples_of
from window_kinds import KINDS, USED, Course, Kind, Offset, Step, courses, is_same, patient, steps

from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums

numbers = st.one_of(st.floats(1e-6, 1e12), st.sampled_from([0.1, 1.0, 123456789.123]))
signed = st.one_of(st.floats(-1e4, 1e4).filter(lambda x: x == 0 or abs(x) > 1e-3), st.sampled_from([0.0, 7.0]))
weights = st.sampled_from([1.0, 2.0, 3.7, 128.0])


def whole_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    priced = st.builds(Row, st.just(slot), st.just(time), st.integers(1, 10**13), st.just(1.0), st.integers(0, 1))
    return st.one_of(priced, priced, st.builds(Row, st.just(slot), st.just(time), st.just(0), unpriced=st.just(True)))


def rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), numbers)


def weighted_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), numbers, weights)


def signed_rows(slot: int, time: int) -> st.SearchStrategy[Row]:
    return st.builds(Row, st.just(slot), st.just(time), signed)


@patient(100)
@given(courses, steps(whole_rows))
def test_integer_sums(kind: Kind, history: list[Step]) -> None:
    course = Course(kind, IntegerSums, np.int64)
    for step in history:
        course.take(step)
        assert isinstance(course.window, IntegerSums)
        for slot in USED:
            assert_integers(course.window, slot, course.of(slot))


@patient(150)
@given(courses, st.one_of(steps(rows), steps(weighted_rows), steps(signed_rows)))
def test_float_sums(kind: Kind, history: list[Step]) -> None:
    course = Course(kind, FloatSums)
    for step in history:
        course.take(step)
        assert isinstance(course.window, FloatSums)
        for slot in USED:
            assert_floats(course.window, slot, course.of(slot))


@patient(100)
@given(courses, steps(signed_rows), st.booleans())
def test_extremes(kind: Kind, history: list[Step], largest: bool) -> None:
    course = Course(kind, lambda panes: Extremes(panes, largest=largest))
    best = max if largest else min
    for step in history:
        course.take(step)
        assert isinstance(course.window, Extremes)
        for slot in USED:
            held = [row.value for row in course.of(slot)]
            assert is_same(course.window.extreme(np.array([slot]))[0], best(held) if held else math.nan)
            assert course.window.samples(np.array([slot])).tolist() == [len(held)]


@patient(100)
@given(courses, steps(signed_rows))
def test_last_values(kind: Kind, history: list[Step]) -> None:
    course = Course(kind, LastValues)
    for step in history:
        course.take(step)
        assert isinstance(course.window, LastValues)
        for slot in USED:
            held = course.of(slot)
            last = max(enumerate(held), key=lambda item: (item[1].time, item[0]), default=(0, None))[1]
            assert is_same(course.window.last(np.array([slot]))[0], math.nan if last is None else last.value)
            assert course.window.samples(np.array([slot])).tolist() == [len(held)]


@patient(100)
@given(courses, steps(signed_rows))
def test_percentiles(kind: Kind, history: list[Step]) -> None:
    course = Course(kind, Sketches)
    for step in history:
        course.take(step)
        assert isinstance(course.window, Sketches)
        for slot in USED:
            place, held = np.array([slot]), [row.value for row in course.of(slot)]
            bound = course.window.at_most(place)[0]  # before a percentile is asked for, which finds it anew
            if held:
                assert bound >= max(held) - 0.01 * abs(max(held)) * (1 + 1e-9)
                assert course.window.highest(place) == bound
            assert_quantiles(course.window, slot, held)


at_once = st.sampled_from([kind for kind in KINDS if not kind.panes().waits])


@patient(60)
@given(at_once, steps(rows))
def test_after_each_is_what_one_by_one_would_have_given_of_floats(kind: Kind, history: list[Step]) -> None:
    course = Course(kind, FloatSums)
    for step in history:
        added = course.take(step)
        assert isinstance(course.window, FloatSums)
        for slot in {row.slot for row in added}:
            own = [row for row in added if row.slot == slot]
            held = course.of(slot)
            past = course.window.after_each(slot, samples_of(own))
            for i in range(len(own)):
                largest = max(row.value for row in own)
                assert_floats(past, slot, held[: len(held) - len(own) + i + 1], at=i, taken_back=largest)


@patient(60)
@given(at_once, steps(whole_rows))
def test_after_each_is_what_one_by_one_would_have_given_of_integers(kind: Kind, history: list[Step]) -> None:
    course = Course(kind, IntegerSums, np.int64)
    for step in history:
        added = course.take(step)
        assert isinstance(course.window, IntegerSums)
        for slot in {row.slot for row in added}:
            own = [row for row in added if row.slot == slot]
            held = course.of(slot)
            past = course.window.after_each(slot, samples_of(own, np.int64))
            for i in range(len(own)):
                assert_integers(past, slot, held[: len(held) - len(own) + i + 1], at=i)
            assert past.seconds() == course.window.seconds()


@patient(100)
@given(st.sampled_from([0, 1, 7]), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=30))
def test_a_window_is_never_shorter_than_asked_and_longer_by_less_than_a_pane_at_each_end(
    offset: int, events: list[tuple[int, int]]
) -> None:
    second = 10**9
    kind = Offset(10 * second, offset * second)
    course = Course(kind, IntegerSums, np.int64)
    width = course.window.panes.width_ns
    added: list[int] = []
    for passed, age in events:
        before = course.now
        course.take(Step(passed * second // 7, (Row(0, -age * second // 5, 1),)))
        assert course.now >= before
        added = [row.time for row, _ in course.rows]
        end = course.now - offset * second
        surely = sum(end - 10 * second < time <= end for time in added)
        perhaps = sum(end - 10 * second - width < time < (end + width if offset else course.now + 1) for time in added)
        assert surely <= course.window.samples(np.array([0]))[0] <= perhaps
