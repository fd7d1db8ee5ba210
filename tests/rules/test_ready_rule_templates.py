"""Templates: what a rule becomes of one, and every mistake at the user's own line."""

# ruff: noqa: E501  # one case a line

from pathlib import Path

import pytest

from tocsin.errors import ConfigError
from tocsin.rules.rule import Metric, Rule, Severity
from tocsin.service.loading import Loader, load, load_text

OWN = """templates:
  slow_tool:
    description: A tool is slow.
    parameters: {tool: null, threshold: 5s}
    rule: {spans: tool, metric: latency, filters: {tool: ["%{tool}", "old-%{tool}"]}, condition: gt, threshold: "%{threshold}"}
"""


def rules(text: str) -> tuple[Rule, ...]:
    return load_text(text, environ={}).rules


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, file="c.yaml", environ={})
    return [problem.removeprefix("c.yaml:") for problem in caught.value.problems]


def test_a_template_is_the_rule_that_it_describes() -> None:
    (made,) = rules("rules: [{template: runaway_conversation}]\n")
    (written,) = rules(
        "rules: [{name: runaway-conversation, description: 'One conversation burns money, as an agent in a loop does. Fires on the call that crosses the line.', "
        "severity: critical, metric: cost, window: 5m, group_by: conversation or trace, condition: gt, threshold: $25}]\n"
    )
    assert made == written
    assert rules("rules: [{template: runaway-conversation}]\n") == (made,)


def test_what_stands_beside_it_replaces_its_fields() -> None:
    (made,) = rules(
        "rules: [{template: runaway_conversation, name: mine, severity: low, with: {threshold: 5, window: 1m}, group_by: agent}]\n"
    )
    assert (made.name, made.window_ns, made.group_by) == ("mine", 60 * 10**9, (("agent",),))
    assert (made.levels[0].severity, str(made.levels[0].threshold)) == (Severity.LOW, "5")


def test_levels_and_attributes_take_the_place_of_what_the_template_has() -> None:
    (made,) = rules(
        "rules: [{template: runaway_conversation, attribute: app.cost, levels: [{severity: low, threshold: 1}, {severity: high, threshold: 2}]}]\n"
    )
    assert (made.metric, made.attribute, len(made.levels)) == (Metric.ATTRIBUTE, "app.cost", 2)


def test_a_template_of_ones_own_may_be_used_in_rule_files(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("rules: [{name: s, template: slow_tool, with: {tool: search}}]\n")
    main = tmp_path / "c.yaml"
    main.write_text(f"{OWN}rule_files: [r.yaml]\n")
    loader = Loader(main, environ={})
    (made,) = loader.load().rules
    assert [match.operand for match in made.filters[0].matches] == ["search", "old-search"]
    assert (made.description, str(made.levels[0].threshold)) == ("A tool is slow.", "5000")
    main.write_text(f"{OWN.replace('5s', '7s')}rule_files: [r.yaml]\n")
    assert str(loader.load().rules[0].levels[0].threshold) == "7000", "the rule file is the same, the template is not"


def test_one_of_the_same_name_replaces_the_built_in_one() -> None:
    text = "templates: {cost_per_trace: {rule: {metric: cost, condition: gt, threshold: 9}}}\nrules: [{template: cost_per_trace}]\n"
    assert [str(made.levels[0].threshold) for made in rules(text)] == ["9"]


USE = "rules:\n- template: %s\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (USE % "runaway", "2:13: rule 1: 'runaway' is not one of"),
        (USE % "runaway_conversation\n  with: {threshold: 5%}", "3:21: rule 'runaway-conversation': template 'runaway_conversation', threshold: '5%' is no threshold for cost, in US dollars; write 0.50 or $0.50"),
        (USE % "runaway_conversation\n  with: {treshold: 5}", "3:10: rule 1: 'treshold' is no parameter of 'runaway_conversation'; did you mean 'threshold'?"),
        (USE % "runaway_conversation\n  with: {severity: low}", "3:10: rule 1: 'severity' is no parameter of 'runaway_conversation'; write it beside 'template'"),
        (USE % "runaway_conversation\n  with: {color: red}", "3:10: rule 1: 'color' is no parameter of 'runaway_conversation'; its parameters are threshold, window"),
        (USE % "runaway_conversation\n  with: [5]", "3:9: rule 1: should be a mapping of parameters: threshold, window"),
        (USE % "tenant_budget", "2:13: rule 1: 'tenant_budget' needs 'budget'; add it, like with: {budget: …}"),
        (USE % "tenant_budget\n  with: {period: day}", "3:9: rule 1: 'tenant_budget' needs 'budget'; add it, like with: {budget: …}"),
        (USE % "tenant_budget\n  with: {budget: 5, period: weak}", "3:29: rule 'tenant-budget': template 'tenant_budget', window: 'weak' is no duration; write a number and a unit, like 30s, 5m or 1h30m"),
        (USE % "retrieval_drop\n  with: {low: little}", "3:15: rule 1: should be a number"),
        (USE % "retrieval_drop\n  with: {window: soon}", "2:13: rule 'retrieval-drop': template 'retrieval_drop', expr: not PromQL"),
        (USE % "cost_per_trace\n  aggregate: p95", "3:14: rule 'cost-per-trace': p95 of a single sample means nothing"),
        (USE % "error_burst\n  threshold: 1%", "2:13: rule 'error-burst': template 'error_burst', recovery_threshold: recovery at 0.02 is above the threshold 0.01"),
        (USE % "cost_per_trace\n- template: cost_per_trace", "3:13: rule 'cost-per-trace': template 'cost_per_trace', name: project 'default' has a rule of this name at c.yaml:2; rename one"),
        ("templates:\n  a b: {rule: {}}\n", "2:3: template 'a b': 'a b' is no template's name; write a letter, then letters, digits, '_' or '-'"),
        ("templates:\n  a: {rule: {widnow: 5m}}\n", "2:14: template 'a': unknown key 'widnow'; did you mean 'window'?"),
        ("templates:\n  a: {rule: {name: x}}\n", "2:14: template 'a': 'name' belongs to the rule that uses the template; remove it here"),
        ("templates:\n  a: {rule: {summary: 'x %{c}'}}\n", "2:13: template 'a': '%{c}' is no parameter of it; add it under 'parameters', null where it must be given"),
        ("templates:\n  a: {parameters: {b: 1}, rule: {metric: cost}}\n", "2:20: template 'a': nothing in 'rule' uses '%{b}'"),
        ("templates:\n  a: {parameters: {b: 1}}\n", "2:6: 'rule' is missing; add it"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_a_person_made_them(text: str, problem: str) -> None:
    found = problems(text)
    assert any(one.startswith(problem) for one in found), found


def test_secrets_that_go_through_a_template_stay_secrets(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(OWN + "rules: [{name: s, template: slow_tool, with: {tool: '~(${env:PASSWORD}'}}]\n")
    with pytest.raises(ConfigError) as caught:
        load(file, environ={"PASSWORD": "hunter2hunter2"})
    assert "hunter2" not in str(caught.value)
