"""An alert event as a document and back: what the outbox and the history keep of it. Exact, its rule included."""

from typing import Final

from tocsin.alerts.event import AlertEvent, Driver, Evidence, TraceShare, Transition
from tocsin.model.archive import FLAG, REAL, TEXT, TEXTS, WHOLE, decode, encode, listed, optional, record, word
from tocsin.rules.archive import RULE
from tocsin.rules.rule import Severity

__all__ = ["dump_event", "load_event"]

_VERSION: Final = 1
_EVENT = record(
    AlertEvent,
    id=TEXT,
    alert_id=TEXT,
    transition=word(Transition),
    rule=RULE,
    group=TEXTS,
    severity=word(Severity),
    threshold=REAL,
    escalated_from=optional(word(Severity)),
    notify=listed(TEXT),
    evidence=record(
        Evidence,
        value=REAL,
        samples=WHOLE,
        window_from=WHOLE,
        window_to=WHOLE,
        traces=listed(record(TraceShare, trace_id=TEXT, value=REAL)),
        drivers=listed(record(Driver, attribute=TEXT, value=TEXT, share=REAL)),
        unpriced_samples=WHOLE,
        estimated=FLAG,
    ),
    peak=REAL,
    suppressed=WHOLE,
    started_at=WHOLE,
    fired_at=WHOLE,
    resolved_at=optional(WHOLE),
    detected_at=WHOLE,
    event_to_arrival_ns=optional(WHOLE),
    arrival_to_detection_ns=optional(WHOLE),
)


def dump_event(event: AlertEvent) -> bytes:
    """Return an event as a document that `load_event` reads."""
    return encode(_VERSION, _EVENT.write(event))


def load_event(document: bytes) -> AlertEvent:
    """Return the event of a document.

    Raises:
        ValueError: it is damaged, or of another version; the text says where and what.
    """
    value = decode(document, _VERSION, "alert event")
    try:
        return _EVENT.read(value)
    except ValueError as error:
        raise ValueError(f"alert event: {error}") from None
