"""`/api/v1/rules`: the rules of the files, and changes of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Protocol
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from tocsin.alerts.state import AlertState
from tocsin.api.authorization import Reader, requires
from tocsin.api.changes import IfMatch, answered, demanded, etag, shown
from tocsin.api.checklist import checklist_of
from tocsin.api.editing import Applied, Edits, Fields, RejectedError, TakenError, WrittenItem
from tocsin.api.idempotency import Idempotency
from tocsin.api.paging import Cursor, Limit, cursor_of, position_of
from tocsin.api.problems import problem
from tocsin.errors import TocsinError
from tocsin.notify.message import rfc3339
from tocsin.rules.sql.config import SqlConfig
from tocsin.security.roles import Principal, Role

__all__ = ["RuleStatus", "Running", "RunningRule", "key_of", "rules_router"]

_WRITE: Final = Depends(requires(Role.WRITE))
RuleFields = Annotated[
    dict[str, Any],
    Body(
        description="The YAML's own fields, as docs/rules.md explains them.",
        openapi_examples={
            "runaway conversation": {
                "value": {
                    "name": "runaway-conversation",
                    "metric": "cost",
                    "window": "5m",
                    "group_by": ["conversation"],
                    "condition": "gt",
                    "threshold": 25,
                    "severity": "critical",
                    "notify": ["oncall"],
                }
            },
        },
    ),
]


class RuleStatus(StrEnum):
    """What a rule is doing."""

    FIRING = "firing"
    PENDING = "pending"
    LIVE = "live"
    DISABLED = "disabled"
    INVALID = "invalid"
    WAITING = "waiting"
    """Written, and not in force: the files are being read, or have mistakes elsewhere."""


@dataclass(frozen=True, slots=True)
class RunningRule:
    """A rule that is in force."""

    series: int = 0
    states: frozenset[AlertState] = field(default_factory=frozenset)


class Running(Protocol):
    """What the API asks of the service about the rules in force."""

    def rules(self) -> Mapping[tuple[str, str], RunningRule]:
        """Return the rules that are evaluated, by project and name."""
        ...

    def problems(self) -> Sequence[str]:
        """Return why the files as they are are not in force: `file:line:column: what`."""
        ...

    def sql(self) -> SqlConfig:
        """Return what names in queries stand for."""
        ...

    async def last_fired(self) -> Mapping[tuple[str, str], int]:
        """Return when each rule last fired, event time in Unix nanoseconds; empty where that is not known."""
        ...


def rules_router(edits: Edits, running: Running) -> APIRouter:
    """Return the routes of rules that `edits` changes and the service is `running`."""
    router = APIRouter(prefix="/api/v1/rules", tags=["rules"])
    resource = _Rules(edits, running)
    _reading(router, resource)
    _checking(router, resource)
    _changing(router, resource)
    return router


def key_of(item: WrittenItem) -> tuple[str, str]:
    """Return the project and name of a rule as it is written."""
    return str(item.fields.get("project", "default")), str(item.fields.get("name", ""))


class _Rules:
    """What the routes share."""

    def __init__(self, edits: Edits, running: Running) -> None:
        self.edits = edits
        self.running = running
        self.idempotency = Idempotency()

    async def found(self, who: Principal, project: str, name: str) -> WrittenItem:
        """Return a rule.

        Raises:
            HTTPException: 404, also where it is not theirs to see.
        """
        if who.sees(project):
            for item in await self.edits.rules():
                if key_of(item) == (project, name):
                    return item
        raise HTTPException(404)

    async def documents(self, items: Sequence[WrittenItem]) -> list[dict[str, Any]]:
        """Return rules as they are shown."""
        live, problems, fired = self.running.rules(), self.running.problems(), await self.running.last_fired()
        return [_document(item, live.get(key_of(item)), problems, fired.get(key_of(item))) for item in items]

    async def changed(self, change: Awaitable[Applied], *, status: int = 200) -> Response:
        """Return the answer to a change."""
        try:
            applied = await change
        except TocsinError as error:
            return answered(error)
        if applied.item is None:
            return JSONResponse({"pending": applied.pending}) if applied.pending else Response(status_code=204)
        [document] = await self.documents([applied.item])
        headers = {"etag": etag(applied.item)}
        if status == 201:  # HTTP's
            headers["location"] = "/api/v1/rules/{}/{}".format(*map(_quoted, key_of(applied.item)))
        return JSONResponse({**document, "pending": applied.pending}, status_code=status, headers=headers)


def _reading(router: APIRouter, rules: _Rules) -> None:
    @router.get("", summary="Rules, in the order of the files")
    async def list_rules(
        who: Reader,
        project: Annotated[str | None, Query(max_length=1024)] = None,
        status: RuleStatus | None = None,
        search: Annotated[str | None, Query(max_length=1024, description="Part of the name or description.")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> JSONResponse:
        """Each with its status, when it last fired, how many groups it has, and where it is written."""
        position = position_of(cursor, str, str)
        items = [item for item in await rules.edits.rules() if who.sees(key_of(item)[0])]
        if project is not None:
            items = [item for item in items if key_of(item)[0] == project]
        if search is not None:
            items = [item for item in items if search.lower() in _searched(item)]
        documents = await rules.documents(items)
        if status is not None:
            documents = [one for one in documents if one["status"] == status]
        keys = [(one["project"], one["name"]) for one in documents]
        begin = keys.index((str(position[0]), str(position[1]))) + 1 if position and tuple(position) in keys else 0
        page = documents[begin : begin + limit]
        more = begin + limit < len(documents)
        last = cursor_of(page[-1]["project"], page[-1]["name"]) if more else None
        return JSONResponse({"rules": page, "total": len(documents), "next_cursor": last})

    @router.get("/{project}/{name}", summary="One rule")
    async def one_rule(project: str, name: str, who: Reader) -> JSONResponse:
        """`rule` has the YAML's own fields, as PUT takes them; the ETag guards a change of them."""
        item = await rules.found(who, project, name)
        [document] = await rules.documents([item])
        return JSONResponse(document, headers={"etag": etag(item)})


def _checking(router: APIRouter, rules: _Rules) -> None:
    @router.post("/validate", summary="The checklist of a rule that is not saved yet")
    async def validate(fields: RuleFields, who: Reader) -> JSONResponse:
        """Each requirement, whether it is met, where, and what to do. Nothing is changed."""
        _seen(who, fields)
        try:
            problems = await rules.edits.check_rule(fields)
        except RejectedError as error:
            problems = error.problems
        except TocsinError as error:
            return answered(error)
        lines = checklist_of(fields, problems, rules.running.sql())
        return JSONResponse({"valid": all(line["passed"] for line in lines), "requirements": lines})


def _changing(router: APIRouter, rules: _Rules) -> None:
    edits = rules.edits

    @router.post("", status_code=201, summary="A new rule")
    async def create(
        request: Request,
        fields: RuleFields,
        who: Annotated[Principal, _WRITE],
        file: Annotated[str | None, Query(max_length=4096, description="The file it is written to.")] = None,
    ) -> Response:
        """Written to the file that is named, else below the last rule there is; live when this is answered."""
        project, name = _seen(who, fields)

        def decide(before: WrittenItem | None) -> Fields:
            if before is not None:
                raise TakenError(f"project {project!r} has a rule {name!r} at {before.file}:{before.line}; change that")
            return fields

        return await rules.idempotency.once(
            request, lambda: rules.changed(edits.change_rule(project, name, decide, file=file), status=201)
        )

    @router.put("/{project}/{name}", summary="A rule's fields, all of them")
    async def replace(
        project: str, name: str, fields: RuleFields, who: Annotated[Principal, _WRITE], if_match: IfMatch = None
    ) -> Response:
        """Fields that are left out are taken out of the file. The name stays."""
        _known(who, project)
        if refused := _renamed(fields, project, name):
            return refused
        whole = {"name": name, **({"project": project} if project != "default" else {}), **fields}
        return await rules.changed(edits.change_rule(project, name, demanded(if_match, lambda _: whole)))

    @router.patch("/{project}/{name}", summary="Some fields of a rule")
    async def patch(
        project: str, name: str, fields: RuleFields, who: Annotated[Principal, _WRITE], if_match: IfMatch = None
    ) -> Response:
        """A JSON merge patch (RFC 7396): what is null is taken out, mappings are merged, all else is replaced."""
        _known(who, project)
        if refused := _renamed(fields, project, name):
            return refused
        decide = demanded(if_match, lambda before: _merged(before.fields, fields))
        return await rules.changed(edits.change_rule(project, name, decide))

    @router.delete("/{project}/{name}", status_code=204, summary="Take a rule out of its file")
    async def delete(project: str, name: str, who: Annotated[Principal, _WRITE], if_match: IfMatch = None) -> Response:
        """Its alerts end; their history stays."""
        _known(who, project)
        return await rules.changed(edits.change_rule(project, name, demanded(if_match, lambda _: None)))

    def switch(*, on: bool) -> Callable[..., Awaitable[Response]]:
        async def switched(
            project: str, name: str, who: Annotated[Principal, _WRITE], if_match: IfMatch = None
        ) -> Response:
            _known(who, project)
            return await rules.changed(
                edits.change_rule(project, name, demanded(if_match, lambda old: _on(old, on=on)))
            )

        return switched

    router.post("/{project}/{name}/enable", summary="Evaluate a rule")(switch(on=True))
    router.post("/{project}/{name}/disable", summary="Do not evaluate a rule")(switch(on=False))


def _seen(who: Principal, fields: Fields) -> tuple[str, str]:
    project, name = str(fields.get("project", "default")), str(fields.get("name", ""))
    if not who.sees(project):
        raise HTTPException(403, f"this token is not for project {project[:80]!r}")
    return project, name


def _known(who: Principal, project: str) -> None:
    if not who.sees(project):
        raise HTTPException(404)


def _renamed(fields: Fields, project: str, name: str) -> JSONResponse | None:
    asked = fields.get("project", project), fields.get("name", name)
    if asked == (project, name):
        return None
    detail = "project and name stay; for other ones make a new rule and delete this one"
    key = "name" if asked[1] != name else "project"
    return problem(422, detail, errors=[{"field": key, "detail": detail}])


def _merged(before: Any, patch: Any) -> Any:  # noqa: ANN401  # JSON
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(before) if isinstance(before, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _on(item: WrittenItem, *, on: bool) -> Fields:
    if bool(item.fields.get("enabled", True)) is on:
        return item.fields
    if on:
        return {key: value for key, value in item.fields.items() if key != "enabled"}
    return {**item.fields, "enabled": False}


def _document(
    item: WrittenItem, live: RunningRule | None, problems: Sequence[str], fired: int | None
) -> dict[str, Any]:
    project, name = key_of(item)
    own = [problem for problem in problems if _is_at(problem, item)]
    return {
        "project": project,
        "name": name,
        "rule": shown(item.fields),
        "status": _status(item, live, own).value,
        "problems": own,
        "last_fired_at": None if fired is None else rfc3339(fired),
        "series": 0 if live is None else live.series,
        "file": item.file,
        "line": item.line,
        "etag": etag(item),
    }


def _status(item: WrittenItem, live: RunningRule | None, problems: Sequence[str]) -> RuleStatus:
    if problems:
        return RuleStatus.INVALID
    if item.fields.get("enabled", True) is False:
        return RuleStatus.DISABLED
    if live is None:
        return RuleStatus.WAITING
    if AlertState.FIRING in live.states:
        return RuleStatus.FIRING
    return RuleStatus.PENDING if AlertState.PENDING in live.states else RuleStatus.LIVE


def _is_at(problem: str, item: WrittenItem) -> bool:
    place, _, _ = problem.partition(": ")
    name, _, column = place.rpartition(":")
    name, _, line = name.rpartition(":")
    return name == item.file and line.isdigit() and column.isdigit() and item.line <= int(line) <= item.last_line


def _searched(item: WrittenItem) -> str:
    return f"{item.fields.get('name', '')}\n{item.fields.get('description', '')}".lower()


def _quoted(text: str) -> str:
    return quote(text, safe="")
