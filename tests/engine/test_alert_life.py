"""What alerts do in time, through the engine: delays, cooldowns, reminders, levels, silence."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from comparing import at, story
from samples import MINUTE, SECOND, Span, batch_of, rule_of

from tocsin.engine import Engine
from tocsin.model.batch import CostSource
from tocsin.rules.rule import Aggregate, Condition, Level, Metric, NoData, Scope, Severity

USD = 10**9
RATIO: dict[str, Any] = {"metric": Metric.ERROR_RATE, "threshold": "0.5", "window_ns": MINUTE}


def call(second: float, usd: float = 1, **fields: object) -> Span:
    made = Span(at(second), 1, round(second * 1000) + 1, cost_nano=round(usd * USD))
    return replace(made, **fields)  # type: ignore[arg-type]


def test_too_few_samples_are_no_breach() -> None:
    spans = [call(second, failed=True) for second in range(4)]
    assert story(rule_of(**RATIO, min_samples=3), spans, 10) == ["firing@2"]


def test_an_alert_keeps_firing_for_a_while() -> None:
    rule = rule_of(threshold=1, window_ns=10 * SECOND, keep_firing_ns=30 * SECOND)
    assert story(rule, [call(0), call(0.9)], 100) == ["firing@1", "resolved@40"]
    assert story(rule, [call(0), call(0.9), call(30), call(30.9)], 100) == ["firing@1", "resolved@70"]


def test_a_value_must_recover_past_its_own_threshold() -> None:
    spans = [call(0, failed=True), *(call(second) for second in (1, 2, 3))]
    assert story(rule_of(**RATIO, recovery="0.3"), spans, 10) == ["firing@0", "resolved@3"]
    assert story(rule_of(**RATIO), spans, 10) == ["firing@0", "resolved@1"]


@pytest.mark.parametrize(
    ("no_data", "expected"),
    [(NoData.KEEP, ["firing@0"]), (NoData.OK, ["firing@0", "resolved@61"]), (NoData.ALERT, ["firing@0"])],
)
def test_silence_resolves_a_ratio_only_where_the_rule_says_so(no_data: NoData, expected: list[str]) -> None:
    assert story(rule_of(**RATIO, no_data=no_data), [call(0, failed=True)], 300) == expected


def test_silence_may_be_the_alert_again_and_again() -> None:
    rule = rule_of(threshold=10, window_ns=10 * SECOND, no_data=NoData.ALERT, cooldown_ns=0)
    assert story(rule, [call(0), call(50), call(80)], 100) == [
        "firing@10", "resolved@50", "firing@60", "resolved@80", "firing@90",
    ]  # fmt: skip


def test_a_cooldown_silences_what_fires_again() -> None:
    rule = rule_of(threshold=1, window_ns=10 * SECOND, cooldown_ns=100 * SECOND)
    assert story(rule, [call(0, 2), call(50, 2), call(150, 2)], 170) == [
        "firing@0", "resolved@10", "firing(silent)@50", "resolved(silent)@60", "firing@150", "resolved@160",
    ]  # fmt: skip


def test_what_still_fires_at_the_end_of_a_cooldown_is_reminded_of() -> None:
    rule = rule_of(threshold=1, window_ns=60 * SECOND, cooldown_ns=100 * SECOND)
    said = story(rule, [call(0, 2), call(50, 2), call(90, 2), call(120, 5)], 190)
    assert said == ["firing@0", "reminder@100", "resolved@181"]


def test_hits_within_a_cooldown_are_one_alert_with_a_count_and_the_worst() -> None:
    engine = Engine([rule_of(threshold=1, window_ns=None, cooldown_ns=MINUTE)])
    events = [
        event
        for span in [call(0, 2), call(10, 9), call(20, 1), call(30, 3)]
        for event in engine.ingest(batch_of([span]), span.time)
    ]
    events += engine.advance(at(100))
    assert [(event.transition.value, event.suppressed, event.peak) for event in events] == [
        ("firing", 0, 2),
        ("reminder", 2, 9),
        ("resolved", 0, 9),
    ]


def test_levels_are_one_alert_that_escalates_and_comes_down() -> None:
    levels = (
        Level(Severity.MEDIUM, Decimal(1), None, ("slack",)),
        Level(Severity.CRITICAL, Decimal(5), None, ("oncall",)),
    )
    engine = Engine([replace(rule_of(window_ns=30 * SECOND), levels=levels)])
    events = [
        event for span in [call(0, 2), call(10, 4), call(20, 1)] for event in engine.ingest(batch_of([span]), span.time)
    ]
    events += engine.advance(at(100))
    assert [(event.severity, event.escalated_from, event.notify) for event in events] == [
        (Severity.MEDIUM, None, ("slack",)),
        (Severity.CRITICAL, Severity.MEDIUM, ("oncall",)),
        (Severity.MEDIUM, Severity.CRITICAL, ()),
        (Severity.MEDIUM, None, ("slack", "oncall")),
    ]
    assert len({event.alert_id for event in events}) == 1


def test_a_growing_trace_is_one_sample_and_leaves_with_what_it_grew_by_last() -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=30 * SECOND, threshold=3)
    spans = [call(0, 1, parent=9), call(25, 1, parent=9), call(40, 4, parent=9)]
    engine = Engine([rule])
    events = [event for span in spans for event in engine.ingest(batch_of([span]), span.time)]
    assert [(event.evidence.value, event.evidence.samples) for event in events] == [(5, 1)]
    (resolved,) = engine.advance(at(80))
    assert at(70) <= resolved.evidence.window_to < at(72)


@pytest.mark.parametrize("window", [None, 30 * SECOND])
def test_a_trace_without_any_price_is_not_a_cheap_one(window: int | None) -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=window, threshold=1, condition=Condition.LT, aggregate=Aggregate.AVG)
    unpriced = call(0, 0, cost_source=CostSource.UNPRICED)
    assert story(rule, [unpriced], 40) == []
    assert story(rule, [call(0, 0)], 20) == ["firing@5"]
