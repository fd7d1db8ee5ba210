"""Rules of other tools: what they become, and what of them has no equivalent."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.rules.importing import KINDS, import_rules
from tocsin.rules.promql import compile_promql


def rules(text: str | dict[str, Any], kind: str | None = None) -> list[dict[str, Any]]:
    found = import_rules(text if isinstance(text, str) else json.dumps(text), kind)
    assert found.refused == []
    return found.rules


def reasons(text: str | dict[str, Any], kind: str | None = None) -> str:
    found = import_rules(text if isinstance(text, str) else json.dumps(text), kind)
    assert found.refused
    return "\n".join(f"{what}: {why}" for what, why in found.refused)


# The same three alerts, as people paste them.

COST_PROMQL = "sum by (gen_ai_conversation_id) (\nrate(app_llm_cost_usd_sum[5m]) * 300\n) > 25"
COST_DDQL = "sum:app.llm.cost_usd{*} by {gen_ai.conversation.id}\n.rollup(sum, 300) > 25"
COST_LOGQL = """sum by (gen_ai_conversation_id) (
sum_over_time(
{app="llm"} | json | unwrap cost_usd [5m]
)
) > 25"""
DRIFT_DDQL = "avg:app.llm.judge.score{*}.rollup(avg, 86400)\n- avg:app.llm.judge.score{*}.rollup(avg, 604800)\n< -0.05"
DROP_DDQL = "avg:app.rag.relevance_score{*}.rollup(avg, 3600) < 0.55"


def test_a_cost_ceiling_in_promql() -> None:
    assert rules(COST_PROMQL) == [{"name": "app-llm-cost-usd-sum", "expr": COST_PROMQL}]


def test_a_cost_ceiling_in_ddql() -> None:
    assert rules(COST_DDQL) == [
        {
            "name": "app-llm-cost-usd",
            "attribute": "app.llm.cost_usd",
            "aggregate": "sum",
            "window": "5m",
            "group_by": ["conversation"],
            "condition": "gt",
            "threshold": 25,
        }
    ]


def test_a_cost_ceiling_in_logql() -> None:
    found = import_rules(COST_LOGQL)
    assert found.refused == []
    (rule,) = found.rules
    assert " ".join(rule["expr"].split()) == (
        'sum by (gen_ai_conversation_id) ( sum_over_time( cost{service="llm"}[5m] ) ) > 25'
    )
    assert [taken for _, taken in found.notes] == [
        "the stream's label app is taken for service, the resource's service.name",
        "the field cost_usd is taken for the metric cost",
    ]


def test_drift_in_ddql_is_an_expression_as_it_is_arithmetic() -> None:
    (rule,) = rules(DRIFT_DDQL)
    assert rule["expr"] == (
        '(avg_over_time({"app.llm.judge.score"}[1d]) - avg_over_time({"app.llm.judge.score"}[7d])) < -0.05'
    )
    assert compile_promql(rule["expr"], ()).threshold == Decimal("-0.05")


def test_a_retrieval_drop_in_ddql() -> None:
    (rule,) = rules(DROP_DDQL)
    assert (rule["aggregate"], rule["window"], rule["condition"], rule["threshold"]) == ("avg", "1h", "lt", 0.55)


def test_queries_are_apart_by_empty_lines() -> None:
    assert len(rules(f"{COST_DDQL}\n\n{DRIFT_DDQL}\n\n{DROP_DDQL}\n")) == 3


# Prometheus.

ALERT = """
groups:
  - name: llm
    labels: {team: ai}
    rules:
      - alert: RunawayConversation
        expr: sum by (gen_ai_conversation_id) (increase(app_llm_cost_usd_sum[5m])) > 25
        for: 1m
        keep_firing_for: 5m
        labels: {severity: page, tier: "1"}
        annotations:
          summary: '{{ $labels.gen_ai_conversation_id }} spent {{ $value | printf "%.2f" }} USD'
          description: One conversation burns money.
          runbook_url: https://runbooks.example/runaway
"""


def test_an_alerting_rule() -> None:
    assert rules(ALERT) == [
        {
            "name": "RunawayConversation",
            "description": "One conversation burns money.",
            "severity": "critical",
            "expr": "sum by (gen_ai_conversation_id) (increase(app_llm_cost_usd_sum[5m])) > 25",
            "for": "1m",
            "keep_firing_for": "5m",
            "summary": "{{ group.conversation }} spent {{ value | round: 2 }} USD",
            "runbook_url": "https://runbooks.example/runaway",
            "labels": {"team": "ai", "tier": "1"},
        }
    ]


def test_alerts_of_one_name_get_names_of_their_own() -> None:
    two = "- {alert: A, expr: cost > 1}\n- {alert: A, expr: cost > 2}\n"
    assert [rule["name"] for rule in rules(two)] == ["A", "A-2"]


def test_a_file_of_the_operator_and_one_rule_alone() -> None:
    spec = {
        "kind": "PrometheusRule",
        "spec": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "cost > 1"}]}]},
    }
    assert rules(spec) == rules({"alert": "A", "expr": "cost > 1"}) == [{"name": "A", "expr": "cost > 1"}]


def test_a_rule_of_lokis_ruler() -> None:
    found = import_rules(json.dumps({"alert": "A", "expr": COST_LOGQL}))
    assert found.refused == []
    assert "unwrap" not in found.rules[0]["expr"]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"record": "a:b", "expr": "x"}, "a recording rule makes a series"),
        ({"alert": "A"}, "no 'alert' and 'expr'"),
        ({"alert": "A", "expr": "irate(x[5m]) > 1"}, "irate() has no equivalent"),
        ({"alert": "A", "expr": "cost > 1", "labels": {"severity": "purple"}}, "write critical, high, medium or low"),
        ({"alert": "A", "expr": "cost > 1", "labels": {"who": "{{ $labels.x }}"}}, "label who"),
        ({"alert": "A", "expr": "cost > 1", "annotations": {"other": "x"}}, "annotation other"),
        ({"alert": "A", "expr": "cost > 1", "annotations": {"summary": "{{ $labels.model }}"}}, "no label model"),
        ({"alert": "A", "expr": "cost > 1", "annotations": {"summary": "{{ query `x` }}"}}, "has no equivalent"),
        ({"alert": "A", "expr": "cost > 1", "annotations": {"summary": "a", "description": "{{ $value }}"}}, "summary"),
        ({"alert": "A", "expr": "cost > 1", "limit": 3}, "limit"),
    ],
)
def test_what_prometheus_has_and_rules_have_not(rule: dict[str, Any], reason: str) -> None:
    assert reason in reasons(rule, "prometheus")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ $value }}", "{{ value }}"),
        ("{{ $value | humanize }}", "{{ value | number }}"),
        ("{{ $value | humanizePercentage }}", "{{ value | percent }}"),
        ("{{ $value | humanizeDuration }}", "{{ value | duration }}"),
        ('{{ printf "%.1f%%" $value }}', "{{ value | round: 1 }}%"),
        ('{{ index $labels "model" }}', "{{ group.model }}"),
        ("plain", "plain"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    rule = {"alert": "A", "expr": "sum by (model) (rate(cost[5m])) > 1", "annotations": {"summary": template}}
    assert rules(rule)[0]["summary"] == expected


# Datadog.


def monitor(query: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"name": "M", "type": "query alert", "query": query, **fields}


def test_a_monitor_with_warning_and_critical_is_one_rule_with_levels() -> None:
    found = import_rules(
        json.dumps(
            monitor(
                "sum(last_5m):sum:app.llm.cost_usd{env:prod,!service:batch} by {gen_ai.conversation.id} > 25",
                message="One conversation burns money. @pagerduty-oncall",
                tags=["team:ai", "llm"],
                options={
                    "thresholds": {"critical": 25, "warning": 10, "critical_recovery": 20},
                    "renotify_interval": 60,
                    "on_missing_data": "show_and_notify_no_data",
                },
            )
        )
    )
    assert [what for what, _ in found.refused] == ["M, @pagerduty-oncall"]
    assert found.rules == [
        {
            "name": "M",
            "description": "One conversation burns money.",
            "attribute": "app.llm.cost_usd",
            "aggregate": "sum",
            "window": "5m",
            "group_by": ["conversation"],
            "filters": {"environment": "prod", "service": "!batch"},
            "condition": "gt",
            "levels": [
                {"severity": "medium", "threshold": 10},
                {"severity": "critical", "threshold": 25, "recovery_threshold": 20},
            ],
            "no_data": "alert",
            "cooldown": "1h",
            "labels": {"team": "ai"},
        }
    ]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("avg(last_1h):avg:app.x{*} < 0.5", {"attribute": "app.x", "aggregate": "avg", "window": "1h"}),
        ("max(last_1d):max:app.x{*} >= 5", {"aggregate": "max", "condition": "gte", "window": "1d"}),
        ("avg(last_5m):sum:app.x{*}.as_rate() > 1", {"aggregate": "rate"}),
        ("sum(last_5m):sum:ml_obs.span{*}.as_count() > 100", {"metric": "count", "aggregate": "sum"}),
        ("avg(last_5m):p95:ml_obs.span.duration{*} > 5", {"metric": "latency", "aggregate": "p95", "threshold": "5s"}),
        ("avg(last_5m):avg:app.x{model IN (a, b)} > 1", {"filters": {"model": ["a", "b"]}}),
        ("avg(last_5m):avg:app.x{model:a* AND NOT env:b} > 1", {"filters": {"model": "a*", "environment": "!b"}}),
        ("avg(last_5m):avg:app.x{*} > 1", {"severity": "critical"}),
    ],
)  # fmt: skip
def test_queries_of_monitors(query: str, fields: dict[str, Any]) -> None:
    (rule,) = rules(monitor(query))
    assert {key: rule.get(key) for key in fields} == fields


def test_a_ratio_of_metrics_is_an_expression() -> None:
    (rule,) = rules(monitor("sum(last_10m):sum:app.bad{env:prod} by {model} / sum:app.all{env:prod} by {model} > 0.1"))
    assert rule["group_by"] == ["model"]
    assert rule["expr"] == (
        '(sum_over_time({"app.bad", environment="prod"}[10m]) / '
        'sum_over_time({"app.all", environment="prod"}[10m])) > 0.1'
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("avg(last_5m):sum:app.x{*} > 1", "no aggregate of samples"),
        ("avg(last_5m):anomalies(avg:app.x{*}, 'basic', 2) >= 1", "`baseline:`"),
        ("change(last_5m):avg:app.x{*} > 1", "`baseline:`"),
        ("avg(last_5m):avg:app.x{a OR b} > 1", "write two rules"),
        ("avg(last_5m):avg:app.x{model:$model} > 1", "template variable"),
        ("avg(last_5m):avg:app.x{*}.fill(zero) > 1", "no_data"),
        ("avg(last_5m):avg:app.x{*}.rollup(max, 60) > 1", "no aggregate of samples"),
        ("avg:app.x{*} > 1", "says no window"),
        ("avg(last_5m):avg:app.x{*}", "compares with nothing"),
        ("avg(last_5m):avg:app.x{*} by {a} / avg:app.y{*} by {b} > 1", "grouped by different tags"),
        ("nonsense(5) > 1", "nonsense() has no equivalent"),
    ],
)
def test_queries_without_an_equivalent(query: str, reason: str) -> None:
    assert reason in reasons(monitor(query))


@pytest.mark.parametrize("kind", ["composite", "log alert", "slo alert", "nonsense"])
def test_other_monitors_have_no_equivalent(kind: str) -> None:
    assert "has no equivalent" in reasons(monitor("a && b", type=kind))


# LogQL.


@pytest.mark.parametrize(
    ("query", "expr"),
    [
        ('rate({service="a"} | json | unwrap x [5m]) > 1', 'rate(x{service="a"}[5m]) > 1'),
        (
            'avg_over_time({service="a"} | logfmt | model="m" | unwrap x | __error__="" [5m]) > 1',
            'avg_over_time(x{service="a", model="m"}[5m]) > 1',
        ),
    ],
)
def test_pipelines(query: str, expr: str) -> None:
    assert rules(query, "logql")[0]["expr"] == expr


def test_a_range_that_is_grouped() -> None:
    (rule,) = rules('quantile_over_time(0.9, {service="a"} | json | unwrap x [5m]) by (model) > 1')
    assert rule == {
        "name": "quantile-over-time",
        "expr": 'quantile_over_time(0.9, x{service="a"}[5m]) > 1',
        "group_by": ["model"],
    }


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ('sum(count_over_time({app="a"} | json [5m])) > 1', "counts lines of a log"),
        ('sum_over_time({app="a"} |= "error" | json | unwrap x [5m]) > 1', "spans have attributes, not lines"),
        ('sum_over_time({app="a"} | json | unwrap duration(x) [5m]) > 1', "unwrap of a conversion"),
        ('sum_over_time({app="a"} | json | line_format "x" | unwrap x [5m]) > 1', "line_format"),
        ('{app="a"} | json', "a log stream has no value"),
    ],
)
def test_pipelines_without_an_equivalent(query: str, reason: str) -> None:
    assert reason in reasons(query, "logql")


# Grafana.


def grafana(condition: dict[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    query = {
        "refId": "A",
        "datasourceUid": "prom",
        "model": {"expr": "sum by (model) (increase(cost[5m]))", "instant": True},
    }
    reduced = {
        "refId": "B",
        "datasourceUid": "__expr__",
        "model": {"type": "reduce", "expression": "A", "reducer": "last"},
    }
    last = {"refId": "C", "datasourceUid": "__expr__", "model": condition}
    rule = {"title": "Cost", "condition": "C", "data": [query, reduced, last], **fields}
    return {"apiVersion": 1, "groups": [{"name": "g", "folder": "f", "interval": "1m", "rules": [rule]}]}


def threshold(kind: str, *limits: float) -> dict[str, Any]:
    return {
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": {"type": kind, "params": list(limits)}}],
    }


SUM = "(sum by (model) (increase(cost[5m])))"


@pytest.mark.parametrize(
    ("condition", "expr"),
    [
        (threshold("gt", 25), f"{SUM} > 25"),
        (threshold("lt", 2.5), f"{SUM} < 2.5"),
        (threshold("within_range", 1, 2), f"({SUM} > 1) < 2"),
        (threshold("outside_range", 1, 2), f"{SUM} < 1 or {SUM} > 2"),
        ({"type": "math", "expression": "$B / 100 > 2 ** 3"}, f"{SUM} / 100 > 2 ^ 3"),
        ({"type": "classic_conditions", "conditions": [
            {"query": {"params": ["A"]}, "reducer": {"type": "last"}, "evaluator": {"type": "gt", "params": [3]}}
        ]}, f"{SUM} > 3"),
    ],
)  # fmt: skip
def test_chains_of_expressions(condition: dict[str, Any], expr: str) -> None:
    (rule,) = rules(grafana(condition))
    assert rule["expr"] == expr


def test_a_rule_of_grafana_with_all_its_fields() -> None:
    fields = {
        "for": "5m",
        "noDataState": "Alerting",
        "isPaused": True,
        "labels": {"severity": "warning", "team": "ai"},
        "annotations": {"summary": "{{ $labels.model }} costs {{ $values.B.Value }}", "__dashboardUid__": "x"},
    }
    (rule,) = rules(grafana(threshold("gt", 25), **fields))
    assert rule == {
        "name": "Cost",
        "enabled": False,
        "severity": "medium",
        "expr": f"{SUM} > 25",
        "for": "5m",
        "no_data": "alert",
        "summary": "{{ group.model }} costs {{ value }}",
        "labels": {"team": "ai"},
    }


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"type": "resample", "expression": "B"}, "'resample' has no equivalent"),
        ({"type": "math", "expression": "$B > 1 && $B < 2"}, "write it with `and`"),
        ({"type": "math", "expression": "abs($B) > 1"}, "functions of math"),
        ({"type": "threshold", "expression": "Z", "conditions": [{"evaluator": {"type": "gt", "params": [1]}}]}, "'Z'"),
        (
            {"type": "threshold", "expression": "C", "conditions": [{"evaluator": {"type": "gt", "params": [1]}}]},
            "itself",
        ),
        ({"type": "reduce", "expression": "A", "reducer": "count"}, "write it into the query"),
    ],
)
def test_chains_without_an_equivalent(condition: dict[str, Any], reason: str) -> None:
    assert reason in reasons(grafana(condition))


# Any text.


def test_what_is_nothing_is_said() -> None:
    for text in ("", "  \n", "[]", "a: b", "groups: [", "{"):
        found = import_rules(text)
        assert found.rules == []
        assert found.refused, text


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from((None, *KINDS)))
def test_any_text_is_imported_or_refused(text: str, kind: str | None) -> None:
    found = import_rules(text, kind)
    assert found.rules or found.refused


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "groups",
                    "rules",
                    "alert",
                    "expr",
                    "data",
                    "query",
                    "options",
                    "labels",
                    "annotations",
                    "model",
                    "for",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(PLAIN, st.sampled_from((None, "prometheus", "datadog", "grafana")))
def test_any_document_is_imported_or_refused(document: object, kind: str | None) -> None:
    found = import_rules(json.dumps(document), kind)
    assert found.rules or found.refused
