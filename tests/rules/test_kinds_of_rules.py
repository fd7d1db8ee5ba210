"""Baselines, budgets, forecasts, shadows, expressions and queries: what they become, and what is refused where."""

# ruff: noqa: E501  # one case a line

from dataclasses import replace
from pathlib import Path

import pytest

from tocsin.errors import ConfigError
from tocsin.model.batch import SpanClass
from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData, Scope
from tocsin.rules.rule import Rule
from tocsin.rules.vector import (
    Binary,
    Expression,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Number,
    Operator,
    Projected,
    Series,
    series_of,
)
from tocsin.service.loading import Loader, load_text

DAY = 86_400 * 10**9
HOUR = 3600 * 10**9
DRIFT = "- {name: r, metric: judge_score, window: 1d, group_by: model, condition: below_baseline, threshold: %s, baseline: {%s}%s}\n"
QUERY = """- name: r
  sql: |
    SELECT
        time_bucket('${interval}', timestamp) AS metric_timestamp,
        AVG(value) AS metric_value
    FROM metrics_numeric_latest_version
    WHERE metric_name = 'latency' AND timestamp BETWEEN '${start_time}' AND '${end_time}'
    GROUP BY metric_timestamp
"""


def rule(text: str, head: str = "") -> Rule:
    [made] = load_text(f"{head}rules:\n{text}", environ={}).rules
    return made


def problems(text: str, head: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(f"{head}rules:\n{text}", file="c.yaml", environ={})
    return [problem.removeprefix("c.yaml:") for problem in caught.value.problems]


def expression(made: Rule) -> Expression:
    assert made.expression is not None
    return made.expression


# Baselines


def judged(**changes: object) -> Series:
    found = Series(Metric.JUDGE_SCORE, None, Aggregate.AVG, None, DAY, (("model",),))
    return replace(found, **changes)  # type: ignore[arg-type]  # any field


PAST = judged(window_ns=7 * DAY, offset_ns=DAY, baseline=True)
SPREAD = replace(PAST, aggregate=Aggregate.STDDEV)


@pytest.mark.parametrize(
    ("written", "below", "above"),
    [
        ("20%", Binary(Operator.MUL, PAST, Number(0.8)), Binary(Operator.MUL, PAST, Number(1.2))),
        ("0.05", Binary(Operator.SUB, PAST, Number(0.05)), Binary(Operator.ADD, PAST, Number(0.05))),
        ("3x", Binary(Operator.DIV, PAST, Number(3)), Binary(Operator.MUL, PAST, Number(3))),
        (
            "2 sigma",
            Binary(Operator.SUB, PAST, Binary(Operator.MUL, SPREAD, Number(2)), Matching((("model",),))),
            Binary(Operator.ADD, PAST, Binary(Operator.MUL, SPREAD, Number(2)), Matching((("model",),))),
        ),
    ],
)
def test_a_baseline_is_a_line_beside_the_value(written: str, below: Binary, above: Binary) -> None:
    for side, line, condition in (("below", below, Condition.LT), ("above", above, Condition.GT)):
        made = rule(DRIFT.replace("below", side) % (written, "", ""))
        found = expression(made)
        assert (made.metric, made.condition, made.no_data) == (Metric.EXPRESSION, condition, NoData.KEEP)
        assert (found.language, found.value, found.limits) == (Language.BASELINE, judged(), (line,))
        counted = replace(PAST, aggregate=Aggregate.COUNT)
        assert found.gate == Binary(Operator.GTE, counted, Number(100))


def test_the_parts_of_a_baseline_can_be_set() -> None:
    made = rule(DRIFT % ("20%", "window: 14d, offset: 2d, min_samples: 5, exclude_incidents: true", ", min_samples: 3"))
    found = expression(made)
    past = replace(PAST, window_ns=14 * DAY, offset_ns=2 * DAY, exclude_incidents=True)
    assert found.limits == (Binary(Operator.MUL, past, Number(0.8)),)
    assert found.gate == Logical(
        LogicalOperator.AND,
        Binary(Operator.GTE, replace(past, aggregate=Aggregate.COUNT), Number(5)),
        Binary(Operator.GTE, judged(aggregate=Aggregate.COUNT), Number(3)),
        (("model",),),
    )


def test_a_day_is_compared_with_the_average_day_and_only_if_the_series_is_old_enough() -> None:
    made = rule("- {name: r, metric: cost, window: 1d, condition: above_baseline, threshold: 2x, baseline: {}}")
    found = expression(made)
    (limit,) = found.limits or ()
    (past,) = series_of(limit)
    assert (past.aggregate, past.window_ns) == (Aggregate.SUM, 7 * DAY)
    assert past.scale == pytest.approx(1 / 7)
    early = [each for each in series_of(found.gate) if each.offset_ns > DAY]
    assert [(each.window_ns, each.offset_ns + each.window_ns) for each in early] == [(7 * DAY // 4, 8 * DAY)]
    assert found.unit == "USD"


def test_a_percentile_is_compared_with_that_of_the_past() -> None:
    made = rule(
        "- {name: r, metric: latency, aggregate: p95, window: 1h, condition: above_baseline, threshold: 250ms, baseline: {}}"
    )
    (limit,) = expression(made).limits or ()
    assert isinstance(limit, Binary)
    assert limit.right == Number(250)
    assert isinstance(limit.left, Series)
    assert (limit.left.quantile, limit.left.offset_ns) == (0.95, HOUR)


def test_levels_of_a_baseline_are_distances() -> None:
    levels = "levels: [{severity: high, threshold: 3 sigma}, {severity: low, threshold: 1 sigma}]"
    made = rule(DRIFT.replace("threshold: %s", levels) % ("", ""))
    assert [str(level.threshold) for level in made.levels] == ["1", "3"]
    limits = expression(made).limits or ()
    assert [str(each) for each in limits] == [str(each) for each in sorted(limits, key=str)]
    assert len(limits) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (DRIFT % ("0.5x", "", ""), "2:101: rule 'r': '0.5x' is no distance; write more than 1x, or a percentage"),
        (DRIFT % ("$5", "", ""), "2:101: rule 'r': '$5' is no distance from a baseline; write 2 sigma, 20%, 3x, or a number in the metric's unit"),
        (DRIFT % ("0%", "", ""), "2:101: rule 'r': '0%' is no distance from a baseline; write 2 sigma, 20%, 3x, or a number in the metric's unit"),
        (DRIFT % ("120%", "", ""), "2:101: rule 'r': nothing falls by '120%'; write less than 100%, or 3x for a third"),
        (DRIFT % ("20%", "window: 1h", ""), "2:125: rule 'r': a baseline is at least as long as the rule's window; write 7d, or a shorter 'window'"),
        (DRIFT % ("20%", "window: 365d, offset: 9d", ""), "2:125: rule 'r': a baseline reaches back at most 366d; write less"),
        (DRIFT % ("20%", "ofset: 1h", ""), "2:117: rule 'r': unknown key 'ofset'; did you mean 'offset'?"),
        (DRIFT % ("1 sigma", "", ", aggregate: p95"), "2:101: rule 'r': '1 sigma' is the spread of single samples, which says nothing of a percentile; write 20% or 3x, or aggregate: avg"),
        (DRIFT % ("1 sigma", "", ", aggregate: sum"), "2:101: rule 'r': '1 sigma' is the spread of single samples, which says nothing of a sum; write 20% or 3x, or aggregate: avg"),
        (DRIFT.replace("model", "trace") % ("20%", "", ""), "2:56: rule 'r': a trace has no past to be compared with; group by what comes again, like model"),
        (DRIFT % ("20%", "", ", recovery_threshold: 10%"), "2:120: rule 'r': what it is compared with moves, so there is no line to come back over; use 'keep_firing_for'"),
        (DRIFT.replace("window: 1d", "window: month") % ("20%", "", ""), "2:42: rule 'r': a calendar window grows from nothing; compare a sliding one with its baseline"),
        ("- {name: r, metric: cost, condition: above_baseline, threshold: 1, window: 1d}\n", "2:3: rule 'r': no 'baseline' to compare with; add one, like baseline: {window: 7d, offset: 1d}"),
        ("- {name: r, metric: cost, condition: above_baseline, threshold: 1, baseline: {}}\n", "2:38: rule 'r': a baseline needs a 'window' to compare with it; add one, like window: 1d"),
        (DRIFT.replace("threshold: %s", "levels: [{severity: low, threshold: 1 sigma}, {severity: high, threshold: 20%%}]") % ("", ""), "2:90: rule 'r': levels of one rule measure their distance alike: all in sigma, in %, in x, or in the metric's unit"),
    ],
)  # fmt: skip
def test_baselines_that_mean_nothing_are_refused(text: str, problem: str) -> None:
    assert problem in problems(text)


# Budgets, forecasts, shadows


def test_a_budget_is_of_a_period_of_a_zone() -> None:
    text = "- {name: r, metric: cost, window: %s, condition: gte, threshold: $5000%s}\n"
    assert rule(text % ("month", "")).calendar == Calendar(Period.MONTH, "UTC")
    assert rule(text % ("week", ""), "timezone: Asia/Tokyo\n").calendar == Calendar(Period.WEEK, "Asia/Tokyo")
    made = rule(text % ("day", ", timezone: Europe/Zurich"), "timezone: Asia/Tokyo\n")
    assert (made.calendar, made.window_ns) == (Calendar(Period.DAY, "Europe/Zurich"), None)


def test_a_forecast_is_of_what_the_period_has() -> None:
    made = rule(
        "- {name: r, metric: cost, window: month, forecast: true, group_by: tenant, condition: gt, threshold: $5000}\n"
    )
    found = expression(made)
    assert isinstance(found.value, Projected)
    assert found.value.argument.calendar == Calendar(Period.MONTH, "UTC")
    assert (found.language, found.unit, made.no_data, found.value.least_elapsed_ns) == (
        Language.FORECAST,
        "USD",
        NoData.OK,
        DAY,
    )
    assert (made.group_by, made.window_ns, made.calendar) == ((("tenant",),), None, None)


def test_a_rule_on_trial_tells_nobody_and_stops_nothing() -> None:
    text = "- {name: r, metric: cost, window: 5m, group_by: conversation, condition: gt, threshold: 1, notify: us, actions: [{block: conversation}]%s}\n"
    head = "contact_points: {us: {type: log}}\n"
    live, tried = rule(text % "", head), rule(text % ", mode: shadow", head)
    assert (live.shadow, tried.shadow) == (False, True)
    assert (live.levels[0].notify, tried.levels[0].notify) == (("us",), ())
    assert (len(live.actions), tried.actions) == (1, ())
    assert live.version != tried.version
    loaded = load_text("rules:\n- {name: r, mode: shadow, metric: cost, condition: gt, threshold: 1}\n", environ={})
    assert loaded.warnings == ()


def test_what_is_new_leaves_the_versions_of_rules_as_they_were() -> None:
    assert rule("- {name: r, metric: cost, condition: gt, threshold: 25}\n").version == "1eafd2a28ad0d800"


def test_traces_that_are_kept_for_long_are_warned_of() -> None:
    text = "rules:\n- {name: r, metric: cost, window: %s, group_by: trace, condition: gt, threshold: 1, mode: shadow}\n"
    assert load_text(text % "1h", environ={}).warnings == ()
    (warning,) = load_text(text % "30d", environ={}).warnings
    assert "every trace is kept for the whole window, up to 'limits.groups' of them" in warning


# Expressions


def test_what_a_rule_says_of_samples_holds_for_every_series_of_its_expression() -> None:
    made = rule(
        "- {name: r, expr: 'avg_over_time(latency[5m]) > 2 * avg_over_time(latency[1h])', filters: {tenant: a}, spans: tool, scope: span, group_by: model}\n"
    )
    found = expression(made)
    for series in series_of(found.value, *(found.limits or ())):
        assert series.filters == (Filter("tenant", (Match(MatchKind.EQUAL, "a"),)),)
        assert series.spans == frozenset({SpanClass.TOOL})
        assert series.labels == (("model",),)
        assert series.scope is Scope.SPAN
    assert (made.no_data, made.group_by) == (NoData.OK, (("model",),))


def test_an_expression_may_recover_over_another_line() -> None:
    made = rule("- {name: r, expr: 'avg_over_time(latency[5m]) > 2000', recovery_threshold: 1s, severity: high}\n")
    assert [(str(level.threshold), str(level.recovery_threshold)) for level in made.levels] == [("2000", "1000")]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("metric: cost", "name what is measured in the expression"),
        ("attribute: a.b", "name what is measured in the expression"),
        ("aggregate: sum", "write it in the expression, like avg_over_time(…)"),
        ("window: 5m", "write it in the expression, like [5m]"),
        ("timezone: UTC", "a sliding window is the same in every zone"),
        ("forecast: true", "use metric, window: month and threshold"),
        ("condition: gt", "write the comparison in the expression, like > 25"),
        ("threshold: 5", "write the comparison in the expression, like > 25"),
        ("levels: []", "write a rule for each severity"),
        ("bound: upper_bound", "it belongs to 'sql'"),
        ("interval: 1h", "it belongs to 'sql'"),
        ("metric_name: x", "it belongs to 'sql'"),
        ("baseline: {}", "compare with [7d] offset 1d in the expression"),
        ("min_samples: 5", "write it in the expression: and count_over_time(…) >= 20"),
        ("sql: x", "keep one of the two"),
    ],
)
def test_what_an_expression_stands_in_place_of_is_refused_beside_it(more: str, says: str) -> None:
    key = more.partition(":")[0]
    assert any(
        problem.startswith(f"4:3: rule 'r': '{key}' does not go together with 'expr': {says}")
        for problem in problems(f"- name: r\n  expr: cost > 5\n  {more}\n")
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("- name: r\n  expr: avg_over_time(latency[5m]) > frobnicate(cost)\n", "3:38"),
        ("- name: r\n  expr: |\n    avg_over_time(latency[5m])\n      > frobnicate(cost)\n", "5:9"),
        ("- name: r\n  expr: >-  # folded\n    avg_over_time(latency[5m])\n    > frobnicate(cost)\n", "5:7"),
        ("- name: r\n  expr: \"avg_over_time(latency[5m])\n    > frobnicate(cost)\"\n", "4:7"),
        ("- {name: r, expr: 'avg_over_time(latency[5m]) > frobnicate(cost)'}\n", "2:49"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_expression_is_told_at_its_character(text: str, place: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{place}: rule 'r': ")
    assert "frobnicate" in problem


# Queries


def test_a_query_has_a_bound_a_threshold_and_an_interval() -> None:
    made = rule(
        QUERY + "  bound: upper_bound\n  threshold: 2s\n  interval: {count: 2, unit: hours}\n  metric_name: slow\n"
    )
    assert (made.condition, str(made.levels[0].threshold), made.unit) == (Condition.GT, "2000", "ms")
    assert (expression(made).interval_ns, made.labels) == (2 * HOUR, {"metric_name": "slow"})
    lower = rule(
        QUERY
        + "  bound: lower_bound\n  levels: [{severity: low, threshold: 5}, {severity: high, threshold: 1}]\n  interval: 90s\n"
    )
    assert (lower.condition, [str(level.threshold) for level in lower.levels]) == (Condition.LT, ["5", "1"])
    assert lower.no_data is NoData.KEEP


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("  threshold: 1\n  interval: 1h\n", "2:3: rule 'r': no 'bound'; add bound: upper_bound to fire above the threshold, or lower_bound below it"),
        ("  threshold: 1\n  bound: upper_bound\n", "2:3: rule 'r': no 'interval'; add how long ${interval} is, like interval: {count: 1, unit: hours}"),
        ("  interval: 1h\n  bound: upper_bound\n", "2:3: rule 'r': no 'threshold'; add one, like threshold: 25, or 'levels'"),
        ("  threshold: 1\n  interval: 1h\n  bound: upper\n", "12:10: rule 'r': 'upper' is not one of upper_bound, lower_bound; did you mean 'upper_bound'?"),
        ("  threshold: 1\n  bound: upper_bound\n  interval: {count: 0, unit: hours}\n", "12:13: rule 'r': 'count' should be a whole number, at least 1"),
        ("  threshold: 1\n  bound: upper_bound\n  interval: {count: 1, unit: fortnights}\n", "12:13: rule 'r': 'fortnights' is not one of seconds, minutes, hours, days"),
        ("  threshold: 1\n  bound: upper_bound\n  interval: {hours: 1}\n", "12:13: rule 'r': should be {count: 1, unit: hours}, or 1h"),
        ("  threshold: 1\n  bound: upper_bound\n  interval: 500ms\n", "12:13: rule 'r': an interval is from 1s to 366d"),
        ("  threshold: 1\n  bound: upper_bound\n  interval: 1h\n  group_by: model\n", "13:3: rule 'r': 'group_by' does not go together with 'sql': write it in the query's GROUP BY"),
        ("  threshold: 1\n  bound: upper_bound\n  interval: 1h\n  window: 5m\n", "13:3: rule 'r': 'window' does not go together with 'sql': write 'interval', for which ${interval} stands in the query"),
    ],
)  # fmt: skip
def test_what_a_query_lacks_or_stands_in_place_of_is_told(more: str, problem: str) -> None:
    assert problem in problems(QUERY + more)


def test_a_clause_that_can_not_be_compiled_is_told_at_its_place() -> None:
    text = QUERY + "    HAVING AVG(value) > 5\n  bound: upper_bound\n  threshold: 1\n  interval: 1h\n"
    found = problems(text)
    assert any(problem.startswith("10:5: rule 'r': ") and "HAVING" in problem for problem in found)


def test_a_rule_with_a_query_is_remembered_when_others_change(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    query = QUERY + "  bound: upper_bound\n  threshold: 1\n  interval: 1h\n"
    others = "".join(f"- {{name: r{n}, metric: cost, condition: gt, threshold: 1}}\n" for n in range(9))
    file.write_text("rules:\n" + query + others)
    loader = Loader(file, environ={})
    before = loader.load().rules
    file.write_text("rules:\n" + query + others.replace("r8", "r9"))
    assert loader.load().rules[0] is before[0]
    file.write_text("sql: {metrics: {latency: app.latency}}\nrules:\n" + query + others)
    assert loader.load().rules[0] != before[0], "other names in queries are other queries"
