import re
from typing import Any

import pytest
from alert_events import alert_event
from hypothesis import given
from hypothesis import strategies as st

from tocsin.notify.routing.matchers import Matcher, Operator, labels_of, matches, parse_matcher, parse_matchers
from tocsin.rules.rule import Severity

names = st.sampled_from(["severity", "team", "rule", "group.app.feature", "a b"])
values = st.text(max_size=12)
plain = st.lists(st.text("ab|", min_size=1, max_size=4), min_size=1, max_size=3).map("|".join)


@pytest.mark.parametrize(
    ("text", "name", "operator", "value"),
    [
        ('severity=~"high|critical"', "severity", "=~", "high|critical"),
        ("severity = critical", "severity", "=", "critical"),
        ('team!="a=b"', "team", "!=", "a=b"),
        ("rule!~test-.*", "rule", "!~", "test-.*"),
        ('group.app.feature="x, \\"y\\"\\n"', "group.app.feature", "=", 'x, "y"\n'),
        ('"odd name"=""', "odd name", "=", ""),
    ],
)
def test_a_matcher_is_written_as_alertmanager_does(text: str, name: str, operator: str, value: str) -> None:
    found = parse_matcher(text)
    assert (found.name, found.operator, found.value) == (name, Operator(operator), value)


@pytest.mark.parametrize("text", ["", "severity", "=x", 'a="b', 'a=b"c', 'a=~"("', "a==~(", "1a=b"])
def test_what_is_no_matcher_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write one|quotation mark|regular expression|no label"):
        parse_matcher(text)


@given(names, st.sampled_from(list(Operator)), values)
def test_what_a_matcher_says_of_itself_is_that_matcher(name: str, operator: Operator, value: str) -> None:
    try:
        made = Matcher.of(name, operator, value)
    except ValueError:
        return  # no expression
    assert parse_matcher(str(made)) == made


@given(names, st.sampled_from(list(Operator)), plain, st.dictionaries(names, st.text("ab", max_size=4)))
def test_a_matcher_holds_as_a_slow_reading_says(
    name: str, operator: Operator, value: str, labels: dict[str, str]
) -> None:
    had = labels.get(name, "")
    expected = {
        Operator.EQUAL: had == value,
        Operator.NOT_EQUAL: had != value,
        Operator.REGEX: re.fullmatch(value, had) is not None,
        Operator.NOT_REGEX: re.fullmatch(value, had) is None,
    }[operator]
    assert Matcher.of(name, operator, value).holds(labels) == expected


@pytest.mark.parametrize(
    "written",
    [
        ['severity=~"high|critical"', 'team="support"'],
        'severity=~"high|critical", team="support"',
        '{severity=~"high|critical",team="support"}',
        {"severity": ["high", "critical"], "team": "support"},
        {"severity": "~high|critical", "team": "support"},
    ],
)
def test_lists_texts_and_mappings_mean_the_same(written: Any) -> None:  # noqa: ANN401  # what people write
    matchers = parse_matchers(written)
    labels = labels_of(alert_event(severity=Severity.CRITICAL))
    assert matches(matchers, labels)
    assert not matches(matchers, labels | {"severity": "low"})
    assert not matches(matchers, labels | {"team": "x"})


def test_values_in_a_list_are_texts_and_no_expressions() -> None:
    assert not parse_matchers({"rule": ["a.c"]})[0].holds({"rule": "abc"})


def test_an_alert_shows_its_rule_and_its_group_also_under_their_own_names() -> None:
    labels = labels_of(alert_event(group={"conversation": "conv-42", "severity": "mine"}))
    assert labels["rule"] == labels["alertname"] == "runaway-conversation"
    assert labels["conversation"] == labels["group.conversation"] == "conv-42"
    assert labels["team"] == labels["labels.team"] == "support"
    assert (labels["severity"], labels["group.severity"]) == ("critical", "mine")


def test_an_expression_that_would_take_ages_elsewhere_is_answered_at_once() -> None:
    assert not parse_matcher('a=~"(a+)+b"').holds({"a": "a" * 50_000})
