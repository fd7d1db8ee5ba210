"""Files of tests: what may stand in them, what is refused and where, and files of promtool."""

# ruff: noqa: E501  # tables of files that are one line long

import re
import textwrap
from pathlib import Path

import pytest
from suites import SPENT, only, run, shown

from tocsin.errors import ConfigError
from tocsin.service.ruletests import run_file

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples" / "tests").glob("*.test.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_pass(path: Path) -> None:
    result = run_file(path)
    assert [shown(case) for case in result.cases if not case.ok] == []
    assert len(result.cases) >= 2


def test_there_is_an_example_for_each_rule_of_the_story() -> None:
    names = ["judge-drift.test.yaml", "retrieval-drop.test.yaml", "runaway-conversation.test.yaml"]
    assert [path.name for path in EXAMPLES] == names


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("threshold: $25", "threshold: $2500"), "runaway-conversation peaked"),
        (("input_tokens: 640000", "input_tokens: 6400"), "peaked at"),
    ],
)
def test_an_example_fails_where_its_rule_or_its_spans_are_others(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    text = (ROOT / "examples" / "tests" / "runaway-conversation.test.yaml").read_text()
    result = run(tmp_path, text.replace(*change))
    assert not result.ok
    assert problem.split()[-1] in shown(result.cases[0])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["1:1: the file has no tests"]),
        ("tests: []", ["1:1: no rules; write 'rules:'"]),
        ("rules: []\ntests: []", ["2:8: no test; add one"]),
        ("rules: []\ntest: []", ["2:1: unknown key 'test'; did you mean 'tests'?", "1:1: 'tests' is missing"]),
        ("rules: []\ntests:\n- {spans: [{cost: 1}]}", ["3:3: it expects nothing; add 'expect'"]),
        (
            "rules: []\ntests:\n- {spans: [{converstion: a, kind: lmm, every: 5}], silent: all}",
            ["3:13: unknown key 'converstion'; did you mean 'conversation'?", "3:35: 'lmm' is not one of llm", "no duration"],
        ),
        (
            "rules: [{name: a, metric: cost, condition: gt, treshold: 5}]\ntests:\n- {spans: [{count: 3}], silent: all}",
            ["1:48: rule 'a': unknown key 'treshold'; did you mean 'threshold'?", "3:12: several spans need 'every'"],
        ),
        (f"{SPENT}\ntests:\n- {{expect: [{{rule: spend, at: 1m, alerts: []}}]}}", ["7:20: no rule 'spend'; did you mean 'spent'?"]),
        (f"{SPENT}\ntests:\n- {{silent: spend}}", ["7:12: no rule 'spend'; did you mean 'spent'?"]),
        (
            f"{SPENT}\ntests:\n- {{expect: [{{rule: spent, at: 1m, by: 2m, alerts: []}}]}}",
            ["7:13: write one of 'at', 'by' and 'between'"],
        ),
        (
            f"{SPENT}\ntests:\n- {{expect: [{{rule: spent, at: 1m, alerts: [{{value: 5%, group: {{conversaton: a}}}}]}}]}}",
            ["'5%' is no value of this rule: it is in US dollars", "no label 'conversaton' of the rule; did you mean 'conversation'?"],
        ),
        (f"{SPENT}\ntests:\n- {{until: 1m, spans: [{{at: 5m, cost: 1}}], silent: all}}", ["7:11: the test ends before something in it"]),
        (f"{SPENT}\ntests:\n- {{start: yesterday, silent: all}}", ["'yesterday' is no time; write one like"]),
        (
            f"{SPENT}\ntests:\n- {{input_series: [{{series: 'rate(cost[5m])', values: 1 x}}], silent: all}}",
            ["is an expression, not a series", "'x' is no value of a series"],
        ),
        (
            f"{SPENT}\ntests:\n- {{input_series: [{{series: 'gen_ai_client_operation_duration_seconds_bucket', values: 1}}], silent: all}}",
            ["buckets have no equivalent: spans have values"],
        ),
        (
            f"{SPENT}\ntests:\n- {{input_series: [{{series: cost_per_trace, values: 1}}], silent: all}}",
            ["cost_per_trace follows from spans"],
        ),
        (
            f"{SPENT}\ntests:\n- {{promql_expr_test: [{{expr: up}}]}}",
            ["7:4: promql_expr_test asks a database of series"],
        ),
        ("config: gone.yaml\ntests:\n- {silent: all}", ["1:9: there is no file 'gone.yaml' beside this one"]),
        ("rule_files: [gone.yaml]\ntests:\n- {silent: all}", ["1:14: there is no file 'gone.yaml' beside this one"]),
        ("config: a.yaml\nrules: []\ntests:\n- {silent: all}", ["2:1: 'config' brings its own 'rules'; keep one of the two"]),
        ("{rules: [], tests: [{silent: all}]}", ["write each section on lines of its own"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, text)
    told = str(caught.value)
    assert [each for each in problems if each not in told] == [], told
    assert all(re.match(r".*some\.test\.yaml:\d+:\d+: ", line) for line in caught.value.problems)


def test_rules_of_a_configuration_with_its_prices_and_attributes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        textwrap.dedent("""
        contact_points: {oncall: {type: log}}
        attributes: {tenant: [acme.customer], conversation: [{key: meta, json: chat.id}]}
        prices: {overrides: {house-model: {input: 1000000, output: 0}}}
        rules:
          - {name: spent, metric: cost, window: 5m, group_by: [tenant, conversation], condition: gt, threshold: 5, notify: oncall}
        """)
    )
    result = run(
        tmp_path,
        """
        config: config.yaml
        tests:
          - spans: [{every: 1s, count: 6, model: house-model, input_tokens: 1, output_tokens: 0, tenant: t, conversation: c}]
            expect: [{rule: spent, at: 5s, alerts: [{group: {tenant: t, conversation: c}, value: 6}]}]
          - name: the attributes themselves do as well
            spans: [{cost: 6, acme.customer: t, attributes: {meta: '{"chat": {"id": "c"}}'}}]
            expect: [{rule: spent, at: 5s, alerts: [{group: {tenant: t, conversation: c}}]}]
        """,
    )
    assert [shown(case) for case in result.cases if not case.ok] == []


def test_rules_of_files_and_templates_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules: [{template: house, name: of-a}]\n")
    result = run(
        tmp_path,
        """
        rule_files: ["a*.yaml"]
        rules:
          - {template: error_burst, with: {min_samples: 2}}
        templates:
          house: {rule: {metric: cost, condition: gt, threshold: 1}}
        tests:
          - spans: [{every: 1s, count: 4, cost: 2, failed: true, provider: openai}]
            expect:
              - {rule: of-a, at: 3s, alerts: [{}]}
              - {rule: error-burst, at: 2m, alerts: [{group: {provider: openai}, value: 100%}]}
        """,
    )
    assert [shown(case) for case in result.cases if not case.ok] == []


@pytest.mark.parametrize(
    ("spans", "metric", "value"),
    [
        ("{every: 1s, count: 4, latency: 250ms 750 _}", "metric: latency, aggregate: max", "1s"),
        ("{every: 1s, latency: 250 750}", "metric: latency, aggregate: sum", "1s"),
        ("{input_tokens: 100, output_tokens: 20, cached_tokens: 50, reasoning_tokens: 5}", "metric: tokens", "120"),
        ("{input_tokens: 100, cached_tokens: 50}", "metric: cached_tokens", "50"),
        ("{output_tokens: 20, reasoning_tokens: 5}", "metric: reasoning_tokens", "5"),
        ("{time_to_first_token: 250ms}", "metric: time_to_first_token", "250ms"),
        ("{every: 1s, count: 4, failed: 1 0x2}", "metric: error_rate", "25%"),
        ("{every: 1s, count: 3, kind: tool, tool: search}", "metric: count, spans: tool", "3"),
        ("{kind: evaluation, evaluation: helpful, judge_score: 0.5}", "metric: judge_score", "0.5"),
        ("{kind: retrieval, relevance_score: 0.4, top_score: 0.9, retrieved_count: 3}", "metric: retrieved_count", "3"),
        ("{kind: retrieval, relevance_score: 0.4, top_score: 0.9}", "metric: top_score", "0.9"),
        ("{every: 1s, app.size: 1x2 7, kind: chain}", "attribute: app.size, aggregate: max", "7"),
        ("{model: no-such-model, input_tokens: 5}", "metric: unpriced_ratio", "100%"),
        ("{every: 1s, count: 3, cost: 2, trace: t}", "metric: cost, scope: trace, aggregate: max", "6"),
    ],
)
def test_every_number_of_a_span_is_measured(tmp_path: Path, spans: str, metric: str, value: str) -> None:
    rules = f"rules: [{{name: it, {metric}, window: 10m, condition: gte, threshold: 0}}]"
    if "250ms 750" in spans:
        spans, value = spans.replace("250ms 750 _", "250 750 _"), "1s"
    case = only(
        tmp_path, f'- spans: [{spans}]\n  expect: [{{rule: it, at: 2m, alerts: [{{value: "{value}"}}]}}]', rules
    )
    assert case.failures == (), shown(case)


@pytest.mark.parametrize(
    ("series", "values", "rule", "value"),
    [
        ('calls_total{tenant="a"}', "0+3x3", "expr: 'sum(increase(calls_total[10m])) >= 0'", "9"),
        ('cost{tenant="a"}', "1x3", "metric: cost, window: 10m, condition: gte, threshold: 0", "4"),
        ("cost_total", "0+2x3 1", "metric: cost, window: 10m, condition: gte, threshold: 0", "7"),
        ("gen_ai_client_operation_duration_seconds", "2 4", "metric: latency, window: 10m, condition: gte, threshold: 0", "3s"),
        ('gen_ai_client_token_usage_sum{gen_ai_token_type="output"}', "5 9", "metric: output_tokens, window: 10m, condition: gte, threshold: 0", "9"),
        ('{"app.my.number", tenant="a"}', "3 _ 5", "attribute: app.my.number, window: 10m, condition: gte, threshold: 0", "4"),
        ("error_rate", "1 0x2", "metric: error_rate, window: 10m, condition: gte, threshold: 0", "25%"),
        ('calls_total{status_code="STATUS_CODE_ERROR"}', "2 4", "metric: error_rate, window: 10m, condition: gte, threshold: 0", "100%"),
    ],
)  # fmt: skip
def test_every_series_becomes_spans(tmp_path: Path, series: str, values: str, rule: str, value: str) -> None:
    test = f"""
    - input_series: [{{series: '{series}', values: '{values}'}}]
      expect: [{{rule: it, at: 4m, alerts: [{{value: "{value}"}}]}}]
    """
    case = only(tmp_path, test, f"rules: [{{name: it, {rule}}}]")
    assert case.failures == (), shown(case)


PROMETHEUS = """
groups:
  - name: llm
    rules:
      - alert: RetrievalDrop
        expr: avg by (tenant) (avg_over_time(app_rag_relevance_score[10m])) < 0.55
        for: 2m
        labels: {severity: page, team: rag}
        annotations: {summary: "Retrieval of {{ $labels.tenant }} is bad"}
      - record: job:requests:rate5m
        expr: sum by (tenant) (rate(calls_total[5m]))
"""
PROMTOOL = """
rule_files: [alerts.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'app_rag_relevance_score{tenant="a"}', values: '0.8x10 0.3x30'}
      - {series: 'app_rag_relevance_score{tenant="b"}', values: '0.8x40 stale'}
    alert_rule_test:
      - {eval_time: 12m, alertname: RetrievalDrop, exp_alerts: []}
      - eval_time: 25m
        alertname: RetrievalDrop
        exp_alerts:
          - exp_labels: {severity: page, team: rag, tenant: TENANT}
            exp_annotations: {summary: "Retrieval of a is bad"}
"""


def test_files_of_promtool_run_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(PROMETHEUS)
    result = run(tmp_path, PROMTOOL.replace("TENANT", "a"))
    assert [shown(case) for case in result.cases if not case.ok] == []
    told = "\n".join(result.notes)
    assert "exp_annotations: not compared" in told
    assert "recording rule" in told
    failed = run(tmp_path, PROMTOOL.replace("TENANT", "b"))
    assert "- tenant b  critical" in shown(failed.cases[0])


def test_a_rule_of_prometheus_without_equivalent_is_named_with_why(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(
        "groups: [{name: g, rules: [{alert: Odd, expr: 'predict_linear(x[1h], 60) > 1'}]}]"
    )
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, PROMTOOL.replace("RetrievalDrop", "Odd"))
    assert "no rule 'Odd': Odd" in str(caught.value)
    assert "predict_linear" in str(caught.value)


def test_tests_know_nothing_of_each_other(tmp_path: Path) -> None:
    test = "spans: [{cost: 4, conversation: a}], silent: all"
    result = run(tmp_path, f"{SPENT}\ntests:\n- {{{test}}}\n- {{{test}}}\n")
    assert result.ok
