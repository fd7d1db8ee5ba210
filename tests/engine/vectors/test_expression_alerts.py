"""When rules with expressions fire, and what their alerts say."""

from collections.abc import Sequence
from typing import Any

import pytest
from comparing import said_of
from expressions_drawn import PLACE, TENANT, expression_rule, found_by, series
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, rule_of

from tocsin.alerts.event import AlertEvent
from tocsin.engine import Engine
from tocsin.engine.config import LimitsConfig
from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData
from tocsin.rules.rule import Rule
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Function,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Number,
    Operator,
    Otherwise,
    Projected,
    Series,
    Vector,
)

HOUR = 3600 * SECOND


def span(second: float, size: float = 0, number: int | None = None, **given: Any) -> Span:  # noqa: ANN401  # fields of a span
    labels = {"tenant": "a", **given.pop("labels", {})}
    number = round(second * 1000) + 1 if number is None else number
    return Span(EPOCH + round(second * SECOND), number, number, labels=labels, numbers={"app.size": size}, **given)


def sized(aggregate: Aggregate = Aggregate.AVG, window: int = MINUTE, **given: Any) -> Series:  # noqa: ANN401  # fields of a series
    return series(metric=Metric.ATTRIBUTE, attribute="app.size", aggregate=aggregate, window_ns=window, **given)


def told(engine: Engine, requests: Sequence[Sequence[Span]], until: float = 0) -> list[AlertEvent]:
    """Return what an engine says of some requests, and then to a tick a second."""
    events = []
    for request in requests:
        now = max([each.time for each in request] + [engine.time])
        events += engine.ingest(batch_of(request), now)
    now = engine.time
    while now < EPOCH + round(until * SECOND):
        now = min(now + SECOND, EPOCH + round(until * SECOND))
        events += engine.advance(now)
    return events


def said(rule: Rule, requests: Sequence[Sequence[Span]], until: float = 0) -> list[str]:
    return [said_of(event) for event in told(Engine([rule]), requests, until)]


def above(value: Vector, number: float) -> Binary:
    return Binary(Operator.GT, value, Number(number))


def below(value: Vector, number: float) -> Binary:
    return Binary(Operator.LT, value, Number(number))


SPANS = [span(1, 10), span(2, 50), span(3, -100), span(4, 3), span(5, 3)]


@pytest.mark.parametrize("aggregate", [Aggregate.SUM, Aggregate.AVG, Aggregate.MAX, Aggregate.MIN, Aggregate.LAST])
@pytest.mark.parametrize("number", [20, 2.5, -10])
def test_an_alert_is_the_same_whether_samples_came_together_or_one_by_one(aggregate: Aggregate, number: float) -> None:
    rule = expression_rule(above(sized(aggregate), number), cooldown_ns=0)
    apart = told(Engine([rule]), [[each] for each in SPANS], 90)
    together = told(Engine([rule]), [SPANS], 90)
    assert [repr((e.id, e.transition, e.evidence.value, e.started_at)) for e in apart] == [
        repr((e.id, e.transition, e.evidence.value, e.started_at)) for e in together
    ]
    assert apart or aggregate in (Aggregate.MIN, Aggregate.AVG)


def test_two_windows_of_different_samples_are_followed_together() -> None:
    failed = series(metric=Metric.ERROR_RATE, aggregate=Aggregate.SUM)
    share = Binary(Operator.DIV, failed, series(), Matching((TENANT,)))
    rule = expression_rule(above(share, 0.6))
    spans = [span(1), span(2, failed=True), span(3, failed=True), span(4, failed=True), span(5), span(6), span(7)]
    assert said(rule, [spans]) == said(rule, [[each] for each in spans]) == ["firing@3", "resolved@5"]


def test_a_drop_fires_where_the_short_window_fell_and_the_long_one_had_not() -> None:
    value = Logical(
        LogicalOperator.AND,
        below(sized(window=MINUTE), 0.55),
        above(sized(window=10 * MINUTE), 0.7),
        (TENANT,),
    )
    spans = [span(number * 5, 0.9) for number in range(60)] + [span(300 + number * 5, 0.1) for number in range(12)]
    (event, *_) = told(Engine([expression_rule(value)]), [[each] for each in spans])
    assert event.transition.value == "firing"
    assert event.group == {"tenant": "a"}
    assert 0.5 < event.evidence.value < 0.55
    assert 12 <= event.evidence.samples <= 13  # a pane more
    assert event.evidence.window_to - event.evidence.window_from == MINUTE
    assert len(event.evidence.traces) == 5


def test_the_threshold_of_an_event_is_the_limit_of_its_group_at_that_time() -> None:
    baseline = sized(window=10 * MINUTE, offset_ns=MINUTE)
    limit = Binary(Operator.MUL, baseline, Number(2.0))
    rule = expression_rule(sized(), limits=(limit,), condition=Condition.GT, language=Language.BASELINE)
    spans = [span(0.5 + n, 10, labels={"tenant": "a"}) for n in range(3)]
    spans += [span(0.7 + n, 30, labels={"tenant": "b"}) for n in range(3)]
    spans += [span(100, 25, labels={"tenant": "a"}), span(100.5, 59, labels={"tenant": "b"})]
    (event,) = told(Engine([rule]), [[each] for each in spans])
    assert (event.group, event.threshold, event.evidence.value) == ({"tenant": "a"}, 20.0, 25.0)


def test_without_a_limit_for_its_labels_a_group_is_not_in_breach() -> None:
    limit = sized(window=10 * MINUTE, offset_ns=MINUTE)
    rule = expression_rule(sized(), limits=(limit,), condition=Condition.NE)
    assert said(rule, [[span(1, 5)], [span(2, 7)]]) == []


def test_a_gate_of_fewer_labels_lets_all_of_its_groups_pass() -> None:
    gate = above(series(labels=(TENANT,)), 2)
    value = sized(labels=(PLACE, TENANT))
    rule = expression_rule(value, gate=gate, condition=Condition.GT, threshold=5)
    first = [span(n, 9, labels={"tenant": "a", "environment": e}) for n, e in ((1, "x"), (2, "y"))]
    other = span(3, 9, labels={"tenant": "b", "environment": "x"})
    third = span(4, 9, labels={"tenant": "a", "environment": "z"})
    events = told(Engine([rule]), [first, [other], [third]])
    assert [event.group["environment"] for event in events] == ["x", "y", "z"]
    assert {event.group["tenant"] for event in events} == {"a"}


def test_min_samples_are_those_of_the_window_behind_the_value() -> None:
    rule = expression_rule(above(sized(), 5), min_samples=3)
    assert said(rule, [[span(1, 9)], [span(2, 9)]]) == []
    assert said(rule, [[span(1, 9), span(2, 9), span(3, 9)]]) == ["firing@3"]


def test_absence_fires_when_the_last_sample_leaves_and_ends_with_the_next_one() -> None:
    rule = expression_rule(Absent(series(labels=(), window_ns=10 * SECOND)))
    assert said(rule, [[span(1)]], until=20) == ["firing@11"]
    assert said(rule, [[span(1)], [span(15)]], until=16) == ["firing@11", "resolved@15"]


def test_absence_holds_from_the_first_instant_where_other_spans_come() -> None:
    absent = Absent(sized(labels=()))
    rule = expression_rule(absent)
    other = Span(EPOCH + SECOND, labels={"tenant": "a"})
    assert said(rule, [[other]]) == ["firing@1"]


def test_of_elements_that_are_gone_prometheus_rules_resolve() -> None:
    rule = expression_rule(above(sized(window=10 * SECOND), 5))
    assert said(rule, [[span(1, 9)]], until=30) == ["firing@1", "resolved@11"]
    kept = expression_rule(above(sized(window=10 * SECOND), 5), no_data=NoData.KEEP)
    assert said(kept, [[span(1, 9)]], until=30) == ["firing@1"]


def test_levels_escalate_by_their_own_limits() -> None:
    levels = rule_of(threshold=5).levels + rule_of(threshold=10).levels
    rule = expression_rule(sized(Aggregate.SUM), condition=Condition.GT, levels=levels)
    events = told(Engine([rule]), [[span(1, 6), span(2, 7)]])
    assert [(event.threshold, event.evidence.value) for event in events] == [(5.0, 6.0), (10.0, 13.0)]


def test_a_rule_in_the_shadow_is_recorded_and_never_told() -> None:
    rule = expression_rule(above(sized(), 5), shadow=True)
    assert said(rule, [[span(1, 9)], [span(90, 1)]], until=200) == [
        "firing(silent)@1",
        "resolved(silent)@62",
    ]  # a pane's last instant


def test_samples_of_an_incident_are_left_out_of_its_baseline() -> None:
    def rule_with(exclude: bool) -> Rule:
        baseline = sized(window=10 * MINUTE, exclude_incidents=exclude, baseline=True)
        limit = Binary(Operator.MUL, baseline, Number(2.0))
        return expression_rule(sized(Aggregate.LAST), limits=(limit,), condition=Condition.GT)

    calm, bad = [[span(n, 10)] for n in range(1, 6)], [[span(10 + n, 100)] for n in range(5)]
    values = {}
    for exclude in (True, False):
        engine = Engine([rule := rule_with(exclude)])
        assert [each.transition.value for each in told(engine, [*calm, *bad])][:1] == ["firing"]
        values[exclude] = next(each.limit for each in engine.values() if each.rule is rule)
    assert values[True] < values[False]


# Buckets


def hourly(value: Vector, **given: Any) -> Rule:  # noqa: ANN401  # fields of a rule
    return expression_rule(value, interval_ns=HOUR, language=Language.SQL, **given)


BEGIN = EPOCH - EPOCH % HOUR + HOUR
"""When a bucket begins."""


def in_bucket(second: float, size: float = 0, **given: Any) -> Span:  # noqa: ANN401  # fields of a span
    return span((BEGIN - EPOCH) / SECOND + second, size, **given)


def test_a_bucket_is_judged_at_its_end_without_what_comes_there() -> None:
    rule = hourly(sized(window=HOUR), condition=Condition.GT, threshold=5)
    last = [in_bucket(1, 9), in_bucket(3599, 9), in_bucket(3600, -1000)]
    for requests in ([last], [[each] for each in last]):
        events = told(Engine([rule]), requests)
        assert [(e.evidence.window_from, e.evidence.window_to) for e in events] == [(BEGIN, BEGIN + HOUR)]
        assert [e.evidence.value for e in events] == [9.0]


def test_an_empty_bucket_is_a_value_where_the_query_makes_it_one() -> None:
    count = Otherwise(series(window_ns=HOUR, labels=()), 0.0)
    rule = hourly(count, condition=Condition.LT, threshold=1)
    events = told(Engine([rule]), [[in_bucket(10)]], (BEGIN - EPOCH) / SECOND + 2 * 3600 + 5)
    assert [(e.fired_at - BEGIN) // HOUR for e in events] == [2]
    assert events[0].evidence.value == 0


def test_a_sum_over_its_limit_does_not_wait_for_the_bucket_to_end() -> None:
    tokens = series(metric=Metric.INPUT_TOKENS, aggregate=Aggregate.SUM, window_ns=HOUR)
    spans = [in_bucket(60, input_tokens=3), in_bucket(120, input_tokens=4), in_bucket(180, input_tokens=5)]
    early = told(Engine([hourly(tokens, condition=Condition.GT, threshold=5)]), [[each] for each in spans])
    assert [(e.fired_at - BEGIN) // SECOND for e in early] == [120]
    mean = series(metric=Metric.INPUT_TOKENS, aggregate=Aggregate.AVG, window_ns=HOUR)
    assert told(Engine([hourly(mean, condition=Condition.GT, threshold=2)]), [[each] for each in spans]) == []


def test_a_sample_for_a_bucket_that_is_final_is_late() -> None:
    rule = hourly(series(window_ns=HOUR), condition=Condition.LT, threshold=0)
    engine = Engine([rule])
    told(engine, [[in_bucket(1)], [in_bucket(3700)], [in_bucket(3000)], [in_bucket(3601)]])
    assert engine.statistics.late == {rule.key: 1}
    assert engine.statistics.samples == {rule.key: 3}


def test_a_rule_that_came_during_a_bucket_does_not_judge_it() -> None:
    rule = hourly(Otherwise(series(window_ns=HOUR, labels=()), 0.0), condition=Condition.LT, threshold=1)
    engine = Engine([])
    told(engine, [[in_bucket(1)]])
    engine.replace_rules([rule], engine.time)
    assert told(engine, [], (BEGIN - EPOCH) / SECOND + 3605) == []
    assert len(told(engine, [], (BEGIN - EPOCH) / SECOND + 7205)) == 1


def test_of_the_first_bucket_only_a_part_is_seen_and_a_small_sum_is_no_alarm() -> None:
    few = hourly(series(window_ns=HOUR, labels=()), condition=Condition.LT, threshold=100)
    hours = [[in_bucket(hour * 3600 + 3000 + n) for n in range(5)] for hour in range(2)]
    events = told(Engine([few]), hours, (BEGIN - EPOCH) / SECOND + 2 * 3600)
    assert [(e.fired_at - BEGIN) // HOUR for e in events] == [2]


def test_of_the_first_bucket_a_part_is_enough_for_a_mean_and_for_a_sum_that_is_too_large() -> None:
    spans = [[in_bucket(3000 + n, 9, input_tokens=3)] for n in range(5)]
    mean = hourly(sized(window=HOUR), condition=Condition.GT, threshold=5)
    assert len(told(Engine([mean]), spans, (BEGIN - EPOCH) / SECOND + 3600)) == 1
    tokens = series(metric=Metric.INPUT_TOKENS, aggregate=Aggregate.SUM, window_ns=HOUR)
    early = told(Engine([hourly(tokens, condition=Condition.GT, threshold=10)]), spans)
    assert [(e.fired_at - BEGIN) // SECOND for e in early] == [3003]


# The calendar

ZURICH = Calendar(Period.MONTH, "Europe/Zurich")


def test_a_budget_of_a_month_begins_anew_with_the_month() -> None:
    rule = rule_of(threshold=5, window_ns=None, calendar=ZURICH, cooldown_ns=0)
    _, end = ZURICH.bounds(EPOCH)
    engine = Engine([rule])
    requests = [[Span(end - 10 * SECOND + n * SECOND, 1, n + 1, cost_nano=3 * 10**9)] for n in range(3)]
    events = told(engine, requests)
    assert [e.fired_at for e in events] == [end - 9 * SECOND]
    later = engine.advance(end + SECOND)
    assert [(e.transition.value, e.evidence.window_to) for e in later] == [("resolved", end)]
    spans = [Span(end + n * SECOND, 2, 100 + n, cost_nano=3 * 10**9) for n in (2, 3)]
    assert [e.fired_at for e in told(engine, [spans])] == [end + 3 * SECOND]


def test_samples_on_both_sides_of_a_month_in_one_request_are_counted_apart() -> None:
    rule = rule_of(threshold=5, window_ns=None, calendar=ZURICH)
    _, end = ZURICH.bounds(EPOCH)
    spans = [Span(end + n * SECOND, 1, n + 10, cost_nano=4 * 10**9) for n in (-1, 0)]
    assert told(Engine([rule]), [spans]) == []


def test_a_pace_is_known_once_enough_of_the_period_has_passed() -> None:
    day = Calendar(Period.DAY, "UTC")
    begin, end = day.bounds(EPOCH)
    spent = series(metric=Metric.COST, aggregate=Aggregate.SUM, window_ns=0, calendar=day, labels=())
    rule = expression_rule(
        Projected(spent, 2 * HOUR), condition=Condition.GT, threshold=100, language=Language.FORECAST
    )
    engine = Engine([rule])
    span_of = Span(begin + HOUR, cost_nano=10 * 10**9)
    assert engine.ingest(batch_of([span_of]), begin + HOUR) == []
    event, end_of_it = engine.advance(begin + 3 * HOUR)
    assert end_of_it.resolved_at == begin + HOUR * 12 // 5
    assert event.fired_at == begin + 2 * HOUR
    assert event.evidence.value == pytest.approx(10 * (end - begin) / (2 * HOUR))
    assert engine.advance(begin + 3 * HOUR + 1) == []


# What is shared, what goes on, what is bounded


def test_series_share_the_windows_of_other_rules() -> None:
    count = series(window_ns=MINUTE)
    field = rule_of(name="field", metric=Metric.COUNT, aggregate=Aggregate.COUNT, window_ns=MINUTE, group_by=(TENANT,))
    one, two = expression_rule(above(count, 5)), expression_rule(below(count, 1), name="two")
    assert len(Engine([field, one, two]).leaves) == 1


def test_an_edited_rule_keeps_windows_and_alerts_of_what_it_compares() -> None:
    limits = [(Number(number),) for number in (5.0, 50.0, 5.0)]
    rules = [
        expression_rule(sized(Aggregate.SUM), limits=limit, condition=Condition.GT, version=str(n) * 16)
        for n, limit in enumerate(limits)
    ]
    engine = Engine(rules[:1])
    assert len(told(engine, [[span(1, 9)]])) == 1
    assert [said_of(event) for event in engine.replace_rules(rules[1:2], engine.time)] == ["resolved@1"]
    assert [said_of(event) for event in engine.replace_rules(rules[2:], engine.time)] == ["firing(silent)@1"]
    assert [said_of(event) for event in engine.replace_rules([], engine.time)] == ["resolved(silent)@1"]


def test_values_are_given_for_every_rule_and_group() -> None:
    field = rule_of(name="field", metric=Metric.COUNT, aggregate=Aggregate.COUNT, group_by=(TENANT,), threshold=3)
    rule = expression_rule(sized(Aggregate.SUM), limits=(Number(7.0),), condition=Condition.GT)
    engine = Engine([field, rule])
    told(engine, [[span(1, 2), span(2, 3)]])
    assert [(v.rule.name, dict(v.group), v.value, v.limit, v.samples) for v in engine.values()] == [
        ("field", {"tenant": "a"}, 2.0, 3.0, 2),
        ("rule", {"tenant": "a"}, 5.0, 7.0, 2),
    ]


def test_groups_past_the_limit_share_one_that_says_so() -> None:
    rule = expression_rule(series(), condition=Condition.GT, threshold=10)
    engine = Engine([rule], limits=LimitsConfig(groups=2))
    told(engine, [[span(n, labels={"tenant": f"t{n}"}) for n in range(1, 9)]])
    assert found_by(engine, rule) == {("t1",): 1.0, ("t2",): 1.0, ("(overflow)",): 6.0}
    assert engine.statistics.overflow == 6


def test_a_costly_expression_rests_and_still_says_the_same_at_last() -> None:
    top = Combine(Combining.TOPK, sized(Aggregate.SUM, labels=(TENANT,)), (), Number(1))
    rule = expression_rule(above(top, 10**6))
    engine = Engine([rule])
    crowd = [span(1 + n / 1e6, 1, number=n + 1, labels={"tenant": f"t{n}"}) for n in range(20_000)]
    told(engine, [crowd])
    last = crowd[-1].time
    bursting = Span(last + 1, 77, 10**6, labels={"tenant": "t5"}, numbers={"app.size": 2e6})
    assert engine.ingest(batch_of([bursting]), bursting.time) == []
    (event,) = engine.advance(last + SECOND)
    assert event.group == {"tenant": "t5"}
    assert 0 < event.fired_at - last < SECOND // 2


def test_spans_and_traces_of_equal_labels_are_compared() -> None:
    calls = series(aggregate=Aggregate.COUNT)
    traces = series(scope=rule_of().scope.TRACE, aggregate=Aggregate.COUNT)
    rule = expression_rule(
        Binary(Operator.DIV, calls, traces, Matching((TENANT,))), condition=Condition.GT, threshold=1
    )
    spans = [Span(EPOCH + n * SECOND, 1, n + 1, labels={"tenant": "a"}) for n in range(3)]
    engine = Engine([rule])
    told(engine, [spans], until=20)
    assert found_by(engine, rule) == {("a",): 3.0}


def test_what_no_node_can_be_is_refused() -> None:
    with pytest.raises(ValueError, match="is no vector"):
        Engine([expression_rule(Number(1.0))])
    with pytest.raises(ValueError, match="neither an offset nor an interval"):
        Engine([expression_rule(series(calendar=ZURICH, offset_ns=5))])


def test_functions_round_as_prometheus_does() -> None:
    rule = expression_rule(Apply(Function.ROUND, sized(Aggregate.SUM), (Number(0.5),)))
    engine = Engine([rule])
    told(engine, [[span(1, 1.25)]])
    assert found_by(engine, rule) == {("a",): 1.5}
