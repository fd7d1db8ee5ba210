"""Prometheus' `/api/v1/rules` and `/alerts`, under `/prometheus`, as Grafana lists them.

Source: Prometheus, HTTP API, "Rules" and "Alerts".
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from tocsin.alerts.state import AlertState
from tocsin.api.alerts import unavailable
from tocsin.api.authorization import Reader
from tocsin.api.changes import shown
from tocsin.api.compat.shared import recorded_alerts
from tocsin.api.editing import Edits, WrittenItem
from tocsin.api.ruleset import Running, RunningRule, key_of
from tocsin.errors import OverloadedError
from tocsin.model.settings import parse_duration
from tocsin.notify.message import rfc3339
from tocsin.storage.alerts import AlertRow
from tocsin.storage.database import Database

__all__ = ["prometheus_router"]

_STATES: Final = {AlertState.FIRING: "firing", AlertState.PENDING: "pending"}
_NEVER: Final = "0001-01-01T00:00:00Z"
_Many = Annotated[list[Annotated[str, Query(max_length=1024)]], Query(max_length=100)]


def prometheus_router(edits: Edits, running: Running, database: Database) -> APIRouter:
    """Return the routes; rules are of `edits`, their states of `running`, firing alerts of `database`."""
    router = APIRouter(prefix="/prometheus/api/v1", tags=["compatible with Prometheus"])

    @router.get("/rules", summary="Rules as Prometheus lists them")
    async def rules(
        who: Reader,
        kind: Annotated[str | None, Query(alias="type", max_length=20)] = None,
        names: Annotated[_Many, Query(alias="rule_name[]")] = [],  # noqa: B006  # FastAPI copies it
        groups: Annotated[_Many, Query(alias="rule_group[]")] = [],  # noqa: B006
        files: Annotated[_Many, Query(alias="file[]")] = [],  # noqa: B006
    ) -> JSONResponse:
        """A group is a project in a file."""
        try:
            firing = await recorded_alerts(database, who.projects, state=AlertState.FIRING)
        except OverloadedError as error:
            return unavailable(error)
        live = running.rules()
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for item in await edits.rules() if kind != "record" else ():
            project, name = key_of(item)
            wanted = who.sees(project) and (not names or name in names) and (not groups or project in groups)
            if wanted and (not files or item.file in files) and (project, name) in live:
                own = [one for one in firing if (one.project, one.rule) == (project, name)]
                found.setdefault((item.file, project), []).append(_rule(item, live[project, name], own))
        listed = [
            {
                "name": project,
                "file": file,
                "interval": 0,
                "limit": 0,
                "evaluationTime": 0,
                "lastEvaluation": _NEVER,
                "rules": inside,
            }
            for (file, project), inside in found.items()
        ]
        return JSONResponse({"status": "success", "data": {"groups": listed}})

    @router.get("/alerts", summary="Firing alerts as Prometheus lists them")
    async def alerts(who: Reader) -> JSONResponse:
        """The thousand that fired last."""
        try:
            firing = await recorded_alerts(database, who.projects, state=AlertState.FIRING)
        except OverloadedError as error:
            return unavailable(error)
        return JSONResponse({"status": "success", "data": {"alerts": [_alert(one) for one in firing]}})

    @router.get("/status/buildinfo", summary="What Grafana asks first")
    async def buildinfo(request: Request, _: Reader) -> JSONResponse:
        """The version is Tocsin's."""
        version = request.app.state.status.version
        data = {"version": version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
        return JSONResponse({"status": "success", "data": data})

    return router


def _rule(item: WrittenItem, live: RunningRule, firing: Sequence[AlertRow]) -> dict[str, Any]:
    fields = item.fields
    state = next((word for each, word in _STATES.items() if each in live.states), "inactive")
    labels = fields.get("labels")
    return {
        "state": state,
        "name": key_of(item)[1],
        "query": _query(fields),
        "duration": _seconds(fields.get("for")),
        "keepFiringFor": _seconds(fields.get("keep_firing_for")),
        "labels": {
            "severity": str(fields.get("severity", "medium")),
            **({str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}),
        },
        "annotations": {
            key: str(fields[key]) for key in ("summary", "description", "runbook_url") if fields.get(key) is not None
        },
        "alerts": [_alert(one) for one in firing],
        "health": "ok",
        "evaluationTime": 0,
        "lastEvaluation": _NEVER,
        "type": "alerting",
    }


def _alert(row: AlertRow) -> dict[str, Any]:
    group = {str(key): str(value) for key, value in shown(row.group).items()}
    return {
        "labels": {
            "alertname": row.rule,
            "project": row.project,
            "severity": row.severity.value,
            **{key.replace(".", "_"): value for key, value in group.items()},
        },
        "annotations": {"alert_id": row.id},
        "state": "firing",
        "activeAt": rfc3339(row.started_at),
        "value": "NaN" if row.value is None else f"{row.value:e}",
    }


def _query(fields: Any) -> str:  # noqa: ANN401  # JSON
    for key in ("expr", "sql"):
        if key in fields:
            return str(fields[key])
    if "template" in fields:
        return f"template {fields['template']}"
    measured = str(fields.get("metric") or fields.get("attribute") or "")
    inner = f"{measured}[{fields['window']}]" if "window" in fields else measured
    shape = f"{fields['aggregate']}({inner})" if "aggregate" in fields else inner
    by = fields.get("group_by")
    grouped = f" by ({', '.join(map(str, by if isinstance(by, list) else [by]))})" if by else ""
    return f"{shape}{grouped} {fields.get('condition', '')} {fields.get('threshold', '')}".strip()


def _seconds(written: object) -> float:
    try:
        return parse_duration(written).total_seconds() if written is not None else 0
    except ValueError:
        return 0
