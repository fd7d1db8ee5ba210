"""Values that senders choose, in notifications: never a template, never markup, never a mention."""

import json

import pytest
from alert_events import AT, alert_event, message_of

from tocsin.alerts.event import AlertEvent, Driver
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.email import EmailConfig
from tocsin.notify.pagerduty import trigger_of
from tocsin.notify.slack_blocks import payload_of

TEMPLATES = [
    "{{ 7 | times: 191 }}",
    "{{7|times:191}}",
    "{% assign a = 191 %}{{ a | times: 7 }}",
    "{% for i in (1..9) %}x{% endfor %}",
    "{{ rule.name | upcase }}",
    "{{ self.__class__.__mro__ }}",
    "${7*191}",
    "<%= 7*191 %>",
    "#{7*191}",
]
MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</td></table><h1>ours</h1>",
    "<a href='javascript:alert(1)'>x</a>",
]
MENTIONS = ["<!channel>", "<!here|here>", "<@U0123ABC>", "<#C0123ABC>", "<https://evil.example|a trace>"]


def with_value(value: str, **rule: object) -> AlertEvent:
    return alert_event(
        group={"conversation": value},
        evidence={"drivers": (Driver("model", value, 0.97),)},
        rule={"labels": {"team": value}, **rule},
    )


def everywhere(event: AlertEvent) -> dict[str, str]:
    """Return each contact point's text."""
    message = message_of(event)
    config = {"type": "email", "host": "h.example", "from": "a@example.com", "to": "b@example.com"}
    mail = EmailConfig.model_validate(config).build(Network())._writer.mail_of(message, Attempt(AT))
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    return {
        "webhook": json.dumps(message.body),
        "slack": json.dumps(payload_of(message, Attempt(AT))),
        "pagerduty": trigger_of(message, Attempt(AT), "k" * 32).decode(),
        "html": html.get_content(),
        "text": f"{mail['Subject']}\n{text.get_content()}",
    }


@pytest.mark.parametrize("value", TEMPLATES)
@pytest.mark.parametrize("summary", [None, "{{ group.conversation }} spent {{ value | usd }}"])
def test_a_value_is_never_taken_for_a_template(value: str, summary: str | None) -> None:
    found = everywhere(with_value(value, summary=summary))
    for place, text in found.items():
        for result in ("1337", "xxxxxxxx", "RUNAWAY-CONVERSATION"):
            assert result not in text.replace(value, "").replace(json.dumps(value)[1:-1], ""), (place, result)
    assert message_of(with_value(value)).body["group"] == {"conversation": value}


@pytest.mark.parametrize("value", MARKUP)
@pytest.mark.parametrize("summary", [None, "{{ group.conversation }}"])
def test_a_value_is_never_markup_in_a_mail(value: str, summary: str | None) -> None:
    html = everywhere(with_value(value, summary=summary))["html"]
    plain = everywhere(with_value("harmless", summary=summary))["html"]
    for tag in ("<script", "<img", "<svg", "<h1", "<a ", "</td>", "</table>"):
        assert html.count(tag) == plain.count(tag), tag
    assert value not in html


@pytest.mark.parametrize("value", MENTIONS)
@pytest.mark.parametrize("summary", [None, "{{ group.conversation }}"])
def test_a_value_never_calls_people_or_links_in_slack(value: str, summary: str | None) -> None:
    payload = payload_of(message_of(with_value(value, summary=summary)), Attempt(AT))
    for block in payload["attachments"][0]["blocks"]:  # type: ignore[index]  # as Slack's schema has it
        assert value not in json.dumps(block)


def test_a_value_adds_no_line_to_a_mail_s_head() -> None:
    config = {"type": "email", "host": "h.example", "from": "a@example.com", "to": "b@example.com"}
    event = with_value(
        "x\r\nBcc: all@example.com\r\n\r\nbody", summary="{{ group.conversation }}", name="a\r\nBcc: b@x"
    )
    mail = EmailConfig.model_validate(config).build(Network())._writer.mail_of(message_of(event), Attempt(AT))
    assert mail["Bcc"] is None
    assert b"\nBcc:" not in mail.as_bytes()
