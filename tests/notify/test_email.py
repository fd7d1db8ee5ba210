from typing import Any

import pytest
from alert_events import AT, alert_event, message_of
from event_strategies import events
from hypothesis import given, settings
from mail_server import CERT, MailServer
from pydantic import ValidationError

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.email import Email, EmailConfig
from tocsin.notify.email_message import MailWriter
from tocsin.rules.rule import Severity

ADDRESSES = {"from": "Tocsin <tocsin@test.example>", "to": "oncall@test.example, lead@test.example"}


async def resolve(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def email_to(server: MailServer, **keys: Any) -> Email:  # noqa: ANN401  # keys of any type
    written = {"type": "email", "host": "mail.test.example", "port": server.port, "allow_private": True, "tls": "none"}
    return EmailConfig.model_validate({**written, **ADDRESSES, **keys}).build(Network(resolve=resolve))


async def test_a_mail_goes_to_all_recipients_with_text_and_html() -> None:
    async with MailServer() as server:
        event = alert_event(rule={"runbook_url": "https://runbooks.example/r"})
        answer = await email_to(server).send(message_of(event), Attempt(AT))
        assert "queued as 1" in answer.excerpt
        mail = server.mails[0]
        assert mail.sender == "tocsin@test.example"
        assert mail.recipients == ("oncall@test.example", "lead@test.example")
        message = mail.message
        assert message["Subject"] == "[CRITICAL] runaway-conversation: conversation conv-42"
        assert message["To"] == "oncall@test.example, lead@test.example"
        assert message["Auto-Submitted"] == "auto-generated"
        plain, html = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None
        assert html is not None
        for part in (plain.get_content(), html.get_content()):
            assert "conversation conv-42 spent $27.31 in 5m" in part
            assert "https://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c" in part
            assert "https://runbooks.example/r" in part


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_tls_is_used_and_the_login_sent_inside_it(tls: str) -> None:
    login = {"username": "tocsin", "password": "hush"}
    async with MailServer(tls=tls, login=("tocsin", "hush") if tls == "starttls" else None) as server:
        keys = login if tls == "starttls" else {}
        await email_to(server, tls=tls, ca_file=str(CERT), **keys).send(message_of(alert_event()), Attempt(AT))
        assert server.mails[0].encrypted
        assert server.mails[0].login == ("tocsin" if keys else None)


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_is_refused(tls: str) -> None:
    async with MailServer(tls=tls) as server:
        with pytest.raises(DeliveryError, match="not trusted"):
            await email_to(server, tls=tls).send(message_of(alert_event()), Attempt(AT))
        assert server.mails == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_certificate_for_another_name_is_refused(tls: str) -> None:
    async with MailServer(tls=tls) as server:
        other = email_to(server, tls=tls, ca_file=str(CERT), host="other.test.example")
        with pytest.raises(DeliveryError, match="not trusted"):
            await other.send(message_of(alert_event()), Attempt(AT))


async def test_a_server_that_offers_no_starttls_gets_nothing() -> None:
    async with MailServer() as server:
        with pytest.raises(DeliveryError):
            await email_to(server, tls="starttls").send(message_of(alert_event()), Attempt(AT))
        assert server.mails == []


async def test_a_wrong_password_is_final_and_not_repeated() -> None:
    async with MailServer(tls="starttls", login=("tocsin", "right")) as server:
        wrong = email_to(server, tls="starttls", ca_file=str(CERT), username="tocsin", password="wrong-one")  # noqa: S106  # a test\'s
        with pytest.raises(DeliveryError) as caught:
            await wrong.send(message_of(alert_event()), Attempt(AT))
        assert not caught.value.retryable
        assert "535" in str(caught.value)
        assert "wrong-one" not in str(caught.value)


async def test_a_refused_recipient_is_named_and_the_others_get_the_mail_once() -> None:
    async with MailServer() as server:
        server.refusals["lead@test.example"] = "550 no such user"
        with pytest.raises(DeliveryError) as caught:
            await email_to(server).send(message_of(alert_event()), Attempt(AT))
        assert not caught.value.retryable
        assert "lead@test.example (550 no such user)" in str(caught.value)
        assert "delivered to the others" in str(caught.value)
        assert [mail.recipients for mail in server.mails] == [("oncall@test.example",)]


async def test_a_recipient_refused_for_now_is_tried_again_alone() -> None:
    async with MailServer() as server:
        notifier, message = email_to(server), message_of(alert_event())
        server.refusals["lead@test.example"] = "450 mailbox busy"
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(message, Attempt(AT))
        assert caught.value.retryable
        assert "lead@test.example" in str(caught.value)
        server.refusals.clear()
        await notifier.send(message, Attempt(AT, 2))
        assert [mail.recipients for mail in server.mails] == [("oncall@test.example",), ("lead@test.example",)]
        assert server.mails[0].message["Message-ID"] == server.mails[1].message["Message-ID"]


async def test_when_all_recipients_are_refused_the_error_names_all() -> None:
    async with MailServer() as server:
        server.refusals = dict.fromkeys(("oncall@test.example", "lead@test.example"), "550 no")
        with pytest.raises(DeliveryError) as caught:
            await email_to(server).send(message_of(alert_event()), Attempt(AT))
        assert not caught.value.retryable
        assert "oncall@test.example" in str(caught.value)
        assert "others" not in str(caught.value)


@pytest.mark.parametrize(("answer", "retryable"), [("451 try later", True), ("554 spam", False)])
async def test_an_answer_to_the_mail_itself_says_whether_a_retry_can_help(answer: str, retryable: bool) -> None:
    async with MailServer(data_answer=answer) as server:
        with pytest.raises(DeliveryError) as caught:
            await email_to(server).send(message_of(alert_event()), Attempt(AT))
        assert caught.value.retryable is retryable
        assert answer in str(caught.value)


@pytest.mark.parametrize("said", ["hush-hush", "AHRvY3NpbgBodXNoLWh1c2g=", "aHVzaC1odXNo"])
async def test_a_password_that_a_server_repeats_is_not_shown(said: str) -> None:
    login = {"username": "tocsin", "password": "hush-hush"}
    async with MailServer(tls="starttls", login=("tocsin", "hush-hush"), data_answer=f"554 no {said} here") as server:
        with pytest.raises(DeliveryError, match=r"554 no \*\*\* here"):
            await email_to(server, tls="starttls", ca_file=str(CERT), **login).send(
                message_of(alert_event()), Attempt(AT)
            )


async def test_the_mails_of_one_alert_are_a_thread() -> None:
    async with MailServer() as server:
        notifier, fired = email_to(server), alert_event()
        for event in (
            fired,
            alert_event(alert_id=fired.alert_id, escalated_from=Severity.MEDIUM),
            alert_event(Transition.RESOLVED, alert_id=fired.alert_id, resolved_at=AT),
        ):
            await notifier.send(message_of(event), Attempt(AT))
        first, *others = (mail.message for mail in server.mails)
        assert first["Message-ID"] == f"<{fired.alert_id}@test.example>"
        assert first["References"] is None
        assert {other["References"] for other in others} == {first["Message-ID"]}
        assert len({mail.message["Message-ID"] for mail in server.mails}) == 3


@settings(max_examples=40, deadline=None)
@given(events())
def test_no_value_adds_a_header_or_markup(event: AlertEvent) -> None:
    config = EmailConfig.model_validate({"type": "email", "host": "h.example", **ADDRESSES})
    writer = _WRITERS.setdefault("one", config.build(Network())._writer)
    mail = writer.mail_of(message_of(event), Attempt(AT))
    assert set(mail.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version",
        "Content-Type",
    }  # fmt: skip
    raw = mail.as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    assert all(line[:1] in (b" ", b"\t") or b":" in line for line in head.split(b"\r\n"))
    html = mail.get_body(("html",))
    assert html is not None
    assert "<script>alert" not in html.get_content()
    assert "javascript:" not in html.get_content().replace("&#", "") or 'href="javascript' not in html.get_content()


_WRITERS: dict[str, MailWriter] = {}


@pytest.mark.parametrize(
    "keys",
    [
        {"to": "oncall@test.example\r\nBcc: all@test.example"},
        {"to": "a@test.example, nonsense"},
        {"to": []},
        {"to": ""},
        {"to": "ü@test.example"},
        {"to": [f"p{number}@test.example" for number in range(51)]},
        {"from": "Tocsin\r\nBcc: all@test.example <a@test.example>"},
        {"from": "a@test.example, b@test.example"},
        {"from": "nobody"},
        {"host": "mail.example\r\n"},
        {"host": ""},
        {"port": 0},
        {"username": "u"},
        {"username": "u", "password": "p", "tls": "none"},
        {"tls": "maybe"},
    ],
)
def test_a_configuration_that_could_not_work_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EmailConfig.model_validate({"type": "email", "host": "mail.test.example", **ADDRESSES, **keys})


def test_recipients_are_written_with_commas_or_as_a_list_and_counted_once() -> None:
    written = {"type": "email", "host": "h.example", "from": "t@test.example"}
    one = EmailConfig.model_validate({**written, "to": "a@x.example, b@x.example ,a@x.example"})
    two = EmailConfig.model_validate({**written, "to": ["a@x.example", "b@x.example"]})
    assert one.to == two.to == ("a@x.example", "b@x.example")
