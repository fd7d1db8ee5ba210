"""What routing made of one event: who is told, who is not, and why. It is kept with the event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Decision", "Held", "Reason"]


class Reason(StrEnum):
    """Why a contact point is not told."""

    SILENCED = "silenced"
    MUTED = "muted"
    INHIBITED = "inhibited"
    ACKNOWLEDGED = "acknowledged"
    """A reminder of an alert that somebody looks after."""
    REPEAT = "repeat_interval"
    """A reminder too soon after the last message."""
    UNHEARD = "unheard"
    """The end of an alert of which nothing was told there."""
    NO_ROUTE = "no_route"


@dataclass(frozen=True, slots=True)
class Held:
    """A contact point that is not told."""

    contact_point: str
    """Empty where no route leads anywhere."""
    reason: Reason
    by: str
    """The silence's or the other alert's id, the timing's name, who acknowledged."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of one event, once."""

    event_id: str
    alert_id: str
    at: int
    """Wall clock, Unix nanoseconds."""
    contact_points: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()
    routes: tuple[str, ...] = ()
    incidents: Mapping[str, str] = field(default_factory=dict)
    """Contact point -> incident into whose messages the event goes."""

    @property
    def silenced_by(self) -> tuple[str, ...]:
        """The silences that kept it from anybody, each once."""
        return tuple(dict.fromkeys(one.by for one in self.held if one.reason is Reason.SILENCED))

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "contact_points": list(self.contact_points),
            "held": [
                {"contact_point": one.contact_point, "reason": one.reason.value, "by": one.by} for one in self.held
            ],
            "routes": list(self.routes),
            "incidents": dict(self.incidents),
        }

    @classmethod
    def of(cls, event_id: str, alert_id: str, at: int, document: Mapping[str, Any]) -> "Decision":
        """Return the decision of a document.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        held = tuple(Held(one["contact_point"], Reason(one["reason"]), one["by"]) for one in document["held"])
        return cls(
            event_id,
            alert_id,
            at,
            tuple(document["contact_points"]),
            held,
            tuple(document["routes"]),
            dict(document["incidents"]),
        )
