"""A contact point's template in place of the built-in words, which stay where it fails."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tocsin.alerts.event import Transition
from tocsin.notify.link import Links
from tocsin.notify.message import Message
from tocsin.notify.observer import Observer
from tocsin.notify.template import Markup, TemplateError
from tocsin.notify.templating.config import MessageTemplate, filled
from tocsin.notify.templating.variables import message_variables
from tocsin.notify.wording import clean

__all__ = ["Dressing", "dressed"]

_logger = logging.getLogger(__name__)

_SUMMARY = 1_000


class Dressing:
    """One contact point's. Of each field the first failure is told, and all are counted.

    A field that takes too long is not tried again: every rendering would hold up what else the process does.
    """

    def __init__(self, contact_point: str, template: MessageTemplate | None, observer: Observer) -> None:
        self._contact_point = contact_point
        self._template = template
        self._observer = observer
        self._told: set[str] = set()
        self._slow: dict[str, TemplateError] = {}

    def dress(self, message: Message) -> Message:
        """Return the message in the template's words, in the built-in ones where that fails. Never raises."""
        if self._template is None:
            return message
        made, failures = dressed(message, self._template, self._slow)
        for field, error in failures.items():
            self._observer.template_failed(field)
            if error.slow:
                self._slow[field] = error
            if field not in self._told:
                self._told.add(field)
                _logger.warning(
                    "contact point %s: the %s of its template failed (%s); the built-in one is sent, %s",
                    self._contact_point,
                    field,
                    error,
                    "until the template is changed"
                    if error.slow
                    else "also when it fails again, which is only counted",
                )
        return made


def dressed(
    message: Message, template: MessageTemplate | None, known: Mapping[str, TemplateError] | None = None
) -> tuple[Message, Mapping[str, TemplateError]]:
    """Return a message in a template's words, and field -> why its template failed, where one did.

    That somebody looks after an alert is said in built-in words: a template is about the alert.

    Args:
        message: in built-in words.
        template: the contact point's; None: the built-in words.
        known: fields that are not tried, and why.
    """
    if template is None or message.event.transition is Transition.ACKNOWLEDGED:
        return message, {}
    failures = dict(known or {})
    found: dict[str, Any] = {}
    for field, source in template.sources.items():
        if field in failures:
            continue
        try:
            found[field] = filled(field, source, template.markups[field], message_variables(message))
        except TemplateError as error:
            failures[field] = error
        except Exception as error:  # noqa: BLE001  # a defect of the template language must not hold an alert up
            failures[field] = TemplateError(f"unexpected {type(error).__name__}")
    changes = {_PLACES[field]: value for field, value in found.items() if value}
    if "title" in changes and message.event.transition is Transition.TEST and "test" not in changes["title"].lower():
        changes["title"] = f"[TEST] {changes['title']}"
    if "title" in changes:
        changes["title"] = clean(changes["title"])
    if "text" in changes and template.markups["text"] is Markup.PLAIN:
        changes["summary"] = clean(changes["text"], _SUMMARY)
    if not getattr(template, "details", True):
        changes |= {"facts": (), "traces": (), "links": Links(None, None, None, None)}
    return replace(message, **changes), failures


_PLACES = {"title": "title", "text": "text", "html": "html", "body": "document"}
"""Field of a template -> field of a message."""
