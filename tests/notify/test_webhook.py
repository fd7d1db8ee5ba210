import json
import time

import pytest
from alert_events import alert_event, message_of
from fault_server import FaultServer, Reply
from published_schema import check
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tocsin.errors import DeliveryError
from tocsin.notify.contact import Attempt
from tocsin.notify.egress import Network
from tocsin.notify.webhook import Webhook, WebhookConfig

SECRET = "whsec_dGVzdHMgb25seSwgbm90IGEgc2VjcmV0ISEh"  # noqa: S105  # a test\'s


def webhook(url: str, **keys: object) -> Webhook:
    config = WebhookConfig.model_validate({"type": "webhook", "url": url, "allow_private": True, **keys})
    return config.build(Network())


async def test_the_signature_is_verified_by_standard_webhooks_own_library() -> None:
    async with FaultServer() as server:
        notifier, event = webhook(server.url(), secret=SECRET), alert_event()
        await notifier.send(message_of(event), Attempt(time.time_ns()))
        await notifier.aclose()
        request = server.received[0]
        body = Verifier(SECRET).verify(request.body, dict(request.headers))
        check(body, "webhook-body-1")
        assert body["id"] == event.id == request.headers["webhook-id"]
        assert request.headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            Verifier(SECRET).verify(request.body.replace(b"27.31", b"1.00"), dict(request.headers))


async def test_every_attempt_has_the_same_id_and_body_and_its_own_time() -> None:
    async with FaultServer() as server:
        notifier, event = webhook(server.url(), secret=SECRET), alert_event(detected_at=time.time_ns())
        message = message_of(event)
        await notifier.send(message, Attempt(event.detected_at + 2_000_000, 1))
        await notifier.send(message, Attempt(event.detected_at + 90_000_000_000, 2, merged=3))
        await notifier.aclose()
        one, two = server.received
        assert one.body == two.body
        assert one.headers["webhook-id"] == two.headers["webhook-id"]
        assert int(two.headers["webhook-timestamp"]) - int(one.headers["webhook-timestamp"]) in (89, 90)
        assert [request.headers["tocsin-attempt"] for request in (one, two)] == ["1", "2"]
        assert one.headers["tocsin-detection-to-attempt-ms"] == "2.000"
        assert two.headers["tocsin-merged"] == "3"
        assert one.headers["tocsin-alert-id"] == event.alert_id


async def test_without_a_secret_nothing_is_signed() -> None:
    async with FaultServer() as server:
        notifier = webhook(server.url())
        await notifier.send(message_of(alert_event()), Attempt(time.time_ns()))
        await notifier.aclose()
        assert "webhook-signature" not in server.received[0].headers


async def test_configured_headers_are_sent_and_never_repeated_in_an_error() -> None:
    async with FaultServer(default=Reply(500, body=b"you sent Bearer s3cr3t-token")) as server:
        notifier = webhook(server.url("/path?key=hidden"), headers={"Authorization": "Bearer s3cr3t-token"})
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(message_of(alert_event()), Attempt(time.time_ns()))
        await notifier.aclose()
        assert server.received[0].headers["authorization"] == "Bearer s3cr3t-token"
        assert "s3cr3t" not in str(caught.value)
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"headers": {"X-A": "b\r\nX-Evil: 1"}},
        {"headers": {"X-A\r\nX-Evil": "1"}},
        {"headers": {"X A": "1"}},
        {"headers": {"Webhook-Id": "1"}},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"Host": "x"}},
        {"secret": "whsec_"},
        {"secret": "not base64 at all"},
        {"url": "ftp://x.example/"},
        {"url": "hooks.example/x"},
        {"url": "http://x.example/a b"},
        {"url": "http://x.example/\r\nX-Evil: 1"},
        {"url": "http://user:pw@x.example/"},
        {"url": "http://x.example:99999/"},
        {"timeout": "0s"},
        {"timeout": "1h"},
        {"rate_limit": "fast"},
        {"mute_timings": 5},
        {"template": "x"},
    ],
)
def test_a_configuration_that_could_not_work_is_refused_without_repeating_secrets(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookConfig.model_validate({"type": "webhook", "url": "https://hooks.example/t0ps3cret", **keys})
    assert "t0ps3cret" not in str(caught.value)
    assert "pw@" not in str(caught.value)


def test_secrets_do_not_show_in_the_configuration() -> None:
    config = WebhookConfig.model_validate(
        {"type": "webhook", "url": "https://x.example/", "secret": SECRET, "headers": {"Authorization": "Bearer hush"}}
    )
    assert SECRET not in repr(config)
    assert "hush" not in json.dumps(config.model_dump(mode="json"))
