"""From a rule to the form and back: what nobody touched stays to the letter."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.page.forms import Form
from tocsin.page.rule_fields import Kind, fields_of, kind_of, texts_of
from tocsin.rules.document import parse
from tocsin.rules.templates import built_in

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
FLAGS = ("enabled", "notify_resolved", "forecast")


def sent(fields: dict[str, Any], **changed: str) -> Form:
    """The form as a browser sends it that was shown a rule, with some inputs changed."""
    texts = {**texts_of(fields), **changed}
    pairs = [
        (name, text.replace("\n", "\r\n"))
        for name, text in texts.items()
        if name != "notify" and (text or name not in FLAGS)
    ]
    pairs += [("notify", name) for name in texts["notify"].splitlines()]
    return Form(parse_qs(urlencode(pairs), keep_blank_values=True))


def examples() -> list[dict[str, Any]]:
    document, _ = parse(EXAMPLE.read_text(), "config.yaml")
    rules: list[dict[str, Any]] = document.root.plain()["rules"]  # type: ignore[index]
    ready = [
        {"name": name, **{key: node.plain() for key, node in one.rule.items()}} for name, one in built_in().items()
    ]
    return [*rules, *ready]


@pytest.mark.parametrize("rule", examples(), ids=lambda rule: str(rule.get("name", rule.get("template"))))
def test_a_form_that_nobody_touched_is_the_rule_again(rule: dict[str, Any]) -> None:
    assert fields_of(sent(rule), rule) == rule


word = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=8)
scalar = word | st.integers(-1000, 1000) | st.booleans() | st.floats(-10, 10)
several = scalar | st.lists(scalar, max_size=3)
rules = st.fixed_dictionaries(
    {"name": word},
    optional={
        "project": word,
        "description": word,
        "enabled": st.booleans(),
        "severity": word,
        "metric": word.map(lambda text: f"attribute:{text}") | word,
        "window": scalar,
        "group_by": several,
        "filters": st.dictionaries(word, several, max_size=3),
        "threshold": scalar,
        "levels": st.lists(
            st.fixed_dictionaries({"severity": word, "threshold": scalar, "notify": several}), max_size=3
        ),
        "baseline": st.dictionaries(word, scalar, max_size=2),
        "notify": several,
        "labels": st.dictionaries(word, several, max_size=2),
        "actions": st.lists(st.dictionaries(word, scalar, max_size=2), max_size=2),
        "interval": scalar | st.fixed_dictionaries({"count": st.integers(1, 9), "unit": word}),
        "unknown": several,
    },
)


@given(rules, word)
def test_a_changed_description_changes_nothing_else(rule: dict[str, Any], text: str) -> None:
    got = fields_of(sent(rule, description=text), rule)
    listed = isinstance(rule.get("notify"), list) and len(set(map(str, rule["notify"]))) < len(rule["notify"])
    kept = [
        key
        for key in rule
        if key not in ("description", "interval", *(("notify",) if listed or "notify" in rule else ()))
    ]
    assert {key: got[key] for key in kept} == {key: rule[key] for key in kept}
    assert got["description"] == text


def test_values_are_written_as_a_person_would() -> None:
    made = fields_of(
        sent(
            {},
            name="spend",
            metric="cost",
            window="5m",
            threshold="25",
            min_samples="3",
            group_by="tenant, conversation or trace",
            filters='model: gpt-4o*, claude-*\nenvironment: production\napp.note: "a, b"',
            labels="team: support",
            notify="oncall",
            severity="high",
            condition="gt",
            action_block="conversation",
            action_ttl="1h",
            level_high_threshold="$10",
            level_high_notify="a, b",
        ),
        {},
    )
    assert made == {
        "name": "spend",
        "severity": "high",
        "metric": "cost",
        "window": "5m",
        "group_by": ["tenant", "conversation or trace"],
        "filters": {"model": ["gpt-4o*", "claude-*"], "environment": "production", "app.note": "a, b"},
        "condition": "gt",
        "threshold": 25,
        "levels": [{"severity": "high", "threshold": "$10", "notify": ["a", "b"]}],
        "min_samples": 3,
        "notify": "oncall",
        "labels": {"team": "support"},
        "actions": [{"block": "conversation", "ttl": "1h"}],
    }


def test_another_kind_of_rule_takes_nothing_of_the_former_along() -> None:
    before = {"name": "a", "metric": "cost", "window": "5m", "condition": ">", "threshold": 25, "notify": ["x"]}
    assert kind_of(before) is Kind.MEASURE
    assert texts_of(before)["condition"] == "gt"
    made = fields_of(sent(before, kind="expr", expr="sum(increase(cost[5m])) > 25\n"), before)
    assert made == {"name": "a", "expr": "sum(increase(cost[5m])) > 25", "notify": ["x"]}


def test_what_a_ready_rule_has_beside_its_parameters_stays() -> None:
    before = {"template": "tenant_budget", "with": {"budget": "$500"}, "threshold": 7, "notify": "mail"}
    made = fields_of(sent(before, **{"with": "budget: $700"}), before)
    assert made == {**before, "with": {"budget": "$700"}}


def test_an_attribute_is_measured_as_the_file_says_it() -> None:
    for before in ({"name": "a", "metric": "attribute:app.x"}, {"name": "a", "attribute": "app.x"}):
        assert texts_of(before)["metric"] == "attribute"
        assert texts_of(before)["attribute"] == "app.x"
        assert fields_of(sent(before), before) == before
        assert fields_of(sent(before, attribute="app.y"), before) == {"name": "a", "attribute": "app.y"}
        assert fields_of(sent(before, metric="cost"), before) == {"name": "a", "metric": "cost"}
