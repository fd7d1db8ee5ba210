"""What no limit is near is not looked at, and nothing shows that it was not."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from comparing import Call, tell
from expressions_drawn import LABEL_SETS, expression_rule, histories_of, series, vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keeping import restarted
from samples import EPOCH, SECOND, Span, batch_of

from tocsin.alerts.event import AlertEvent
from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData
from tocsin.rules.rule import Rule

LENIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
CONDITIONS = [Condition.GT, Condition.GTE, Condition.LT, Condition.LTE, Condition.EQ, Condition.NE, Condition.PRESENT]
LIMITS = [-1000, -20, -1, 0, 1, 2, 5, 8, 20, 100, 1000]


@st.composite
def rules_of(draw: st.DrawFn) -> list[Rule]:
    """Rules with expressions whose limits are near and far."""
    rules = []
    for number in range(draw(st.integers(1, 4))):
        rule = expression_rule(
            draw(vectors(draw(st.sampled_from(LABEL_SETS)), draw(st.integers(0, 2)))),
            name=f"rule-{number}",
            condition=draw(st.sampled_from(CONDITIONS)),
            threshold=0,
            no_data=draw(st.sampled_from([NoData.OK, NoData.OK, *NoData])),
            for_ns=draw(st.sampled_from([0, 0, 4 * SECOND])),
        )
        level = replace(rule.levels[0], threshold=Decimal(draw(st.sampled_from(LIMITS))))
        rules.append(replace(rule, levels=(level,)))
    return rules


@st.composite
def calls_of(draw: st.DrawFn, spans: Sequence[Span]) -> list[Call]:
    """Spans in requests of a few."""
    calls, begin = [], 0
    while begin < len(spans):
        end = begin + draw(st.integers(1, 4))
        calls.append(Call(spans[min(end, len(spans)) - 1].time, tuple(spans[begin:end])))
        begin = end
    return [*calls, Call(EPOCH + 500 * SECOND)]


def looking_at_all(rules: Sequence[Rule]) -> Engine:
    """An engine that gives windows their samples at once, and evaluates whatever was touched."""
    engine = Engine(rules)
    for leaf in engine.leaves:
        leaf.remember_known()
    for planned in engine._plan.expressions:
        planned.may_miss = False
    return engine


def exact(events: Sequence[AlertEvent]) -> list[str]:
    return [repr(event) for event in events]


@settings(max_examples=250, **LENIENT)
@given(data=st.data(), rules=rules_of(), spans=histories_of(most=40))
def test_what_is_not_looked_at_changes_no_event(data: st.DataObject, rules: list[Rule], spans: list[Span]) -> None:
    calls = data.draw(calls_of(spans))
    one, other = Engine(rules), looking_at_all(rules)
    for call in calls:
        assert exact(list(tell(one, [call]))) == exact(list(tell(other, [call])))
    assert one.statistics == other.statistics
    assert sorted(map(repr, one.values())) == sorted(map(repr, other.values()))


def spans_of(sizes: Sequence[float]) -> list[Span]:
    return [
        Span(EPOCH + n * SECOND // 10, n + 1, n + 1, labels={"tenant": "a"}, numbers={"app.size": size})
        for n, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("aggregate", "sizes", "limit", "at"),
    [
        (Aggregate.SUM, [1.0] * 300, 250, [250]),
        (Aggregate.COUNT, [1.0] * 300, 250, [250]),
        (Aggregate.MAX, [*[1.0] * 200, 400.0], 250, [200]),
        (Aggregate.AVG, [*[1.0] * 200, 1e6], 250, [200]),
        (Aggregate.LAST, [*[1.0] * 200, 400.0], 250, [200]),
        (Aggregate.QUANTILE, [*[1.0] * 20, *[400.0] * 30], 250, [40]),
        (Aggregate.STDDEV, [*[1.0] * 200, 1e6], 250, [200]),
    ],
)
def test_a_limit_that_was_far_is_passed_with_the_sample_that_passes_it(
    aggregate: Aggregate, sizes: list[float], limit: int, at: list[int]
) -> None:
    quantile = 0.5 if aggregate is Aggregate.QUANTILE else None
    own = series(metric=Metric.ATTRIBUTE, attribute="app.size", aggregate=aggregate, quantile=quantile)
    engine = Engine([expression_rule(own, condition=Condition.GT, threshold=limit)])
    fired = [n for n, span in enumerate(spans_of(sizes)) if engine.ingest(batch_of([span]), span.time)]
    assert fired == at


def test_a_window_that_nobody_looks_at_is_given_its_samples_together() -> None:
    own = series(metric=Metric.ATTRIBUTE, attribute="app.size", aggregate=Aggregate.SUM)
    rule = expression_rule(own, condition=Condition.GT, threshold=10**6)
    engine = Engine([rule])
    [leaf] = engine.leaves
    held = []
    for span in spans_of([1.0] * 8):
        engine.ingest(batch_of([span]), span.time)
        window = leaf.later.window
        assert window is not None
        held.append(int(window.samples(np.array([0]))[0]))
    assert held[-1] == held[-2] < 8  # the first few are looked at
    assert [value.value for value in engine.values()] == [8.0]


def test_samples_that_wait_are_part_of_a_state() -> None:
    own = series(metric=Metric.ATTRIBUTE, attribute="app.size", aggregate=Aggregate.SUM)
    rule = expression_rule(own, condition=Condition.GT, threshold=12)
    engine, spans = Engine([rule]), spans_of([1.0] * 14)
    for span in spans[:10]:
        assert engine.ingest(batch_of([span]), span.time) == []
    again = restarted(engine, spans[9].time, LimitsConfig())
    assert [len(again.ingest(batch_of([span]), span.time)) for span in spans[10:]] == [0, 0, 1, 0]
