"""What is said of budgets, forecasts, baselines, expressions and queries."""

# ruff: noqa: E501  # one sentence a line

import dataclasses

import pytest

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify import sentence
from tocsin.notify.message import MessageWriter
from tocsin.notify.sample import sample_event
from tocsin.service.loading import load_text

_NS = 10**9
MONTH = 1_790_812_800 * _NS
"""1 October 2026, 00:00 UTC."""
DAY = 86_400 * _NS


def event_of(rule: str, *, value: float, limit: float, begin: int, end: int, samples: int = 240) -> AlertEvent:
    [made] = load_text(f"rules:\n- name: r\n{rule}", environ={}).rules
    event = sample_event("hook", end)
    evidence = dataclasses.replace(
        event.evidence, value=value, window_from=begin, window_to=end, samples=samples, drivers=(), traces=()
    )
    group = {label: f"{label}-1" for label, *_ in made.group_by}
    return dataclasses.replace(
        event,
        rule=made,
        group=group,
        transition=Transition.FIRING,
        threshold=limit,
        evidence=evidence,
        peak=value,
    )


BUDGET = "  metric: cost\n  window: month\n  group_by: tenant\n  condition: gte\n  threshold: $5000\n"


@pytest.mark.parametrize(
    ("rule", "value", "limit", "says"),
    [
        (BUDGET, 5000.5, 5000, "tenant tenant-1 spent $5,000.50 in the month, at or over the limit of $5,000.00 (240 calls)"),
        (
            BUDGET.replace("gte", "gt") + "  forecast: true\n",
            6200,
            5000,
            "tenant tenant-1 will have spent $6,200.00 by the end of the month at this pace, $2,000.00 so far, "
            "over the limit of $5,000.00 (240 calls)",
        ),
        (
            "  metric: judge_score\n  window: 1d\n  group_by: model\n  condition: below_baseline\n  threshold: 2 sigma\n"
            "  baseline: {}\n",
            0.61,
            0.72,
            "model model-1 had a mean judge score of 0.61 in 1d, under the limit of 0.72 "
            "(avg judge score 2 sigma below that of the 7d before) (240 samples)",
        ),
        (
            "  expr: |\n    sum by (model) (\n      increase(cost[5m])\n    ) > 25\n",
            27.31,
            25,
            "model model-1: sum by (model) ( increase(cost[5m]) ) > 25 is $27.31, over the limit of $25.00 (240 samples)",
        ),
        (
            "  metric_name: accuracy\n  bound: lower_bound\n  threshold: 0.8\n  interval: 1h\n  sql: |\n"
            "    SELECT time_bucket('${interval}', timestamp) AS metric_timestamp, AVG(value) AS metric_value\n"
            "    FROM metrics_numeric_latest_version WHERE metric_name = 'accuracy'\n"
            "      AND timestamp BETWEEN '${start_time}' AND '${end_time}' GROUP BY metric_timestamp\n",
            0.75,
            0.8,
            "accuracy is 0.75 in 1h, under the limit of 0.8 (240 samples)",
        ),
    ],
)  # fmt: skip
def test_the_sentence_says_what_is_compared_with_what(rule: str, value: float, limit: float, says: str) -> None:
    event = event_of(rule, value=value, limit=limit, begin=MONTH, end=MONTH + 10 * DAY)
    message = MessageWriter().message_of(event)
    assert message.summary == says
    assert message.body["value"] == value


def test_a_calendar_window_has_the_length_that_it_has_so_far() -> None:
    event = event_of(BUDGET, value=1, limit=1, begin=MONTH, end=MONTH + 10 * DAY)
    message = MessageWriter().message_of(event)
    assert message.body["window"] == {
        "seconds": 864_000,
        "from": "2026-10-01T00:00:00.000000Z",
        "to": "2026-10-11T00:00:00.000000Z",
    }


def test_what_fires_by_being_there_has_no_threshold() -> None:
    event = event_of("  expr: absent(cost)\n", value=1, limit=0, begin=MONTH, end=MONTH)
    message = MessageWriter().message_of(event)
    assert (message.body["condition"], message.body["threshold"], message.body["window"]) == ("present", None, None)
    assert message.summary.startswith("absent(cost) is 1, for which the rule holds")


def test_a_reminder_and_an_end_are_said_of_every_kind() -> None:
    event = event_of("  expr: absent(cost)\n", value=1, limit=0, begin=MONTH, end=MONTH)
    reminder = "still firing after 0s, worst 1: absent(cost) is 1"
    end = "resolved after 0s, peak 1: absent(cost) is no longer so"
    for transition, words in ((Transition.REMINDER, reminder), (Transition.RESOLVED, end)):
        resolved = event.fired_at if transition is Transition.RESOLVED else None
        said = MessageWriter().message_of(dataclasses.replace(event, transition=transition, resolved_at=resolved))
        assert said.summary.startswith(words)


@pytest.mark.parametrize(
    ("rule", "has_window"),
    [
        (BUDGET, True),
        ("  expr: sum(rate(cost[5m])) > 1\n", True),
        ("  metric: cost\n  window: 5m\n  condition: gt\n  threshold: $1\n", True),
        ("  metric: cost\n  condition: gt\n  threshold: $1\n", False),
    ],
)
def test_only_a_rule_that_judges_each_sample_has_no_window(rule: str, has_window: bool) -> None:
    [made] = load_text(f"rules:\n- name: r\n{rule}", environ={}).rules
    assert sentence.has_window(made) is has_window
