"""A long request is taken in few parts, and says what it does where the engine stops at every complete trace."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from comparing import HORIZON
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from samples import EPOCH, SECOND, Span, batch_of, histories, rule_of, rules, splits

from tocsin.alerts.event import AlertEvent
from tocsin.engine import Engine
from tocsin.engine.ancestry import Keys
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.engine.statistics import EngineStatistics
from tocsin.model.batch import SpanBatch
from tocsin.rules.rule import Rule
from tocsin.windows.texts import Texts
from tocsin.windows.traces import Traces, TraceTimes

BRIEF = TraceConfig(grace=timedelta(seconds=1), idle=timedelta(seconds=3), max_age=timedelta(seconds=9))


class Stopping(Engine):
    """An engine that stops wherever a trace may be complete."""

    def _steady_until(self, batch: SpanBatch, keys: Keys, row: int, due: int, until: int) -> int:
        return due


def said(
    kind: type[Engine], tested: Sequence[Rule], requests: Sequence[Sequence[Span]]
) -> tuple[list[str], EngineStatistics]:
    """Return all that an engine says, and what it counted before the end.

    Each group's events are in their order, in a form in which NaN equals itself; which group comes first within a
    request is nobody's concern.
    """
    engine = kind(tested, BRIEF, LimitsConfig(traces=100, waiting=5))
    events: list[AlertEvent] = []
    for request in requests:
        events += engine.ingest(batch_of(request), max(span.time for span in request))
    statistics = engine.statistics
    events += engine.advance(HORIZON)
    events.sort(key=lambda event: (event.rule.name, sorted(event.group.items())))
    return [*map(repr, events)], statistics


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    spans=st.one_of(
        histories(spread=40 * SECOND, grid=SECOND // 10, max_traces=12),
        histories(spread=40 * SECOND, grid=SECOND // 10, rooted=True),
        histories(spread=200 * SECOND, trees=True),
    ),
)
def test_a_long_request_says_what_it_says_with_a_stop_at_every_trace(data: st.DataObject, spans: list[Span]) -> None:
    tested = [replace(data.draw(rules(timers=True)), name=f"rule {number}") for number in range(2)]
    tested.append(replace(data.draw(rules(windowless=True)), name="rule without a window"))
    requests = [request for request in data.draw(splits(spans)) if request]
    if data.draw(st.booleans()):  # late ones among them
        requests = data.draw(st.permutations(requests))
    assert said(Engine, tested, requests) == said(Stopping, tested, requests)


@pytest.mark.parametrize("kind", [Engine, Stopping])
def test_a_span_after_the_end_of_its_trace_is_late_in_a_long_request_too(kind: type[Engine]) -> None:
    spans = [Span(EPOCH + n * SECOND, trace=n % 2 * 100 + 1 + n // 8, span=n + 1, parent=7) for n in range(16)]
    again = Span(EPOCH + 17 * SECOND, trace=1, span=99, parent=7)
    _, statistics = said(kind, [rule_of()], [[*spans, again]])
    assert statistics.late_in_trace == 1


def test_a_request_of_many_traces_is_taken_in_few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = [Span(EPOCH + n * SECOND // 10, trace=n + 1, span=n + 1) for n in range(300)]
    parts: list[int] = []
    feed = Engine._feed

    def counting(self: Engine, batch: SpanBatch, keys: Keys) -> None:
        parts.append(len(batch))
        feed(self, batch, keys)

    monkeypatch.setattr(Engine, "_feed", counting)
    engine = Engine([rule_of(window_ns=3600 * SECOND)])
    engine.ingest(batch_of(spans), spans[-1].time)
    assert len(parts) <= 8  # half a minute, five seconds at a time, and where the first traces are complete
    assert engine.statistics.open_traces == 50  # of less than five seconds ago


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 32), traces=st.integers(1, 4000), seconds=st.integers(1, 60), limit=st.integers(100, 3000)
)
def test_traces_close_and_are_forgotten_at_the_same_instants(seed: int, traces: int, seconds: int, limit: int) -> None:
    random = np.random.default_rng(seed)
    # A trace has its spans near to each other, and now and then one that is far off.
    keys = np.sort(random.integers(1, traces + 1, 6000)).astype(np.uint64)
    shift = np.where(random.random(6000) < 0.1, random.normal(0, 8, 6000), random.normal(0, 1, 6000))
    at = EPOCH + ((np.arange(6000) / 6000 * seconds + shift + 60) * 1e9).astype(np.int64)
    order = np.argsort(at, kind="stable")
    is_root = random.random(6000) < 0.3
    plain, quick = (_closed(keys[order], at[order], is_root[order], limit, quick=quick) for quick in (False, True))
    assume(plain[-1] <= limit)  # past it some are closed early, as requests have it
    assert plain[:-1] == quick[:-1]


def _closed(
    keys: NDArray[np.uint64], at: NDArray[np.int64], is_root: NDArray[np.bool_], limit: int, *, quick: bool
) -> tuple[list[tuple[int, list[int]]], list[int], int, int, int]:
    """Return when which traces were complete, what was known of each span's, how many are open, late, and were open."""
    traces = Traces(("name",), TraceTimes(SECOND, 3 * SECOND, 9 * SECOND), limit, Texts())
    closed: list[tuple[int, list[int]]] = []
    known: list[int] = []

    def close(due: int) -> None:
        slots = traces.complete(due)
        if len(slots):
            closed.append((due, sorted(traces.column("hi")[slots].tolist())))

    row = most = 0
    while row < len(at):
        due, until = traces.next_due, int(at[row]) + SECOND
        if due is not None and due < until:
            end = int(np.searchsorted(at, until))
            steady = traces.steady_until(keys[row:end], at[row:end], until, lambda _: []) if quick else due
            until = max(due, steady)
        end = int(np.searchsorted(at, until))
        if end == row:
            close(int(due or 0))
            continue
        rows = slice(row, end)
        slots = traces.slots(keys[rows], keys[rows], keys[rows], at[rows])
        traces.learn(slots, "name", np.arange(row + 1, end + 1, dtype=np.int32))
        traces.add_roots(slots, at[rows], at[rows], np.zeros(end - row, np.bool_), is_root[rows])
        most = max(most, len(traces))
        known += traces.known(slots, "name").tolist()
        while quick and (due := traces.next_due) is not None and due <= at[end - 1]:
            close(due)
        row = end
    return closed, known, len(traces), traces.late_spans, most
