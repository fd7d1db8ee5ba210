"""Dead letters: notifications that were given up, kept so that people see them and can have them sent after all."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.notify.message import rfc3339
from tocsin.storage.tables import DELIVERIES, clean

__all__ = ["DeadLetter", "dead_letters", "parse_letter_id", "project_of"]

_DEAD = text("status IN ('failed', 'dropped')")  # as the partial index has it, so that it is used


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A notification that was given up. Times are the wall clock's, Unix nanoseconds."""

    event_id: str
    contact_point: str
    alert_id: str
    transition: str
    project: str
    rule: str
    severity: str
    status: str
    """`failed`: the receiver did not take it; `dropped`: it was not sent any more."""
    attempts: int
    published: int
    finished: int
    reason: str
    """The receiver's last answer, or why it was not sent."""
    sendable: bool
    """Whether its event is still there and can be read."""

    @property
    def id(self) -> str:
        """Its name in the API and on the command line."""
        return f"{self.event_id}:{self.contact_point}"

    def document(self) -> dict[str, object]:
        """Return what the API and `tocsin dead-letters --json` show of it; times in RFC 3339."""
        return {
            "id": self.id,
            "alert_id": self.alert_id,
            "event_id": self.event_id,
            "event": self.transition,
            "project": self.project,
            "rule": self.rule,
            "severity": self.severity,
            "contact_point": self.contact_point,
            "status": self.status,
            "attempts": self.attempts,
            "published_at": rfc3339(self.published),
            "finished_at": rfc3339(self.finished),
            "reason": self.reason,
            "sendable": self.sendable,
        }


def parse_letter_id(letter_id: str) -> tuple[str, str]:
    """Return the event's id and the contact point of a dead letter's id.

    Raises:
        ValueError: it is none.
    """
    event_id, colon, contact_point = letter_id.partition(":")
    if not colon or not contact_point or not event_id.startswith("evt_"):
        raise ValueError(f"{letter_id[:80]!r} is no dead letter's id; they look like evt_…:contact-point")
    return event_id, contact_point


async def dead_letters(
    connection: AsyncConnection,
    *,
    limit: int,
    contact_point: str | None = None,
    projects: Collection[str] | None = None,
    after: tuple[int, str, str] | None = None,
) -> list[DeadLetter]:
    """Return dead letters, the latest first, past the (finished, event_id, contact_point) of the page before.

    Args:
        connection: to read with.
        limit: at most so many.
        contact_point: of this one only; None: of all.
        projects: of these only; None: of all.
        after: of the last one of the page before.
    """
    key = (DELIVERIES.c.finished, DELIVERIES.c.event_id, DELIVERIES.c.contact_point)
    columns = [column for column in DELIVERIES.columns if column.name not in ("document", "owner")]
    query: Select[Any] = select(*columns, DELIVERIES.c.document.is_not(None).label("sendable")).where(_DEAD)
    if contact_point is not None:
        query = query.where(DELIVERIES.c.contact_point == clean(contact_point))
    if projects is not None:
        query = query.where(DELIVERIES.c.project.in_([clean(project) for project in projects]))
    if after is not None:
        query = query.where(tuple_(*key) < after)
    rows = await connection.execute(query.order_by(*(column.desc() for column in key)).limit(limit))
    return [
        DeadLetter(
            event_id=row.event_id,
            contact_point=row.contact_point,
            alert_id=row.alert_id,
            transition=row.transition,
            project=row.project,
            rule=row.rule,
            severity=row.severity,
            status=row.status,
            attempts=row.attempts,
            published=row.published,
            finished=row.finished or 0,
            reason=row.outcome,
            sendable=bool(row.sendable),
        )
        for row in rows
    ]


async def project_of(connection: AsyncConnection, event_id: str, contact_point: str) -> str | None:
    """Return the project of a dead letter, or None where there is no such letter."""
    rows = await connection.execute(
        select(DELIVERIES.c.project).where(
            DELIVERIES.c.event_id == clean(event_id), DELIVERIES.c.contact_point == clean(contact_point), _DEAD
        )
    )
    found: str | None = rows.scalar_one_or_none()
    return found
