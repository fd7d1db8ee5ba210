"""What every notifier promises, under every fault that its receiver can have."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from alert_events import AT, alert_event, message_of
from fault_server import FaultServer, Mode, Reply
from mail_server import BrokenMailServer, MailServer
from pydantic import TypeAdapter

from tocsin.alerts.event import Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt, ContactConfig, Notifier
from tocsin.notify.egress import Network
from tocsin.notify.http import MAX_ANSWER
from tocsin.notify.kinds import AnyContact

HTTP_KINDS = ("webhook", "slack_webhook", "slack_bot", "pagerduty", "alertmanager", "otlp_http")
TICKET_KINDS = ("github", "jira", "jira-server")
"""Speak HTTP too, but of what they ask for, not only of a status."""
NETWORK_KINDS = (*HTTP_KINDS, "email")
CONFIG: TypeAdapter[ContactConfig] = TypeAdapter(AnyContact)


def keys_of(kind: str, port: int) -> dict[str, Any]:
    """The configuration of a contact point of this kind whose receiver is on `port`."""
    url = f"http://127.0.0.1:{port}/hook"
    match kind:
        case "webhook":
            return {"type": "webhook", "url": url}
        case "slack_webhook":
            return {"type": "slack", "webhook_url": url}
        case "slack_bot":
            return {"type": "slack", "bot_token": "xoxb-1", "channel": "#alerts", "api_url": url}
        case "pagerduty":
            return {"type": "pagerduty", "routing_key": "R0123456789ABCDEF0123456789ABCDE", "url": url}
        case "alertmanager":
            return {"type": "alertmanager", "url": url}
        case "otlp_http":
            return {"type": "otlp", "endpoint": url, "protocol": "http"}
        case "github":
            ticket = {"type": "ticket", "token": "t0", "search_lag": "0s", "api_url": url}
            return {**ticket, "system": "github", "repository": "acme/llm"}
        case "jira" | "jira-server":
            ticket = {"type": "ticket", "token": "t0", "search_lag": "0s", "api_url": url}
            return {**ticket, "system": kind, "project": "OPS", "user": "tocsin@test.example"}
        case "email":
            mail = {"host": "127.0.0.1", "port": port, "tls": "none"}
            return {"type": "email", "from": "tocsin@test.example", "to": "oncall@test.example", **mail}
        case _:
            return {"type": "log"}


@asynccontextmanager
async def notifier_of(kind: str, port: int, *, timeout: str = "5s", **more: Any) -> AsyncIterator[Notifier]:  # noqa: ASYNC109, ANN401  # a key of the configuration, and others
    config = CONFIG.validate_python({**keys_of(kind, port), "timeout": timeout, "allow_private": True, **more})
    built = config.build(Network())
    try:
        yield built
    finally:
        await built.aclose()


async def failure_of(notifier: Notifier) -> DeliveryError:
    """Send, expect a refusal, and return it."""
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(message_of(alert_event()), Attempt(AT))
    return caught.value


@dataclass
class Unused:
    port: int = field(default=0)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("transition", list(Transition))
async def test_every_transition_is_taken_over_http(kind: str, transition: Transition) -> None:
    async with FaultServer() as server, notifier_of(kind, server.port) as notifier:
        event = alert_event(transition, resolved_at=AT if transition is Transition.RESOLVED else None)
        answer = await notifier.send(message_of(event), Attempt(AT))
        assert answer.status == "200"
        assert server.received


@pytest.mark.parametrize("transition", list(Transition))
async def test_every_transition_is_taken_by_mail_and_log(transition: Transition) -> None:
    async with (
        MailServer() as server,
        notifier_of("email", server.port) as email,
        notifier_of("log", 0) as log,
    ):
        message = message_of(alert_event(transition))
        await email.send(message, Attempt(AT))
        await log.send(message, Attempt(AT))
        assert len(server.mails) == 1


@pytest.mark.parametrize("kind", [*NETWORK_KINDS, *TICKET_KINDS])
async def test_a_refused_connection_may_succeed_later(kind: str) -> None:
    async with notifier_of(kind, Unused().port) as notifier:
        error = await failure_of(notifier)
        assert error.retryable
        assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("kind", [*HTTP_KINDS, *TICKET_KINDS])
async def test_a_hanging_http_receiver_costs_no_more_than_the_timeout(kind: str) -> None:
    async with FaultServer(default=Reply(mode=Mode.HANG)) as server:
        async with notifier_of(kind, server.port, timeout="150ms") as notifier, asyncio.timeout(5):
            error = await failure_of(notifier)
        assert error.retryable
        assert "no answer within 0.15 s" in str(error)


@pytest.mark.parametrize(("fault", "timeout"), [("hang", "150ms"), ("reset", "5s"), ("busy", "5s")])
async def test_a_broken_mail_server_may_work_later(fault: str, timeout: str) -> None:  # noqa: ASYNC109  # a key of the configuration
    async with (
        BrokenMailServer(fault) as server,
        asyncio.timeout(5),
        notifier_of("email", server.port, timeout=timeout) as notifier,
    ):
        assert (await failure_of(notifier)).retryable


@pytest.mark.parametrize("kind", [*HTTP_KINDS, *TICKET_KINDS])
async def test_a_connection_that_is_reset_may_work_later(kind: str) -> None:
    async with (
        FaultServer(default=Reply(mode=Mode.RESET)) as server,
        notifier_of(kind, server.port) as notifier,
    ):
        assert (await failure_of(notifier)).retryable


@pytest.mark.parametrize("kind", [*HTTP_KINDS, *TICKET_KINDS])
async def test_a_receiver_that_asks_to_wait_is_quoted(kind: str) -> None:
    reply = Reply(429, {"retry-after": "17"}, b"slow down")
    async with FaultServer(default=reply) as server, notifier_of(kind, server.port) as notifier:
        error = await failure_of(notifier)
        assert (error.retryable, error.retry_after) == (True, 17.0)
        assert "slow down" in str(error)


@pytest.mark.parametrize("kind", [*HTTP_KINDS, *TICKET_KINDS])
@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (503, True),
        (500, True),
        (502, True),
        (408, True),
        (400, False),
        (401, False),
        (404, False),
        (410, False),
    ],
)
async def test_a_status_says_whether_a_retry_can_help(kind: str, status: int, retryable: bool) -> None:
    async with FaultServer(default=Reply(status)) as server, notifier_of(kind, server.port) as notifier:
        error = await failure_of(notifier)
        assert error.retryable is retryable
        assert str(status) in str(error)


@pytest.mark.parametrize("kind", [*HTTP_KINDS, *TICKET_KINDS])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_final_and_not_followed(kind: str, status: int) -> None:
    async with FaultServer() as target:
        reply = Reply(status, {"location": target.url()})
        async with FaultServer(default=reply) as server, notifier_of(kind, server.port) as notifier:
            error = await failure_of(notifier)
        assert not error.retryable
        assert "redirect" in str(error)
        assert target.received == []


@pytest.mark.parametrize("kind", ["webhook", "slack_webhook", "pagerduty"])
async def test_an_endless_answer_is_read_no_further_than_the_limit(kind: str) -> None:
    reply = Reply(body=b"x" * 65_536, mode=Mode.ENDLESS)
    async with FaultServer(default=reply) as server, notifier_of(kind, server.port) as notifier:
        answer = await notifier.send(message_of(alert_event()), Attempt(AT))
        assert answer.status == "200"
        assert len(answer.excerpt) <= 200
        # What was sent beyond the limit sits in socket buffers.
        assert server.sent_bytes < MAX_ANSWER + 16 * 1024 * 1024


@pytest.mark.parametrize("kind", ["webhook", "slack_webhook", "pagerduty"])
@pytest.mark.parametrize("mode", [Mode.STALL, Mode.TRUNCATE])
async def test_a_receiver_that_took_it_and_dawdles_over_its_answer_does_not_get_it_again(kind: str, mode: Mode) -> None:
    async with FaultServer(default=Reply(mode=mode)) as server:
        async with notifier_of(kind, server.port, timeout="200ms") as notifier, asyncio.timeout(5):
            answer = await notifier.send(message_of(alert_event()), Attempt(AT))
        assert answer.status == "200"


@pytest.mark.parametrize("kind", ["slack_bot", *TICKET_KINDS])
@pytest.mark.parametrize("mode", [Mode.STALL, Mode.TRUNCATE])
async def test_an_answer_whose_body_decides_must_be_whole(kind: str, mode: Mode) -> None:
    async with (
        FaultServer(default=Reply(mode=mode)) as server,
        notifier_of(kind, server.port, timeout="200ms") as notifier,
        asyncio.timeout(5),
    ):
        assert (await failure_of(notifier)).retryable


@pytest.mark.parametrize("kind", [*NETWORK_KINDS, *TICKET_KINDS])
async def test_loopback_is_refused_for_good_unless_it_is_allowed(kind: str) -> None:
    async with FaultServer() as server, notifier_of(kind, server.port, allow_private=False) as notifier:
        error = await failure_of(notifier)
        assert not error.retryable
        assert "loopback" in str(error)
        assert "allow_private" in str(error)
        assert server.received == []


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_a_receiver_that_recovers_gets_the_same_message(kind: str) -> None:
    async with (
        FaultServer(Reply(503), Reply(mode=Mode.RESET)) as server,
        notifier_of(kind, server.port) as notifier,
    ):
        message = message_of(alert_event())
        for _ in range(2):
            with pytest.raises(DeliveryError):
                await notifier.send(message, Attempt(AT))
        await notifier.send(message, Attempt(AT, 3))
        first, *_, last = server.received
        assert first.body == last.body


@pytest.mark.parametrize("kind", [*NETWORK_KINDS, "log"])
async def test_attribute_values_never_reach_a_header_or_another_line(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="tocsin.alerts")
    evil = "x\r\nBcc: all@test.example\r\n\r\n\x1b[2J\u202e<!channel>"
    event = alert_event(group={"conversation": evil, evil: "y"}, rule={"name": f"r{evil}", "summary": None})
    async with FaultServer() as server, MailServer() as mail:
        port = mail.port if kind == "email" else server.port
        async with notifier_of(kind, port) as notifier:
            await notifier.send(message_of(event), Attempt(AT))
        for request in server.received:
            assert "bcc" not in request.headers
            assert b"\\r" not in request.body
            assert b"\\u001b" not in request.body
            assert "\u202e".encode() not in request.body
        for one in mail.mails:
            assert one.message["Bcc"] is None
            assert one.recipients == ("oncall@test.example",)
            assert "\x1b" not in one.message.as_string()
        for record in caplog.records:
            assert "\n" not in record.getMessage()
            assert "\x1b" not in record.getMessage()
