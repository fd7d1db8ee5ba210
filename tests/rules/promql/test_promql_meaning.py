"""What each function, operator and clause of PromQL becomes."""

import math
from typing import Any

import pytest

from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.measures import Aggregate, Metric, Scope
from tocsin.rules.promql.matching import Labelling
from tocsin.rules.promql.reading import read
from tocsin.rules.promql.trees import Trees
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Entry,
    Function,
    Logical,
    LogicalOperator,
    Matching,
    Now,
    Number,
    Operator,
    Series,
    Vector,
)

MINUTE = 60 * 10**9
MODEL: Entry = ("model",)
TENANT: Entry = ("tenant",)


def tree_of(text: str, *group_by: Entry) -> Vector:
    labelling = Labelling(group_by)
    tree = read(text)
    return Trees(labelling, labelling.of_series(tree)).vector(tree)


def series(name: str | Metric, aggregate: Aggregate, minutes: float = 5, *labels: Entry, **fields: Any) -> Series:  # noqa: ANN401
    metric = name if isinstance(name, Metric) else Metric.ATTRIBUTE
    attribute = None if isinstance(name, Metric) else name
    return Series(metric, attribute, aggregate, fields.pop("quantile", None), int(minutes * MINUTE), labels, **fields)


X = series("x", Aggregate.LAST)
Y = series("y", Aggregate.LAST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", X),
        ("x offset 1d", series("x", Aggregate.LAST, offset_ns=1440 * MINUTE)),
        ("avg_over_time(x[1h])", series("x", Aggregate.AVG, 60)),
        ("min_over_time(x[1h])", series("x", Aggregate.MIN, 60)),
        ("max_over_time(x[1h])", series("x", Aggregate.MAX, 60)),
        ("sum_over_time(x[1h])", series("x", Aggregate.SUM, 60)),
        ("count_over_time(x[1h])", series("x", Aggregate.COUNT, 60)),
        ("stddev_over_time(x[1h])", series("x", Aggregate.STDDEV, 60)),
        ("last_over_time(x[1h])", series("x", Aggregate.LAST, 60)),
        ("stdvar_over_time(x[1h])", Binary(Operator.POW, series("x", Aggregate.STDDEV, 60), Number(2.0))),
        ("present_over_time(x[1h])", Apply(Function.SGN, series("x", Aggregate.COUNT, 60))),
        ("quantile_over_time(0.9, x[1h])", series("x", Aggregate.QUANTILE, 60, quantile=0.9)),
        ("quantile_over_time(0, x[1h])", series("x", Aggregate.MIN, 60)),
        ("quantile_over_time(2 - 1, x[1h])", series("x", Aggregate.MAX, 60)),
        ("avg_over_time(x[7d] offset 1d)", series("x", Aggregate.AVG, 7 * 1440, offset_ns=1440 * MINUTE)),
        ("rate(x[5m])", series("x", Aggregate.RATE)),
        ("increase(x[5m])", series("x", Aggregate.SUM)),
        ("rate(x_sum[5m])", series("x", Aggregate.RATE)),
        ("increase(x_total[5m])", series("x", Aggregate.SUM)),
        ("increase(x_count[5m])", series("x", Aggregate.COUNT)),
        ("rate(x_count[5m])", series("x", Aggregate.COUNT, scale=1 / 300)),
        ("rate(x[5m]) * 300", series("x", Aggregate.SUM)),
        ("300 * rate(x[5m])", series("x", Aggregate.SUM)),
        ("x / 4", series("x", Aggregate.LAST, scale=0.25)),
        ("-x", series("x", Aggregate.LAST, scale=-1.0)),
        ("histogram_quantile(0.95, rate(x_bucket[5m]))", series("x", Aggregate.QUANTILE, quantile=0.95)),
        ("histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))", series("x", Aggregate.QUANTILE, quantile=0.95)),
        (
            "histogram_quantile(0.5, sum(increase(latency_bucket[5m])) by (model, le))",
            series(Metric.LATENCY, Aggregate.QUANTILE, 5, MODEL, quantile=0.5),
        ),
        ("absent(x)", Absent(series("x", Aggregate.COUNT))),
        ("absent(x_total)", Absent(series("x", Aggregate.COUNT))),
        ("absent_over_time(x[1h])", Absent(series("x", Aggregate.COUNT, 60))),
        ("absent(x > 5)", Absent(Binary(Operator.GT, X, Number(5.0)))),
        ("abs(x)", Apply(Function.ABS, X)),
        ("ceil(x)", Apply(Function.CEIL, X)),
        ("floor(x)", Apply(Function.FLOOR, X)),
        ("round(x)", Apply(Function.ROUND, X)),
        ("round(x, 0.5)", Apply(Function.ROUND, X, (Number(0.5),))),
        ("clamp_min(x, 1)", Apply(Function.CLAMP_MIN, X, (Number(1.0),))),
        ("clamp_max(x, 1)", Apply(Function.CLAMP_MAX, X, (Number(1.0),))),
        ("clamp(x, 1, 2)", Apply(Function.CLAMP, X, (Number(1.0), Number(2.0)))),
        ("sqrt(x)", Apply(Function.SQRT, X)),
        ("exp(x)", Apply(Function.EXP, X)),
        ("ln(x)", Apply(Function.LN, X)),
        ("log2(x)", Apply(Function.LOG2, X)),
        ("log10(x)", Apply(Function.LOG10, X)),
        ("sgn(x)", Apply(Function.SGN, X)),
        ("sort(x)", X),
        ("sort_desc(x)", X),
        ("scalar(x)", Apply(Function.SCALAR, X)),
        ("vector(1)", Apply(Function.VECTOR, Number(1.0))),
        ("vector(time())", Apply(Function.VECTOR, Now())),
        ("vector(pi())", Apply(Function.VECTOR, Number(math.pi))),
        ("-abs(x)", Apply(Function.NEGATE, Apply(Function.ABS, X))),
        ("x > 2 * 3 ^ 2 - 1", Binary(Operator.GT, X, Number(17.0))),
        ("x > bool 1", Binary(Operator.GT, X, Number(1.0), returns_bool=True)),
        ("x + on () y", Binary(Operator.ADD, X, Y, Matching(()))),
        *(
            (f"x {sign.value} y", Binary(sign, X, Y, Matching(())))
            for sign in Operator
        ),
        ("x and y", Logical(LogicalOperator.AND, X, Y, ())),
        ("x or y", Logical(LogicalOperator.OR, X, Y, ())),
        ("x unless on () y", Logical(LogicalOperator.UNLESS, X, Y, ())),
        ("X AND Y", Logical(LogicalOperator.AND, series("X", Aggregate.LAST), series("Y", Aggregate.LAST), ())),
        ("(x # a comment\n)", X),
    ],
)  # fmt: skip
def test_a_text_becomes_a_tree(text: str, expected: Vector) -> None:
    assert tree_of(text) == expected


@pytest.mark.parametrize(
    "name", [each.value for each in Combining if each.value not in ("quantile", "topk", "bottomk")]
)
def test_aggregations_combine_what_the_labels_name(name: str) -> None:
    x = series("x", Aggregate.LAST, 5, MODEL, TENANT)
    expected = Combine(Combining(name), x, (MODEL,))
    assert tree_of(f"{name} by (model) (x)", MODEL, TENANT) == expected
    assert tree_of(f"{name}(x) by (model)", MODEL, TENANT) == expected
    assert tree_of(f"{name} without (tenant) (x)", MODEL, TENANT) == expected


@pytest.mark.parametrize("name", ["quantile", "topk", "bottomk"])
def test_aggregations_with_a_parameter(name: str) -> None:
    x = series("x", Aggregate.LAST, 5, MODEL, TENANT)
    assert tree_of(f"{name} by (model) (0.5, x)", MODEL, TENANT) == Combine(Combining(name), x, (MODEL,), Number(0.5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum by (model) (rate(x[5m]))", series("x", Aggregate.RATE, 5, MODEL)),
        ("sum without (tenant) (increase(x[5m]))", series("x", Aggregate.SUM, 5, MODEL)),
        ("sum(sum_over_time(x[5m]))", series("x", Aggregate.SUM)),
        ("sum(count_over_time(x[5m])) * 2", series("x", Aggregate.COUNT, scale=2.0)),
        ("sum(rate(x[5m]) * -300)", series("x", Aggregate.RATE, scale=-300.0)),
        ("sum by (model) (sum by (model, tenant) (rate(x[5m])))", series("x", Aggregate.RATE, 5, MODEL)),
        ("max by (tenant) (max_over_time(x[5m]))", series("x", Aggregate.MAX, 5, TENANT)),
        ("min by (tenant) (min_over_time(x[5m]))", series("x", Aggregate.MIN, 5, TENANT)),
        # The largest of negated values is the smallest value negated, which a maximum of maxima does not know.
        ("max by (tenant) (-max_over_time(x[5m]))", Combine(
            Combining.MAX, series("x", Aggregate.MAX, 5, MODEL, TENANT, scale=-1.0), (TENANT,))),
        ("sum by (tenant) (avg_over_time(x[5m]))", Combine(
            Combining.SUM, series("x", Aggregate.AVG, 5, MODEL, TENANT), (TENANT,))),
    ],
)  # fmt: skip
def test_an_aggregation_that_a_leaf_can_do_is_the_leafs(text: str, expected: Vector) -> None:
    assert tree_of(text, MODEL, TENANT) == expected


def test_labels_that_the_text_names_tell_series_apart() -> None:
    assert tree_of("sum by (gen_ai_conversation_id) (x)", MODEL) == Combine(
        Combining.SUM, series("x", Aggregate.LAST, 5, MODEL, ("conversation",)), (("conversation",),)
    )
    x, y = (series(name, Aggregate.LAST, 5, TENANT) for name in "xy")
    assert tree_of("x / on (tenant) y") == Binary(Operator.DIV, x, y, Matching((TENANT,)))
    left, right = (series(name, Aggregate.LAST, 5, TENANT, MODEL) for name in "xy")
    expected = Binary(
        Operator.DIV,
        Combine(Combining.AVG, left, (TENANT,)),
        Combine(Combining.AVG, right, (TENANT,)),
        Matching((TENANT,)),
    )
    assert tree_of("avg without (model) (x) / avg without (model) (y)", TENANT) == expected


def test_an_entry_with_alternatives_is_kept_whole() -> None:
    entry = ("conversation", "trace")
    assert tree_of("sum by (gen_ai_conversation_id) (rate(x[5m]))", entry) == series("x", Aggregate.RATE, 5, entry)


def test_what_group_left_brings_is_of_the_one_side() -> None:
    many, one = series("x", Aggregate.LAST, 5, TENANT), series("y", Aggregate.LAST, 5, TENANT, ("plan",))
    expected = Binary(Operator.MUL, many, one, Matching((TENANT,), "left", (("plan",),)))
    assert tree_of("x * on (tenant) group_left (plan) y") == expected
    expected = Binary(Operator.MUL, one, many, Matching((TENANT,), "right", (("plan",),)))
    assert tree_of("y * on (tenant) group_right (plan) x") == expected


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        ('a="b"', (Match(MatchKind.EQUAL, "b"),)),
        ('a!="b"', (Match(MatchKind.EQUAL, "b", negated=True),)),
        ('a=~"b.*"', (Match(MatchKind.REGEX, "(?s:b.*)"),)),
        ('a!~"b.*"', (Match(MatchKind.REGEX, "(?s:b.*)", negated=True),)),
        ('a=""', (Match(MatchKind.REGEX, "(?s:.+)", negated=True),)),
        ('a!=""', (Match(MatchKind.REGEX, "(?s:.+)"),)),
        ('a=~""', (Match(MatchKind.REGEX, "(?s:.+)", negated=True),)),
        ('a!~"b|"', (Match(MatchKind.REGEX, "(?s:.+)"), Match(MatchKind.REGEX, "(?s:b|)", negated=True))),
    ],
)
def test_matchers_are_filters(matcher: str, expected: tuple[Match, ...]) -> None:
    assert tree_of(f"x{{{matcher}}}") == series("x", Aggregate.LAST, filters=(Filter("a", expected),))


def test_a_matcher_that_everything_passes_is_no_filter() -> None:
    assert tree_of('x{a=~".*"}') == X


def test_matchers_of_one_label_all_hold() -> None:
    both = tree_of('x{a=~"b.*", a!="bc"}')
    assert isinstance(both, Series)
    assert [each.accepts("bd") and not each.accepts("bc") for each in both.filters] == [False, True]
    assert len(both.filters) == 2


def test_values_are_spelled_as_batches_spell_them() -> None:
    found = tree_of('x{gen_ai_system="azure"}')
    assert isinstance(found, Series)
    assert found.filters == (Filter("provider", (Match(MatchKind.EQUAL, "azure.ai.openai"),)),)


@pytest.mark.parametrize(
    ("text", "metric", "aggregate", "scale"),
    [
        ("increase(gen_ai_client_operation_duration_seconds_sum[5m])", Metric.LATENCY, Aggregate.SUM, 0.001),
        ("increase(gen_ai_client_operation_duration_seconds_count[5m])", Metric.LATENCY, Aggregate.COUNT, 1.0),
        ("increase(gen_ai_client_token_usage_sum[5m])", Metric.TOKENS, Aggregate.SUM, 1.0),
        ('increase(gen_ai_client_token_usage_sum{gen_ai_token_type="output"}[5m])',
         Metric.OUTPUT_TOKENS, Aggregate.SUM, 1.0),
        ("increase(traces_span_metrics_calls_total[5m])", Metric.COUNT, Aggregate.SUM, 1.0),
        ("increase(calls[5m])", Metric.COUNT, Aggregate.SUM, 1.0),
        ('increase(calls_total{status_code="STATUS_CODE_ERROR"}[5m])', Metric.ERROR_RATE, Aggregate.SUM, 1.0),
        ('increase(calls_total{status_code!="STATUS_CODE_ERROR"}[5m])', Metric.SUCCESS_RATE, Aggregate.SUM, 1.0),
        ("increase(traces_span_metrics_duration_milliseconds_sum[5m])", Metric.LATENCY, Aggregate.SUM, 1.0),
        ("sum_over_time(error_rate[5m])", Metric.ERROR_RATE, Aggregate.SUM, 1.0),
        ("sum_over_time(count[5m])", Metric.COUNT, Aggregate.SUM, 1.0),
        ('sum_over_time({"count"}[5m])', Metric.COUNT, Aggregate.SUM, 1.0),
    ],
)  # fmt: skip
def test_well_known_metrics_are_metrics_of_calls(text: str, metric: Metric, aggregate: Aggregate, scale: float) -> None:
    assert tree_of(text) == series(metric, aggregate, scale=scale)


def test_a_metric_of_traces_is_over_traces() -> None:
    expected = series(Metric.COST_PER_TRACE, Aggregate.AVG, 60, scope=Scope.TRACE)
    assert tree_of("avg_over_time(cost_per_trace[1h])") == expected
