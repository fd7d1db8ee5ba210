"""The contract's example queries run as they are written: each fires on what it is for, and on nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import MINUTE, Span, batch_of, rule_of

from tocsin.alerts.event import Transition
from tocsin.engine import Engine
from tocsin.model.batch import SpanClass
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData
from tocsin.rules.sql import SqlConfig, compile_sql
from tocsin.rules.sql.templates import SQL_TEMPLATES
from tocsin.rules.vector import series_of

HOUR = 60 * MINUTE
FIRST = 497_300 * HOUR
"""Where an hour begins."""
COLUMNS = (("evaluation", "model"), ("judge_score",))
QUERIES = Path(__file__).parent / "queries"


def read(name: str) -> str:
    return (QUERIES / f"{name}.sql").read_text()


def evaluation(name: str, score: float, model: str = "gpt-4o") -> Callable[[int], Span]:
    labels = {"evaluation": name, "model": model}
    return lambda time: Span(time, span_class=SpanClass.EVALUATION, labels=labels, numbers={"judge_score": score})


def call(*, failed: bool = False, milliseconds: int = 100) -> Callable[[int], Span]:
    return lambda time: Span(time, failed=failed, latency=milliseconds * 10**6)


def fired_at(
    text: str, hours: Sequence[Sequence[Callable[[int], Span]]], bound: Condition, threshold: float
) -> list[int]:
    """Return the hours at whose end an alert began to fire; one call is before them, each has its spans in turn."""
    compiled = compile_sql(text, HOUR, SqlConfig())
    rule = rule_of(
        metric=Metric.EXPRESSION,
        expression=compiled.expression,
        group_by=compiled.labels,
        condition=bound,
        threshold=threshold,
        no_data=NoData.OK,
        window_ns=None,
    )
    engine = Engine([rule])
    start = call()(FIRST - 30 * MINUTE)
    events = engine.ingest(batch_of([start], *COLUMNS), start.time)
    events += engine.advance(FIRST)
    for hour, makers in enumerate(hours):
        for number, make in enumerate(makers):
            made = make(FIRST + hour * HOUR + (number + 1) * MINUTE)
            span = replace(made, trace=1 + hour * 1000 + number, span=1 + hour * 1000 + number)
            batch = batch_of([span], *COLUMNS)
            events += engine.ingest(batch, span.time)
        events += engine.advance(FIRST + (hour + 1) * HOUR)
    return [(event.fired_at - FIRST) // HOUR for event in events if event.transition is Transition.FIRING]


def test_accuracy_below_its_threshold_fires() -> None:
    good, bad = [evaluation("accuracy", 0.9)] * 4, [evaluation("accuracy", 0.9), evaluation("accuracy", 0.5)]
    assert fired_at(read("accuracy"), [good, bad], Condition.LT, 0.8) == [2]


def test_other_evaluations_are_no_accuracy() -> None:
    other = [evaluation("politeness", 0.1)] * 4
    assert fired_at(read("accuracy"), [other, other], Condition.LT, 0.8) == []


def test_hallucinations_above_their_threshold_fire() -> None:
    good = [evaluation("hallucination_rate", 0.0)] * 20
    bad = [*good, *[evaluation("hallucination_rate", 1.0)] * 2]
    assert fired_at(read("hallucination_rate"), [good, bad], Condition.GT, 0.05) == [2]


def test_an_hour_without_calls_fires_and_one_with_a_call_does_not() -> None:
    assert fired_at(read("inference_count"), [[call()], [], [call()]], Condition.LT, 1) == [2]


def test_an_hour_without_calls_is_no_value_without_coalesce() -> None:
    text = read("inference_count").replace("COALESCE(SUM(value), 0)", "SUM(value)")
    assert fired_at(text, [[call()], [], [call()]], Condition.LT, 1) == []


def test_an_error_rate_above_its_threshold_fires() -> None:
    good = [call()] * 9 + [call(failed=True)]
    assert fired_at(read("error_rate"), [good, [call(failed=True), *good]], Condition.GT, 0.1) == [2]


def test_a_slow_percentile_fires_and_a_slow_call_alone_does_not() -> None:
    good = [call(milliseconds=1000)] * 39 + [call(milliseconds=60_000)]
    bad = [call(milliseconds=1000)] * 20 + [call(milliseconds=2500)] * 20
    assert fired_at(read("latency_p95"), [good, bad], Condition.GT, 2000) == [2]


def test_a_rate_of_more_than_three_times_its_day_fires() -> None:
    usual = [call()] * 9 + [call(failed=True)]
    twice, four_times = [call()] * 8 + [call(failed=True)] * 2, [call()] * 6 + [call(failed=True)] * 4
    hours = [*[usual] * 24, twice, usual, four_times]
    assert fired_at(read("relative_spike"), hours, Condition.GT, 3.0) == [27]


def test_a_day_without_errors_is_no_baseline() -> None:
    assert fired_at(read("relative_spike"), [[call()], [call()], [call(failed=True)]], Condition.GT, 3.0) == []


def test_the_worst_model_fires_though_all_together_are_well() -> None:
    good, worse = [evaluation("accuracy", 1.0, "a")] * 9, [evaluation("accuracy", 0.7, "b")]
    text = read("worst_slice")
    assert fired_at(text, [good, [*good, *worse]], Condition.LT, 0.8) == [2]
    assert fired_at(read("accuracy"), [good, [*good, *worse]], Condition.LT, 0.8) == []


@pytest.mark.parametrize("name", SQL_TEMPLATES)
def test_every_template_compiles(name: str) -> None:
    fields = SQL_TEMPLATES[name].fields
    compiled = compile_sql(fields["sql"], HOUR, SqlConfig())
    assert compiled.labels == ()
    assert fields["bound"] in ("lower_bound", "upper_bound")
    assert float(fields["threshold"]) > 0


def test_names_are_what_the_configuration_says() -> None:
    names = SqlConfig(
        metrics={"accuracy": "app.quality.score", "speed": "latency", "bert": "evaluation:bert.f1", "n": "attribute:n"},
        models={"m": {"service": ("support-bot",), "environment": ("prod*", "!prod-eu")}},
        dimensions={"model_version": "app.model.build"},
    )
    text = read("worst_slice").replace("{{your-model-uuid}}", "m")
    (leaf,) = series_of(compile_sql(text, HOUR, names).expression.value)
    assert (leaf.metric, leaf.attribute) == (Metric.ATTRIBUTE, "app.quality.score")
    assert leaf.labels == (("app.model.build",),)
    assert [each.label for each in leaf.filters] == ["service", "environment"]
    for name, metric, attribute in (
        ("speed", Metric.LATENCY, None),
        ("n", Metric.ATTRIBUTE, "n"),
        ("app.other", Metric.ATTRIBUTE, "app.other"),
        ("bert", Metric.JUDGE_SCORE, None),
        ("cost", Metric.COST, None),
    ):
        text = read("accuracy").replace("'accuracy'", f"'{name}'")
        (found,) = series_of(compile_sql(text, HOUR, names).expression.value)
        assert (found.metric, found.attribute, found.aggregate) == (metric, attribute, Aggregate.AVG)


def test_a_configuration_of_names_is_checked() -> None:
    configurations: tuple[dict[str, Any], ...] = (
        {"metrics": {"a": "two words"}},
        {"models": {"m": {"service": ("~(",)}}},
        {"modells": {}},
    )
    for wrong in configurations:
        with pytest.raises(ValueError, match=r"metrics|models|modells"):
            SqlConfig.model_validate(wrong)
