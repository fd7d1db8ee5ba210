"""What a contact point's template may name: everything of the event and of the built-in message, nothing else.

There is no text of prompts or answers in an event, so a template can't send any.
"""

from collections.abc import Mapping
from typing import Any, Final

from tocsin.alerts.event import AlertEvent
from tocsin.notify import template
from tocsin.notify.message import Message, rfc3339, variables_of

__all__ = ["VARIABLES", "message_variables"]

VARIABLES: Final = tuple(
    sorted(
        (
            *template.VARIABLES,
            "alert_id",
            "alerts",
            "detected_at",
            "document",
            "drivers",
            "escalated_from",
            "facts",
            "fired_at",
            "id",
            "incident",
            "lasted_seconds",
            "links",
            "resolved_at",
            "started_at",
            "title",
            "traces",
        )
    )
)
"""docs/contact-points.md says what they are."""
_NS: Final = 1_000_000_000


class _Labels(dict[str, str]):
    """Labels of any rule: one that this alert does not have is empty, since a contact point serves many rules."""

    def __missing__(self, label: str) -> str:
        return ""


def message_variables(message: Message) -> dict[str, object]:
    """Return name -> value for the template of a contact point."""
    event, links = message.event, message.links
    document: Mapping[str, Any] = message.body
    found: dict[str, Any] = variables_of(event)
    return {
        **_lenient(found),
        **_times(event),
        "id": event.id,
        "alert_id": event.alert_id,
        "title": message.title,
        "summary": message.summary,
        "escalated_from": None if event.escalated_from is None else str(event.escalated_from),
        "facts": [{"label": fact.label, "text": fact.text} for fact in message.facts],
        "traces": [{"trace_id": one.trace_id, "value": one.value, "url": one.url} for one in message.traces],
        "drivers": document["drivers"],
        "links": {
            "alert": links.alert,
            "rule": links.rule,
            "dashboard": links.dashboard,
            "runbook": links.runbook,
            "silence": links.silence,
        },
        "incident": document.get("incident"),
        "alerts": [_lenient(each) for each in document.get("alerts") or [document]],
        "document": document,
    }


def _times(event: AlertEvent) -> dict[str, object]:
    until = event.resolved_at if event.resolved_at is not None else event.detected_at
    return {
        "started_at": rfc3339(event.started_at),
        "fired_at": rfc3339(event.fired_at),
        "resolved_at": None if event.resolved_at is None else rfc3339(event.resolved_at),
        "detected_at": rfc3339(event.detected_at),
        "lasted_seconds": max(0, until - event.fired_at) / _NS,
    }


def _lenient(body: Mapping[str, Any]) -> dict[str, Any]:
    rule = body["rule"]
    return {**body, "group": _Labels(body["group"]), "rule": {**rule, "labels": _Labels(rule["labels"])}}
