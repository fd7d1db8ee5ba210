"""Late samples, samples from the future, and more groups than there may be."""

import time
from dataclasses import replace

import numpy as np
import pytest
from comparing import at, story
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, rule_of

from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.model.batch import SpanBatch
from tocsin.model.columns import TextColumn
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.rule import Condition, Metric
from tocsin.windows.groups import OVERFLOW

USD = 10**9


def call(second: float, usd: float = 1, number: int = 0, **fields: object) -> Span:
    made = Span(at(second), 1, number or round(second * 1000) + 1, cost_nano=round(usd * USD))
    return replace(made, **fields)  # type: ignore[arg-type]


def test_a_late_span_is_counted_where_it_belongs() -> None:
    rule = rule_of(threshold=2.5, window_ns=60 * SECOND)
    spans = [call(50), call(80), call(40, arrival=at(81))]
    assert story(rule, spans, 130) == ["firing@80", "resolved@101"]


def test_a_span_older_than_the_window_is_counted_as_late() -> None:
    engine = Engine([rule := rule_of(threshold=0.5, window_ns=10 * SECOND, group_by=(("tenant",),))])
    engine.ingest(batch_of([call(100, labels={"tenant": "a"})]), at(100))
    assert engine.ingest(batch_of([call(80, labels={"tenant": "b"})]), at(100)) == []
    assert engine.statistics.late == {rule.key: 1}
    assert engine.statistics.samples == {rule.key: 1}


def test_a_late_hit_neither_ends_an_alert_early_nor_hides_its_trace() -> None:
    rule = rule_of(threshold=1, window_ns=None, cooldown_ns=60 * SECOND)
    engine = Engine([rule])
    engine.ingest(batch_of([call(100, 2)]), at(100))
    engine.ingest(batch_of([call(40, 3, trace=7)]), at(101))
    (reminder,) = engine.advance(at(161))
    assert [share.value for share in reminder.evidence.traces] == [3, 2]
    assert [event.transition.value for event in engine.advance(at(170))] == []


def test_a_span_from_the_future_is_counted_at_the_present() -> None:
    engine = Engine([rule_of(threshold=1.5, window_ns=MINUTE)])
    engine.ingest(batch_of([call(0)]), at(0))
    (event,) = engine.ingest(batch_of([call(3600)]), at(1))
    assert event.evidence.value == 2
    assert engine.time <= at(11)
    assert engine.statistics.future == 1


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    engine = Engine([rule_of(threshold=1.5, window_ns=MINUTE)])
    engine.ingest(batch_of([call(9)]), at(0))
    assert (engine.time, engine.statistics.future) == (at(9), 0)


def test_a_group_that_a_rule_names_is_not_crowded_out() -> None:
    crowded = rule_of(name="crowded", metric=Metric.COUNT, group_by=(("agent",),), threshold=1000)
    watched = Filter("agent", (Match(MatchKind.EQUAL, "watched"),))
    named = rule_of(name="named", metric=Metric.COUNT, filters=(watched,), threshold=2)
    engine = Engine([crowded, named], limits=LimitsConfig(groups=3))
    agents = [f"agent-{number}" for number in range(10)] + ["watched"] * 3
    spans = [Span(at(i), i + 1, i + 1, labels={"agent": agent}) for i, agent in enumerate(agents)]
    events = engine.ingest(batch_of(spans), at(len(agents)))
    assert [(event.rule.name, event.evidence.samples) for event in events] == [("named", 3)]


def test_groups_past_the_limit_share_one_that_says_so() -> None:
    rule = rule_of(threshold=2.5, window_ns=MINUTE, group_by=(("tenant",),))
    engine = Engine([rule], limits=LimitsConfig(groups=2))
    tenants = ["a", "b", "c", "d", "e"]
    spans = [call(place, labels={"tenant": tenant}) for place, tenant in enumerate(tenants)]
    events = engine.ingest(batch_of(spans), at(5))
    assert [(dict(event.group), event.evidence.value) for event in events] == [({"tenant": OVERFLOW}, 3)]
    assert engine.statistics.overflow == 3


def many(count: int, first: int, at_time: int) -> SpanBatch:
    """One span in each of `count` groups."""
    numbers = np.arange(first, first + count)
    like = batch_of([Span(at_time, cost_nano=USD)]).take(np.zeros(count, np.intp))
    like.trace_lo[:] = numbers + 1
    like.span_id[:] = numbers + 1
    names = TextColumn(np.arange(count, dtype=np.int32), [f"conversation-{number}" for number in numbers.tolist()])
    return like.with_labels({**like.labels, "conversation": names})


@pytest.mark.slow
def test_a_million_groups_are_bounded_and_forgotten() -> None:
    rule = rule_of(threshold=5, window_ns=10 * SECOND, group_by=(("conversation",),))
    engine = Engine([rule], limits=LimitsConfig(groups=100_000, traces=50_000, evidence=10_000))
    began = time.process_time()
    for chunk in range(50):
        engine.ingest(many(20_000, chunk * 20_000, at(0) + chunk), at(0) + chunk)
    assert engine.statistics.series == {rule.key: 100_001}
    assert engine.statistics.overflow == 900_000
    engine.advance(at(100))
    engine.advance(at(102))
    assert engine.statistics.series[rule.key] <= 1
    assert time.process_time() - began < 50


def test_an_absent_series_is_one_that_was_known() -> None:
    rule = rule_of(metric=Metric.COUNT, condition=Condition.ABSENT, window_ns=MINUTE)
    assert story(rule, [call(second) for second in (0, 30, 200)], 210) == ["firing@91", "resolved@200"]
    assert story(rule_of(metric=Metric.COUNT, condition=Condition.ABSENT), [], 600) == []


def test_late_spans_do_not_hold_up_the_clock() -> None:
    engine = Engine([rule_of(threshold=100)])
    newest = Span(time=EPOCH, trace=1, span=1)
    engine.ingest(batch_of([newest]), EPOCH)
    for tick in range(1, 101):
        now = EPOCH + tick * SECOND // 10
        late = Span(time=EPOCH - SECOND, trace=2, span=100 + tick)
        engine.ingest(batch_of([late]), now - SECOND // 100)
        engine.advance(now)
    assert engine.time == EPOCH + 10 * SECOND
