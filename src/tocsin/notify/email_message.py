"""A message as mail: text and HTML parts, and headers that make the mails of one alert a thread.

Headers are set through `email.policy.SMTP`, which refuses line breaks, with values that were cleaned before;
HTML is rendered with autoescape, and only http(s) addresses become links.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import jinja2
from markupsafe import Markup

from tocsin.alerts.event import Transition
from tocsin.notify.contact import Attempt
from tocsin.notify.message import Fact, Message
from tocsin.notify.wording import clean, duration
from tocsin.rules.rule import Severity

__all__ = ["MailWriter", "mail_text"]

_COLOURS = {
    Severity.CRITICAL: "#b3001b",
    Severity.HIGH: "#e8590c",
    Severity.MEDIUM: "#f2b705",
    Severity.LOW: "#3b82c4",
}
_RESOLVED = "#2e9e5b"
_SUBJECT = 200
_LATE_NS = 60_000_000_000


class MailWriter:
    """Makes mails from one sender; reads its templates once, when it is made."""

    def __init__(self, sender: Address, recipients: Sequence[Address]) -> None:
        self._sender = sender
        self._recipients = tuple(recipients)
        templates = jinja2.Environment(
            loader=jinja2.PackageLoader("tocsin.notify"),
            autoescape=jinja2.select_autoescape(["html"]),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        self._text = templates.get_template("email.txt")
        self._html = templates.get_template("email.html")

    def mail_of(self, message: Message, attempt: Attempt) -> EmailMessage:
        """Return the mail; the same event gives the same Message-ID in every attempt."""
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = self._recipients
        mail["Subject"] = clean(message.title, _SUBJECT)
        mail["Date"] = datetime.fromtimestamp(attempt.at_ns / 1e9, tz=UTC)
        for name, value in self._thread(message):
            mail[name] = value
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        shown = _shown(message, attempt)
        mail.set_content(self._text.render(shown))
        mail.add_alternative(self._html.render(shown), subtype="html")
        return mail

    def _thread(self, message: Message) -> Iterator[tuple[str, str]]:
        """The first firing carries the alert's id as its own; all else refers to it."""
        event, domain = message.event, self._sender.domain
        root = f"<{_word(event.alert_id)}@{domain}>"
        if event.transition is Transition.FIRING and event.escalated_from is None:
            yield "Message-ID", root
            return
        yield "Message-ID", f"<{_word(event.id)}@{domain}>"
        yield "In-Reply-To", root
        yield "References", root


def mail_text(message: Message) -> str:
    """Return a mail's subject, text and HTML, for a person to read."""
    someone = Address(addr_spec="tocsin@localhost")
    mail = MailWriter(someone, [someone]).mail_of(message, Attempt(message.event.detected_at))
    parts = (mail.get_body((kind,)) for kind in ("plain", "html"))
    return "\n\n".join([f"Subject: {mail['Subject']}", *(part.get_content() for part in parts if part is not None)])


def _word(text: str) -> str:
    return "".join(char for char in text if char.isascii() and (char.isalnum() or char in "_-."))[:80]


def _shown(message: Message, attempt: Attempt) -> dict[str, object]:
    event = message.event
    resolved = event.transition in (Transition.RESOLVED, Transition.TEST)
    return {
        "title": message.title,
        "summary": message.summary if message.text is None else message.text,
        # Its author's HTML; the values in it were escaped as they were filled in.
        "html": None if message.html is None else Markup(message.html),  # noqa: S704
        "facts": message.facts,
        "traces": message.traces,
        "places": list(_places(message)),
        "notes": _notes(message, attempt),
        "colour": _RESOLVED if resolved else _COLOURS[event.severity],
    }


def _places(message: Message) -> Iterator[Fact]:
    links = message.links
    places = (
        ("Alert", links.alert),
        ("Dashboard", links.dashboard),
        ("Runbook", links.runbook),
        ("Rule", links.rule),
        ("Silence", links.silence),
    )
    for label, url in places:
        if url:
            yield Fact(label, url)


def _notes(message: Message, attempt: Attempt) -> str:
    notes = []
    late = attempt.at_ns - message.event.detected_at
    if late > _LATE_NS and message.event.transition is not Transition.TEST:
        notes.append(f"Sent {duration(late // 1_000_000_000)} after it was detected.")
    if attempt.merged:
        notes.append(f"Stands for {attempt.merged} earlier updates of this alert, held back by the rate limit.")
    return " ".join(notes)
