"""The rule reference and the example say what the models say, and every example in them loads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from pydantic import BaseModel, TypeAdapter
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tocsin.api.config import ApiConfig
from tocsin.cli.check import check
from tocsin.engine.config import LimitsConfig, TraceConfig
from tocsin.forward.config import ForwardConfig, ForwardTlsConfig, OtlpForwardConfig, QueueConfig, RetryConfig
from tocsin.guard.config import GuardConfig
from tocsin.history.config import HistoryConfig
from tocsin.journal.config import JournalConfig
from tocsin.receivers.config import GrpcReceiverConfig, HttpReceiverConfig
from tocsin.rules.compile import default_aggregate
from tocsin.rules.config import SHORT_NAMES, BaselineConfig, BlockConfig, LevelConfig, RuleConfig, written
from tocsin.rules.rule import Metric, Rule, Scope
from tocsin.rules.sql.config import SqlConfig
from tocsin.rules.templates import TemplateConfig, built_in
from tocsin.security.config import TlsConfig, TokenConfig
from tocsin.semconv.table import default_table
from tocsin.service.config import Configuration, LogConfig, NetworkConfig
from tocsin.service.loading import load, load_text
from tocsin.service.self_alerts.config import SelfAlertsConfig
from tocsin.storage.config import StorageConfig

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "rules.md").read_text()
COMING_FROM = (ROOT / "docs" / "coming-from.md").read_text()
EXAMPLE = ROOT / "config.example.yaml"
CONTACTS = "contact_points: {oncall: {type: log}, eng-slack: {type: log}}\n"
WRITTEN_OUT = {"empty": "", "none": None, "–": None}  # noqa: RUF001  # as the reference writes it

TABLES: dict[str, list[type[BaseModel]]] = {
    "A rule": [RuleConfig],
    "Levels": [LevelConfig],
    "Actions": [BlockConfig],
    "Baselines": [BaselineConfig],
    "Ready rules": [TemplateConfig],
    "Configuration": [Configuration],
    "receivers": [GrpcReceiverConfig, HttpReceiverConfig],
    "TLS": [TlsConfig],
    "Tokens": [TokenConfig],
    "api": [ApiConfig],
    "journal": [JournalConfig],
    "storage": [StorageConfig],
    "history": [HistoryConfig],
    "forward": [ForwardConfig, OtlpForwardConfig, ForwardTlsConfig, QueueConfig, RetryConfig],
    "guard": [GuardConfig],
    "self_alerts": [SelfAlertsConfig],
    "trace": [TraceConfig],
    "limits": [LimitsConfig],
    "network": [NetworkConfig],
    "log": [LogConfig],
    "SQL names": [SqlConfig],
}


def sections() -> Iterator[tuple[str, str]]:
    for part in re.split(r"^#+ ", REFERENCE, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        yield title, body


def tables(body: str, first: str) -> list[list[list[str]]]:
    """The tables of a section whose first column is so called, as rows of cells."""
    found: list[list[list[str]]] = []
    inside = False
    for line in body.splitlines():
        if line.startswith(f"| {first} |"):
            found.append([])
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


DOCUMENTED = [
    (model, table)
    for title, body in sections()
    for model, table in zip(TABLES.get(title, ()), tables(body, "field"), strict=True)
]


def test_every_table_of_the_reference_is_compared() -> None:
    assert [model for model, _ in DOCUMENTED] == [model for models in TABLES.values() for model in models]
    assert REFERENCE.count("| field |") == len(DOCUMENTED)


@pytest.mark.parametrize(("model", "table"), DOCUMENTED, ids=lambda value: getattr(value, "__name__", ""))
def test_fields_types_and_defaults_are_those_of_the_model(model: type[BaseModel], table: list[list[str]]) -> None:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    assert {row[0].strip("`") for row in table} == set(fields)
    for name, kind, default, effect in table:
        field = fields[name.strip("`")]
        assert kind, name
        assert effect, name
        if default == "required":
            # A rule's metric and threshold have stand-ins, and are asked for when the rule is put together.
            assert field.is_required() or (model is RuleConfig and name in ("`metric`", "`threshold`"))
        elif re.fullmatch(r"`[^`]+`", default) and name not in ("`storage`", "`severity`", "`scope`"):
            text = YAML(typ="safe", pure=True).load(default.strip("`"))
            annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            assert TypeAdapter(annotation).validate_python(text) == field.default, name
        elif default in WRITTEN_OUT:
            assert field.get_default(call_default_factory=True) in (WRITTEN_OUT[default], {}, ()), name


def test_every_metric_is_documented_with_its_unit_and_aggregate() -> None:
    [table] = [found for title, body in sections() if title == "Metrics" for found in tables(body, "metric")]
    units = {"US dollars": "USD", "milliseconds": "ms", "as sent": ""}
    seen = set()
    for name, unit, aggregate, _ in table:
        metric = Metric(name.strip("`").partition(":")[0])
        seen.add(metric)
        assert default_aggregate(metric) == aggregate.strip("`")
        assert unit_of(metric) == units.get(unit, unit)
    assert seen == set(Metric) - {Metric.EXPRESSION}


def unit_of(metric: Metric) -> str:
    written = "attribute: a.b" if metric is Metric.ATTRIBUTE else f"metric: {metric}"
    threshold = "1%" if metric in (Metric.ERROR_RATE, Metric.SUCCESS_RATE, Metric.UNPRICED_RATIO) else "1"
    [rule] = rules_of(f"- {{name: r, {written}, condition: gt, threshold: {threshold}, window: 5m}}")
    return rule.unit


def rules_of(text: str) -> tuple[Rule, ...]:
    return load_text(CONTACTS + "rules:\n" + text, environ={}).rules


def test_short_names_are_the_labels_of_the_attribute_table() -> None:
    assert set(SHORT_NAMES) == {*default_table().labels, "trace"}
    [body] = [body for title, body in sections() if title == "Labels and filters"]
    assert all(f"`{name}`" in body for name in SHORT_NAMES)


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL))
def test_every_example_of_the_reference_loads(block: str, tmp_path: Path) -> None:
    """A block that begins with `- name:` is a list of rules; every other one is a whole file."""
    (tmp_path / "slack-url").write_text("https://hooks.slack.example/services/T0/B0/x\n")
    text = f"{CONTACTS}rules:\n{block}" if block.startswith("- name:") else block
    loaded = load_text(text, directory=tmp_path, environ={"PAGERDUTY_KEY": "0123456789abcdef0123456789abcdef"})
    assert loaded.rules or "receivers" in block or "rules: []" in block


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", COMING_FROM, re.MULTILINE | re.DOTALL))
def test_every_rule_beside_one_of_another_product_loads(block: str) -> None:
    assert rules_of(block)


def test_every_product_has_a_table_and_a_rule_beside_it() -> None:
    parts = re.split(r"^## ", COMING_FROM, flags=re.MULTILINE)[1:]
    names = ["Prometheus", "Datadog", "Arthur", "Prela", "Netra", "LiteLLM", "Langfuse"]
    assert [part.partition("\n")[0] for part in parts] == names
    assert all("| there | here |" in part and "```yaml" in part and "Limits:" in part for part in parts)


def test_a_rule_may_use_every_field() -> None:
    [rule] = rules_of(
        """
  - name: runaway-conversation
    project: default
    description: One conversation burns money.
    enabled: true
    mode: live
    severity: critical
    scope: span
    spans: [llm]
    metric: cost
    aggregate: sum
    window: 5m
    group_by: [conversation]             # `conversation or trace`: the first that is known
    filters:
      environment: production
      model: [gpt-4o*, claude-*]
      app.feature: chat
    condition: gt
    threshold: 25
    min_samples: 1
    for: 0s
    keep_firing_for: 0s
    recovery_threshold: null
    cooldown: 30m
    notify: [oncall, eng-slack]
    notify_resolved: true
    no_data: keep
    sampling: ignore
    runbook_url: https://runbooks.example/runaway
    dashboard_url: https://grafana.example/d/1?var-conv={{ group.conversation }}
    labels: {team: support}
    summary: "{{ group.conversation }} spent {{ value | usd }} in {{ window }}"
    actions:
      - block: conversation
        ttl: 1h
"""
    )
    assert rule.levels[0].notify == ("oncall", "eng-slack")
    assert rule.actions[0].ttl_ns == 3600 * 10**9
    assert rule.dashboard_url == "https://grafana.example/d/1?var-conv={{ group.conversation }}"


def test_every_ready_rule_is_documented_with_its_parameters() -> None:
    [table] = [found for title, body in sections() if title == "Ready rules" for found in tables(body, "template")]
    shown = {name.strip("`"): (parameters, effect) for name, parameters, effect in table}
    assert shown == {
        name: (
            ", ".join(f"`{key}: {_shown(node.value)}`" for key, node in template.parameters.items()),
            template.description,
        )
        for name, template in built_in().items()
    }


def _shown(value: object) -> str:
    return "null" if value is None else written(value)


@pytest.mark.parametrize("name", built_in())
def test_every_ready_rule_loads_as_it_is(name: str) -> None:
    needed = {"tenant_budget": "budget: $100"}.get(name, "")
    [rule] = rules_of(f"- {{template: {name}, with: {{{needed}}}, notify: oncall}}")
    assert rule.name == name.replace("_", "-")
    assert rule.description == built_in()[name].description


def test_the_example_needs_nothing_and_has_the_first_rules_that_people_want() -> None:
    loaded = load(EXAMPLE, environ={})
    assert loaded.warnings == ()
    assert all(contact.type == "log" for contact in loaded.configuration.contact_points.values())
    rules = {rule.name: rule for rule in loaded.rules}
    runaway = rules["runaway-conversation"]
    assert (runaway.metric, runaway.window_ns, str(runaway.levels[0].threshold)) == (Metric.COST, 300 * 10**9, "25")
    assert rules["expensive-trace"].scope is Scope.TRACE
    assert str(rules["expensive-trace"].levels[0].threshold) == "0.5"
    assert rules["slow-trace"].levels[0].threshold == 3000
    assert rules["error-burst"].min_samples > 1
    assert rules["acme-budget"].filters[0].constant == "acme"


def test_what_the_example_only_mentions_is_right_too(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    text = re.sub(
        r"^( *)# (trace_url|timezone|prices|  overrides|    my-model|rule_files|eng-slack|oncall|mail|ours)",
        r"\1\2",
        text,
        flags=re.MULTILINE,
    )
    assert "# oncall" not in text
    (tmp_path / "webhook-secret").write_text("whsec_" + "A" * 32)
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.slack.example/x", "PAGERDUTY_KEY": "0123456789abcdef" * 2}
    loaded = load_text(text, directory=tmp_path, environ=environ)
    assert set(loaded.configuration.contact_points) == {"terminal", "eng-slack", "oncall", "mail", "ours"}
    assert loaded.configuration.prices.overrides
    assert loaded.configuration.trace_url


def test_check_prints_a_line_a_file_and_every_problem(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(check)
    bad = tmp_path / "bad.yaml"
    bad.write_text("rules: [{name: r}]\nlgo: {}\n")
    bare = tmp_path / "bare.yaml"
    bare.write_text("rules: [{name: r, metric: cost, condition: gt, threshold: 1, notify: x, enabled: false}]\n")

    good = CliRunner().invoke(app, [str(EXAMPLE), str(bare)])
    assert good.output.splitlines() == [
        f"{EXAMPLE}: ok, 10 rules, 1 contact point",
        f"{bare}: ok, 1 rule (1 disabled)",
    ]
    assert good.exit_code == 0
    failed = CliRunner().invoke(app, [str(bad), str(bare)])
    assert failed.output.splitlines() == [
        f"{bad}:1:9: rule 'r': 'condition' is missing; add it",
        f"{bad}:2:1: unknown key 'lgo'; did you mean 'log'?",
        f"{bare}: ok, 1 rule (1 disabled)",
    ]
    assert failed.exit_code == 1
