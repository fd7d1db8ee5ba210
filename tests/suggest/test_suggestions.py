"""What is suggested, against counting by hand and against a backtest of each candidate."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from samples import EPOCH, MINUTE, SECOND, Span, batch_of, histories, rule_of

from tocsin.journal.config import JournalConfig
from tocsin.journal.record import Record
from tocsin.journal.sqlite import SqliteLog
from tocsin.model.batch import Needs, SpanClass
from tocsin.rules.rule import Aggregate, Condition, Level, Metric, Rule, Scope, Severity
from tocsin.service.backtest import BacktestError, History, Period, backtest
from tocsin.service.backtest.failures import InputProblems
from tocsin.service.backtest.sources import Part
from tocsin.service.loading import load_text
from tocsin.service.suggest import suggest
from tocsin.service.suggest.suggestion import RuleSuggestion

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)


@dataclass
class Given:
    """Spans in order of time, as a source."""

    spans: list[Span]
    lacking: Mapping[str, int] = field(default_factory=dict)
    problems: InputProblems = field(default_factory=InputProblems)
    name: str = "given spans"

    def parts(self, needs: Needs, period: Period) -> Iterator[Part]:
        del needs
        wanted = [span for span in self.spans if (period.begin or 0) <= span.time <= (period.end or 2**62)]
        for begin in range(0, len(wanted), 5):
            batch = batch_of(wanted[begin : begin + 5])
            yield Part(int(batch.end[-1]), None, batch, min(1.0, (begin + 5) / len(wanted)))


def suggested(spans: list[Span], *rules: Rule, period: Period | None = None) -> list[RuleSuggestion]:
    return list(suggest(rules, lambda: Given(spans), period=period).rules)


def rank(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def _reduced(aggregate: Aggregate, values: list[int]) -> float:
    if aggregate is Aggregate.AVG:
        return float(np.mean(values))
    return float(sum(values) if aggregate is Aggregate.SUM else max(values))


def is_call(span: Span) -> bool:
    return span.span_class is SpanClass.LLM


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(histories(spread=2 * MINUTE), st.sampled_from([Aggregate.SUM, Aggregate.MAX, Aggregate.AVG]), st.integers(1, 2))
def test_values_are_those_after_each_second_with_spans(spans: list[Span], aggregate: Aggregate, least: int) -> None:
    window = 7 * SECOND  # spans end every two seconds: a pane more or less decides nothing
    spans = [replace(span, time=EPOCH + (span.time - EPOCH) // (2 * SECOND) * 2 * SECOND) for span in spans]
    spans.sort(key=lambda span: (span.time, -span.span))
    rule = rule_of(
        metric=Metric.OUTPUT_TOKENS, aggregate=aggregate, window_ns=window, group_by=(("conversation",),),
        threshold=500, min_samples=least,
    )  # fmt: skip
    (found,) = suggested(spans, rule)
    values: list[float] = []
    for now in sorted({span.time for span in spans}):
        groups: dict[str, list[int]] = defaultdict(list)
        for span in spans:
            if now - window < span.time <= now and is_call(span) and span.output_tokens >= 0:
                groups[span.labels["conversation"]].append(span.output_tokens)
        values += [_reduced(aggregate, some) for some in groups.values() if len(some) >= least]
    assert found.measured.values == len(values)
    if values:
        shown = (found.measured.p50, found.measured.p99, found.measured.maximum, found.measured.minimum)
        assert shown == pytest.approx((rank(values, 0.5), rank(values, 0.99), max(values), min(values)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(histories(spread=MINUTE))
def test_values_of_rules_that_judge_each_are_the_samples(spans: list[Span]) -> None:
    (found,) = suggested(spans, rule_of(metric=Metric.LATENCY, window_ns=None, threshold=5000))
    values = [span.latency / 1e6 for span in spans if is_call(span)]
    assert found.measured.values == len(values)
    if values:
        assert (found.measured.p95, found.measured.maximum) == (rank(values, 0.95), max(values))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(histories(spread=5 * MINUTE, rooted=True))
def test_values_of_rules_that_judge_each_trace_are_the_traces(spans: list[Span]) -> None:
    rule = rule_of(metric=Metric.OUTPUT_TOKENS, window_ns=None, scope=Scope.TRACE, threshold=500)
    (found,) = suggested(spans, rule)
    sums: dict[int, float] = defaultdict(float)
    for span in spans:
        sums[span.trace] += max(0, span.output_tokens) if is_call(span) else 0
    of_calls = {span.trace for span in spans}
    assert found.measured.values == len(of_calls)
    assert (found.measured.p50, found.measured.maximum) == (rank(list(sums.values()), 0.5), max(sums.values()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)
@given(histories(spread=5 * MINUTE), st.sampled_from([Condition.GT, Condition.LTE]), st.booleans())
def test_each_candidate_is_counted_as_a_backtest_of_it_alone(
    spans: list[Span], condition: Condition, windowless: bool
) -> None:
    rule = rule_of(
        metric=Metric.OUTPUT_TOKENS, window_ns=None if windowless else 20 * SECOND, group_by=(("tenant",),),
        threshold=500, condition=condition, for_ns=0 if windowless else 2 * SECOND, cooldown_ns=MINUTE,
    )  # fmt: skip
    (found,) = suggested(spans, rule)
    (level,) = found.levels
    assert [each for each in level.candidates if "now" in each.sources]
    for candidate in level.candidates:
        one = replace(rule.levels[0], threshold=Decimal(repr(candidate.threshold)))
        (alone,) = backtest([replace(rule, levels=(one,))], Given(spans)).rules
        assert (candidate.breached, candidate.notified) == (alone.breached, alone.notified)


def calls(count: int, every: int, tokens: int = 100) -> list[Span]:
    return [
        Span(EPOCH + n * every, n + 1, n + 1, output_tokens=tokens + n, labels={"tenant": "a"}) for n in range(count)
    ]


def test_every_level_has_its_own_candidates_and_somebody_is_told_in_thought() -> None:
    levels = (Level(Severity.LOW, Decimal(150), None, ()), Level(Severity.HIGH, Decimal(180), Decimal(170), ("c",)))
    rule = rule_of(metric=Metric.OUTPUT_TOKENS, window_ns=None, cooldown_ns=0)
    (found,) = suggested(calls(100, MINUTE), replace(rule, levels=levels))
    assert [(level.severity, level.threshold) for level in found.levels] == [("low", 150), ("high", 180)]
    for level in found.levels:
        now = next(each for each in level.candidates if "now" in each.sources)
        assert now.breached == 199 - level.threshold
        assert now.notified
    assert not any("contact point" in note for note in found.notes)


def test_the_mildest_that_is_seldom_enough_is_marked() -> None:
    (found,) = suggested(calls(100, MINUTE), rule_of(metric=Metric.OUTPUT_TOKENS, window_ns=None, threshold=120))
    (level,) = found.levels
    marked = [each for each in level.candidates if each.suggested]
    assert len(marked) == 1
    assert marked[0].notified <= 1
    assert all(each.notified > 1 for each in level.candidates if each.threshold < marked[0].threshold)


def test_a_week_is_told_from_an_hour_on() -> None:
    rule = rule_of(metric=Metric.OUTPUT_TOKENS, window_ns=None, threshold=120)
    short, long = (suggested(calls(100, every), rule)[0].levels[0].candidates[0] for every in (SECOND, MINUTE))
    assert short.breached_per_week is None
    assert long.breached_per_week == pytest.approx(long.breached / (99 / 7 / 24 / 60))


def test_only_the_period_counts_and_windows_are_filled_before_it() -> None:
    spans = calls(60, MINUTE)
    period = Period(EPOCH + 30 * MINUTE, EPOCH + 40 * MINUTE)
    rule = rule_of(metric=Metric.OUTPUT_TOKENS, window_ns=570 * SECOND, threshold=1)
    (found,) = suggested(spans, rule, period=period)
    assert found.measured.values == 11
    assert found.measured.minimum == sum(100 + n for n in range(21, 31))


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        ("metric: count, window: 5m, condition: absent", "what can be changed is 'window'"),
        ("metric: count, window: 5m, condition: eq, threshold: 5", "fires on one value"),
        ("expr: 'sum(increase(calls_total[5m]))'", "no comparison with a number"),
        ("metric: judge_score, window: 5m, condition: lt, threshold: 0.5", "no sample: no span"),
        ("metric: count, window: 5m, condition: gt, threshold: 5, min_samples: 500", "ever had min_samples 500"),
        ("metric: error_rate, window: 5m, condition: gt, threshold: 5%", "it was always 0 %"),
        ("metric: latency, window: 5m, condition: above_baseline, threshold: 2 sigma, baseline: {window: 1h}", "moves"),
    ],
)
def test_what_there_is_nothing_to_suggest_for_says_why(rule: str, note: str) -> None:
    (compiled,) = load_text(f"rules: [{{name: it, {rule}}}]").rules
    (found,) = suggested(calls(30, MINUTE), compiled)
    assert note in "\n".join(found.notes)
    assert [len(level.candidates) for level in found.levels] == [1]


def test_expressions_and_queries_have_candidates_too() -> None:
    (expr,) = load_text("rules: [{name: it, expr: 'sum by (tenant) (increase(output_tokens[270s])) > 900'}]").rules
    (found,) = suggested(calls(60, MINUTE), expr)
    assert found.measured.maximum == sum(range(155, 160))
    assert [each.sources for each in found.levels[0].candidates] == [("p99", "p99.9", "max"), ("now",)] or [
        each.sources for each in found.levels[0].candidates
    ] == [("p99", "p99.9", "max", "now")]


def test_what_history_lacks_is_said() -> None:
    source = Given(calls(5, MINUTE), lacking={"app.size": 5})
    rule = rule_of(metric=Metric.ATTRIBUTE, attribute="app.size", aggregate=Aggregate.AVG)
    (found,) = suggest([rule], lambda: source).rules
    assert "app.size was not recorded for 5 spans: no rule read it then; it counts as absent there" in found.notes


def test_recorded_history_suggests_as_the_spans_themselves(tmp_path: Path) -> None:
    spans = calls(40, MINUTE)
    rule = rule_of(metric=Metric.OUTPUT_TOKENS, window_ns=5 * MINUTE, group_by=(("tenant",),), threshold=500)

    async def record() -> None:
        log = SqliteLog.open(tmp_path, JournalConfig())
        for span in spans:
            log.append(Record(span.time, span.time, batch_of([span])))
        await log.close()

    asyncio.run(record())
    (found,) = suggest([rule], lambda: History(tmp_path, sort=True)).rules
    (expected,) = suggested(spans, rule)
    assert (found.measured, found.levels) == (expected.measured, expected.levels)


def test_nothing_to_replay_is_told() -> None:
    with pytest.raises(BacktestError, match="given spans has no spans"):
        suggested([], rule_of())
    with pytest.raises(BacktestError, match="there is no rule to suggest for"):
        suggest([], lambda: Given([]))
