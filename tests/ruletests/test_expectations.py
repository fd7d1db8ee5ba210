"""Each kind of expectation holds where it is met, and fails with a diff that says why where it is not."""

# ruff: noqa: E501  # tables of files that are one line long

from pathlib import Path

import pytest
from suites import failing, only

SPANS = "spans: [{every: 10s, count: 12, cost: 1, conversation: a}, {every: 30s, count: 3, cost: 1, conversation: b}]"
"""a: over $5 at 50s, $12 at 110s; gone at 7 minutes. b: $3."""


@pytest.mark.parametrize(
    "expected",
    [
        "expect: [{rule: spent, at: 49s, alerts: []}]",
        "expect: [{rule: spent, at: 50s, alerts: [{group: {conversation: a}, severity: high, value: 6, threshold: $5}]}]",
        "expect: [{rule: spent, at: 110s, alerts: [{value: 12}]}]",
        "expect: [{rule: spent, at: 110s, alerts: [{}]}]",
        "expect: [{rule: spent, by: 1m, alerts: [{group: {conversation: a}, value: 6}]}]",
        "expect: [{rule: spent, between: [40s, 1m], alerts: [{value: '> 5'}]}]",
        "expect: [{rule: spent, between: [51s, 20m], alerts: []}]",
        "expect: [{rule: spent, at: 8m, alerts: []}]",
        "expect: [{rule: spent, at: 50s, alerts: [{summary: 'conversation a spent $6.00 in 5m, over the limit of $5.00 (6 calls)'}]}]",
        "events: [{rule: spent, event: fired, at: 50s, value: 6, notified: true},"
        " {rule: spent, event: resolved, at: 6m1s, within: 2s, notified: true}]",
        "silent: [{rules: all, between: [0s, 49s]}, {rules: [spent], between: [7m, 10m]}]",
    ],
)
def test_what_happens_is_what_is_expected(tmp_path: Path, expected: str) -> None:
    case = only(tmp_path, f"- {SPANS}\n  {expected}")
    assert case.failures == ()


def test_an_alert_that_does_not_fire_is_missing_and_how_near_it_came_is_said(tmp_path: Path) -> None:
    told = failing(
        tmp_path,
        f"- {SPANS}\n  expect: [{{rule: spent, at: 1m, alerts: [{{group: {{conversation: a}}}}, {{group: {{conversation: b}}}}]}}]",
    )
    assert told.splitlines() == [
        "line 8: spent: 2 alerts should fire at 1m, one does",
        "expected            got",
        "conversation a      conversation a  high  $7.00  threshold $5.00  fired at 50s",
        "- conversation b",
        "conversation b peaked at $3.00 at 1m, threshold $5.00",
    ]


def test_a_group_that_never_was_is_told_with_those_that_were(tmp_path: Path) -> None:
    told = failing(
        tmp_path, f"- {SPANS}\n  expect: [{{rule: spent, at: 30s, alerts: [{{group: {{conversation: c}}}}]}}]"
    )
    assert "conversation c was never seen; groups that were: conversation a, conversation b" in told
    assert "conversation a peaked at $12.00 at 1m50s, threshold $5.00" in told
    assert "conversation a fires later, at 50s" in told


def test_an_alert_that_nobody_expected_is_shown(tmp_path: Path) -> None:
    told = failing(tmp_path, f"- {SPANS}\n  expect: [{{rule: spent, at: 1m, alerts: []}}]")
    assert told.splitlines() == [
        "line 8: spent: no alert should fire at 1m, one does",
        "expected      got",
        "+               conversation a  high  $7.00  threshold $5.00  firing at 50s",
    ]


@pytest.mark.parametrize(
    ("alert", "row"),
    [
        ("{value: 6.5}", "~ any  $6.50      conversation a  high  $7.00  threshold $5.00  fired at 50s  (value)"),
        (
            "{severity: critical}",
            "~ any  critical      conversation a  high  $7.00  threshold $5.00  fired at 50s  (severity)",
        ),
        (
            "{threshold: 25, value: 7}",
            "~ any  $7.00  threshold $25.00      conversation a  high  $7.00  threshold $5.00  fired at 50s  (threshold)",
        ),
        (
            "{summary: much}",
            '~ any  "much"      conversation a  high  $7.00  threshold $5.00  fired at 50s'
            '  "conversation a spent $6.00 in 5m, over the limit of $5.00 (6 calls)"  (summary)',
        ),
    ],
)
def test_what_differs_stands_side_by_side(tmp_path: Path, alert: str, row: str) -> None:
    assert row in failing(tmp_path, f"- {SPANS}\n  expect: [{{rule: spent, at: 1m, alerts: [{alert}]}}]")


@pytest.mark.parametrize(
    ("events", "row"),
    [
        ("[{rule: spent, event: fired, at: 40s}, {rule: spent, event: resolved}]", "(time)"),
        ("[{rule: spent, event: fired, notified: false}, {rule: spent, event: resolved}]", "(notified)"),
        ("[{rule: spent, event: fired}]", "+"),
        ("[{rule: spent, event: fired}, {rule: spent, event: reminder}, {rule: spent, event: resolved}]", "- reminder"),
    ],
)
def test_events_that_differ_are_told(tmp_path: Path, events: str, row: str) -> None:
    told = failing(tmp_path, f"- {SPANS}\n  until: 10m\n  events: {events}")
    assert row in told


def test_a_silence_that_is_broken_is_told_with_when(tmp_path: Path) -> None:
    told = failing(tmp_path, f"- {SPANS}\n  silent: all")
    assert told.splitlines() == [
        "line 8: spent should be silent from 0s to 1m50s, and fired",
        "expected      got",
        "+               spent: conversation a  high  $6.00  threshold $5.00  firing at 50s",
    ]


def test_silence_is_broken_by_what_fired_before_and_still_does(tmp_path: Path) -> None:
    assert "silent from 1m to 1m50s" in failing(tmp_path, f"- {SPANS}\n  silent: {{rules: spent, between: [1m, 110s]}}")


def test_too_few_samples_are_said(tmp_path: Path) -> None:
    rules = "rules: [{name: drift, metric: judge_score, window: 1h, condition: lt, threshold: 0.7, min_samples: 20}]"
    told = failing(
        tmp_path,
        """
        - spans: [{every: 1m, count: 12, kind: evaluation, judge_score: 0.5}]
          expect: [{rule: drift, at: 20m, alerts: [{}]}]
        """,
        rules,
    )
    assert "it never had min_samples 20, at most 12 samples" in told


def test_a_rule_that_saw_nothing_says_so(tmp_path: Path) -> None:
    rules = "rules: [{name: tools, metric: latency, spans: tool, window: 1h, condition: gt, threshold: 1s}]"
    test = "- spans: [{cost: 1}]\n  expect: [{rule: tools, at: 1m, alerts: [{}]}]"
    assert "no sample: no span that its metric, filters and spans are about" in failing(tmp_path, test, rules)


def test_samples_without_a_group_are_counted(tmp_path: Path) -> None:
    test = "- spans: [{cost: 1}, {cost: 9, at: 1s}]\n  expect: [{rule: spent, at: 5m, alerts: [{}]}]"
    assert "2 samples without conversation, which its groups are made of" in failing(tmp_path, test)


def test_a_condition_that_held_too_shortly_says_for_how_long_it_has_to(tmp_path: Path) -> None:
    rules = "rules: [{name: spent, metric: cost, window: 1m, condition: gt, threshold: $5, for: 10m}]"
    test = "- spans: [{cost: 9}]\n  expect: [{rule: spent, at: 5m, alerts: [{}]}]"
    assert "peaked at $9.00 at 0s, threshold $5.00; it has to hold for 10m" in failing(tmp_path, test, rules)


def test_the_largest_number_of_pairs_is_found_whatever_the_order(tmp_path: Path) -> None:
    spans = "spans: [{cost: 6, conversation: a}, {cost: 7, conversation: b}]"
    test = f"- {spans}\n  expect: [{{rule: spent, at: 0s, alerts: [{{}}, {{value: 6}}]}}]"
    assert only(tmp_path, test).failures == ()


def test_reminders_and_what_is_only_recorded(tmp_path: Path) -> None:
    test = """
    - spans: [{every: 1m, count: 30, cost: 3, conversation: a}, {at: 40m, cost: 9, conversation: a}]
      until: 40m30s
      events:
        - {rule: spent, event: fired, at: 1m, notified: true}
        - {rule: spent, event: reminder, at: 11m, notified: true}
        - {rule: spent, event: reminder, at: 21m, notified: true}
        - {rule: spent, event: reminder, at: 31m, notified: true}
        - {rule: spent, event: resolved, at: 33m, within: 2s}
        - {rule: spent, event: fired, at: 40m, notified: false}
    """
    case = only(tmp_path, test)
    assert case.failures == ()
