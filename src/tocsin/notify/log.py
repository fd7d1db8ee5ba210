"""Contact point `log`: one line on the logger `tocsin.alerts`, at a level that follows the severity."""

import logging
from typing import Literal

from tocsin.alerts.event import AlertEvent, Transition
from tocsin.notify.contact import Answer, Attempt, ContactConfig
from tocsin.notify.egress import Network
from tocsin.notify.message import Message
from tocsin.rules.rule import Severity

__all__ = ["ALERT_LOGGER", "Log", "LogConfig"]

ALERT_LOGGER = "tocsin.alerts"
_LEVELS = {
    Severity.CRITICAL: logging.CRITICAL,
    Severity.HIGH: logging.ERROR,
    Severity.MEDIUM: logging.WARNING,
    Severity.LOW: logging.INFO,
}


class LogConfig(ContactConfig):
    """A contact point of type log."""

    type: Literal["log"]

    def build(self, network: Network) -> "Log":  # every contact point is built the same way
        """Return what logs."""
        return Log()


class Log:
    """Writes alerts to the log."""

    async def send(self, message: Message, attempt: Attempt) -> Answer:
        """Log; programs find the same values in the record's `alert`."""
        event = message.event
        logging.getLogger(ALERT_LOGGER).log(
            _level(event),
            "%s: %s%s",
            message.heading,
            message.summary,
            _trace(message),
            extra={
                "alert": {
                    "id": event.id,
                    "alert_id": event.alert_id,
                    "event": str(event.transition),
                    "rule": f"{event.rule.project}/{event.rule.name}",
                    "severity": str(event.severity),
                    "attempt": attempt.number,
                    "merged": attempt.merged,
                }
            },
        )
        return Answer("logged")

    async def aclose(self) -> None:
        """Nothing is held."""


def _level(event: AlertEvent) -> int:
    return logging.INFO if event.transition in (Transition.RESOLVED, Transition.TEST) else _LEVELS[event.severity]


def _trace(message: Message) -> str:
    first = message.traces[0] if message.traces else None
    return f" {first.url or first.trace_id}" if first is not None else ""
