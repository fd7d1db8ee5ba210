import json
from typing import Any

import pytest
from alert_events import AT, alert_event, message_of
from event_strategies import events
from fault_server import FaultServer, Reply
from hypothesis import given, settings
from hypothesis import strategies as st
from published_schema import check
from pydantic import ValidationError

from tocsin.alerts.event import AlertEvent, TraceShare, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.slack import SlackBot, SlackConfig, SlackWebhook
from tocsin.notify.slack_blocks import payload_of
from tocsin.rules.rule import Severity

TOKEN = "xoxb-not-a-real-token"  # noqa: S105


def bot(server: FaultServer, **keys: object) -> SlackBot:
    target: dict[str, object] = {"channel": "#alerts"} if "user" not in keys else {}
    written = {"type": "slack", "bot_token": TOKEN, "api_url": server.url("/api"), "allow_private": True}
    built = SlackConfig.model_validate({**written, **target, **keys}).build(Network())
    assert isinstance(built, SlackBot)
    return built


def refused(error: str) -> Reply:
    return Reply(body=json.dumps({"ok": False, "error": error}).encode())


def texts_in(node: Any) -> list[str]:  # noqa: ANN401  # any JSON
    """Every string anywhere in a payload, with `<https://…|…>` links that we made left out."""
    if isinstance(node, dict):
        return [text for key, value in node.items() if key != "url" for text in texts_in(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts_in(value)]
    return [node] if isinstance(node, str) else []


async def test_updates_of_an_alert_go_to_its_thread() -> None:
    async with FaultServer() as server:
        notifier = bot(server)
        fired = alert_event()
        following = [
            alert_event(Transition.REMINDER, alert_id=fired.alert_id),
            alert_event(alert_id=fired.alert_id, escalated_from=Severity.MEDIUM),
            alert_event(Transition.RESOLVED, alert_id=fired.alert_id, resolved_at=AT),
        ]
        for event in (fired, *following, alert_event()):
            await notifier.send(message_of(event), Attempt(AT))
        await notifier.aclose()
        bodies = [request.json for request in server.received]
        assert {request.path for request in server.received} == {"/api/chat.postMessage"}
        assert {request.headers["authorization"] for request in server.received} == {f"Bearer {TOKEN}"}
        assert [body.get("thread_ts") for body in bodies] == [None, *["1503435956.000247"] * 3, None]
        assert [body["channel"] for body in bodies] == ["#alerts", *["C024BE91L"] * 3, "#alerts"]
        assert [body.get("reply_broadcast") for body in bodies[1:4]] == [False, True, False]
        for body in bodies:
            check(body, "slack-message")


async def test_a_users_conversation_is_opened_once() -> None:
    opened = Reply(body=b'{"ok": true, "channel": {"id": "D069C7QFK"}}')
    async with FaultServer(opened) as server:
        notifier = bot(server, user="U024BE7LH")
        for _ in range(2):
            await notifier.send(message_of(alert_event()), Attempt(AT))
        await notifier.aclose()
        assert [request.path for request in server.received] == [
            "/api/conversations.open",
            "/api/chat.postMessage",
            "/api/chat.postMessage",
        ]
        assert server.received[0].json == {"users": "U024BE7LH"}
        assert server.received[1].json["channel"] == "D069C7QFK"


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        ("ratelimited", True),
        ("rate_limited", True),
        ("internal_error", True),
        ("service_unavailable", True),
        ("invalid_auth", False),
        ("channel_not_found", False),
        ("not_in_channel", False),
        ("msg_blocks_too_long", False),
    ],
)
async def test_slacks_own_errors_say_whether_a_retry_can_help(error: str, retryable: bool) -> None:
    async with FaultServer(default=refused(error)) as server:
        notifier = bot(server)
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        await notifier.aclose()
        assert caught.value.retryable is retryable
        assert error in str(caught.value)
        assert TOKEN not in str(caught.value)


async def test_an_error_that_people_can_mend_says_how() -> None:
    async with FaultServer(default=refused("not_in_channel")) as server:
        notifier = bot(server)
        with pytest.raises(DeliveryError, match="invite the bot to the channel"):
            await notifier.send(message_of(alert_event()), Attempt(AT))
        await notifier.aclose()


async def test_a_first_message_that_failed_makes_no_thread() -> None:
    async with FaultServer(refused("internal_error")) as server:
        notifier, event = bot(server), alert_event()
        with pytest.raises(DeliveryError):
            await notifier.send(message_of(event), Attempt(AT))
        await notifier.send(message_of(event), Attempt(AT, 2))
        await notifier.aclose()
        assert "thread_ts" not in server.received[1].json


async def test_an_incoming_webhook_gets_the_same_blocks_and_its_address_stays_secret() -> None:
    async with FaultServer(Reply(body=b"ok"), Reply(404, body=b"no_service")) as server:
        config = SlackConfig.model_validate(
            {"type": "slack", "webhook_url": server.url("/services/T00/B00/XXXX"), "allow_private": True}
        )
        assert "XXXX" not in repr(config)
        notifier = config.build(Network())
        assert isinstance(notifier, SlackWebhook)
        answer = await notifier.send(message_of(alert_event()), Attempt(AT))
        assert answer.excerpt == "ok"
        check(server.received[0].json, "slack-message")
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(message_of(alert_event()), Attempt(AT))
        await notifier.aclose()
        assert "no_service" in str(caught.value)
        assert "XXXX" not in str(caught.value)


def colour_of(event: AlertEvent) -> str:
    payload: Any = payload_of(message_of(event), Attempt(AT))
    return str(payload["attachments"][0]["color"])


def test_the_message_has_colour_details_traces_and_buttons() -> None:
    event = alert_event(rule={"runbook_url": "https://runbooks.example/r"})
    payload = json.loads(json.dumps(payload_of(message_of(event), Attempt(AT))))
    # What a telephone shows of it says each thing once.
    assert payload["text"].startswith("[CRITICAL] runaway-conversation: conversation conv-42 spent ")
    attachment = payload["attachments"][0]
    assert attachment["color"] == "#b3001b"
    words = "\n".join(texts_in(payload))
    assert "<https://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c|" in words
    assert "*Value*\n$27.31" in words
    buttons = attachment["blocks"][-1]["elements"]
    assert [button["text"]["text"] for button in buttons] == ["Open alert", "Runbook", "Rule", "Silence"]
    resolved = alert_event(Transition.RESOLVED, resolved_at=AT)
    colours = {colour_of(alert_event(severity=one)) for one in Severity}
    assert len(colours) == 4
    assert colour_of(resolved) not in colours


def test_a_message_that_was_late_or_merged_says_so() -> None:
    words = "\n".join(texts_in(payload_of(message_of(alert_event()), Attempt(AT + 7200 * 10**9, 9, merged=2))))
    assert "Sent 2h after it was detected." in words
    assert "Stands for 2 earlier updates" in words


@settings(max_examples=150, deadline=None)
@given(event=events(), merged=st.integers(0, 3))
def test_any_event_stays_within_slacks_limits_and_mentions_nobody(event: AlertEvent, merged: int) -> None:
    payload = json.loads(json.dumps(payload_of(message_of(event), Attempt(AT, merged=merged))))
    check(payload, "slack-message")
    for text in texts_in({key: value for key, value in payload.items() if key != "attachments"}):
        assert "<" not in text or text == payload["blocks"][0]["text"]["text"]  # a header is plain text
    for block in payload["attachments"][0]["blocks"]:
        for text in texts_in(block):
            assert "<!" not in text
            assert "<@" not in text
            assert "<#" not in text
            assert text.count("<") == text.count("<https://jaeger.example/trace/")


def test_many_long_facts_and_traces_still_fit() -> None:
    traces = tuple(TraceShare("a" * 32, 1.0) for _ in range(5))
    event = alert_event(evidence={"traces": traces}, group={f"label{i}": "v" * 900 for i in range(60)})
    check(
        payload_of(message_of(event, trace_url="https://t.example/" + "y" * 900 + "/{trace_id}"), Attempt(AT)),
        "slack-message",
    )


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"webhook_url": "https://hooks.slack.example/x", "bot_token": TOKEN},
        {"webhook_url": "https://hooks.slack.example/x", "channel": "#a1"},
        {"bot_token": TOKEN},
        {"bot_token": TOKEN, "channel": "#a1", "user": "U024BE7LH"},
        {"bot_token": TOKEN, "user": "somebody"},
        {"bot_token": "two words", "channel": "#a1"},
        {"bot_token": "x\r\ny", "channel": "#a1"},
    ],
)
def test_a_contact_point_is_one_way_to_slack(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SlackConfig.model_validate({"type": "slack", **keys})
