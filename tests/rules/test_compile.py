"""Fields to rules: defaults, and what does not go together."""

from decimal import Decimal
from typing import Any

import pytest

from tocsin.model.batch import Needs, SpanClass
from tocsin.rules.compile import RuleContext, compile_rule, default_aggregate
from tocsin.rules.config import RuleConfig
from tocsin.rules.needs import needs_of
from tocsin.rules.rule import Aggregate, Condition, Level, Metric, NoData, Rule, Sampling, Scope, Severity

SECOND = 1_000_000_000
LEAST = {"name": "r", "metric": "cost", "condition": "gt", "threshold": 25}


def rule(**fields: Any) -> Rule:  # noqa: ANN401  # whatever YAML may hold
    made, mistakes = compile_rule(RuleConfig.model_validate(_without_none({**LEAST, **fields})))
    assert mistakes == []
    assert made is not None
    return made


def mistakes(**fields: Any) -> dict[tuple[str | int, ...], str]:  # noqa: ANN401  # whatever YAML may hold
    made, found = compile_rule(RuleConfig.model_validate(_without_none({**LEAST, **fields})))
    assert made is None
    return {mistake.path: mistake.text for mistake in found}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def test_the_least_rule_has_all_defaults() -> None:
    made = rule()
    assert made.levels == (Level(Severity.MEDIUM, Decimal(25), None, ()),)
    assert (made.project, made.name, made.scope, made.spans) == ("default", "r", Scope.SPAN, None)
    assert (made.aggregate, made.quantile, made.window_ns) == (Aggregate.SUM, None, None)
    assert (made.for_ns, made.keep_firing_ns, made.cooldown_ns) == (0, 0, 1800 * SECOND)
    assert (made.no_data, made.sampling, made.min_samples) == (NoData.KEEP, Sampling.IGNORE, 1)
    assert made.notify_resolved
    assert len(made.version) == 16
    assert int(made.version, 16) >= 0


@pytest.mark.parametrize("sign", [("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="), ("eq", "=="), ("ne", "!=")])
def test_signs_mean_the_words(sign: tuple[str, str]) -> None:
    assert rule(condition=sign[0]) == rule(condition=sign[1])
    assert rule(condition=sign[0]).condition is Condition(sign[0])


def test_the_way_a_number_is_written_changes_nothing() -> None:
    assert rule(threshold="0.50").version == rule(threshold="$0.5").version == rule(threshold=0.5).version


def test_the_version_follows_the_content() -> None:
    versions = [
        rule().version,
        rule(threshold=26).version,
        rule(window="5m").version,
        rule(filters={"tenant": "a"}).version,
        rule(filters={"tenant": "b"}).version,
        rule(filters={"tenant": "!b"}).version,
        rule(spans="tool").version,
        rule(labels={"team": "x"}).version,
        rule(summary="s").version,
    ]
    assert len(set(versions)) == len(versions)
    assert rule(labels={"a": "1", "b": "2"}).version == rule(labels={"b": "2", "a": "1"}).version
    # Written down: another Python, another machine, the same version.
    assert rule().version == "1eafd2a28ad0d800"


@pytest.mark.parametrize(
    ("metric", "aggregate"),
    [
        ("cost", "sum"),
        ("tokens", "sum"),
        ("input_tokens", "sum"),
        ("count", "sum"),
        ("latency", "avg"),
        ("error_rate", "avg"),
        ("success_rate", "avg"),
        ("unpriced_ratio", "avg"),
        ("cost_mismatch", "avg"),
        ("cost_per_trace", "avg"),
        ("judge_score", "avg"),
        ("time_to_first_token", "avg"),
        ("attribute:x.y", "avg"),
    ],
)
def test_each_metric_has_its_aggregate(metric: str, aggregate: str) -> None:
    assert rule(metric=metric, window="5m", threshold="0.5").aggregate == aggregate


def test_every_metric_has_a_default_aggregate() -> None:
    assert {default_aggregate(metric) for metric in Metric} == {Aggregate.SUM, Aggregate.AVG}


@pytest.mark.parametrize(("word", "rank"), [("p50", 0.5), ("p95", 0.95), ("p99.9", 0.999), ("P5", 0.05)])
def test_percentiles_are_ranks(word: str, rank: float) -> None:
    made = rule(metric="latency", aggregate=word, window="5m")
    assert (made.aggregate, made.quantile) == (Aggregate.QUANTILE, rank)


@pytest.mark.parametrize(
    "fields",
    [
        {"metric": "attribute:app.my.number"},
        {"metric": "attribute: app.my.number"},
        {"metric": {"attribute": "app.my.number"}},
        {"metric": None, "attribute": "app.my.number"},
    ],
)
def test_an_attribute_is_a_metric(fields: dict[str, Any]) -> None:
    made = rule(**fields)
    assert (made.metric, made.attribute) == (Metric.ATTRIBUTE, "app.my.number")


def test_cost_per_trace_is_about_traces() -> None:
    assert rule(metric="cost_per_trace", window="5m").scope is Scope.TRACE
    assert ("scope",) in mistakes(metric="cost_per_trace", window="5m", scope="span")


def test_absent_measures_presence() -> None:
    made = rule(condition="absent", metric=None, threshold=None, window="10m")
    assert (made.metric, made.levels[0].threshold) == (Metric.COUNT, Decimal(0))


def test_levels_are_sorted_and_inherit_whom_to_tell() -> None:
    made = rule(
        threshold=None,
        notify=["slack"],
        levels=[
            {"severity": "critical", "threshold": "$25", "notify": ["oncall"], "recovery_threshold": 20},
            {"severity": "medium", "threshold": 10},
        ],
    )
    assert made.levels == (
        Level(Severity.MEDIUM, Decimal(10), None, ("slack",)),
        Level(Severity.CRITICAL, Decimal(25), Decimal(20), ("oncall",)),
    )


def test_falling_levels_fall() -> None:
    levels = [{"severity": "low", "threshold": 0.7}, {"severity": "high", "threshold": 0.5}]
    made = rule(metric="judge_score", window="1h", threshold=None, condition="lt", levels=levels)
    assert [level.threshold for level in made.levels] == [Decimal("0.7"), Decimal("0.5")]


def test_groups_have_alternatives() -> None:
    assert rule(group_by=["conversation or trace", "model"]).group_by == (
        ("conversation", "trace"),
        ("model",),
    )
    assert rule(group_by="conversation or trace").group_by == (("conversation", "trace"),)


def test_filter_values_become_text() -> None:
    made = rule(filters={"a": True, "b": 5, "c": 1.5, "d": ["x*", "!y"]})
    assert [[match.operand for match in each.matches] for each in made.filters] == [
        ["true"],
        ["5"],
        ["1.5"],
        ["x*", "y"],
    ]


def test_spans_are_classes() -> None:
    assert rule(spans=["tool", "retrieval"]).spans == frozenset({SpanClass.TOOL, SpanClass.RETRIEVAL})
    everything = rule(spans="any").spans
    assert everything is not None
    assert SpanClass.OTHER in everything
    assert SpanClass.DUPLICATE not in everything


def test_sampling_follows_the_configuration_unless_the_rule_says() -> None:
    config = RuleConfig.model_validate(LEAST)
    made, _ = compile_rule(config, RuleContext(Sampling.ADJUST))
    assert made is not None
    assert made.sampling is Sampling.ADJUST
    assert rule(sampling="adjust", window="5m").sampling is Sampling.ADJUST


def test_needs_are_what_rules_read() -> None:
    rules = [
        rule(filters={"tenant": "a"}, group_by="conversation or trace", actions=[{"block": "conversation"}]),
        rule(metric="judge_score", window="1h"),
        rule(attribute="app.n", metric=None, filters={"app.f": "x"}),
    ]
    assert needs_of(rules) == Needs(frozenset({"tenant", "conversation", "app.f"}), frozenset({"judge_score", "app.n"}))
    assert needs_of([]) == Needs()


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"condition": "absent", "threshold": None}, ("condition",), "needs a 'window'"),
        ({"condition": "absent", "window": "5m"}, ("threshold",), "'absent' compares with nothing"),
        ({"metric": "count"}, ("metric",), "a single sample counts 1"),
        ({"aggregate": "rate"}, ("aggregate",), "rate of a single sample means nothing"),
        ({"aggregate": "count"}, ("aggregate",), "count of a single sample means nothing"),
        ({"aggregate": "avg"}, ("aggregate",), "avg of a single sample means nothing"),
        ({"aggregate": "p95", "metric": "latency"}, ("aggregate",), "p95 of a single sample means nothing"),
        ({"metric": "cost_per_trace"}, ("metric",), "metric: cost with scope: trace"),
        ({"metric": "cost_per_trace", "aggregate": "p95", "window": "5m"}, ("aggregate",), "is a mean"),
        (
            {"metric": "error_rate", "threshold": "5%", "aggregate": "sum", "window": "5m"},
            ("aggregate",),
            "is a share",
        ),
        ({"metric": "count", "aggregate": "p95", "window": "5m"}, ("aggregate",), "1 for every sample"),
        ({"metric": "time_to_first_token", "scope": "trace"}, ("scope",), "known of spans only"),
        ({"metric": "error_rate", "threshold": 5}, ("threshold",), "did you mean 5%?"),
        ({"threshold": None}, (), "no 'threshold'"),
        ({"metric": None}, (), "nothing is measured"),
        ({"attribute": "a.b"}, ("attribute",), "keep one"),
        ({"recovery_threshold": 30}, ("recovery_threshold",), "is above the threshold"),
        ({"condition": "lt", "recovery_threshold": 20}, ("recovery_threshold",), "is below the threshold"),
        ({"condition": "eq", "recovery_threshold": 20}, ("recovery_threshold",), "no way back"),
        ({"min_samples": 2}, ("min_samples",), "there is one sample"),
        ({"no_data": "alert"}, ("no_data",), "nothing can be missing"),
        ({"sampling": "adjust"}, ("sampling",), "needs a 'window'"),
        ({"window": "999ms"}, ("window",), "at least 1s"),
        ({"filters": {"trace": "x"}}, ("filters", "trace"), "group_by: trace"),
        ({"filters": {"a": ["ok", "~("]}}, ("filters", "a", 1), "not an RE2 expression"),
        ({"actions": [{"block": "tenant"}]}, ("actions", 0, "block"), "add it to 'group_by'"),
        ({"group_by": "a", "actions": [{"block": "a", "ttl": "0"}]}, ("actions", 0, "ttl"), "no length"),
        ({"threshold": None, "levels": []}, ("levels",), "no level"),
        ({"levels": [{"severity": "low", "threshold": 1}]}, ("threshold",), "'levels' stand in place"),
        (
            {"threshold": None, "condition": "ne", "levels": [{"severity": "low", "threshold": 1}]},
            ("levels",),
            "need a direction",
        ),
        (
            {
                "threshold": None,
                "levels": [{"severity": s, "threshold": t} for s, t in (("low", 5), ("high", 5))],
            },
            ("levels", 1, "threshold"),
            "needs the higher threshold",
        ),
        (
            {"threshold": None, "levels": [{"severity": "low", "threshold": t} for t in (1, 2)]},
            ("levels", 1, "severity"),
            "two levels are low",
        ),
    ],
)
def test_refuses_what_does_not_go_together(fields: dict[str, Any], path: tuple[str | int, ...], says: str) -> None:
    found = mistakes(**fields)
    assert says in found[path]


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(metric="latency", aggregate="p95", threshold="$5", min_samples=3, filters={"a": "~("})
    assert set(found) == {("aggregate",), ("threshold",), ("min_samples",), ("filters", "a", 0)}
