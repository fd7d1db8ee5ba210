"""Contact point `pagerduty`: Events API v2; one alert is one PagerDuty alert, from trigger to resolve.

Source: PagerDuty developer documentation, Events API v2 (202 taken; 400 final; 429 and 5xx again later;
summary 1024 characters, dedup_key 255, payload 512 KB).
"""

from typing import Annotated, ClassVar, Literal

import orjson
from pydantic import AfterValidator, SecretStr

from tocsin.alerts.event import Transition
from tocsin.notify.contact import Answer, Attempt, ContactConfig, HttpUrl, host_of
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpSender, error_of
from tocsin.notify.message import Message, rfc3339
from tocsin.notify.wording import clean
from tocsin.rules.rule import Severity

__all__ = ["PagerDuty", "PagerDutyConfig", "trigger_of"]

_SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
_SUMMARY, _DEDUP_KEY, _NAME = 1024, 255, 255
_PAYLOAD = 512_000
_CLIENT = "Tocsin"


def _checked_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if not text or not text.isascii() or not text.isalnum():
        raise ValueError("a routing key is the 32 letters and digits of an Events API v2 integration")
    return key


class PagerDutyConfig(ContactConfig):
    """A contact point of type pagerduty."""

    follows_alerts: ClassVar[bool] = True

    type: Literal["pagerduty"]
    routing_key: Annotated[SecretStr, AfterValidator(_checked_key)]
    """The integration key of a service or an event orchestration."""
    url: HttpUrl = "https://events.pagerduty.com/v2/enqueue"
    """The EU region's is https://events.eu.pagerduty.com/v2/enqueue."""

    @property
    def takes_acknowledgements(self) -> bool:
        """Yes: it has an action for it."""
        return True

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the event."""
        attempt = Attempt(message.event.detected_at)
        if message.event.transition is Transition.RESOLVED:
            content = _action(message, "***", "resolve")
        else:
            content = trigger_of(message, attempt, "***")
        return orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2).decode()

    def build(self, network: Network) -> "PagerDuty":
        """Return what sends."""
        return PagerDuty(self, network)


class PagerDuty:
    """Triggers and resolves."""

    def __init__(self, config: PagerDutyConfig, network: Network) -> None:
        self._url = config.url
        self._key = config.routing_key.get_secret_value()
        self._http = HttpSender(
            network,
            allow_private=config.allow_private,
            timeout=config.timeout.total_seconds(),
            secrets=[self._key],
        )

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Trigger, acknowledge or resolve; a test triggers and resolves, so that it leaves nothing open."""
        transition = message.event.transition
        answer = None
        if transition is Transition.ACKNOWLEDGED:
            return await self._enqueue(_action(message, self._key, "acknowledge"), attempt)
        if transition is not Transition.RESOLVED:
            answer = await self._enqueue(trigger_of(message, attempt, self._key), attempt)
        if transition in (Transition.RESOLVED, Transition.TEST):
            resolved = await self._enqueue(_action(message, self._key, "resolve"), attempt)
            answer = answer or resolved
        return answer or Answer("202")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _enqueue(self, content: bytes, attempt: Attempt) -> Answer:
        answer = await self._http.post(self._url, content, {"content-type": "application/json"})
        if error := error_of(answer, host_of(self._url), attempt.at_ns):
            raise error
        return Answer(str(answer.status), answer.excerpt)


def _action(message: Message, key: str, action: str) -> bytes:
    return orjson.dumps({"routing_key": key, "event_action": action, "dedup_key": message.event.alert_id[:_DEDUP_KEY]})


def trigger_of(message: Message, attempt: Attempt, key: str) -> bytes:
    """Return the body of a trigger; details are left out where they would not fit."""
    event = message.event
    details: dict[str, object] = {fact.label: fact.text for fact in message.facts}
    details["Detection to notification"] = f"{max(0, attempt.at_ns - event.detected_at) / 1e6:.1f} ms"
    if attempt.merged:
        details["Merged updates"] = attempt.merged
    body: dict[str, object] = {
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": event.alert_id[:_DEDUP_KEY],
        "client": _CLIENT,
        "links": _links(message),
        "payload": {
            "summary": clean(f"{message.title}: {message.summary}", _SUMMARY),
            "source": clean(", ".join(event.group.values()) or event.rule.name, _NAME) or "tocsin",
            "severity": "info" if event.transition is Transition.TEST else _SEVERITIES[event.severity],
            "timestamp": rfc3339(event.fired_at),
            "component": clean(event.rule.name, _NAME),
            "group": clean(event.rule.project, _NAME),
            "class": clean(event.rule.attribute or event.rule.metric.value, _NAME),
            "custom_details": details | {"event": message.body},
        },
    }
    if message.links.alert:
        body["client_url"] = message.links.alert
    content = orjson.dumps(body)
    if len(content) > _PAYLOAD:
        body["payload"] = body["payload"] | {"custom_details": {}}  # type: ignore[operator]  # the dict above
        content = orjson.dumps(body | {"links": []})
    return content


def _links(message: Message) -> list[dict[str, str]]:
    found = [
        ("Alert", message.links.alert),
        ("Runbook", message.links.runbook),
        ("Dashboard", message.links.dashboard),
        ("Rule", message.links.rule),
        ("Silence", message.links.silence),
    ]
    found += [(f"Trace {trace.trace_id} ({trace.value})", trace.url) for trace in message.traces]
    return [{"href": url, "text": clean(text)} for text, url in found if url]
