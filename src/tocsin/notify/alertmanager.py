"""Contact point `alertmanager`: API v2, `POST /api/v2/alerts`; its own routes, groups and silences do the rest.

An Alertmanager forgets an alert at its `endsAt`, so while it fires a later one is sent again and again. Source:
Alertmanager's api/v2/openapi.yaml; names of labels: Prometheus' data model.
"""

import asyncio
import re
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import orjson
from pydantic import AfterValidator, Field, SecretStr

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.errors import DeliveryError
from tocsin.model.settings import Duration, nanoseconds
from tocsin.notify.contact import Answer, Attempt, ContactConfig, SecretUrl, host_of, secrets_in, tls_from
from tocsin.notify.egress import Network
from tocsin.notify.http import HttpSender, error_of
from tocsin.notify.message import Message, rfc3339
from tocsin.notify.webhook import checked_headers
from tocsin.notify.wording import clean

__all__ = ["Alertmanager", "AlertmanagerConfig", "alert_of"]

MOST_KEPT: Final = 10_000
"""Alerts that are sent again while they fire."""
_VALUE: Final = 1_024
_AT_ONCE: Final = 500
_NO_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")


class AlertmanagerConfig(ContactConfig):
    """A contact point of type alertmanager."""

    follows_alerts: ClassVar[bool] = True

    type: Literal["alertmanager"]
    url: SecretUrl
    """Where it is, like http://alertmanager:9093; with its prefix, without `/api/v2`."""
    headers: Annotated[dict[str, SecretStr], AfterValidator(checked_headers)] = Field(default_factory=dict)
    """Sent with every request, like Authorization."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Added to every alert."""
    resend_interval: Duration = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1), le=timedelta(hours=1))
    """How often an alert that fires is sent again; Alertmanager forgets it after four of them."""
    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""

    @classmethod
    def shown(cls, message: Message) -> str:
        """Return the alert, without the labels that the contact point adds."""
        lasts = 4 * nanoseconds(cls.model_fields["resend_interval"].get_default())
        alert = alert_of(message, {}, message.event.detected_at, lasts)
        return orjson.dumps([alert], option=orjson.OPT_INDENT_2).decode()

    def build(self, network: Network) -> "Alertmanager":
        """Return what sends."""
        return Alertmanager(self, network)


class Alertmanager:
    """Posts alerts, and again while they fire. What a former process sent is sent again by its next event."""

    def __init__(self, config: AlertmanagerConfig, network: Network) -> None:
        base = config.url.get_secret_value().rstrip("/")
        self._url = f"{base}/api/v2/alerts"
        self._labels = config.labels
        self._interval = config.resend_interval.total_seconds()
        self._headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        self._headers["content-type"] = "application/json"
        self._lasts = 4 * nanoseconds(config.resend_interval)
        self._firing: OrderedDict[str, Message] = OrderedDict()
        self._again: asyncio.Task[None] | None = None
        self._http = HttpSender(
            network,
            allow_private=config.allow_private,
            timeout=config.timeout.total_seconds(),
            tls=tls_from(config.ca_file),
            secrets=[*secrets_in(base), *(value.get_secret_value() for value in config.headers.values())],
        )

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Post the alert, with its end where it has one; a test ends at once."""
        event = message.event
        answer = await self._post([alert_of(message, self._labels, attempt.at_ns, self._lasts)], attempt.at_ns)
        if event.transition in (Transition.RESOLVED, Transition.TEST):
            self._firing.pop(event.alert_id, None)
        else:
            self._firing[event.alert_id] = message
            if len(self._firing) > MOST_KEPT:
                self._firing.popitem(last=False)
            if self._again is None:
                self._again = asyncio.create_task(self._repeat(attempt.at_ns), name="alertmanager resend")
        return answer

    async def aclose(self) -> None:
        """Send nothing again, and close the connections."""
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait([self._again])
        await self._http.aclose()

    async def _repeat(self, begun_ns: int) -> None:
        """Send what fires again, until closed; what fails comes with the next round."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            await asyncio.sleep(self._interval)
            now = begun_ns + int((loop.time() - begun) * 1e9)
            firing = list(self._firing.values())
            for first in range(0, len(firing), _AT_ONCE):
                some = firing[first : first + _AT_ONCE]
                with suppress(DeliveryError):
                    await self._post([alert_of(one, self._labels, now, self._lasts) for one in some], now)

    async def _post(self, alerts: list[dict[str, object]], now_ns: int) -> Answer:
        answer = await self._http.post(self._url, orjson.dumps(alerts), self._headers)
        if error := error_of(answer, host_of(self._url), now_ns):
            raise error
        return Answer(str(answer.status), answer.excerpt)


def alert_of(message: Message, labels: dict[str, str], now_ns: int, lasts_ns: int) -> dict[str, object]:
    """Return an alert as Alertmanager takes it.

    Its labels are what it is known by, so they are the same from its first event to its end; what changes (severity,
    value) is in annotations. The label `severity` is that of the rule's worst level, since routes there ask for one.
    """
    event = message.event
    over = event.transition in (Transition.RESOLVED, Transition.TEST)
    ends = max(event.fired_at, event.resolved_at or now_ns) if over else now_ns + lasts_ns
    alert: dict[str, object] = {
        "labels": _labels_of(event, labels),
        "annotations": _annotations_of(message),
        "startsAt": rfc3339(event.fired_at),
        "endsAt": rfc3339(ends),
    }
    if message.links.alert or message.links.rule:
        alert["generatorURL"] = message.links.alert or message.links.rule
    return alert


def _labels_of(event: AlertEvent, more: dict[str, str]) -> dict[str, str]:
    rule = event.rule
    found = {_label(name): clean(value, _VALUE) for name, value in rule.labels.items()}
    found |= {_label(name): clean(value, _VALUE) for name, value in event.group.items()}
    found |= {_label(name): clean(value, _VALUE) for name, value in more.items()}
    found |= {
        "alertname": clean(rule.name, _VALUE),
        "project": clean(rule.project, _VALUE),
        "severity": str(rule.levels[-1].severity),
        "tocsin_alert_id": event.alert_id,
    }
    return {name: value for name, value in found.items() if value}


def _annotations_of(message: Message) -> dict[str, str]:
    event = message.event
    found = {
        "summary": message.summary,
        "title": message.title,
        "description": clean(event.rule.description, _VALUE),
        "current_severity": str(event.severity),
        "runbook_url": message.links.runbook or "",
        "dashboard": message.links.dashboard or "",
        "trace": (message.traces[0].url or message.traces[0].trace_id) if message.traces else "",
    }
    return {name: value for name, value in found.items() if value}


def _label(name: str) -> str:
    made = _NO_LABEL.sub("_", name)[:128]
    return f"_{made}" if not made or made[0].isdigit() else made
