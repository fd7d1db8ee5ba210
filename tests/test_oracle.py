"""The oracle itself, on examples worked out by hand from the contract."""

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle
from oracle_alerts import Said
from oracle_values import Interval, Sample, aggregate_of, pane_of
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, histories, rule_of, rules, splits

from tocsin.model.batch import CostSource, SpanClass
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.rule import Aggregate, Condition, Level, Metric, NoData, Rule, Sampling, Scope, Severity

USD = 10**9


def at(second: float) -> int:
    return EPOCH + round(second * SECOND)


def call(second: float, usd: float = 1, trace: int = 1, number: int = 0, **fields: object) -> Span:
    made = Span(at(second), trace, number or round(second * 1000) + 1, cost_nano=round(usd * USD))
    return replace(made, **fields)  # type: ignore[arg-type]


def play(rule: Rule, spans: Sequence[Span], until: float, step: float = 0) -> list[Said]:
    """One request a span, each at its own time; then silence, in steps of seconds or at once."""
    oracle = Oracle([rule])
    said = [event for span in spans for event in oracle.ingest([span], span.time)]
    moment = (oracle.clock - EPOCH) / SECOND
    while step and moment + step < until:
        moment += step
        said += oracle.advance(at(moment))
    return said + oracle.advance(at(until))


def short(said: Sequence[Said]) -> list[str]:
    return [
        f"{event.transition.value}{'' if event.notified else '(silent)'}@{(event.at - EPOCH) / SECOND:g}"
        for event in said
    ]


# --- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (Aggregate.SUM, 10),
        (Aggregate.COUNT, 4),
        (Aggregate.AVG, 2.5),
        (Aggregate.MIN, 1),
        (Aggregate.MAX, 4),
        (Aggregate.STDDEV, math.sqrt(1.25)),
        (Aggregate.RATE, 10 / 300),
        (Aggregate.LAST, 2),
    ],
)
def test_aggregates(aggregate: Aggregate, expected: float) -> None:
    samples = [Sample(time, value, 1) for time, value in [(3, 4), (1, 1), (2, 3), (4, 2)]]
    found = aggregate_of(rule_of(aggregate=aggregate), samples)
    assert found == Interval(expected, expected, 4)


def test_a_quantile_is_within_a_percent_of_a_sample_at_its_rank() -> None:
    rule = rule_of(aggregate=Aggregate.QUANTILE, quantile=0.5)
    found = aggregate_of(rule, [Sample(0, value, 1) for value in (100, 200, 400)])
    assert (found.low, found.high) == pytest.approx((198, 202))
    between = aggregate_of(rule, [Sample(0, value, 1) for value in (100, 200)])
    assert (between.low, between.high) == pytest.approx((99, 202))


def test_nothing_sums_to_zero_and_has_no_mean() -> None:
    assert aggregate_of(rule_of(), []) == Interval(0, 0, 0)
    assert math.isnan(aggregate_of(rule_of(aggregate=Aggregate.AVG), []).low)
    assert Interval(math.nan, math.nan, 0).admits(math.nan)


def test_an_unpriced_call_is_counted_beside_the_sum() -> None:
    oracle = Oracle([rule := rule_of()])
    oracle.ingest([call(0, 2), call(1, 0, cost_source=CostSource.UNPRICED)], at(1))
    assert oracle.value(rule) == Interval(2, 2, 1, unpriced=1)


def test_sampled_spans_stand_for_others_only_where_asked() -> None:
    samples = [Sample(0, 2, 1, weight=4)]
    assert aggregate_of(rule_of(), samples).low == 2
    assert aggregate_of(rule_of(sampling=Sampling.ADJUST), samples).low == 8


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    oracle = Oracle([rule := rule_of(window_ns=10 * SECOND)])
    oracle.ingest([call(0, 1), call(5, 2), call(10, 4)], at(10))
    assert oracle.value(rule).low == 6
    assert oracle.value(rule, at=at(9)).low == 3
    assert oracle.value(rule, at=at(20)).low == 0


def test_panes_may_only_lengthen_a_window() -> None:
    assert pane_of(300 * SECOND) == SECOND
    assert pane_of(600 * SECOND) == 2 * SECOND
    oracle = Oracle([rule := rule_of(window_ns=10 * SECOND)])
    oracle.ingest([call(0, 1), call(0.5, 2), call(1.5, 4), call(11, 8)], at(11))
    # Clock 11: the window is (1, 11]; a pane of a second may reach back to 0, which it leaves out.
    assert oracle.value(rule).low == 12
    assert {found.low for found in oracle.admissible(rule)} == {12, 14}


# --- clock and lateness -----------------------------------------------------------------------------------------


def test_a_sample_from_the_future_moves_the_clock_by_the_skew_at_most() -> None:
    oracle = Oracle([rule := rule_of(window_ns=MINUTE)])
    oracle.ingest([call(3600)], at(0))
    assert oracle.clock == at(10)
    assert oracle.value(rule).low == 1


def test_a_late_sample_counts_where_it_belongs_or_is_counted_as_late() -> None:
    oracle = Oracle([rule := rule_of(window_ns=MINUTE)])
    oracle.ingest([call(100)], at(100))
    oracle.ingest([call(50)], at(100))
    oracle.ingest([call(39.5)], at(100))  # a pane may still have it
    oracle.ingest([call(38)], at(100))
    assert oracle.value(rule).low == 2
    assert oracle.late["rule"] == (1, 2)


def test_the_same_span_counts_once_within_ten_minutes() -> None:
    oracle = Oracle([rule := rule_of(window_ns=60 * MINUTE)])
    for now in (0, 600, 601):
        oracle.ingest([call(0)], at(now))
    assert oracle.value(rule).low == 2
    assert oracle.duplicates == 1


# --- which spans, which groups ----------------------------------------------------------------------------------


def test_only_model_calls_are_samples_unless_a_rule_asks() -> None:
    spans = [call(0, trace=n, span_class=span_class) for n, span_class in enumerate(SpanClass, 1)]
    oracle = Oracle(
        [
            count := rule_of(name="count", metric=Metric.COUNT),
            tools := rule_of(name="tools", metric=Metric.COUNT, spans=frozenset({SpanClass.TOOL})),
        ]
    )
    oracle.ingest(spans, at(0))
    assert (oracle.value(count).low, oracle.value(tools).low) == (1, 1)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("inner_first", [True, False])
def test_of_two_nested_calls_one_counts(*, together: bool, inner_first: bool) -> None:
    outer = call(2, 5, number=1)
    between = call(1.5, number=2, parent=1, span_class=SpanClass.CHAIN)
    inner = call(1, 3, number=3, parent=2)
    oracle = Oracle([rule := rule_of()])
    order = [inner, between, outer] if inner_first else [outer, between, inner]
    for batch in [order] if together else [[span] for span in order]:
        oracle.ingest(batch, at(2))
    assert oracle.value(rule).low == (3 if together or inner_first else 5)


def test_what_a_tool_calls_by_itself_is_a_call_of_its_own() -> None:
    oracle = Oracle([rule := rule_of()])
    tool = call(1, number=2, parent=1, span_class=SpanClass.TOOL)
    oracle.ingest([call(0, 3, number=3, parent=2), tool, call(2, 5, number=1)], at(2))
    assert oracle.value(rule).low == 8


@pytest.mark.parametrize("together", [True, False])
def test_of_three_nested_calls_one_counts(*, together: bool) -> None:
    spans = [call(0, 3, number=3, parent=2), call(1, 4, number=2, parent=1), call(2, 5, number=1)]
    oracle = Oracle([rule := rule_of()])
    for batch in [spans] if together else [[span] for span in spans]:
        oracle.ingest(batch, at(2))
    assert oracle.value(rule).low == 3


def test_a_group_is_inherited_from_the_nearest_ancestor_else_from_the_trace() -> None:
    rule = rule_of(group_by=(("conversation",),))
    oracle = Oracle([rule])
    oracle.ingest([call(0, 1, number=3, parent=2)], at(0))
    assert oracle.series["rule"].samples == {}
    oracle.ingest([call(1, 2, number=4, parent=9)], at(1))
    parent = call(2, number=2, parent=1, span_class=SpanClass.AGENT, labels={"conversation": "a"})
    oracle.ingest([parent], at(2))
    assert oracle.value(rule, ("a",)).low == 3
    assert [sample.time for sample in oracle.series["rule"].samples["a",]] == [at(0), at(1)]


def test_alternatives_take_the_first_that_is_known() -> None:
    rule = rule_of(group_by=(("conversation", "trace"),))
    oracle = Oracle([rule])
    oracle.ingest([call(0, 1, trace=1), call(0, 2, trace=2, labels={"conversation": "a"})], at(0))
    assert set(oracle.series["rule"].samples) == {(f"{1:032x}",), ("a",)}


def test_filters_inherit_too_and_drop_what_they_refuse() -> None:
    rule = rule_of(filters=(Filter("tenant", (Match(MatchKind.EQUAL, "a"),)),))
    oracle = Oracle([rule])
    oracle.ingest([call(0, 1, number=2, parent=1), call(0, 2, trace=2, labels={"tenant": "b"})], at(0))
    assert oracle.value(rule).low == 0
    oracle.ingest([call(1, number=1, span_class=SpanClass.CHAIN, labels={"tenant": "a"})], at(1))
    assert oracle.value(rule).low == 1


def test_a_sample_waits_for_a_label_until_its_trace_is_complete() -> None:
    oracle = Oracle([rule := rule_of(group_by=(("tenant",),))])
    oracle.ingest([call(0)], at(0))
    oracle.advance(at(6))
    oracle.ingest([call(7, labels={"tenant": "a"})], at(7))
    assert (oracle.ungrouped, oracle.value(rule, ("a",)).samples) == (1, 1)


# --- the state machine ------------------------------------------------------------------------------------------


def test_a_sum_over_its_threshold_fires_once_and_resolves_when_the_window_drains() -> None:
    said = play(rule_of(threshold=2, window_ns=MINUTE), [call(0), call(1), call(2), call(3)], 120)
    assert short(said) == ["firing@2", "resolved@61"]
    assert (said[0].value, said[0].started_at, said[1].peak) == (3, at(2), 4)


def test_steps_of_the_clock_change_nothing() -> None:
    rule = rule_of(threshold=1, for_ns=10 * SECOND, keep_firing_ns=20 * SECOND, cooldown_ns=30 * SECOND)
    spans = [call(0), call(1), call(200), call(250)]
    assert play(rule, spans, 1000) == play(rule, spans, 1000, step=7)


def test_a_condition_holds_for_a_while_before_it_fires() -> None:
    rule = rule_of(threshold=1, window_ns=MINUTE, for_ns=30 * SECOND)
    assert short(play(rule, [call(0), call(10)], 39)) == []
    said = play(rule, [call(0), call(10)], 80)
    assert short(said) == ["firing@40", "resolved@60"]
    assert said[0].started_at == at(10)


def test_a_condition_that_pauses_begins_anew() -> None:
    rule = rule_of(threshold=1, window_ns=20 * SECOND, for_ns=15 * SECOND)
    assert short(play(rule, [call(0), call(10), call(25), call(36)], 60)) == []


def test_an_alert_keeps_firing_for_a_while() -> None:
    rule = rule_of(threshold=1, window_ns=10 * SECOND, keep_firing_ns=30 * SECOND)
    assert short(play(rule, [call(0), call(1)], 100)) == ["firing@1", "resolved@40"]
    again = play(rule, [call(0), call(1), call(30), call(31)], 100)
    assert short(again) == ["firing@1", "resolved@70"]


def test_too_few_samples_are_no_breach() -> None:
    rule = rule_of(metric=Metric.ERROR_RATE, threshold="0.5", min_samples=3)
    spans = [call(second, failed=True) for second in range(4)]
    assert short(play(rule, spans, 10)) == ["firing@2"]


def test_silence_never_resolves_an_alert_on_a_ratio() -> None:
    rule = rule_of(metric=Metric.ERROR_RATE, threshold="0.5", window_ns=MINUTE)
    failed = [call(0, failed=True)]
    assert short(play(rule, failed, 600)) == ["firing@0"]
    assert short(play(replace(rule, no_data=NoData.OK), failed, 600)) == ["firing@0", "resolved@60"]
    assert short(play(rule, [*failed, call(300)], 600)) == ["firing@0", "resolved@300"]


def test_no_data_may_be_an_alert() -> None:
    rule = rule_of(metric=Metric.ERROR_RATE, threshold="0.5", window_ns=MINUTE, no_data=NoData.ALERT)
    assert short(play(rule, [call(0)], 600)) == ["firing@60"]


def test_a_known_series_that_falls_silent_is_absent() -> None:
    rule = rule_of(metric=Metric.COUNT, condition=Condition.ABSENT, window_ns=MINUTE)
    assert short(play(rule, [call(0), call(30), call(200)], 210)) == ["firing@90", "resolved@200"]


def test_a_value_must_recover_past_its_own_threshold() -> None:
    rule = rule_of(metric=Metric.ERROR_RATE, threshold="0.5", recovery="0.3")
    spans = [call(0, failed=True), *(call(second) for second in (1, 2, 3))]
    assert short(play(rule, spans, 10)) == ["firing@0", "resolved@3"]
    assert short(play(rule_of(metric=Metric.ERROR_RATE, threshold="0.5"), spans, 10)) == ["firing@0", "resolved@1"]


def test_a_cooldown_silences_what_fires_again() -> None:
    rule = rule_of(threshold=1, window_ns=10 * SECOND, cooldown_ns=100 * SECOND)
    spans = [call(0, 2), call(50, 2), call(150, 2)]
    said = play(rule, spans, 300)
    assert short(said) == [
        "firing@0", "resolved@10", "firing(silent)@50", "resolved(silent)@60", "firing@150", "resolved@160",
    ]  # fmt: skip
    assert said[4].suppressed == 1


def test_what_still_fires_at_the_end_of_a_cooldown_is_reminded_of() -> None:
    rule = rule_of(threshold=1, window_ns=60 * SECOND, cooldown_ns=100 * SECOND)
    said = play(rule, [call(0, 2), call(50, 2), call(90, 2), call(120, 5)], 300)
    assert short(said) == ["firing@0", "reminder@100", "resolved@180"]
    assert said[1].peak == 4


def test_a_silent_alert_is_told_when_the_cooldown_ends() -> None:
    rule = rule_of(threshold=1, window_ns=30 * SECOND, cooldown_ns=100 * SECOND)
    said = play(rule, [call(0, 2), call(80, 2)], 300)
    assert short(said) == ["firing@0", "resolved@30", "firing(silent)@80", "reminder@100", "resolved@110"]


def test_a_resolution_is_told_only_if_asked_for() -> None:
    rule = rule_of(threshold=1, window_ns=30 * SECOND, notify_resolved=False)
    assert short(play(rule, [call(0, 2)], 300)) == ["firing@0", "resolved(silent)@30"]


LEVELS = (
    Level(Severity.MEDIUM, Decimal(1), None, ("slack",)),
    Level(Severity.CRITICAL, Decimal(5), None, ("oncall",)),
)


def test_levels_are_one_alert_that_escalates_and_comes_down() -> None:
    rule = replace(rule_of(window_ns=30 * SECOND), levels=LEVELS)
    said = play(rule, [call(0, 2), call(10, 4), call(20, 1)], 100)
    assert [(event.severity, event.escalated_from) for event in said] == [
        (Severity.MEDIUM, None),
        (Severity.CRITICAL, Severity.MEDIUM),
        (Severity.MEDIUM, Severity.CRITICAL),
        (Severity.MEDIUM, None),
    ]
    # At 30 the sum is 5, no longer more than 5; at 40 it is 1, no longer more than 1.
    assert short(said) == ["firing@0", "firing@10", "firing(silent)@30", "resolved@40"]


# --- without a window -------------------------------------------------------------------------------------------


def test_hits_within_a_cooldown_are_one_alert_with_a_count_and_the_worst() -> None:
    rule = rule_of(threshold=1, window_ns=None, cooldown_ns=MINUTE)
    said = play(rule, [call(0, 2), call(10, 9), call(20, 1), call(30, 3)], 300)
    assert short(said) == ["firing@0", "reminder@60", "resolved@90"]
    assert [(event.suppressed, event.peak) for event in said] == [(0, 2), (2, 9), (0, 9)]


def test_a_single_hit_resolves_without_a_reminder() -> None:
    rule = rule_of(threshold=1, window_ns=None, cooldown_ns=MINUTE, keep_firing_ns=10 * SECOND)
    assert short(play(rule, [call(0, 2)], 300)) == ["firing@0", "resolved@60"]
    longer = replace(rule, keep_firing_ns=90 * SECOND)
    assert short(play(longer, [call(0, 2)], 300)) == ["firing@0", "resolved@90"]


def test_a_worse_hit_escalates() -> None:
    rule = replace(rule_of(window_ns=None), levels=LEVELS)
    said = play(rule, [call(0, 2), call(1, 9), call(2, 2)], 10)
    assert [event.severity for event in said] == [Severity.MEDIUM, Severity.CRITICAL]


# --- traces -----------------------------------------------------------------------------------------------------


def test_a_trace_fires_on_the_span_that_crosses() -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=None, threshold="0.5", cooldown_ns=MINUTE)
    spans = [call(0, 0.3, parent=9), call(1, 0.3, parent=9), call(2, 0.3, parent=9)]
    said = play(rule, spans, 30)
    assert short(said) == ["firing@1"]
    assert said[0].value == 0.6


def test_a_trace_latency_is_the_extent_until_the_root_says() -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=None, metric=Metric.LATENCY, threshold=3000)
    children = [call(1, parent=9), call(3.5, parent=9)]
    assert short(play(rule, children, 4)) == ["firing@3.5"]
    root = call(4, number=9, latency=2 * SECOND, span_class=SpanClass.CHAIN)
    assert short(play(rule, [root, *children], 100)) == []


@pytest.mark.parametrize(
    ("spans", "done"),
    [
        ([call(0, parent=9), call(2, number=9, span_class=SpanClass.AGENT)], 7),
        ([call(0, parent=9), call(2, parent=9)], 62),
        ([call(second, parent=9) for second in range(0, 3601, 50)], 3600),
    ],
)
def test_a_condition_that_may_become_false_waits_for_the_trace(spans: list[Span], done: float) -> None:
    rule = rule_of(scope=Scope.TRACE, window_ns=None, condition=Condition.LT, threshold=1000)
    assert short(play(rule, spans, 3700))[0] == f"firing@{done}"


def test_an_attempt_that_follows_makes_a_failure_good() -> None:
    oracle = Oracle([rule := rule_of(scope=Scope.TRACE, metric=Metric.ERROR_RATE, aggregate=Aggregate.AVG)])
    root = call(3, number=9, span_class=SpanClass.CHAIN)
    oracle.ingest([call(0, parent=9, failed=True), call(1, parent=9), root], at(3))
    other = [replace(span, trace=2) for span in (call(0, parent=9, failed=True), call(1, parent=8), root)]
    oracle.ingest(other, at(3))
    oracle.advance(at(20))
    assert (oracle.traces[1].failed(), oracle.traces[2].failed()) == (False, True)
    assert oracle.value(rule).low == 0.5


@pytest.mark.parametrize(
    ("metric", "aggregate", "expected"),
    [
        (Metric.ATTRIBUTE, Aggregate.SUM, 6),
        (Metric.ATTRIBUTE, Aggregate.AVG, 3),
        (Metric.ATTRIBUTE, Aggregate.MIN, 2),
        (Metric.ATTRIBUTE, Aggregate.MAX, 4),
        (Metric.JUDGE_SCORE, Aggregate.AVG, 3),
        (Metric.JUDGE_SCORE, Aggregate.MIN, 2),
    ],
)
def test_numbers_of_a_trace_are_joined_by_the_aggregate(metric: Metric, aggregate: Aggregate, expected: float) -> None:
    rule = rule_of(scope=Scope.TRACE, metric=metric, attribute="app.size", aggregate=aggregate)
    rule = rule if metric is Metric.ATTRIBUTE else replace(rule, attribute=None)
    oracle = Oracle([rule])
    numbers = [{"app.size": value, "judge_score": value} for value in (2.0, 4.0)]
    oracle.ingest([call(0, number=2, parent=1, numbers=numbers[0]), call(1, number=1, numbers=numbers[1])], at(1))
    oracle.advance(at(30))
    assert oracle.value(rule) == Interval(expected, expected, 1)


# --- properties -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data(), spans=histories(inherited=True, rooted=True), rule=rules(timers=False, alternatives=False))
def test_values_do_not_depend_on_how_a_history_is_split(data: st.DataObject, spans: list[Span], rule: Rule) -> None:
    def told(batches: list[list[Span]]) -> Oracle:
        oracle = Oracle([rule])
        for batch in batches:
            oracle.ingest(batch, max([oracle.clock, *(span.time for span in batch)]))
        return oracle

    whole, split = told([spans]), told(data.draw(splits(spans)))
    for group in split.series["rule"].samples:
        assert split.value(rule, group) == whole.value(rule, group)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), spans=histories(), rule=rules(monotone=True))
def test_judged_at_every_sample_alerts_do_not_depend_on_requests(
    data: st.DataObject, spans: list[Span], rule: Rule
) -> None:
    def said(batches: list[list[Span]]) -> list[Said]:
        oracle = Oracle([rule], each_sample=True)
        events = [event for batch in batches if batch for event in oracle.ingest(batch, batch[-1].time)]
        events += oracle.advance(at(3 * 3600))
        return sorted(events, key=lambda event: (event.group, event.at))

    moments = [list(same) for _, same in groupby(spans, key=lambda span: span.time)]
    cuts = sorted({0, len(moments), *data.draw(st.lists(st.integers(0, len(moments)), max_size=6))})
    joined = [[span for moment in moments[a:b] for span in moment] for a, b in pairwise(cuts)]
    assert said(moments) == said(joined)


@settings(max_examples=30, deadline=None)
@given(spans=histories(inherited=True, trees=True, nested=True))
def test_batches_hold_what_the_spans_say(spans: list[Span]) -> None:
    batch = batch_of(spans)
    assert len(batch) == len(spans)
    for row, span in enumerate(spans):
        assert (int(batch.end[row]), int(batch.start[row])) == (span.time, span.start)
        assert int(batch.trace_hi[row]) << 64 | int(batch.trace_lo[row]) == span.trace
        for name, column in batch.labels.items():
            code = int(column.code[row])
            assert (column.values[code] if code >= 0 else None) == span.labels.get(name)
        for name, numbers in batch.numbers.items():
            assert span.numbers.get(name, math.nan) == pytest.approx(numbers[row], nan_ok=True)
