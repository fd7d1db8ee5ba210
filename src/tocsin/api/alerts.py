"""`/api/v1/alerts`: current alerts and history, with evidence and what became of each notification."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import JSONResponse

from tocsin.alerts.event import AlertEvent
from tocsin.alerts.state import AlertState
from tocsin.api.authorization import Reader
from tocsin.api.paging import Cursor, Limit, Moment, cursor_of, nanoseconds_of, position_of
from tocsin.api.problems import problem
from tocsin.errors import OverloadedError
from tocsin.notify.message import rfc3339, window_of
from tocsin.rules.rule import Severity
from tocsin.storage.alerts import AlertFilter, AlertRow, AttemptRow, DeliveryRow, Label, Told, alert, alerts, story_of
from tocsin.storage.database import Database

__all__ = ["Units", "alerts_router", "unavailable"]

Units = Callable[[], Mapping[tuple[str, str], str]]
"""Gives the units of the rules that run, by project and name."""

_MOST_LABELS: Final = 10
_TEXT: Final = 1024
State = Annotated[AlertState | None, Query(description="`firing` or `resolved`; alerts that are pending are not kept.")]
Group = Annotated[
    list[Annotated[str, Query(max_length=_TEXT)]],
    Query(max_length=_MOST_LABELS, description="`label=value`, or a value of any label; all that are given must hold."),
]
Name = Annotated[str | None, Query(max_length=_TEXT)]


def alerts_router(database: Database, units: Units) -> APIRouter:
    """Return the routes of what `database` holds; an alert whose rule is gone has no unit."""
    router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

    @router.get("", summary="Alerts, the latest first")
    async def list_alerts(
        who: Reader,
        group: Group = [],  # noqa: B006  # FastAPI copies it
        state: State = None,
        rule: Name = None,
        project: Name = None,
        severity: Severity | None = None,
        since: Moment = None,
        until: Moment = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> JSONResponse:
        """Alerts that match: those that fired before `until` and had not ended before `since`, in event time."""
        position = position_of(cursor, int, str)
        chosen = AlertFilter(
            state=state,
            projects=_projects(who.projects, project),
            rule=rule,
            severity=severity,
            group=tuple(_label(text) for text in group),
            since=nanoseconds_of(since),
            until=nanoseconds_of(until),
        )
        after = None if position is None else (int(position[0]), str(position[1]))
        try:
            async with database.connection() as connection:
                found = await alerts(connection, chosen, limit=limit, after=after)
        except OverloadedError as error:
            return unavailable(error)
        last = cursor_of(found[-1].fired_at, found[-1].id) if len(found) == limit else None
        known = units()
        return JSONResponse({"alerts": [_summary(one, known) for one in found], "next_cursor": last})

    @router.get("/{alert_id}", summary="One alert, with evidence and notifications")
    async def one_alert(alert_id: str, who: Reader) -> JSONResponse:
        """The alert, each change of it with its evidence, and every attempt to notify of it."""
        try:
            async with database.connection() as connection:
                found = await alert(connection, alert_id)
                if found is None or not who.sees(found.project):
                    raise HTTPException(404)
                story = await story_of(connection, alert_id)
        except OverloadedError as error:
            return unavailable(error)
        return JSONResponse({**_summary(found, units()), "events": [_told(one) for one in story]})

    return router


def unavailable(error: OverloadedError) -> JSONResponse:
    """Return the answer while the database can't be used."""
    return problem(503, str(error), headers={"retry-after": str(math.ceil(error.retry_after))})


def _projects(seen: frozenset[str] | None, asked: str | None) -> frozenset[str] | None:
    if asked is None:
        return seen
    return frozenset({asked}) if seen is None else seen & {asked}


def _label(text: str) -> Label:
    name, equals, value = text.partition("=")
    return Label(name, value) if equals else Label(None, text)


def _summary(row: AlertRow, units: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "project": row.project,
        "rule": row.rule,
        "group": row.group,
        "state": row.state.value,
        "severity": row.severity.value,
        "value": _number(row.value),
        "threshold": _number(row.threshold),
        "peak": _number(row.peak),
        "unit": units.get((row.project, row.rule), ""),
        "suppressed": row.suppressed,
        "started_at": rfc3339(row.started_at),
        "fired_at": rfc3339(row.fired_at),
        "resolved_at": _moment(row.resolved_at),
        "acknowledged_at": _moment(row.acknowledged_at),
        "acknowledged_by": row.acknowledged_by,
        "shadow": row.shadow,
    }


def _told(told: Told) -> dict[str, Any]:
    return {
        "id": told.event_id,
        "event": told.transition,
        "at": rfc3339(told.at),
        **({} if told.event is None else _evidence(told.event)),
        "deliveries": [_delivery(one) for one in told.deliveries],
        "attempts": [_attempt(one) for one in told.attempts],
        "silenced_by": [] if told.decision is None else list(told.decision.silenced_by),
        "routing": None if told.decision is None else told.decision.document(),
    }


def _evidence(event: AlertEvent) -> dict[str, Any]:
    evidence = event.evidence
    return {
        "severity": event.severity.value,
        "escalated_from": event.escalated_from and event.escalated_from.value,
        "detected_at": rfc3339(event.detected_at),
        "notify": list(map(_shown, event.notify)),
        "value": _number(evidence.value),
        "unit": event.rule.unit,
        "condition": event.rule.condition.value,
        "threshold": _number(event.threshold),
        "window": window_of(event),
        "samples": evidence.samples,
        "unpriced_samples": evidence.unpriced_samples,
        "estimated": evidence.estimated,
        "traces": [{"trace_id": _shown(one.trace_id), "value": _number(one.value)} for one in evidence.traces],
        "drivers": [
            {"attribute": _shown(one.attribute), "value": _shown(one.value), "share": _number(one.share)}
            for one in evidence.drivers
        ],
        "delay_ms": {
            "event_to_arrival": _milliseconds(event.event_to_arrival_ns),
            "arrival_to_detection": _milliseconds(event.arrival_to_detection_ns),
        },
    }


def _delivery(row: DeliveryRow) -> dict[str, Any]:
    return {
        "contact_point": row.contact_point,
        "status": row.status,
        "attempts": row.attempts,
        "published_at": rfc3339(row.published),
        "finished_at": _moment(row.finished),
        "answer": row.outcome,
    }


def _attempt(row: AttemptRow) -> dict[str, Any]:
    return {
        "contact_point": row.contact_point,
        "number": row.number,
        "outcome": row.outcome,
        "at": rfc3339(row.at),
        "seconds": row.seconds,
        "answer": row.answer,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _milliseconds(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _moment(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)


def _shown(text: str) -> str:
    """JSON has no lone surrogates."""
    return text.encode("utf-8", "replace").decode()
