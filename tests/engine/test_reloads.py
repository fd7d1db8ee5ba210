"""Other rules are put in force: windows and alerts of what is unchanged go on."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from comparing import at
from samples import MINUTE, SECOND, Span, batch_of, rule_of

from tocsin.alerts.event import AlertEvent
from tocsin.engine import Engine
from tocsin.model.batch import SpanClass
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.rule import Rule, Scope

USD = 10**9


def call(second: float, usd: float = 1, trace: int = 1, **fields: object) -> Span:
    made = Span(at(second), trace, round(second * 1000) + 1, cost_nano=round(usd * USD))
    return replace(made, **fields)  # type: ignore[arg-type]


def with_threshold(rule: Rule, threshold: float) -> Rule:
    level = replace(rule.levels[0], threshold=Decimal(str(threshold)))
    return replace(rule, levels=(level,), version="f" * 16)


def kinds(events: Sequence[AlertEvent]) -> list[str]:
    return [event.transition.value for event in events]


def test_a_lower_threshold_fires_at_once_on_the_window_that_was_kept() -> None:
    engine = Engine([rule := rule_of(threshold=10)])
    engine.ingest(batch_of([call(0, 3), call(1, 4)]), at(1))
    (event,) = engine.replace_rules([with_threshold(rule, 5)], at(1))
    assert (event.evidence.value, event.threshold, event.fired_at) == (7, 5, at(1))


def test_a_higher_threshold_ends_the_alert_with_the_next_look() -> None:
    engine = Engine([rule := rule_of(threshold=5)])
    assert kinds(engine.ingest(batch_of([call(0, 7)]), at(0))) == ["firing"]
    assert kinds(engine.replace_rules([with_threshold(rule, 10)], at(0))) == ["resolved"]


def test_a_rule_that_is_removed_is_resolved() -> None:
    engine = Engine([rule := rule_of(threshold=5)])
    (fired,) = engine.ingest(batch_of([call(0, 7)]), at(0))
    (event,) = engine.replace_rules([], at(1))
    assert (event.transition.value, event.alert_id, event.rule) == ("resolved", fired.alert_id, rule)


def test_an_unchanged_rule_keeps_its_window_its_alert_and_its_counts() -> None:
    rule, other = rule_of(threshold=5), rule_of(name="other", threshold=1, window_ns=MINUTE)
    engine = Engine([rule])
    (fired,) = engine.ingest(batch_of([call(0, 7)]), at(0))
    assert engine.replace_rules([rule, other], at(0)) == []
    engine.ingest(batch_of([call(1, 1)]), at(1))
    (resolved,) = [event for event in engine.advance(at(301)) if event.rule == rule]
    assert (resolved.alert_id, resolved.peak) == (fired.alert_id, 8)
    assert engine.statistics.samples == {rule.key: 2, other.key: 1}


def test_a_pending_alert_waits_no_longer_and_no_shorter() -> None:
    engine = Engine([rule := rule_of(threshold=5, for_ns=20 * SECOND)])
    engine.ingest(batch_of([call(0, 7)]), at(0))
    engine.advance(at(10))
    engine.replace_rules([replace(rule, description="edited", version="e" * 16)], at(10))
    (event,) = engine.advance(at(25))
    assert (event.started_at, event.fired_at) == (at(0), at(20))


def test_a_cooldown_goes_on() -> None:
    engine = Engine([rule := rule_of(threshold=5, window_ns=10 * SECOND)])
    engine.ingest(batch_of([call(0, 7)]), at(0))
    engine.advance(at(20))
    engine.replace_rules([rule, rule_of(name="other")], at(20))
    (event, *_) = [each for each in engine.ingest(batch_of([call(21, 7)]), at(21)) if each.rule == rule]
    assert (event.transition.value, event.notify) == ("firing", ())


def test_a_trace_that_hit_does_not_hit_again_after_a_reload() -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=None, threshold=1, group_by=(("trace",),))
    engine = Engine([rule])
    assert kinds(engine.ingest(batch_of([call(0, 2, parent=9)]), at(0))) == ["firing"]
    for turn in range(1, 4):
        engine.replace_rules([rule, rule_of(name=f"other-{turn}", threshold=10**6)], at(turn))
        assert engine.ingest(batch_of([call(turn, 2, parent=9)]), at(turn)) == []
    assert [event.suppressed for event in engine.advance(at(1800))] == [0]


def test_a_rule_that_is_added_judges_traces_that_another_has_judged() -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=None, threshold=1, group_by=(("trace",),))
    engine = Engine([rule])
    engine.ingest(batch_of([call(0, 2, parent=9)]), at(0))
    for turn in range(1, 4):
        engine.replace_rules([replace(rule, name=f"rule-{turn}")], at(turn))
        assert "firing" in kinds(engine.ingest(batch_of([call(turn, 2, parent=9)]), at(turn)))


def per_tenant(name: str, threshold: float) -> Rule:
    own = Filter("tenant", (Match(MatchKind.EQUAL, name),))
    return rule_of(name=name, filters=(own,), threshold=threshold)


def test_ten_thousand_rules_for_a_tenant_each_are_judged_by_their_own_thresholds() -> None:
    rules = [per_tenant(f"tenant-{number}", number + 0.5) for number in range(10_000)]
    engine = Engine(rules)
    spans = [
        call(place, 5_000, labels={"tenant": f"tenant-{number}"})
        for place, number in enumerate([17, 4_999, 5_000, 9_999])
    ]
    events = engine.ingest(batch_of([*spans, call(9, 1, labels={"tenant": "nobody"})]), at(9))
    assert [(event.rule.name, event.threshold) for event in events] == [
        ("tenant-17", 17.5),
        ("tenant-4999", 4999.5),
    ]
    assert [dict(event.group) for event in events] == [{}, {}]
    counts = engine.statistics.samples
    assert sum(counts.values()) == 4
    assert counts["default", "tenant-9999"] == 1


@pytest.mark.parametrize("scope", list(Scope))
def test_growth_goes_to_the_group_of_its_trace_however_long_that_was_silent(scope: Scope) -> None:
    rule = rule_of(scope=scope, window_ns=10 * SECOND, threshold=3, group_by=(("tenant",),))
    engine = Engine([rule])
    first = [call(0, 1, 1, parent=9, labels={"tenant": "a"})]
    others = [call(30 + n, 0.01, 2 + n, parent=9, labels={"tenant": f"b{n}"}) for n in range(5)]
    last = [call(40, 5, 1, parent=9, labels={"tenant": "a"}, span_class=SpanClass.LLM)]
    events = []
    for request in (first, others, last):
        engine.advance(request[0].time)
        events += engine.ingest(batch_of(request), request[-1].time)
    assert [(dict(event.group), event.evidence.value, event.evidence.samples) for event in events] == [
        ({"tenant": "a"}, 5, 1)
    ]
    assert all(a.fired_at <= b.fired_at for a, b in pairwise(events))


def test_rows_that_wait_are_read_by_rules_that_came_later() -> None:
    waits = rule_of(group_by=(("tenant",),), threshold=1000)
    engine = Engine([waits])
    engine.ingest(batch_of([call(0, 3)], labels=("tenant",)), at(0))  # its trace may still say whose it is
    feature = Filter("app.feature", (Match(MatchKind.EQUAL, "chat", negated=True),))
    later = rule_of(name="later", filters=(feature,), group_by=(("tenant",),), threshold=1)
    engine.replace_rules([waits, later], at(1))
    engine.advance(at(200))
    assert engine.statistics.ungrouped[later.key] == 1
