import json
import logging
from datetime import datetime

import orjson
import pytest
from alert_events import AT, MINUTE, alert_event, message_of, rule_with
from event_strategies import events
from hypothesis import given, settings
from published_schema import check
from scripted_contact import CountingObserver

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.message import MessageWriter, rfc3339
from tocsin.rules.rule import Aggregate, Condition, Metric, Scope, Severity

GOOD = "conversation conv-42 spent $27.31 in 5m, over the limit of $25.00 (240 calls, 97 % claude-sonnet-4-5)"


def summary_of(event: AlertEvent) -> str:
    return message_of(event).summary


def test_a_firing_alert_says_who_how_much_and_why() -> None:
    message = message_of(alert_event())
    assert message.summary == GOOD
    assert message.title == "[CRITICAL] runaway-conversation: conversation conv-42"


def test_unpriced_calls_make_a_lower_bound_that_says_so() -> None:
    message = message_of(alert_event(evidence={"value": 12.4, "unpriced_samples": 3}))
    assert "spent at least $12.40 in 5m" in message.summary
    assert "3 calls unpriced" in message.summary
    facts = {fact.label: fact.text for fact in message.facts}
    assert facts["Value"] == "at least $12.40; 3 calls unpriced"


def test_an_estimate_is_called_one() -> None:
    assert "spent an estimated $27.31" in summary_of(alert_event(evidence={"estimated": True}))


def test_a_resolution_says_how_long_it_took_and_the_peak() -> None:
    event = alert_event(Transition.RESOLVED, resolved_at=AT + 12 * MINUTE, peak=31.2)
    assert summary_of(event) == ("resolved after 12m, peak $31.20: conversation conv-42 is no longer over $25.00")


def test_a_reminder_says_how_long_and_how_often() -> None:
    event = alert_event(Transition.REMINDER, detected_at=AT + 30 * MINUTE, suppressed=12, peak=31.2)
    assert summary_of(event) == f"still firing after 30m, 12 further breaches, worst $31.20: {GOOD}"


def test_a_change_of_level_says_from_where_to_where() -> None:
    up = alert_event(escalated_from=Severity.MEDIUM)
    down = alert_event(severity=Severity.LOW, escalated_from=Severity.HIGH)
    assert summary_of(up) == f"escalated from medium to critical: {GOOD}"
    assert summary_of(down).startswith("de-escalated from high to low: ")


@pytest.mark.parametrize(
    ("rule", "value", "threshold", "expected"),
    [
        (
            {"metric": Metric.LATENCY, "aggregate": Aggregate.QUANTILE, "quantile": 0.95},
            4120.5,
            3000.0,
            "had a p95 latency of 4.12s in 5m, over the limit of 3s",
        ),
        (
            {"metric": Metric.LATENCY, "aggregate": Aggregate.AVG, "window_ns": None, "scope": Scope.TRACE},
            4120.5,
            3000.0,
            "took 4.12s in one trace, over the limit of 3s",
        ),
        (
            {"metric": Metric.COST, "window_ns": None, "scope": Scope.TRACE},
            0.731,
            0.5,
            "spent $0.73 in one trace, over the limit of $0.50",
        ),
        (
            {"metric": Metric.ERROR_RATE, "aggregate": Aggregate.AVG, "condition": Condition.GTE},
            0.125,
            0.05,
            "had an error rate of 12.5 % in 5m, at or over the limit of 5 %",
        ),
        (
            {"metric": Metric.COUNT, "aggregate": Aggregate.COUNT},
            240.0,
            100.0,
            "had 240 calls in 5m, over the limit of 100 calls",
        ),
        (
            {"metric": Metric.INPUT_TOKENS, "aggregate": Aggregate.SUM},
            1_200_000.0,
            1e6,
            "used 1,200,000 input tokens in 5m, over the limit of 1,000,000 input tokens",
        ),
        (
            {
                "metric": Metric.ATTRIBUTE,
                "attribute": "app.rag.score",
                "aggregate": Aggregate.AVG,
                "condition": Condition.LT,
            },
            0.51234,
            0.55,
            "had a mean app.rag.score of 0.5123 in 5m, under the limit of 0.55",
        ),
        ({"condition": Condition.ABSENT}, float("nan"), 0.0, "conversation conv-42 sent no call for 5m"),
    ],
)
def test_every_kind_of_rule_reads_as_a_sentence(
    rule: dict[str, object], value: float, threshold: float, expected: str
) -> None:
    event = alert_event(rule=rule, evidence={"value": value}, threshold=threshold)
    assert expected in summary_of(event)


def test_a_rule_without_a_group_speaks_of_all_that_match() -> None:
    assert summary_of(alert_event(group={})).startswith("all matching calls spent $27.31 in 5m")


def test_a_users_template_is_used_with_its_filters() -> None:
    written = "{{ group.conversation }} spent {{ value | usd }} in {{ window }}"
    assert summary_of(alert_event(rule={"summary": written})) == "conv-42 spent $27.31 in 5m"
    resolved = alert_event(Transition.RESOLVED, rule={"summary": written}, resolved_at=AT)
    assert summary_of(resolved).startswith("resolved: conv-42 spent")


@pytest.mark.parametrize(
    "written",
    [
        "{{ group.tenant }}",
        "{{ value | nonsense }}",
        "{% for i in (1..100000000) %}x{% endfor %}",
        "{{ 1 | divided_by: 0 }}",
        "{{ 'a' | usd }}",
        "{% include 'x' %}",
        "{{",
    ],
)
def test_a_template_that_fails_gives_way_to_the_default_and_is_counted(
    written: str, caplog: pytest.LogCaptureFixture
) -> None:
    observer = CountingObserver()
    message = MessageWriter(observer=observer).message_of(alert_event(rule={"summary": written}))
    assert message.summary == GOOD
    assert observer.templates == ["summary"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_template_that_grows_without_end_is_stopped() -> None:
    written = "{% assign s = 'xxxxxxxxxx' %}{% for i in (1..900) %}{% assign s = s | append: s %}{% endfor %}{{ s }}"
    assert summary_of(alert_event(rule={"summary": written})) == GOOD


def test_values_in_a_dashboard_address_are_encoded() -> None:
    rule = {"dashboard_url": "https://g.example/d?var={{ group.conversation }}&e={{ group.conversation | url_encode }}"}
    event = alert_event(rule=rule, group={"conversation": "a&b=c/../#x\n"})
    assert message_of(event).links.dashboard == "https://g.example/d?var=a%26b%3Dc%2F..%2F%23x&e=a%26b%3Dc%2F..%2F%23x"


@pytest.mark.parametrize("written", ["{{ group.conversation }}", "javascript:alert(1)", "https://", "http://x y"])
def test_a_dashboard_address_that_is_none_is_left_out(written: str) -> None:
    event = alert_event(rule={"dashboard_url": written}, group={"conversation": "javascript:alert(1)"})
    assert message_of(event).links.dashboard is None


def test_the_body_has_every_field_with_its_value() -> None:
    event = alert_event(
        rule={"runbook_url": "https://runbooks.example/runaway", "dashboard_url": "https://g.example/d"},
        evidence={"window_from": AT - 5 * MINUTE, "window_to": AT},
    )
    body = json.loads(orjson.dumps(message_of(event).body))
    check(body, "webhook-body-1")
    assert body == {
        "version": "1",
        "id": event.id,
        "event": "firing",
        "rule": {
            "project": "default",
            "name": "runaway-conversation",
            "description": "One conversation burns money.",
            "severity": "critical",
            "runbook_url": "https://runbooks.example/runaway",
            "labels": {"team": "support"},
        },
        "group": {"conversation": "conv-42"},
        "summary": GOOD,
        "value": 27.31,
        "unit": "USD",
        "condition": "gt",
        "threshold": 25.0,
        "window": {"seconds": 300, "from": "2026-01-06T03:09:10.123456Z", "to": "2026-01-06T03:14:10.123456Z"},
        "samples": 240,
        "suppressed": 0,
        "started_at": "2026-01-06T03:14:10.123456Z",
        "fired_at": "2026-01-06T03:14:10.123456Z",
        "resolved_at": None,
        "detected_at": "2026-01-06T03:14:10.123456Z",
        "traces": [
            {
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
                "value": 0.31,
                "url": "https://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c",
            }
        ],
        "drivers": [{"attribute": "model", "value": "claude-sonnet-4-5", "share": 0.97}],
        "delay_ms": {"event_to_arrival": 812.0, "arrival_to_detection": 1.4},
        "unpriced_samples": 0,
        "estimated": False,
        "links": {
            "rule": "https://tocsin.example/rules/default/runaway-conversation",
            "alert": f"https://tocsin.example/alerts/{event.alert_id}",
            "dashboard": "https://g.example/d",
            "silence": "https://tocsin.example/silences/new?project=default&rule=runaway-conversation"
            "&group.conversation=conv-42",
        },
    }


def test_without_addresses_links_are_null_and_without_a_window_so_is_it() -> None:
    message = MessageWriter().message_of(alert_event(rule={"window_ns": None}, evidence={"value": float("nan")}))
    assert message.body["links"] == {"rule": None, "alert": None, "dashboard": None, "silence": None}
    assert message.body["window"] is None
    assert message.body["value"] is None


def test_an_event_is_rendered_once_for_all_contact_points() -> None:
    writer, event = MessageWriter(), alert_event()
    assert writer.message_of(event) is writer.message_of(event)
    writer.adopt(MessageWriter(public_url="https://new.example"))
    assert writer.message_of(event).links.alert == f"https://new.example/alerts/{event.alert_id}"


@settings(max_examples=150, deadline=None)
@given(events())
def test_any_event_becomes_a_clean_message_and_a_valid_body(event: AlertEvent) -> None:
    message = message_of(event)
    body = json.loads(orjson.dumps(message.body))
    check(body, "webhook-body-1")
    texts = [
        message.title,
        message.summary,
        *(fact.text for fact in message.facts),
        *(fact.label for fact in message.facts),
    ]
    assert all("\n" not in text and "\r" not in text and "\x1b" not in text for text in texts)
    assert message.summary
    assert len(message.title) <= 256


def test_times_are_utc_with_microseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(AT) == "2026-01-06T03:14:10.123456Z"
    assert datetime.fromisoformat(rfc3339(2**63)).year > 2200
    assert rule_with(name="x").name == "x"
