"""Prela's alert rules: six metrics, a window in minutes, and channels that come with the rule."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from tocsin.api.alerts import unavailable
from tocsin.api.authorization import FORBIDDEN, Reader, Writer
from tocsin.api.changes import answered, demanded, shown
from tocsin.api.compat.shared import found_by_id, id_of_rule, recorded_alerts, rules_of
from tocsin.api.editing import Decide, Edits, FieldProblem, Fields, RejectedError, TakenError, WrittenItem
from tocsin.api.ruleset import key_of
from tocsin.errors import OverloadedError, TocsinError
from tocsin.model.settings import parse_duration
from tocsin.notify.message import rfc3339
from tocsin.security.roles import Principal, Role
from tocsin.storage.database import Database

__all__ = ["prela_router"]

_METRICS: Final[Mapping[str, Mapping[str, str]]] = {
    "error_rate": {"metric": "error_rate"},
    "latency_p95": {"metric": "latency", "aggregate": "p95"},
    "latency_mean": {"metric": "latency", "aggregate": "avg"},
    "cost_per_trace": {"metric": "cost_per_trace", "aggregate": "avg"},
    "success_rate": {"metric": "success_rate"},
    "token_usage": {"metric": "tokens", "aggregate": "sum"},
}
_MINUTES = Annotated[int, Field(ge=5, le=1440)]
_MS: Final = frozenset({"latency_p95", "latency_mean"})
_POINTS: Final = ("prela-slack-", "prela-email-", "prela-pagerduty-")
_SENDER: Final = ("host", "port", "tls", "ca_file", "username", "password", "from", "allow_private")
"""Fields of an e-mail contact point that say how mail goes out."""


class _Rule(BaseModel):
    """The seed's fields; what is None was not given."""

    name: str | None = None
    description: str | None = None
    enabled: bool | None = None
    metric_type: (
        Literal["error_rate", "latency_p95", "latency_mean", "cost_per_trace", "success_rate", "token_usage"] | None
    ) = None
    condition: Literal["gt", "lt", "gte", "lte"] | None = None
    threshold: float | None = None
    evaluation_window_minutes: _MINUTES | None = None
    agent_name: str | None = None
    severity: Literal["low", "medium", "high", "critical"] | None = None
    cooldown_minutes: _MINUTES | None = None
    notify_slack: bool | None = None
    slack_webhook_url: str | None = None
    notify_email: bool | None = None
    email_addresses: list[str] | None = None
    notify_pagerduty: bool | None = None
    pagerduty_routing_key: str | None = None


class _NewRule(_Rule):
    name: str
    metric_type: Literal["error_rate", "latency_p95", "latency_mean", "cost_per_trace", "success_rate", "token_usage"]
    condition: Literal["gt", "lt", "gte", "lte"]
    threshold: float
    evaluation_window_minutes: _MINUTES = 60
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    cooldown_minutes: _MINUTES = 30


def prela_router(edits: Edits, database: Database) -> APIRouter:
    """Return the routes; rules and channels are of `edits`, triggered alerts of `database`."""
    router = APIRouter(prefix="/api/v1/alerts/projects/{project_id}", tags=["compatible with Prela"])
    _reading(router, edits, database)
    _changing(router, edits)
    return router


def _reading(router: APIRouter, edits: Edits, database: Database) -> None:
    @router.get("/rules", summary="A project's alert rules")
    async def list_rules(project_id: str, who: Reader) -> JSONResponse:
        """Those that have one of the six metrics."""
        points = await edits.contact_points()
        found = [item for item in await rules_of(edits, who, project_id) if _metric_of(item.fields)]
        return JSONResponse([_document(item, points) for item in found])

    @router.get("/rules/{rule_id}", summary="One alert rule")
    async def one_rule(project_id: str, rule_id: str, who: Reader) -> JSONResponse:
        """By the id that making it gave."""
        item = await found_by_id(edits, who, rule_id, project=project_id)
        return JSONResponse(_document(item, await edits.contact_points()))

    @router.get("/triggered", summary="A project's alerts, the latest first")
    async def triggered(project_id: str, who: Reader) -> JSONResponse:
        """With the value that set them off."""
        if not who.sees(project_id):
            return JSONResponse([])
        try:
            found = await recorded_alerts(database, [project_id])
        except OverloadedError as error:
            return unavailable(error)
        rules = {key_of(item): item.fields for item in await rules_of(edits, who, project_id)}
        return JSONResponse(
            [
                {
                    "id": one.id,
                    "rule_id": id_of_rule(one.project, one.rule),
                    "project_id": one.project,
                    "rule_name": one.rule,
                    "metric_type": _metric_of(rules.get((one.project, one.rule), {})),
                    "metric_value": shown(one.value),
                    "threshold": shown(one.threshold),
                    "severity": one.severity.value,
                    "status": one.state.value,
                    "triggered_at": rfc3339(one.fired_at),
                    "resolved_at": None if one.resolved_at is None else rfc3339(one.resolved_at),
                }
                for one in found
            ]
        )


def _changing(router: APIRouter, edits: Edits) -> None:
    @router.post("/rules", status_code=201, summary="A new alert rule")
    async def create(project_id: str, body: _NewRule, who: Writer) -> Response:
        """Written to the YAML; channels that are not there become contact points, for which admin is needed."""
        if not who.sees(project_id):
            raise HTTPException(404)
        fields = {"name": body.name, "project": project_id, **_fields(body, {})}

        def decide(before: WrittenItem | None) -> Fields:
            if before is not None:
                raise TakenError(f"project {project_id!r} has a rule {body.name!r}; change it by its id")
            return fields

        return await _written(edits, who, (project_id, body.name), body, fields, decide, status=201)

    @router.put("/rules/{rule_id}", summary="Update an alert rule")
    async def update(project_id: str, rule_id: str, body: _Rule, who: Writer) -> Response:
        """What is left out stays; so does the name, which the id is made from."""
        item = await found_by_id(edits, who, rule_id, project=project_id)
        if body.name not in (None, item.fields.get("name")):
            return answered(
                RejectedError([FieldProblem("name", "the name stays; make a new rule and delete this one")])
            )
        fields = _fields(body, item.fields)
        decide = demanded(None, lambda before: {**before.fields, **fields})
        return await _written(edits, who, key_of(item), body, fields, decide, before=item.fields)

    @router.delete("/rules/{rule_id}", status_code=204, summary="Delete an alert rule")
    async def delete(project_id: str, rule_id: str, who: Writer) -> Response:
        """Taken out of the YAML."""
        item = await found_by_id(edits, who, rule_id, project=project_id)
        try:
            await edits.change_rule(*key_of(item), demanded(None, lambda _: None))
        except TocsinError as error:
            return answered(error)
        return Response(status_code=204)


async def _written(
    edits: Edits,
    who: Principal,
    key: tuple[str, str],
    body: _Rule,
    fields: dict[str, Any],
    decide: Decide,
    *,
    before: Fields | None = None,
    status: int = 200,
) -> Response:
    """Make the channels that a rule names and then the rule, or nothing of it."""
    try:
        points = await edits.contact_points()
        told = _listed((before or {}).get("notify"))
        channels, notify = _channels(body, points, told)
        missing = {name: made for name, made in channels.items() if name not in points}
        if missing and not (who.may(Role.ADMIN) and who.projects is None):
            raise HTTPException(403, FORBIDDEN)
        problems = await edits.check_rule(
            {**(before or {}), **fields, "notify": [each for each in told if each in points]}
        )
        if problems:
            raise RejectedError(problems)
        for name, made in missing.items():
            await edits.change_contact_point(name, _unless_there(made))
        if notify is not None:
            fields["notify"] = notify
        applied = await edits.change_rule(*key, decide)
    except TocsinError as error:
        return answered(error)
    document = _document(applied.item, await edits.contact_points()) if applied.item else None
    return JSONResponse(document, status_code=status)


def _unless_there(made: Fields) -> Decide:
    return lambda there: there.fields if there is not None else made


def _fields(body: _Rule, before: Fields) -> dict[str, Any]:
    """Return the fields of the YAML that a request gives."""
    given: dict[str, Any] = {
        "description": body.description,
        "enabled": body.enabled,
        **(_METRICS[body.metric_type] if body.metric_type else {}),
        "window": _minutes(body.evaluation_window_minutes),
        "condition": body.condition,
        "severity": body.severity,
        "cooldown": _minutes(body.cooldown_minutes),
    }
    if body.threshold is not None:
        kind = body.metric_type or _metric_of(before)
        given["threshold"] = f"{body.threshold:g}ms" if kind in _MS else body.threshold
    if body.agent_name is not None:
        filters = before.get("filters")
        given["filters"] = {**(filters if isinstance(filters, dict) else {}), "agent": body.agent_name}
    return {key: value for key, value in given.items() if value is not None}


def _channels(
    body: _Rule, points: Mapping[str, WrittenItem], told: list[str]
) -> tuple[dict[str, Fields], list[str] | None]:
    """Return the contact points that a request names, and who is told then; None: as before.

    Raises:
        RejectedError: a channel lacks its address.
    """
    channels: dict[str, Fields] = {}
    if body.notify_slack and (address := _needed(body.slack_webhook_url, "slack_webhook_url", told, _POINTS[0])):
        channels[_POINTS[0] + _digest(address)] = {"type": "slack", "webhook_url": address}
    if body.notify_pagerduty and (
        key := _needed(body.pagerduty_routing_key, "pagerduty_routing_key", told, _POINTS[2])
    ):
        channels[_POINTS[2] + _digest(key)] = {"type": "pagerduty", "routing_key": key}
    if body.notify_email and (to := _needed(body.email_addresses, "email_addresses", told, _POINTS[1])):
        channels[_POINTS[1] + _digest(",".join(to))] = {**_sender(points), "to": ",".join(to)}
    switches = (body.notify_slack, body.notify_email, body.notify_pagerduty)
    if all(switch is None for switch in switches):
        return {}, None
    replaced = {
        prefix
        for prefix, on in zip(_POINTS, switches, strict=True)
        if on is False or any(name.startswith(prefix) for name in channels)
    }
    kept = [name for name in told if not name.startswith(tuple(replaced))] if replaced else list(told)
    return channels, list(dict.fromkeys([*kept, *channels]))


def _needed(value: Any, field: str, told: list[str], prefix: str) -> Any:  # noqa: ANN401  # as it came
    if not value and not any(name.startswith(prefix) for name in told):
        raise RejectedError([FieldProblem(field, "is needed to notify there; give it")])
    return value


def _sender(points: Mapping[str, WrittenItem]) -> dict[str, Any]:
    for item in points.values():
        if item.fields.get("type") == "email":
            return {"type": "email", **{key: item.fields[key] for key in _SENDER if key in item.fields}}
    detail = "mail needs a server; add a contact point of type email, whose server is used for others, too"
    raise RejectedError([FieldProblem("notify_email", detail)])


def _document(item: WrittenItem, points: Mapping[str, WrittenItem]) -> dict[str, Any]:
    project, name = key_of(item)
    fields = item.fields
    filters = fields.get("filters")
    kinds: dict[str, Fields] = {
        str(points[each].fields.get("type")): points[each].fields
        for each in _listed(fields.get("notify"))
        if each in points
    }
    mail = kinds.get("email", {}).get("to")
    return {
        "id": id_of_rule(project, name),
        "project_id": project,
        "name": name,
        "description": fields.get("description"),
        "enabled": fields.get("enabled", True) is not False,
        "metric_type": _metric_of(fields),
        "condition": fields.get("condition"),
        "threshold": _threshold(fields.get("threshold")),
        "evaluation_window_minutes": _whole_minutes(fields.get("window"), 60),
        "agent_name": shown(filters.get("agent")) if isinstance(filters, dict) else None,
        "severity": fields.get("severity", "medium"),
        "cooldown_minutes": _whole_minutes(fields.get("cooldown"), 30),
        "notify_slack": "slack" in kinds,
        "notify_email": "email" in kinds,
        "email_addresses": mail.split(",") if isinstance(mail, str) else shown(mail) or [],
        "notify_pagerduty": "pagerduty" in kinds,
    }


def _metric_of(fields: Fields) -> str | None:
    for name, parts in _METRICS.items():
        given = {"metric": fields.get("metric"), "aggregate": fields.get("aggregate")}
        if all(given[key] == value for key, value in parts.items()) and (
            "aggregate" in parts or not given["aggregate"]
        ):
            return name
    return None


def _threshold(written: object) -> object:
    if not isinstance(written, str):
        return shown(written)
    for unit, factor in (("ms", 1.0), ("s", 1000.0), ("%", 0.01), ("", 1.0)):
        number = written.removeprefix("$")
        if number.endswith(unit):
            try:
                return float(number[: len(number) - len(unit)]) * factor
            except ValueError:
                continue
    return written


def _minutes(value: int | None) -> str | None:
    return None if value is None else f"{value}m"


def _whole_minutes(written: object, default: int) -> int | None:
    if written is None:
        return default
    try:
        return round(parse_duration(written).total_seconds() / 60)
    except ValueError:
        return None  # a calendar window


def _listed(notify: object) -> list[str]:
    return [str(each) for each in (notify if isinstance(notify, list) else [notify]) if each is not None]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
