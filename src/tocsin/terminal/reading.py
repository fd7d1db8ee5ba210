"""What `tocsin top` shows: one reading of a service's API."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from tocsin.api.spend import By, Order, SpendWindow
from tocsin.terminal.remote import RefusedError, Remote

__all__ = ["MOST_ALERTS", "Pace", "Reading", "View", "read"]

MOST_ALERTS: Final = 50
_SERIES: Final = 20
_KEYS: Final = 100


class _Part(StrEnum):
    SPEND = "spend"
    ALERTS = "alerts"
    SERIES = "series"


@dataclass(frozen=True, slots=True)
class View:
    """What of it is looked at."""

    by: By = By.CONVERSATION
    window: SpendWindow = SpendWindow.FIVE_MINUTES
    order: Order = Order.USD
    offset: int = 0
    """Keys that are passed over."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The service at one moment; a part is empty where the token may not see it, and `refused` says why."""

    view: View
    at: float
    """Unix seconds, here."""
    status: dict[str, Any]
    spend: dict[str, Any] | None
    alerts: list[dict[str, Any]]
    closest: list[dict[str, Any]]
    spans_per_second: float | None
    """None: this is the first reading."""
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def lag_seconds(self) -> float | None:
        """How far event time is behind the clock here; None before the first span."""
        event_time = self.status["event_time"]
        return None if event_time is None else max(0.0, self.at - datetime.fromisoformat(event_time).timestamp())

    def document(self) -> dict[str, Any]:
        """Return the reading for programs."""
        return {
            "at": self.at,
            "status": self.status,
            "spans_per_second": self.spans_per_second,
            "lag_seconds": self.lag_seconds,
            "spend": self.spend,
            "alerts": self.alerts,
            "closest": self.closest,
            "refused": self.refused,
        }


class Pace:
    """How many spans come, from one reading to the next."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None

    def of(self, spans: int) -> float | None:
        """Return spans a second since the last call; None for the first, and after a restart of the service."""
        now, last = time.monotonic(), self._last
        self._last = now, spans
        if last is None or spans < last[1] or now <= last[0]:
            return None
        return (spans - last[1]) / (now - last[0])


def read(remote: Remote, view: View, pace: Pace) -> Reading:
    """Return how the service is now.

    Raises:
        ConfigError: it does not answer, or not even its status may be seen.
    """
    status = remote.ask("GET", "/status")
    refused: dict[str, str] = {}
    asked = {"by": view.by, "window": view.window, "order": view.order, "offset": view.offset, "limit": _KEYS}
    spend = _part(remote, _Part.SPEND, asked, refused)
    alerts = _part(remote, _Part.ALERTS, {"state": "firing", "limit": MOST_ALERTS}, refused)
    series = _part(remote, _Part.SERIES, {"limit": _SERIES}, refused)
    return Reading(
        view,
        time.time(),
        status,
        spend,
        [] if alerts is None else alerts["alerts"],
        [] if series is None else [one for one in series["series"] if one["closeness"] is not None],
        pace.of(status["spans"]),
        refused,
    )


def _part(remote: Remote, part: _Part, params: dict[str, Any], refused: dict[str, str]) -> dict[str, Any] | None:
    try:
        return remote.ask("GET", f"/{part}", params=params)
    except RefusedError as error:
        refused[part.value] = str(error)
        return None
