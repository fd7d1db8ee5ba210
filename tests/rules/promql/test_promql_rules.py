"""What a whole text means for a rule: a value, a condition, limits, a gate and groups."""

from decimal import Decimal

import pytest

from tocsin.rules.measures import Aggregate, Condition, Metric
from tocsin.rules.promql import CompiledExpression, compile_promql
from tocsin.rules.vector import (
    Binary,
    Combine,
    Combining,
    Entry,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Number,
    Operator,
    Series,
)

MINUTE = 60 * 10**9
DAY = 1440 * MINUTE


def compiled(text: str, *group_by: Entry) -> CompiledExpression:
    return compile_promql(text, group_by)


def of(name: str, aggregate: Aggregate, window_ns: int, *labels: Entry, scale: float = 1.0, offset: int = 0) -> Series:
    return Series(Metric.ATTRIBUTE, name, aggregate, None, window_ns, labels, scale=scale, offset_ns=offset)


X, Y, Z = (of(name, Aggregate.LAST, 5 * MINUTE) for name in "xyz")


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("x > 25", Condition.GT),
        ("x >= 25", Condition.GTE),
        ("x < 25", Condition.LT),
        ("x <= 25", Condition.LTE),
        ("x == 25", Condition.EQ),
        ("x != 25", Condition.NE),
        ("25 < x", Condition.GT),
        ("25 >= x", Condition.LTE),
        ("25 == x", Condition.EQ),
    ],
)
def test_a_comparison_with_a_number_is_a_condition_and_a_threshold(text: str, condition: Condition) -> None:
    found = compiled(text)
    assert (found.condition, found.threshold) == (condition, Decimal(25))
    assert (found.expression.value, found.expression.limits, found.expression.gate) == (X, None, None)
    assert (found.expression.language, found.expression.text) == (Language.PROMQL, text)


def test_a_comparison_with_what_changes_is_a_limit() -> None:
    assert compiled("x > scalar(y)").expression.limits is not None
    found = compiled("x > y")
    assert (found.expression.value, found.expression.limits, found.threshold) == (X, (Y,), None)
    found = compiled("x > NaN")
    assert found.threshold is None
    assert found.expression.limits is not None


def test_a_comparison_of_many_with_one_is_there_or_not() -> None:
    found = compiled("sum by (model, tenant) (rate(x[5m])) > on (model) group_left sum by (model) (rate(y[5m]))")
    assert found.condition is Condition.PRESENT
    assert isinstance(found.expression.value, Binary)


def test_what_is_no_comparison_fires_where_it_is() -> None:
    for text in ("x", "x > bool 5", "x > 5 or y > 5", "absent(x)", "(x > 5) * 2", "vector(1)"):
        found = compiled(text)
        assert (found.condition, found.threshold, found.expression.limits) == (Condition.PRESENT, None, None), text


def test_and_is_a_gate() -> None:
    found = compiled("x > 5 and y < 3")
    assert (found.expression.value, found.threshold) == (X, Decimal(5))
    assert found.expression.gate == Binary(Operator.LT, Y, Number(3.0))


def test_and_on_fewer_labels_is_a_gate_of_those() -> None:
    found = compiled("x > 5 and on (model) y", ("tenant",))
    y = of("y", Aggregate.LAST, 5 * MINUTE, ("tenant",), ("model",))
    assert found.expression.gate == Combine(Combining.GROUP, y, (("model",),))


def test_unless_is_a_gate_of_what_has_no_match() -> None:
    found = compiled("x > 5 unless y < 3")
    assert found.expression.value == X
    assert found.expression.gate == Logical(LogicalOperator.UNLESS, X, Binary(Operator.LT, Y, Number(3.0)), ())


def test_gates_add_up() -> None:
    found = compiled("x > 5 and y and z")
    assert found.expression.gate == Logical(LogicalOperator.AND, Logical(LogicalOperator.AND, X, Y, ()), Z, ())


def test_groups_are_the_labels_of_the_result() -> None:
    assert compiled("x > 5", ("model",), ("conversation", "trace")).labels == (("model",), ("conversation", "trace"))
    assert compiled("sum by (model) (rate(x[5m])) > 5").labels == (("model",),)
    assert compiled("sum(rate(x[5m])) > 5").labels == ()


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("cost > 5", "USD"),
        ("rate(cost[5m]) > 5", "USD/s"),
        ("increase(app_llm_cost_usd_sum[5m]) > 5", "USD"),
        ("rate(app_llm_cost_usd_sum[5m]) * 300 > 5", "USD"),
        ("latency > 5", "ms"),
        ("quantile_over_time(0.9, gen_ai_client_operation_duration_seconds[5m]) > 5", "s"),
        ("latency / 7 > 5", ""),
        ("increase(cost[5m]) / increase(cost[1h]) > 5", "ratio"),
        ("cost + cost > 5", "USD"),
        ("cost + latency > 5", ""),
        ("max by (model) (sum by (model, tenant) (increase(tokens[5m]))) > 5", "tokens"),
        ("x > 5", ""),
    ],
)
def test_the_unit_is_that_of_the_value(text: str, unit: str) -> None:
    assert compiled(text).expression.unit == unit


def test_a_conversation_that_burns_money() -> None:
    text = "sum by (gen_ai_conversation_id) (\nrate(app_llm_cost_usd_sum[5m]) * 300\n) > 25"
    found = compiled(text)
    assert found.expression.value == of("app.llm.cost_usd", Aggregate.SUM, 5 * MINUTE, ("conversation",))
    assert (found.condition, found.threshold, found.labels) == (Condition.GT, Decimal(25), (("conversation",),))


def test_judges_that_drift() -> None:
    text = """(
avg_over_time(app_llm_judge_score[1d])
-
avg_over_time(app_llm_judge_score[7d] offset 1d)
) <
( -2 * stddev_over_time(app_llm_judge_score[7d] offset 1d) )"""
    found = compiled(text, ("model",))
    name, model = "app.llm.judge.score", ("model",)
    before = of(name, Aggregate.AVG, 7 * DAY, model, offset=DAY)
    spread = of(name, Aggregate.STDDEV, 7 * DAY, model, offset=DAY, scale=-2.0)
    now = of(name, Aggregate.AVG, DAY, model)
    assert found.expression.value == Binary(Operator.SUB, now, before, Matching((model,)))
    assert (found.condition, found.expression.limits, found.labels) == (Condition.LT, (spread,), (model,))


def test_retrieval_that_drops() -> None:
    text = "avg_over_time(app_rag_relevance_score[1h]) < 0.55\nand\navg_over_time(app_rag_relevance_score[7d]) > 0.70"
    found = compiled(text)
    name = "app.rag.relevance_score"
    assert found.expression.value == of(name, Aggregate.AVG, 60 * MINUTE)
    assert found.expression.gate == Binary(Operator.GT, of(name, Aggregate.AVG, 7 * DAY), Number(0.7))
    assert (found.condition, found.threshold) == (Condition.LT, Decimal("0.55"))
