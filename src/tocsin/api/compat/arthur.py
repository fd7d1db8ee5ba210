"""Arthur's alert rules: SQL with a bound and a threshold, by model. A model is a project here."""

from collections.abc import Mapping
from inspect import cleandoc
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from tocsin.api.alerts import unavailable
from tocsin.api.authorization import Reader, Writer, requires
from tocsin.api.changes import answered, demanded, shown
from tocsin.api.checklist import query_lines
from tocsin.api.compat.shared import found_by_id, id_of_point, id_of_rule, recorded_alerts, rules_of
from tocsin.api.editing import Edits, Fields, TakenError, WrittenItem
from tocsin.api.problems import problem
from tocsin.api.ruleset import Running, key_of
from tocsin.errors import OverloadedError, TocsinError
from tocsin.notify.message import rfc3339
from tocsin.security.roles import Principal, Role
from tocsin.storage.database import Database

__all__ = ["arthur_router"]

_UNITS: Final = {"seconds": "s", "minutes": "m", "hours": "h", "days": "d"}
_SECONDS: Final = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
_WRITE: Final = Depends(requires(Role.WRITE))


class _Interval(BaseModel):
    count: Annotated[int, Field(ge=1)]
    unit: Literal["seconds", "minutes", "hours", "days"]


class _NewRule(BaseModel):
    name: str
    description: str | None = None
    metric_name: str
    query: str
    bound: Literal["upper_bound", "lower_bound"]
    threshold: float
    interval: _Interval
    notification_webhook_ids: list[str] = Field(default_factory=list)


class _ChangedRule(BaseModel):
    name: str | None = None
    description: str | None = None
    metric_name: str | None = None
    query: str | None = None
    bound: Literal["upper_bound", "lower_bound"] | None = None
    threshold: float | None = None
    interval: _Interval | None = None
    notification_webhook_ids: list[str] | None = None


class _Query(BaseModel):
    query: str
    interval: _Interval = _Interval(count=1, unit="hours")


def arthur_router(edits: Edits, running: Running, database: Database) -> APIRouter:
    """Return the routes; rules are of `edits`, fired alerts of `database`."""
    router = APIRouter(prefix="/api/v1", tags=["compatible with Arthur"])
    _reading(router, edits, running, database)
    _changing(router, edits)
    return router


def _reading(router: APIRouter, edits: Edits, running: Running, database: Database) -> None:
    @router.get("/models/{model_id}/alert_rules", summary="A model's alert rules")
    async def list_rules(model_id: str, who: Reader) -> JSONResponse:
        """Those with SQL."""
        names = await edits.contact_points()
        found = [item for item in await rules_of(edits, who, model_id) if "sql" in item.fields]
        return JSONResponse([_document(item, names) for item in found])

    @router.post("/models/{model_id}/alert_rule_query_validation", summary="The checklist of a query")
    async def validate(model_id: str, body: _Query, who: Reader) -> JSONResponse:
        """The four requirements, and every clause that can't be evaluated as data arrives."""
        if not who.sees(model_id):
            raise HTTPException(404)
        seconds = body.interval.count * _SECONDS[body.interval.unit]
        lines = query_lines(body.query, seconds * 10**9, running.sql())
        return JSONResponse({"valid": all(line["passed"] for line in lines), "requirements": lines})

    @router.get("/alert_rules/{rule_id}", summary="One alert rule")
    async def one_rule(rule_id: str, who: Reader) -> JSONResponse:
        """By the id that making it gave."""
        return JSONResponse(_document(await found_by_id(edits, who, rule_id), await edits.contact_points()))

    @router.get("/models/{model_id}/alerts", summary="A model's alerts, the latest first")
    async def fired(model_id: str, who: Reader) -> JSONResponse:
        """Those that fired."""
        if not who.sees(model_id):
            return JSONResponse([])
        try:
            found = await recorded_alerts(database, [model_id])
        except OverloadedError as error:
            return unavailable(error)
        return JSONResponse(
            [
                {
                    "id": one.id,
                    "alert_rule_id": id_of_rule(one.project, one.rule),
                    "alert_rule_name": one.rule,
                    "model_id": one.project,
                    "fired_at": rfc3339(one.fired_at),
                    "resolved_at": None if one.resolved_at is None else rfc3339(one.resolved_at),
                    "value": shown(one.value),
                    "threshold": shown(one.threshold),
                    "dimensions": shown(one.group),
                }
                for one in found
            ]
        )


def _changing(router: APIRouter, edits: Edits) -> None:
    @router.post("/models/{model_id}/alert_rules", status_code=201, summary="A new alert rule")
    async def create(model_id: str, body: _NewRule, who: Annotated[Principal, _WRITE]) -> Response:
        """Written to the YAML as a rule with SQL, in a project that is called as the model is."""
        if not who.sees(model_id):
            raise HTTPException(404)
        names = await edits.contact_points()
        try:
            fields = {"name": body.name, "project": model_id, **_fields(body, names)}
        except LookupError as error:
            return _no_webhook(str(error.args[0]))

        def decide(before: WrittenItem | None) -> Fields:
            if before is not None:
                raise TakenError(f"model {model_id!r} has an alert rule {body.name!r}; change it by its id")
            return fields

        try:
            applied = await edits.change_rule(model_id, body.name, decide)
        except TocsinError as error:
            return answered(error)
        return JSONResponse(_document(applied.item, names) if applied.item else None, status_code=201)

    @router.patch("/alert_rules/{rule_id}", summary="Some fields of an alert rule")
    async def change(rule_id: str, body: _ChangedRule, who: Writer) -> Response:
        """Its name stays."""
        item = await found_by_id(edits, who, rule_id)
        if body.name not in (None, item.fields.get("name")):
            return problem(422, "the name stays, as the id is made from it; make a new rule and delete this one")
        names = await edits.contact_points()
        try:
            fields = _fields(body, names)
        except LookupError as error:
            return _no_webhook(str(error.args[0]))
        try:
            applied = await edits.change_rule(*key_of(item), demanded(None, lambda before: {**before.fields, **fields}))
        except TocsinError as error:
            return answered(error)
        return JSONResponse(_document(applied.item or item, names))

    @router.delete("/alert_rules/{rule_id}", status_code=204, summary="Delete an alert rule")
    async def delete(rule_id: str, who: Writer) -> Response:
        """Taken out of the YAML."""
        item = await found_by_id(edits, who, rule_id)
        try:
            await edits.change_rule(*key_of(item), demanded(None, lambda _: None))
        except TocsinError as error:
            return answered(error)
        return Response(status_code=204)


def _fields(body: _NewRule | _ChangedRule, points: Mapping[str, WrittenItem]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "description": body.description,
        "metric_name": body.metric_name,
        "sql": None if body.query is None else _tidy(body.query),
        "bound": body.bound,
        "threshold": body.threshold,
        "interval": None if body.interval is None else body.interval.model_dump(),
    }
    fields = {key: value for key, value in given.items() if value is not None}
    if body.notification_webhook_ids is not None:
        by_id = {id_of_point(name): name for name in points} | {name: name for name in points}
        notify = [by_id[each] for each in body.notification_webhook_ids]
        if notify or isinstance(body, _ChangedRule):
            fields["notify"] = notify
    return fields


def _tidy(query: str) -> str:
    """Return a query without the indentation of the program that it stood in."""
    return "\n".join(line.rstrip() for line in cleandoc(query).splitlines())


def _no_webhook(name: str) -> JSONResponse:
    detail = f"there is no contact point {name[:80]!r}; take an id or a name of /api/v1/contact-points"
    return problem(422, detail, errors=[{"field": "notification_webhook_ids", "detail": detail}])


def _document(item: WrittenItem, points: Mapping[str, WrittenItem]) -> dict[str, Any]:
    project, name = key_of(item)
    fields = item.fields
    notify = fields.get("notify") or []
    named = notify if isinstance(notify, list) else [notify]
    return {
        "id": id_of_rule(project, name),
        "model_id": project,
        "name": name,
        "description": fields.get("description"),
        "metric_name": fields.get("metric_name"),
        "query": fields.get("sql"),
        "bound": fields.get("bound"),
        "threshold": shown(fields.get("threshold")),
        "interval": shown(_interval(fields.get("interval"))),
        "notification_webhook_ids": [id_of_point(str(each)) for each in named if each in points],
        "enabled": fields.get("enabled", True) is not False,
    }


def _interval(written: object) -> object:
    if not isinstance(written, str) or written[-1:] not in _UNITS.values() or not written[:-1].isdigit():
        return written
    words = {letter: word for word, letter in _UNITS.items()}
    return {"count": int(written[:-1]), "unit": words[written[-1]]}
