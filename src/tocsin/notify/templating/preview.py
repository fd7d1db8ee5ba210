"""What a contact point would be sent, without sending it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.alerts.event import AlertEvent
from tocsin.notify.contact import ContactConfig
from tocsin.notify.message import Message, MessageWriter
from tocsin.notify.templating.config import MessageTemplate
from tocsin.notify.templating.dressing import dressed
from tocsin.notify.templating.samples import STATES, sample_messages

__all__ = ["STATES", "Preview", "preview", "preview_of_state"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as a contact point would be told."""

    title: str
    text: str
    """Several lines; for Slack its mrkdwn."""
    html: str | None
    """In place of the text in the HTML part of a mail; None: the text."""
    sent: str
    """What goes to the receiver, readable: JSON indented, a mail's parts one after the other."""
    problems: Mapping[str, str]
    """Field of the template -> why it failed; the built-in words are in its place."""


def preview(contact: ContactConfig, event: AlertEvent, writer: MessageWriter) -> Preview:
    """Return what a contact point would be told of an event."""
    return _previewed(type(contact), contact.template, writer.message_of(event))


def preview_of_state(kind: type[ContactConfig], template: MessageTemplate | None, state: str) -> Preview:
    """Return what a contact point of a kind would be told with a template.

    Args:
        kind: its configuration's model.
        template: None: the built-in words.
        state: one of `STATES`.

    Raises:
        KeyError: there is no such state.
    """
    return _previewed(kind, template, sample_messages()[state])


def _previewed(kind: type[ContactConfig], template: MessageTemplate | None, message: Message) -> Preview:
    made, failures = dressed(message, template)
    return Preview(
        title=made.title,
        text=made.summary if made.text is None else made.text,
        html=made.html,
        sent=kind.shown(made),
        problems={field: str(error) for field, error in failures.items()},
    )
