"""What a person writes under a contact point's `template:`, tried with a message of each state when it is read."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, ValidationInfo, field_validator

from tocsin.model.settings import Settings
from tocsin.notify.template import Markup, TemplateError, problem_of, render, render_json, render_text
from tocsin.notify.templating.samples import sample_messages
from tocsin.notify.templating.variables import VARIABLES, message_variables

__all__ = ["BodyTemplate", "MailTemplate", "MessageTemplate", "SlackTemplate", "TextTemplate", "filled"]

_LONGEST: Final = 16 * 1024


class MessageTemplate(Settings):
    """What all of them share: which fields are templates, and what those write."""

    markups: ClassVar[Mapping[str, Markup]] = {}

    @property
    def sources(self) -> dict[str, str]:
        """The templates that are there: field -> text."""
        return {name: text for name in self.markups if (text := getattr(self, name)) is not None}

    @field_validator("title", "text", "html", "body", check_fields=False)
    @classmethod
    def _works(cls, source: str | None, info: ValidationInfo) -> str | None:
        if source is None:
            return None
        name = str(info.field_name)
        if problem := problem_of(source, cls.markups[name], VARIABLES):
            raise ValueError(f"{name}: not a template that can be filled in: {problem}")
        for state, message in sample_messages().items():
            try:
                filled(name, source, cls.markups[name], message_variables(message))
            except TemplateError as error:
                raise ValueError(f"{name}: fails for an alert of the state {state!r}: {error}") from None
        return source


class TextTemplate(MessageTemplate):
    """For receivers of text."""

    markups: ClassVar[Mapping[str, Markup]] = {"title": Markup.PLAIN, "text": Markup.PLAIN}
    elsewhere: ClassVar[Mapping[str, str]] = {"subject": "title", "summary": "text", "body": "text"}

    title: str | None = Field(default=None, max_length=_LONGEST)
    """One line: the subject of a mail, the header in Slack."""
    text: str | None = Field(default=None, max_length=_LONGEST)
    """In place of the sentence."""


class SlackTemplate(TextTemplate):
    """For Slack: the text is mrkdwn."""

    markups: ClassVar[Mapping[str, Markup]] = {"title": Markup.PLAIN, "text": Markup.SLACK}

    details: bool = True
    """Whether the facts, traces and buttons follow."""


class MailTemplate(TextTemplate):
    """For mail: HTML beside the text."""

    markups: ClassVar[Mapping[str, Markup]] = {**TextTemplate.markups, "html": Markup.HTML}

    html: str | None = Field(default=None, max_length=_LONGEST)
    """In place of the sentence in the HTML part; the text where it is left out."""
    details: bool = True
    """Whether the facts, traces and links follow."""


class BodyTemplate(MessageTemplate):
    """For receivers of JSON."""

    markups: ClassVar[Mapping[str, Markup]] = {"body": Markup.JSON}
    elsewhere: ClassVar[Mapping[str, str]] = {"text": "body", "title": "body", "json": "body"}

    body: str | None = Field(default=None, max_length=_LONGEST)
    """JSON in place of the built-in body."""


def filled(name: str, source: str, markup: Markup, variables: Mapping[str, object]) -> Any:  # noqa: ANN401
    """Return what a field's template gives: bytes for `body`, text for the others.

    Raises:
        TemplateError: it fails with these variables.
    """
    if markup is Markup.JSON:
        return render_json(source, variables)
    return render(source, variables) if name == "title" else render_text(source, variables, markup)
