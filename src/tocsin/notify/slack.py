"""Contact point `slack`: an incoming webhook, or a bot that keeps the updates of one alert in its thread.

Sources: docs.slack.dev, chat.postMessage, conversations.open, incoming webhooks, rate limits. The Web API
answers 200 with `ok: false` for its errors, so the body decides.
"""

import re
from collections import OrderedDict
from typing import Annotated, Literal

import orjson
from pydantic import AfterValidator, Field, SecretStr, model_validator

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.notify.contact import (
    Answer,
    Attempt,
    ContactConfig,
    HttpUrl,
    Rate,
    RateLimit,
    SecretUrl,
    host_of,
    secrets_in,
)
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpAnswer, HttpSender, error_of, retry_after_of
from tocsin.notify.message import Message
from tocsin.notify.slack_blocks import payload_of
from tocsin.notify.templating.config import SlackTemplate
from tocsin.notify.wording import clean

__all__ = ["SlackBot", "SlackConfig", "SlackWebhook"]

_RETRYABLE = frozenset(
    {
        "fatal_error",
        "internal_error",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
_ADVICE = {
    "invalid_auth": "check bot_token",
    "not_authed": "check bot_token",
    "account_inactive": "the bot's token was revoked; make a new one",
    "token_revoked": "make a new bot_token",
    "token_expired": "make a new bot_token",
    "not_in_channel": "invite the bot to the channel",
    "channel_not_found": "check the channel's name or id, and invite the bot to it",
    "is_archived": "the channel is archived; choose another",
    "missing_scope": "give the bot the scopes chat:write and, for a user, im:write",
    "user_not_found": "check the user's id (a profile's Copy member ID)",
}
_THREADS = 10_000
"""Alerts whose thread is remembered."""
_USER = re.compile(r"[UW][A-Z0-9]{2,}")


def _checked_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a bot token is one word, like xoxb-…")
    return token


class SlackConfig(ContactConfig):
    """A contact point of type slack: `webhook_url`, or `bot_token` with `channel` or `user`."""

    type: Literal["slack"]
    webhook_url: SecretUrl | None = None
    bot_token: Annotated[SecretStr, AfterValidator(_checked_token)] | None = None
    channel: str | None = Field(default=None, min_length=2, max_length=80)
    """A name (`#alerts`) or an id."""
    user: str | None = Field(default=None, pattern=_USER.pattern)
    """A member's id; the bot opens a direct message."""
    api_url: HttpUrl = "https://slack.com/api"
    rate_limit: RateLimit = Rate(60, 60.0)
    """Slack takes about one message a second in a channel."""
    template: SlackTemplate | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "SlackConfig":
        if (self.webhook_url is None) == (self.bot_token is None):
            raise ValueError("give either webhook_url, or bot_token with channel or user")
        if self.bot_token is not None and (self.channel is None) == (self.user is None):
            raise ValueError("with bot_token give either channel or user")
        if self.webhook_url is not None and (self.channel is not None or self.user is not None):
            raise ValueError("a webhook_url has its channel built in; take out channel and user, or use bot_token")
        return self

    @property
    def takes_acknowledgements(self) -> bool:
        """Whether there are threads to say it in."""
        return self.bot_token is not None

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the blocks."""
        payload = payload_of(message, Attempt(message.event.detected_at))
        return orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()

    def build(self, network: Network) -> "SlackBot | SlackWebhook":
        """Return what sends."""
        return SlackBot(self, network) if self.bot_token is not None else SlackWebhook(self, network)


class SlackWebhook:
    """Posts to an incoming webhook: one way, no threads."""

    def __init__(self, config: SlackConfig, network: Network) -> None:
        self._url = config.webhook_url.get_secret_value() if config.webhook_url else ""
        self._http = _sender(config, network, *secrets_in(self._url))

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """POST the blocks; Slack answers `ok` in plain text."""
        content = orjson.dumps(payload_of(message, attempt))
        answer = await self._http.post(self._url, content, {"content-type": "application/json; charset=utf-8"})
        if error := error_of(answer, host_of(self._url), attempt.at_ns):
            raise error
        return Answer(str(answer.status), answer.excerpt)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class SlackBot:
    """Posts through the Web API; what follows the first message of an alert goes to its thread."""

    def __init__(self, config: SlackConfig, network: Network) -> None:
        token = config.bot_token.get_secret_value() if config.bot_token else ""
        self._api = config.api_url.rstrip("/")
        self._headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json; charset=utf-8",
        }
        self._channel = config.channel
        self._user = config.user
        self._threads: OrderedDict[str, tuple[str, str]] = OrderedDict()
        """alert id -> (channel id, ts of its first message)."""
        self._http = _sender(config, network, token)

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Post, to the alert's thread where it has one."""
        event = message.event
        payload = payload_of(message, attempt)
        thread = self._threads.get(event.alert_id)
        if thread is not None:
            payload |= {"channel": thread[0], "thread_ts": thread[1], "reply_broadcast": _is_news(event)}
        else:
            payload["channel"] = await self._target(attempt)
        told = await self._call("chat.postMessage", payload, attempt)
        if thread is None:
            self._remember(event.alert_id, told)
        if event.transition is Transition.RESOLVED and event.alert_id.startswith("inc_"):
            self._threads.pop(event.alert_id, None)  # an incident that begins anew has a thread of its own
        return Answer("200", f"ok, channel {clean(told.get('channel'), 40)}, ts {clean(told.get('ts'), 40)}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _target(self, attempt: Attempt) -> str:
        if self._channel is None:
            opened = await self._call("conversations.open", {"users": self._user}, attempt)
            channel = opened.get("channel")
            identifier = channel.get("id") if isinstance(channel, dict) else None
            if not isinstance(identifier, str):
                raise DeliveryError("Slack opened a conversation without an id", retryable=True)
            self._channel = identifier
        return self._channel

    async def _call(self, method: str, payload: dict[str, object], attempt: Attempt) -> dict[str, object]:
        url = f"{self._api}/{method}"
        answer = await self._http.post(url, orjson.dumps(payload), self._headers, needs_body=True)
        if error := error_of(answer, host_of(url), attempt.at_ns):
            raise error
        told = _object_in(answer)
        if told.get("ok") is not True:
            raise _api_error(method, told, answer, attempt.at_ns)
        return told

    def _remember(self, alert_id: str, told: dict[str, object]) -> None:
        channel, ts = told.get("channel"), told.get("ts")
        if isinstance(channel, str) and isinstance(ts, str):
            self._threads[alert_id] = channel, ts
            if len(self._threads) > _THREADS:
                self._threads.popitem(last=False)


def _sender(config: SlackConfig, network: Network, *secrets: str) -> HttpSender:
    return HttpSender(
        network,
        allow_private=config.allow_private,
        timeout=config.timeout.total_seconds(),
        secrets=secrets,
    )


def _is_news(event: AlertEvent) -> bool:
    """Whether the channel should see it too, not only who follows the thread: the alert got worse."""
    worse = event.escalated_from is not None and event.severity.rank > event.escalated_from.rank
    return worse and event.transition is Transition.FIRING


def _object_in(answer: HttpAnswer) -> dict[str, object]:
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or not answer.complete:
        raise DeliveryError(f"Slack's answer is no JSON object: {answer.excerpt}", retryable=True)
    return told


def _api_error(method: str, told: dict[str, object], answer: HttpAnswer, now_ns: int) -> DeliveryError:
    name = clean(told.get("error") or "unknown error", 80)
    advice = f"; {_ADVICE[name]}" if name in _ADVICE else ""
    return DeliveryError(
        f"Slack refused {method}: {name}{advice}",
        retryable=name in _RETRYABLE,
        retry_after=retry_after_of(answer.headers, now_ns),
    )
