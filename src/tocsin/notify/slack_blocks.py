"""A message as Slack shows it: Block Kit, within Slack's limits, with nothing in it that Slack would act on.

`&`, `<` and `>` are the only characters with which a text can mention or link (`<!channel>`, `<@U…>`,
`<http://…>`); they are escaped in every value. Texts are `verbatim`, so that Slack turns no bare address or
name into a link. Limits: docs.slack.dev/reference/block-kit (50 blocks; 3000 characters of text; 10 fields of
2000; header 150; button text 75, address 3000; 10 elements of context).
"""

from collections.abc import Iterator, Sequence

from tocsin.alerts.event import Transition
from tocsin.notify.contact import Attempt
from tocsin.notify.message import Fact, Message
from tocsin.notify.wording import duration
from tocsin.rules.rule import Severity

__all__ = ["escaped", "payload_of"]

_COLOURS = {
    Severity.CRITICAL: "#b3001b",
    Severity.HIGH: "#e8590c",
    Severity.MEDIUM: "#f2b705",
    Severity.LOW: "#3b82c4",
}
_RESOLVED = "#2e9e5b"
_TEST = "#7a7f87"
_TEXT, _FIELD, _FIELDS, _HEADER, _BUTTON, _URL = 3000, 2000, 10, 150, 75, 3000
_LATE_NS = 60_000_000_000


def payload_of(message: Message, attempt: Attempt) -> dict[str, object]:
    """Return blocks, the fallback text, and an attachment in the severity's colour with the details."""
    details = _details(message, attempt)
    told = escaped(message.summary) if message.text is None else message.text
    heading = escaped(message.heading if message.text is None else message.title)
    return {
        "text": _cut_lines(f"{heading}: {told}", _TEXT),
        "blocks": [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": _cut(message.title, _HEADER), "emoji": False},
            },
            {"type": "section", "text": _mrkdwn(_cut_lines(told, _TEXT), _TEXT)},
        ],
        "attachments": [
            {
                "color": _colour(message),
                "fallback": _cut(message.summary, _TEXT),
                "blocks": details,
            }
        ]
        if details
        else [],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str) -> str:
    """Return text in which Slack finds no mention, link or entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _colour(message: Message) -> str:
    match message.event.transition:
        case Transition.RESOLVED:
            return _RESOLVED
        case Transition.TEST:
            return _TEST
        case _:
            return _COLOURS[message.event.severity]


def _details(message: Message, attempt: Attempt) -> list[dict[str, object]]:
    blocks: list[dict[str, object]] = [
        {"type": "section", "fields": [_field(fact) for fact in facts]}
        for facts in _chunks(message.facts[: 4 * _FIELDS], _FIELDS)
    ]
    if traces := _traces(message):
        blocks.append({"type": "section", "text": _mrkdwn(traces, _TEXT)})
    if notes := _notes(message, attempt):
        blocks.append({"type": "context", "elements": [_mrkdwn(escaped(notes), _FIELD)]})
    if buttons := list(_buttons(message)):
        blocks.append({"type": "actions", "elements": buttons})
    return blocks


def _field(fact: Fact) -> dict[str, object]:
    return _mrkdwn(f"*{escaped(fact.label)}*\n{escaped(fact.text)}", _FIELD)


def _traces(message: Message) -> str:
    lines = []
    for trace in message.traces:
        name = (
            f"`{escaped(trace.trace_id)}`" if trace.url is None else f"<{_link(trace.url)}|{escaped(trace.trace_id)}>"
        )
        lines.append(f"{name} {escaped(trace.value)}")
    while lines and len("\n".join(["*Traces*", *lines])) > _TEXT:
        lines.pop()  # whole lines: half a link is none
    return "\n".join(["*Traces*", *lines]) if lines else ""


def _notes(message: Message, attempt: Attempt) -> str:
    notes = []
    late = attempt.at_ns - message.event.detected_at
    if late > _LATE_NS and message.event.transition is not Transition.TEST:
        notes.append(f"Sent {duration(late // 1_000_000_000)} after it was detected.")
    if attempt.merged:
        notes.append(f"Stands for {attempt.merged} earlier updates of this alert, held back by the rate limit.")
    return " ".join(notes)


def _buttons(message: Message) -> Iterator[dict[str, object]]:
    places = (
        ("Open alert", message.links.alert),
        ("Dashboard", message.links.dashboard),
        ("Runbook", message.links.runbook),
        ("Rule", message.links.rule),
        ("Silence", message.links.silence),
    )
    for text, url in places:
        if url and len(url) <= _URL and url.startswith(("http://", "https://")):
            yield {"type": "button", "text": {"type": "plain_text", "text": _cut(text, _BUTTON)}, "url": url}


def _mrkdwn(text: str, limit: int) -> dict[str, object]:
    return {"type": "mrkdwn", "text": _cut(text, limit), "verbatim": True}


def _link(url: str) -> str:
    return escaped(url).replace("|", "%7C")


def _cut(text: str, limit: int) -> str:
    """Cut, but never inside an escape: `&am` would show as it is."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    amp = kept.rfind("&", len(kept) - 5)
    if amp >= 0 and ";" not in kept[amp:]:
        kept = kept[:amp]
    return kept + "…"


def _cut_lines(text: str, limit: int) -> str:
    """Cut after a whole line, where that leaves one: half a link is none."""
    if len(text) <= limit:
        return text
    lines = text.split("\n")
    while len(lines) > 1 and len("\n".join(lines)) + 2 > limit:
        lines.pop()
    return _cut("\n".join([*lines, "…"]), limit)


def _chunks(facts: Sequence[Fact], size: int) -> Iterator[Sequence[Fact]]:
    for start in range(0, len(facts), size):
        yield facts[start : start + size]
