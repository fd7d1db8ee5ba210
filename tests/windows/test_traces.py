"""Traces against lists of their spans: sums, extents, failures, attributes, completion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.windows import failures as module
from tocsin.windows.index import mix
from tocsin.windows.traces import GRID_NS, SUMS, Contribution, Traces, TraceTimes

SECOND = 1_000_000_000
TIMES = TraceTimes(grace=5 * SECOND, idle=60 * SECOND, max_age=3600 * SECOND)
NOW = 1_700_000_000 * SECOND
Slots = NDArray[np.int32]


@dataclass(frozen=True)
class Seen:
    """A span of trace `trace`; parent 0: a root."""

    trace: int
    start: int
    end: int
    parent: int = 1
    failed: bool = False
    is_call: bool = True
    amount: int = 0
    text: str | None = None
    number: float = float("nan")


spans = st.builds(
    Seen,
    trace=st.integers(1, 3),
    start=st.integers(1, 50),
    end=st.integers(51, 100),
    parent=st.integers(0, 3),
    failed=st.booleans(),
    is_call=st.booleans(),
    amount=st.integers(0, 10**12),
    text=st.sampled_from([None, "a", "b", "c"]),
    number=st.sampled_from([float("nan"), -1.5, 0.0, 2.0, 7.25]),
)
histories = st.lists(st.lists(spans, min_size=1, max_size=5), min_size=1, max_size=6)


def ids(numbers: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    hi, lo = np.full(len(numbers), 0xABC, np.uint64), np.array(numbers, np.uint64)
    return mix(hi, lo), hi, lo


def codes_of(traces: Traces, texts: Sequence[str | None]) -> NDArray[np.int32]:
    named = [text for text in texts if text is not None]
    codes = dict(zip(named, traces.known_texts.codes(named).tolist(), strict=False))
    return np.array([0 if text is None else codes[text] for text in texts], np.int32)


def feed(traces: Traces, batch: Sequence[Seen], now: int) -> Slots:
    """Add spans as the engine does and return their traces' slots."""
    slots = traces.slots(*ids([span.trace for span in batch]), np.full(len(batch), now))
    texts = [span.text for span in batch]
    for label in traces.labels:
        traces.learn(slots, label, codes_of(traces, texts))
    traces.add_numbers(slots, {"score": np.array([span.number for span in batch])})
    parents = mix(
        np.array([span.trace for span in batch], np.uint64), np.array([span.parent for span in batch], np.uint64)
    )
    amounts = np.array([span.amount for span in batch], np.int64)
    traces.add(
        slots,
        Contribution(
            np.array([span.start for span in batch], np.int64),
            np.array([span.end for span in batch], np.int64),
            np.array([span.parent == 0 for span in batch]),
            np.array([span.failed for span in batch]),
            np.array([span.is_call for span in batch]),
            np.where(np.array([span.parent == 0 for span in batch]), np.uint64(0), parents),
            {name: amounts * (i + 1) for i, name in enumerate(SUMS)},
        ),
    )
    return slots


def is_failed(own: Sequence[Seen]) -> bool:
    """The root failed, or a call did that no later attempt of the same parent made good."""
    calls = [span for span in own if span.is_call and span.parent]
    return any(span.failed and span.parent == 0 for span in own) or any(
        span.failed
        and not any(other.parent == span.parent and not other.failed and other.end >= span.end for other in calls)
        for span in calls
    )


@given(histories)
def test_a_trace_is_what_its_spans_add_up_to(batches: list[list[Seen]]) -> None:
    traces = Traces(["tenant"], TIMES, 1000)
    traces.follow_numbers(["score"])
    slot_of: dict[int, int] = {}
    for batch in batches:
        slots = feed(traces, batch, NOW)
        for span, slot in zip(batch, slots.tolist(), strict=True):
            assert slot_of.setdefault(span.trace, slot) == slot
    every = [span for batch in batches for span in batch]
    assert len(traces) == len(slot_of)
    for trace, slot in slot_of.items():
        own = [span for span in every if span.trace == trace]
        place = np.array([slot], np.int32)
        for i, name in enumerate(SUMS):
            assert traces.column(name)[slot] == sum(span.amount for span in own) * (i + 1)
        roots = [span.end - span.start for span in own if span.parent == 0]
        extent = max(span.end for span in own) - min(span.start for span in own)
        assert traces.latency(place).tolist() == [max(roots) if roots else extent]
        assert traces.failed(place).tolist() == [is_failed(own)]
        texts = tuple(dict.fromkeys(span.text for span in own if span.text is not None))
        assert traces.texts(slot, "tenant") == texts
        first = traces.known_texts.objects(traces.known(place, "tenant"))
        assert first.tolist() == [texts[0] if texts else None]
        assert traces.trace_id(slot) == f"{0xABC:016x}{trace:016x}"
        numbers = [span.number for span in own if not np.isnan(span.number)]
        folds: dict[str, Callable[[list[float]], float]] = {
            "sum": sum, "min": min, "max": max, "mean": lambda held: sum(held) / len(held),
        }  # fmt: skip
        for fold, combine in folds.items():
            value, has_one = traces.number(place, "score", fold)
            assert has_one.tolist() == [bool(numbers)]
            assert not numbers or value[0] == pytest.approx(combine(numbers), rel=1e-12)


@settings(max_examples=200)
@given(
    st.lists(spans, min_size=1, max_size=10), st.randoms(use_true_random=False), st.lists(st.integers(1, 4), min_size=1)
)
def test_neither_order_nor_batches_change_a_trace(every: list[Seen], random: object, sizes: list[int]) -> None:
    shuffled = every.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    found = []
    for order, steps in ((every, [len(every)]), (every, [1]), (shuffled, sizes)):
        traces = Traces([], TIMES, 1000)
        begin = turn = 0
        while begin < len(order):
            feed(traces, order[begin : begin + steps[turn % len(steps)]], NOW)
            begin, turn = begin + steps[turn % len(steps)], turn + 1
        slots = traces.slots(*ids(traced := sorted({span.trace for span in every})), np.full(len(traced), NOW))
        columns = [traces.column(name)[slots].tolist() for name in (*SUMS, "start", "end")]
        found.append([*columns, traces.latency(slots).tolist(), traces.failed(slots).tolist()])
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_a_success_is_remembered_for_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GOOD_CALLS", 10)
    traces = Traces([], TIMES, 1000)
    slots = feed(traces, [Seen(1, 1, 90, parent=5)], NOW)
    feed(traces, [Seen(2, 1, 90, parent=i) for i in range(6, 16)], NOW)
    feed(traces, [Seen(1, 1, 80, parent=5, failed=True)], NOW)
    assert traces.failed(slots).tolist() == [False]
    for i in range(40):
        feed(traces, [Seen(3, 1, 90, parent=100 + i)], NOW)
    feed(traces, [Seen(1, 1, 80, parent=5, failed=True)], NOW)
    assert traces.failed(slots).tolist() == [True]


def test_of_many_values_of_an_attribute_the_first_eight_are_kept() -> None:
    traces = Traces(["tenant"], TIMES, 1000)
    (slot, *_) = feed(traces, [Seen(1, 1, 2, text=f"t{i}") for i in range(20)], NOW).tolist()
    assert traces.texts(slot, "tenant") == tuple(f"t{i}" for i in range(8))
    traces.extend(["user"])
    feed(traces, [Seen(1, 1, 2, text="late")], NOW)
    assert traces.texts(slot, "user") == ("late",)


class Model:
    """When traces are complete, by the contract; times in seconds, on the grid."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[int, int, bool]] = {}

    def see(self, trace: int, now: int, root: bool) -> None:
        first, _, rooted = self.open.get(trace, (now, now, False))
        self.open[trace] = first, now, rooted or root

    def due(self, trace: int) -> int:
        first, last, rooted = self.open[trace]
        at = min(last + (TIMES.grace if rooted else TIMES.idle), first + TIMES.max_age)
        return -(-at // GRID_NS) * GRID_NS


moves = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30_000_000, SECOND, 4 * SECOND, 5 * SECOND, 59 * SECOND, 61 * SECOND, 900 * SECOND]),
        st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=15,
)


@given(moves, st.integers(0, GRID_NS - 1))
def test_a_trace_is_complete_after_grace_idle_or_max_age_and_not_before(
    course: list[tuple[int, list[tuple[int, bool]]]], offset: int
) -> None:
    traces, model = Traces([], TIMES, 1000), Model()
    done: set[int] = set()
    now = NOW + offset
    late = 0

    def pass_to(until: int) -> None:
        while (due := traces.next_due) is not None and due <= until:
            wanted = {trace for trace in model.open if model.due(trace) <= due}
            found = traces.complete(due)
            assert {int(traces.column("lo")[slot]) for slot in found.tolist()} == wanted
            done.update(wanted)
            for trace in wanted:
                assert model.due(trace) == due, "at its own instant"
                del model.open[trace]
        assert all(model.due(trace) > until for trace in model.open)

    for passed, batch in course:
        pass_to(now + passed)
        now += passed
        feed(traces, [Seen(trace, 1, 2, parent=0 if root else 1) for trace, root in batch], now)
        for trace, root in batch:
            if trace in done:
                late += 1
            else:
                model.see(trace, now, root)
        assert traces.late_spans == late
        assert len(traces) == len(model.open)
    pass_to(now + 2 * TIMES.max_age)
    assert len(traces) == 0
    assert traces.next_due is None


def test_a_span_after_completion_changes_nothing() -> None:
    traces = Traces([], TIMES, 1000)
    slots = feed(traces, [Seen(1, 10, 20, parent=0, amount=7)], NOW)
    assert traces.complete(NOW + 5 * SECOND).tolist() == slots.tolist()
    assert feed(traces, [Seen(1, 1, 99, parent=0, amount=5, failed=True)], NOW + 6 * SECOND).tolist() == slots.tolist()
    assert traces.column("cost")[slots].tolist() == [7]
    assert traces.latency(slots).tolist() == [10]
    assert traces.failed(slots).tolist() == [False]
    assert traces.late_spans == 1


def test_past_the_limit_the_traces_that_were_quiet_for_longest_are_completed() -> None:
    traces = Traces([], TIMES, 32)
    for i in range(40):
        feed(traces, [Seen(1 + i, 1, 2)], NOW + i)
    due = traces.next_due
    assert due is not None
    assert due <= NOW + GRID_NS
    closed = traces.complete(due)
    assert traces.column("lo")[closed].tolist() == list(range(1, len(closed) + 1))
    assert 32 - 2 <= len(traces) <= 32


def test_a_table_of_old_traces_is_compacted_and_says_where_its_slots_went() -> None:
    traces = Traces(["tenant"], TIMES, 100_000)
    now = NOW
    held: dict[int, int] = {}
    compactions = 0
    for i in range(150):
        now += 3 * SECOND
        due = traces.next_due
        if due is not None and due <= now:
            completed = {int(traces.column("lo")[slot]) for slot in traces.complete(now).tolist()}
            if traces.moved is not None:
                held = {trace: int(traces.moved[slot]) for trace, slot in held.items() if traces.moved[slot] >= 0}
                traces.moved = None
                compactions += 1
            held = {trace: slot for trace, slot in held.items() if trace not in completed}
        batch = [Seen(1 + i * 100 + k, 1, 2, parent=k % 2, amount=k, text=f"t{k}") for k in range(100)]
        held |= dict(zip((span.trace for span in batch), feed(traces, batch, now).tolist(), strict=True))
        for trace, slot in held.items():
            k = (trace - 1) % 100
            assert traces.column("lo")[slot] == trace
            assert traces.column("cost")[slot] == k
            assert traces.texts(slot, "tenant") == (f"t{k}",)
        assert len(traces) == len(held)
    assert compactions > 1
    assert max(held.values()) < 100 * 150 / 2
