"""Templates of contact points: what they may cost, what a value can do in them, and what is sent when they fail."""

# ruff: noqa: E501  # one case a line

import asyncio
import json
import logging
import re
import time
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from alert_events import AT, alert_event, message_of
from event_strategies import events
from fault_server import FaultServer, Received
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scripted_contact import CountingObserver
from standardwebhooks import Webhook as Verifier

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import ConfigError
from tocsin.notify.contact import Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.email import EmailConfig
from tocsin.notify.incident import incident_message
from tocsin.notify.kinds import AnyContact
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.outbox import Outbox
from tocsin.notify.routing.tree import Hold
from tocsin.notify.slack_blocks import payload_of
from tocsin.notify.template import Markup, TemplateError, render_text
from tocsin.notify.templating.config import BodyTemplate, MailTemplate, MessageTemplate, SlackTemplate, TextTemplate
from tocsin.notify.templating.dressing import Dressing, dressed
from tocsin.notify.templating.preview import STATES, preview, preview_of_state
from tocsin.notify.templating.samples import sample_messages
from tocsin.notify.templating.variables import VARIABLES
from tocsin.notify.wording import clean
from tocsin.service.loading import load_text

ROOT = Path(__file__).parents[2]
SECONDS = 3.0
"""Far more than a template may take, so that a busy machine fails no test."""
EVERYTHING = "".join(
    f"{{{{ {name} }}}} " for name in VARIABLES if name not in ("group", "rule", "document", "alerts", "links")
)
TEXTS = [
    "{{ subject }}: {{ value | usd }} of {{ threshold | number }} in {{ window_seconds | duration }}",
    "{% for fact in facts %}{{ fact.label | upcase }}: {{ fact.text | truncate: 9 }}\n{% endfor %}",
    "{% for one in alerts %}{{ one.summary }} {{ one.links.alert | link: one.rule.name }}\n{% endfor %}",
    "{% capture x %}{{ subject }}{% endcapture %}{{ x }} {% echo rule.name %} {{ rule.labels.team | append: subject }}",
    "{{ group.nobody_has_this }}{{ group.a }} {{ fired_at | time: 'Europe/Zurich' }} {{ resolved_at | time }}",
    "{% if event == 'resolved' %}over after {{ lasted_seconds | duration }}{% elsif incident %}{{ incident.name }}{% endif %}",
    "{{ summary | split: ' ' | join: ', ' | replace: 'a', subject }}",
    "{{ traces | map: 'url' | join: ' ' }} {{ drivers | json }} {{ document | json }}",
    EVERYTHING,
]
BODIES = [
    '{"text": "{{ summary }}", "group": {{ group | json }}, "value": {{ value | json }}, "by": "{% for one in drivers %}{{ one.value }}{% endfor %}"}',
    '{"alerts": [{% for one in alerts %}{{ one | json }}{% unless forloop.last %},{% endunless %}{% endfor %}]}',
    '["{{ title | upcase }}", "{% capture x %}{{ subject }}{% endcapture %}{{ x }}", "{% echo rule.description %}"]',
    '{"card": "{{ facts[0].text | append: subject }}", "link": "{{ links.alert }}", "whole": {{ document | json }}}',
]
COSTLY = [
    "{% for i in (1..1000) %}" + "{% if 1 == 1 %}{% endif %}" * 600 + "{% endfor %}",
    "{% for i in (1..999) %}" + "{% assign x = i | times: i %}" * 300 + "{% endfor %}",
    "{% for i in (1..9999999999) %}x{% endfor %}",
    "{% assign x = 'aaaaaaaaaaaaaaaaaaaa' %}{% for i in (1..900) %}{% assign x = x | append: x %}{% endfor %}{{ x }}",
    "{% assign x = 9 %}{% for i in (1..900) %}{% assign x = x | times: x %}{% endfor %}{{ x }}",
    "{% for i in (1..900) %}{{ summary }}{{ summary }}{% endfor %}",
    "{% capture x %}{% for i in (1..900) %}aaaaaaaaa{% endfor %}{% endcapture %}{{ x | replace: 'a', x }}",
    "{% capture x %}{% for i in (1..900) %}aaaaaaaaa{% endfor %}{% endcapture %}{{ x | split: '' | join: x }}",
    "{% capture x %}{% for i in (1..900) %}aaaaaaaaa{% endfor %}{% endcapture %}{{ x | split: '' | uniq | size }}",
    "{{ (1..99999999999) | join: 'x' }}",
]


def template_of(kind: type[MessageTemplate], **fields: str) -> MessageTemplate:
    """Not checked: as it is when only an event that nobody thought of makes it fail."""
    return kind.model_construct(None, **fields)


def incident_of(many: list[AlertEvent]) -> Message:
    writer = MessageWriter(public_url="https://tocsin.example")
    return incident_message(writer, Hold("inc_1", "team=a", 0.0, 1.0), many, firing=len(many))


messages = st.one_of(events().map(message_of), st.lists(events(), min_size=2, max_size=3).map(incident_of))


async def taken_by(server: FaultServer, many: int) -> list[Received]:
    async with asyncio.timeout(30):
        while len(server.received) < many:
            server.arrived.clear()
            await server.arrived.wait()
    return server.received


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"{tag} {' '.join(name for name, _ in attrs)}".strip())


@given(messages, st.sampled_from(TEXTS), st.sampled_from(TEXTS))
def test_any_event_and_template_give_text_that_is_safe_to_send_or_the_built_in_words(
    message: Message, title: str, text: str
) -> None:
    for kind in (TextTemplate, SlackTemplate, MailTemplate):
        fields = {"title": title, "text": text, **({"html": text} if kind is MailTemplate else {})}
        begun = time.thread_time()
        made, failures = dressed(message, template_of(kind, **fields))
        assert time.thread_time() - begun < SECONDS
        assert made.title == message.title if "title" in failures else 0 < len(made.title) <= 256
        for line in (made.title, *(made.text or "").split("\n"), *(made.html or "").split("\n")):
            assert line.lstrip(" ") == clean(line, 5_000)
        assert len(made.text or "") <= 16 * 1024
        assert made.event is message.event
        if kind is SlackTemplate:
            bare = (made.text or "").replace("<https://tocsin.example/", "")
            assert "<" not in bare, "only the author's links begin with it"
            json.dumps(payload_of(made, Attempt(AT)))
        assert set(Tags(made.html or "").found) <= {"a href"}


@given(messages, st.sampled_from(BODIES))
def test_any_event_and_template_of_a_body_give_json_with_the_same_keys(message: Message, body: str) -> None:
    made, failures = dressed(message, template_of(BodyTemplate, body=body))
    assert failures == {}
    found = json.loads(made.content)
    sample, _ = dressed(sample_messages()["firing"], template_of(BodyTemplate, body=body))
    assert type(found) is type(json.loads(sample.content))
    if isinstance(found, dict):
        assert found.keys() == json.loads(sample.content).keys(), "a value added or hid a key"
    else:
        assert len(found) == 3


@pytest.mark.parametrize("source", COSTLY)
@pytest.mark.parametrize("markup", [Markup.PLAIN, Markup.SLACK, Markup.JSON])
def test_what_costs_too_much_is_stopped(source: str, markup: Markup) -> None:
    begun = time.thread_time()
    with suppress(TemplateError):
        assert len(render_text(source, {"summary": "s" * 200}, markup)) < 1024 * 1024
    assert time.thread_time() - begun < SECONDS


@pytest.mark.parametrize("source", COSTLY[:4])
def test_what_costs_too_much_is_refused_when_it_is_read(source: str) -> None:
    with pytest.raises(ValidationError, match=r"takes more than|limit reached|too large"):
        TextTemplate(text=source)


@pytest.mark.parametrize(
    ("contact", "problem"),
    [
        (
            "type: log\n    template:\n      text: '{{ valu }}'",
            "5:13: contact point 'a': text: not a template that can be filled in: unknown variable 'valu'; did you mean 'value'?",
        ),
        (
            "type: log\n    template:\n      title: '{{ value | usdd }}'",
            "5:14: contact point 'a': title: not a template that can be filled in: unknown filter 'usdd'; did you mean 'usd'?",
        ),
        (
            "type: log\n    template:\n      text: |\n        one\n        {{ rule.nmae }}",
            "5:13: contact point 'a': text: fails for an alert of the state 'firing': rule.nmae is undefined, in line 2 of it",
        ),
        (
            "type: log\n    template:\n      text: '{% if resolved_at %}{{ traces[0].url | usd }}{% endif %}'",
            "5:13: contact point 'a': text: fails for an alert of the state 'resolved': could not convert string to float: 'https://tocsin.example/trace/0af7651916cd43dd8448eb211c80319c'",
        ),
        (
            "type: webhook\n    url: https://x.example\n    template: {body: '{\"v\": {{ value }}}'}",
            "5:22: contact point 'a': body: fails for an alert of the state 'no-data': the result is no JSON: ",
        ),
        (
            "type: webhook\n    url: https://x.example\n    template: {text: x}",
            "5:16: contact point 'a': unknown key 'text'; here it is 'body'",
        ),
        ("type: log\n    template: {html: x}", "4:16: contact point 'a': unknown key 'html'"),
        ("type: log\n    template: x", "4:15: contact point 'a': should be a mapping"),
    ],
)
def test_a_mistake_names_the_contact_point_the_field_and_the_line(contact: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"contact_points:\n  a:\n    {contact}\n", file="c.yaml", environ={})
    assert str(caught.value).removeprefix("c.yaml:").startswith(problem)


def test_a_failure_is_told_once_counted_always_and_the_built_in_words_are_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    observer = CountingObserver()
    dressing = Dressing("hook", template_of(TextTemplate, title="{{ 1 | divided_by: samples }}", text="ok"), observer)
    message = message_of(alert_event(evidence={"samples": 0}))
    made = [dressing.dress(message) for _ in range(3)]
    assert [one.title for one in made] == [message.title] * 3
    assert [one.text for one in made] == ["ok"] * 3
    assert observer.templates == ["title"] * 3
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("contact point hook: the title of its template failed (divided_by: ")
    assert dressing.dress(message_of(alert_event(evidence={"samples": 1}))).title == "1"


def test_what_took_too_long_once_is_not_tried_again() -> None:
    source = "{% if samples == 240 %}" + COSTLY[0] + "{% endif %}fine"
    observer = CountingObserver()
    dressing = Dressing("hook", template_of(TextTemplate, text=source), observer)
    assert dressing.dress(message_of(alert_event(evidence={"samples": 1}))).text == "fine"
    begun = time.thread_time()
    for _ in range(50):
        dressing.dress(message_of(alert_event(evidence={"samples": 240})))
    assert time.thread_time() - begun < SECONDS
    assert dressing.dress(message_of(alert_event(evidence={"samples": 1}))).text is None
    assert len(observer.templates) == 51


def test_a_defect_of_the_language_holds_no_alert_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise MemoryError

    monkeypatch.setattr("tocsin.notify.templating.dressing.filled", broken)
    message = message_of(alert_event())
    made, failures = dressed(message, template_of(TextTemplate, title="x"))
    assert made == message
    assert str(failures["title"]) == "unexpected MemoryError"


async def test_a_dead_template_delays_no_delivery_of_a_real_outbox() -> None:
    config: TypeAdapter[ContactConfig] = TypeAdapter(AnyContact)
    async with FaultServer() as server, Outbox(MessageWriter(), observer=CountingObserver()) as outbox:
        hook = config.validate_python(
            {"type": "webhook", "url": f"http://127.0.0.1:{server.port}/", "allow_private": True}
        )
        dead = hook.model_copy(update={"template": template_of(BodyTemplate, body="{" + COSTLY[0])})
        await outbox.reconfigure({"hook": dead}, Network())
        sent = [alert_event(notify=("hook",)) for _ in range(20)]
        begun = time.monotonic()
        for event in sent:
            outbox.publish(event)
        received = await taken_by(server, 20)
        assert time.monotonic() - begun < 10
        assert [one.json["id"] for one in received] == [event.id for event in sent]


async def test_a_body_of_ones_own_is_signed_and_sent_under_the_events_id() -> None:
    secret = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0"
    keys = {"type": "webhook", "allow_private": True, "secret": secret}
    config: TypeAdapter[ContactConfig] = TypeAdapter(AnyContact)
    async with FaultServer() as server, Outbox(MessageWriter()) as outbox:
        template = {"body": '{"text": "{{ summary }}", "n": {{ samples }}}'}
        hook = config.validate_python({**keys, "url": f"http://127.0.0.1:{server.port}/", "template": template})
        await outbox.reconfigure({"hook": hook}, Network())
        event = alert_event(notify=("hook",))
        outbox.publish(event)
        [received] = await taken_by(server, 1)
        assert received.json == {"text": message_of(event).summary, "n": 240}
        assert received.headers["webhook-id"] == event.id
        Verifier(secret).verify(received.body.decode(), dict(received.headers))


def test_a_mail_has_the_authors_html_and_the_text_beside_it() -> None:
    fields = {"title": "{{ rule.name }}", "text": "one\ntwo {{ subject }}", "html": "<h2>{{ subject }}</h2>"}
    event = alert_event(group={"conversation": "<img src=x>"})
    made, _ = dressed(message_of(event), MailTemplate(**fields, details=False))
    text = EmailConfig.shown(made)
    assert "Subject: runaway-conversation" in text
    assert "one\ntwo conversation <img src=x>\n" in text
    assert "<h2>conversation &lt;img src=x&gt;</h2>" in text
    assert "Samples" not in text


def test_a_title_of_ones_own_does_not_hide_that_it_is_a_test() -> None:
    made, _ = dressed(message_of(alert_event(Transition.TEST)), TextTemplate(title="{{ subject }} is on fire"))
    assert made.title == "[TEST] conversation conv-42 is on fire"


def test_who_looks_after_an_alert_is_said_in_built_in_words() -> None:
    message = message_of(alert_event(Transition.ACKNOWLEDGED))
    assert dressed(message, TextTemplate(title="x", text="y")) == (message, {})


def test_a_message_about_several_alerts_names_them_all() -> None:
    one = alert_event(group={"conversation": "a"})
    two = alert_event(group={"conversation": "b"})
    text = "{% if incident %}{{ incident.firing }} of {{ incident.name }}:{% endif %}{% for each in alerts %} {{ each.group.conversation }}{% endfor %}"
    made, _ = dressed(incident_of([one, two]), TextTemplate(text=text))
    assert made.text == "2 of team=a: a b"
    alone, _ = dressed(message_of(one), TextTemplate(text=text))
    assert alone.text == "a"


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_a_preview_of_each_kind(state: str) -> None:
    shared: dict[str, Any] = {"title": "{{ event }}", "text": "{{ summary }}"}
    secret = "nevershownsecret"  # noqa: S105
    for kind in (
        {"type": "webhook", "url": f"https://x.example/{secret}", "template": {"body": '"{{ event }}"'}},
        {"type": "slack", "webhook_url": f"https://x.example/{secret}", "template": shared},
        {"type": "pagerduty", "routing_key": secret, "template": shared},
        {"type": "email", "host": "h.example", "from": "a@x.example", "to": "b@x.example", "template": shared},
        {"type": "alertmanager", "url": f"https://x.example/{secret}", "template": shared},
        {"type": "otlp", "endpoint": "http://c.example:4317", "headers": {"x-key": secret}, "template": shared},
        {"type": "kafka", "brokers": "k.example", "topic": "t", "template": {"body": '"{{ event }}"'}},
        {"type": "ticket", "system": "github", "repository": "a/b", "token": secret, "template": shared},
        {"type": "apprise", "urls": f"json://x.example/{secret}", "template": shared},
        {"type": "log", "template": shared},
    ):
        contact: ContactConfig = TypeAdapter(AnyContact).validate_python(kind)
        found = preview_of_state(type(contact), contact.template, state)
        assert found.problems == {}
        assert found.sent
        assert secret not in found.sent


def test_a_preview_of_an_event_is_what_would_be_sent_of_it() -> None:
    contact: ContactConfig = TypeAdapter(AnyContact).validate_python(
        {"type": "webhook", "url": "https://x.example", "template": {"body": '["{{ subject }}"]'}}
    )
    found = preview(contact, alert_event(group={"a": 'q"'}), MessageWriter())
    assert json.loads(found.sent) == ['a q"']
    failing = contact.model_copy(
        update={"template": template_of(BodyTemplate, body='{"x": {{ value }} }{{ 1 | divided_by: samples }}')}
    )
    broken = preview(failing, alert_event(evidence={"samples": 0}), MessageWriter())
    assert list(broken.problems) == ["body"]
    assert json.loads(broken.sent)["version"] == "1"


def test_unescaped_output_can_not_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="unknown filter 'safe'"):
        MailTemplate(html="{{ subject | safe }}")


def test_a_link_is_written_as_the_receiver_has_it() -> None:
    source = "{{ links.alert | link: subject }}|{{ links.dashboard | link: 'none' }}"
    event = replace(alert_event(group={"c": "<b>|x"}), alert_id="alt_1")
    message = message_of(event)
    assert dressed(message, TextTemplate(text=source))[0].text == "c <b>|x: https://tocsin.example/alerts/alt_1|none"
    slack = dressed(message, SlackTemplate(text=source))[0].text
    assert slack == "<https://tocsin.example/alerts/alt_1|c &lt;b&gt;¦x>|none"
    html = dressed(message, MailTemplate(html=source))[0].html
    assert html == '<a href="https://tocsin.example/alerts/alt_1">c &lt;b&gt;|x</a>|none'


def test_what_the_documentation_shows_works_for_every_state() -> None:
    text = (ROOT / "docs" / "contact-points.md").read_text()
    section = text[text.index("## Templates") :]
    [example] = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    found = load_text(example, file="c.yaml", environ={}).configuration.contact_points
    assert [contact.type for contact in found.values()] == ["slack", "email", "webhook"]
    for contact in found.values():
        for state in STATES:
            assert preview_of_state(type(contact), contact.template, state).problems == {}
    for name in (*STATES, *VARIABLES):
        assert re.search(rf"`\.?(links\.)?{name}\b", text[text.index("## Words") :]), name
    slack = preview_of_state(type(found["eng-slack"]), found["eng-slack"].template, "incident-resolved")
    assert slack.text.splitlines()[0] == "*conversation conv-42* is at *$27.31* of $25.00, over after 12m"
    assert slack.text.splitlines()[1].startswith("• resolved after 12m")
    assert slack.text.splitlines()[-1].startswith("since 04:14 · <https://tocsin.example/alerts/")
