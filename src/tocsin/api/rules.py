"""`/api/v1/rules`: the rules of the files, and changes of them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from tocsin.api.authorization import Reader, requires
from tocsin.api.changes import IfMatch, answered, etag, shown
from tocsin.api.editing import Applied, Edits
from tocsin.api.idempotency import Idempotency
from tocsin.api.paging import Cursor, Limit, cursor_of, position_of
from tocsin.api.ruleset import Ruleset, RuleState, RuleStatus, Running, key_of
from tocsin.errors import TocsinError
from tocsin.notify.message import rfc3339
from tocsin.security.roles import Principal, Role

__all__ = ["rules_router"]

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


def rules_router(edits: Edits, running: Running, once: Idempotency) -> APIRouter:
    """Return the routes of rules that `edits` changes, each change `once`, and the service is `running`."""
    router = APIRouter(prefix="/api/v1/rules", tags=["rules"])
    resource = _Rules(edits, running, once)
    _reading(router, resource)
    _checking(router, resource)
    _changing(router, resource)
    return router


class _Rules(Ruleset):
    """What the routes share."""

    def __init__(self, edits: Edits, running: Running, once: Idempotency) -> None:
        super().__init__(edits, running)
        self.idempotency = once

    async def changed(self, change: Awaitable[Applied], *, status: int = 200) -> Response:
        """Return the answer to a change."""
        try:
            applied = await change
        except TocsinError as error:
            return answered(error)
        if applied.item is None:
            return JSONResponse({"pending": applied.pending}) if applied.pending else Response(status_code=204)
        [state] = await self.states([applied.item])
        headers = {"etag": etag(applied.item)}
        if status == 201:  # HTTP's
            headers["location"] = "/api/v1/rules/{}/{}".format(*map(_quoted, key_of(applied.item)))
        return JSONResponse({**_document(state), "pending": applied.pending}, status_code=status, headers=headers)


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
        found = await rules.seen(who, project=project, search=search, status=status)
        keys = [(one.project, one.name) for one in found]
        begin = keys.index((str(position[0]), str(position[1]))) + 1 if position and tuple(position) in keys else 0
        page = found[begin : begin + limit]
        last = cursor_of(page[-1].project, page[-1].name) if begin + limit < len(found) else None
        return JSONResponse({"rules": list(map(_document, page)), "total": len(found), "next_cursor": last})

    @router.get("/{project}/{name}", summary="One rule")
    async def one_rule(project: str, name: str, who: Reader) -> JSONResponse:
        """`rule` has the YAML's own fields, as PUT takes them; the ETag guards a change of them."""
        item = await rules.found(who, project, name)
        [state] = await rules.states([item])
        return JSONResponse(_document(state), headers={"etag": etag(item)})


def _checking(router: APIRouter, rules: _Rules) -> None:
    @router.post("/validate", summary="The checklist of a rule that is not saved yet")
    async def validate(fields: RuleFields, who: Reader) -> JSONResponse:
        """Each requirement, whether it is met, where, and what to do. Nothing is changed."""
        try:
            lines = await rules.checklist(who, fields)
        except TocsinError as error:
            return answered(error)
        return JSONResponse({"valid": all(line["passed"] for line in lines), "requirements": lines})


def _changing(router: APIRouter, rules: _Rules) -> None:
    @router.post("", status_code=201, summary="A new rule")
    async def create(
        request: Request,
        fields: RuleFields,
        who: Annotated[Principal, _WRITE],
        file: Annotated[str | None, Query(max_length=4096, description="The file it is written to.")] = None,
    ) -> Response:
        """Written to the file that is named, else below the last rule there is; live when this is answered."""
        return await rules.idempotency.once(
            request, lambda: rules.changed(rules.create(who, fields, file=file), status=201)
        )

    @router.put("/{project}/{name}", summary="A rule's fields, all of them")
    async def replace(
        project: str, name: str, fields: RuleFields, who: Annotated[Principal, _WRITE], if_match: IfMatch = None
    ) -> Response:
        """Fields that are left out are taken out of the file. The name stays."""
        return await rules.changed(rules.replace(who, project, name, fields, if_match=if_match))

    @router.patch("/{project}/{name}", summary="Some fields of a rule")
    async def patch(
        project: str, name: str, fields: RuleFields, who: Annotated[Principal, _WRITE], if_match: IfMatch = None
    ) -> Response:
        """A JSON merge patch (RFC 7396): what is null is taken out, mappings are merged, all else is replaced."""
        return await rules.changed(rules.patch(who, project, name, fields, if_match=if_match))

    @router.delete("/{project}/{name}", status_code=204, summary="Take a rule out of its file")
    async def delete(project: str, name: str, who: Annotated[Principal, _WRITE], if_match: IfMatch = None) -> Response:
        """Its alerts end; their history stays."""
        return await rules.changed(rules.delete(who, project, name, if_match=if_match))

    def switch(*, on: bool) -> Callable[..., Awaitable[Response]]:
        async def switched(
            project: str, name: str, who: Annotated[Principal, _WRITE], if_match: IfMatch = None
        ) -> Response:
            return await rules.changed(rules.switch(who, project, name, on=on, if_match=if_match))

        return switched

    router.post("/{project}/{name}/enable", summary="Evaluate a rule")(switch(on=True))
    router.post("/{project}/{name}/disable", summary="Do not evaluate a rule")(switch(on=False))


def _document(state: RuleState) -> dict[str, Any]:
    return {
        "project": state.project,
        "name": state.name,
        "rule": shown(state.fields),
        "status": state.status.value,
        "problems": list(state.problems),
        "last_fired_at": None if state.last_fired is None else rfc3339(state.last_fired),
        "series": state.series,
        "file": state.item.file,
        "line": state.item.line,
        "etag": etag(state.item),
    }


def _quoted(text: str) -> str:
    return quote(text, safe="")
