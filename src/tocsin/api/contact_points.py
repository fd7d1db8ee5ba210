"""`/api/v1/contact-points`: who is told. Secrets go in and never come out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Protocol, get_args

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from starlette.responses import Response

from tocsin.api.authorization import Reader, requires
from tocsin.api.changes import Body, IfMatch, answered, demanded, etag, shown
from tocsin.api.editing import (
    Applied,
    Edits,
    FieldProblem,
    Fields,
    MissingError,
    RejectedError,
    TakenError,
    WrittenItem,
)
from tocsin.api.idempotency import Idempotency
from tocsin.api.problems import problem
from tocsin.errors import TocsinError
from tocsin.notify.contact import ContactConfig
from tocsin.notify.kinds import AnyContact
from tocsin.notify.templating.preview import STATES, Preview, preview_of_state
from tocsin.security.roles import Principal, Role

__all__ = [
    "KINDS",
    "TestOutcome",
    "Tests",
    "add_point",
    "contact_points_router",
    "points_of",
    "preview_point",
    "remove_point",
    "replace_point",
    "secrets_of",
]

_ADMIN: Final = Depends(requires(Role.ADMIN, everywhere=True))
Admin = Annotated[Principal, _ADMIN]
Name = Annotated[str, Path(max_length=255)]
_DESTINATIONS: Final = frozenset(
    {"url", "host", "port", "tls", "ca_file", "api_url", "allow_private", "brokers", "endpoint", "system"}
)
"""Fields that say where secrets are sent."""


class TestOutcome(Protocol):
    """How a test notification went."""

    @property
    def delivered(self) -> bool:
        """Whether it was taken."""
        ...

    @property
    def text(self) -> str:
        """The receiver's answer, or why there is none and what to do."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...


Tests = Callable[[str], Awaitable["TestOutcome | None"]]
"""Sends a test notification to a contact point that is in force; None: there is none of that name."""


def contact_points_router(edits: Edits, test: Tests, once: Idempotency) -> APIRouter:
    """Return the routes of contact points, which `edits` changes, each change `once`, and `test` tries."""
    router = APIRouter(prefix="/api/v1/contact-points", tags=["contact points"])

    @router.get("", summary="Contact points")
    async def list_points(_: Reader) -> JSONResponse:
        """All of them; of secrets, whether they are set."""
        return JSONResponse({"contact_points": await points_of(edits)})

    @router.post("", status_code=201, summary="A new contact point")
    async def create(request: Request, fields: Body, _: Admin) -> Response:
        """`name`, and the YAML's own fields; in force when this is answered."""
        name = fields.get("name")
        if not isinstance(name, str) or not name:
            detail = "should be the name that rules use under notify"
            return problem(422, f"name: {detail}", errors=[{"field": "name", "detail": detail}])

        return await once.once(request, lambda: _changed(add_point(edits, name, fields), name, edits, status=201))

    @router.get("/{name:path}", summary="One contact point")
    async def one_point(name: Name, _: Reader) -> JSONResponse:
        """Its fields without secrets; the ETag guards a change of it."""
        item = (await edits.contact_points()).get(name)
        if item is None:
            raise HTTPException(404)
        users = _users(await edits.rules())
        return JSONResponse(_document(name, item, users.get(name, ())), headers={"etag": etag(item)})

    @router.put("/{name:path}", summary="A contact point's fields, all of them")
    async def replace(name: Name, fields: Body, _: Admin, if_match: IfMatch = None) -> Response:
        """A secret that is left out stays as it is; one that is null is taken out."""
        return await _changed(replace_point(edits, name, fields, if_match), name, edits)

    @router.delete("/{name:path}", status_code=204, summary="Take a contact point out of the file")
    async def delete(name: Name, _: Admin, if_match: IfMatch = None) -> Response:
        """Refused while a rule names it."""
        return await _changed(remove_point(edits, name, if_match), name, edits)

    @router.post("/{name:path}/test", summary="Send a test notification")
    async def send_test(name: Name, _: Annotated[Principal, Depends(requires(Role.WRITE))]) -> JSONResponse:
        """To the contact point as it is in force; the answer says what the receiver said."""
        outcome = await test(name)
        if outcome is None:
            raise HTTPException(404)
        return JSONResponse({"delivered": outcome.delivered, "answer": outcome.text, "seconds": outcome.seconds})

    @router.post("/preview", summary="What a contact point would be sent")
    async def show(fields: Body, _: Annotated[Principal, Depends(requires(Role.WRITE))]) -> Response:
        """`name` of one in the file, or its `type`; a `template` to try, and the `state` of the alert."""
        try:
            return JSONResponse(asdict(await preview_point(edits, fields)))
        except TocsinError as error:
            return answered(error)

    return router


async def points_of(edits: Edits) -> list[dict[str, Any]]:
    """Return all contact points as the API shows them: of secrets, whether they are set."""
    found, users = await edits.contact_points(), _users(await edits.rules())
    return [_document(name, item, users.get(name, ())) for name, item in found.items()]


async def add_point(edits: Edits, name: str, fields: Fields) -> Applied:
    """Write a new contact point into the file.

    Raises:
        TakenError: there is one of that name.
        RejectedError: it is not valid.
        UnwritableError: the file can't be written.
    """

    def decide(before: WrittenItem | None) -> Fields:
        if before is not None:
            raise TakenError(f"there is a contact point {name!r} at {before.file}:{before.line}; change that")
        return {key: value for key, value in fields.items() if key != "name"}

    return await edits.change_contact_point(name, decide)


async def replace_point(edits: Edits, name: str, fields: Fields, if_match: str | None) -> Applied:
    """Write all fields of a contact point anew; see `add_point` for what it raises.

    Args:
        edits: what writes.
        name: of the contact point.
        fields: secrets that are left out stay, those that are None go.
        if_match: the entity tag that is changed; None: whatever is there.

    Raises:
        MissingError: there is none of that name.
        TocsinError: it is not what the tag says, or see `add_point`.
    """
    return await edits.change_contact_point(name, demanded(if_match, lambda before: _kept(before.fields, fields)))


async def remove_point(edits: Edits, name: str, if_match: str | None) -> Applied:
    """Take a contact point out of the file; see `replace_point`.

    Raises:
        TakenError: rules name it.
    """
    if users := _users(await edits.rules()).get(name):
        raise TakenError(f"rules name it: {', '.join(users)}; change them first")
    return await edits.change_contact_point(name, demanded(if_match, lambda _: None))


async def preview_point(edits: Edits, fields: Fields) -> Preview:
    """Return what a contact point would be sent; nothing is.

    Args:
        edits: what knows the file.
        fields: `name` of a contact point in the file, or `type`; `template` in place of its own; `state`, one of
            `STATES`, `firing` if left out.

    Raises:
        MissingError: there is none of that name.
        RejectedError: a field is not valid.
    """
    fields = {**await _named(edits, fields.get("name")), **fields}
    kind, state = KINDS.get(str(fields.get("type"))), fields.get("state", STATES[0])
    if kind is None or not issubclass(kind, ContactConfig):
        raise RejectedError([FieldProblem("type", f"should be one of {', '.join(KINDS)}")])
    if state not in STATES:
        raise RejectedError([FieldProblem("state", f"should be one of {', '.join(STATES)}")])
    place: Any = kind.model_fields["template"].annotation
    try:
        template = TypeAdapter[Any](place).validate_python(fields.get("template"))
    except ValidationError as error:
        raise RejectedError(
            [
                FieldProblem(".".join(map(str, ("template", *one["loc"]))), one["msg"].removeprefix("Value error, "))
                for one in error.errors(include_url=False, include_input=False)
            ]
        ) from None
    return await asyncio.to_thread(preview_of_state, kind, template, str(state))


async def _named(edits: Edits, name: object) -> Fields:
    if name is None:
        return {}
    item = (await edits.contact_points()).get(str(name))
    if item is None:
        raise MissingError
    return item.fields


async def _changed(change: Awaitable[Applied], name: str, edits: Edits, *, status: int = 200) -> Response:
    try:
        applied = await change
    except TocsinError as error:
        return answered(error)
    if applied.item is None:
        return JSONResponse({"pending": applied.pending}) if applied.pending else Response(status_code=204)
    users = _users(await edits.rules()).get(name, ())
    body = {**_document(name, applied.item, users), "pending": applied.pending}
    return JSONResponse(body, status_code=status, headers={"etag": etag(applied.item)})


def _kept(before: Fields, fields: Fields) -> Fields:
    """Return the fields with the secrets that stay.

    Raises:
        RejectedError: they would be sent somewhere else than before.
    """
    fields = {key: value for key, value in fields.items() if key != "name"}
    kept = {
        key: before[key]
        for key in secrets_of(str(fields.get("type", before.get("type"))))
        if key in before and key not in fields
    }
    moved = sorted(key for key in _DESTINATIONS & (fields.keys() | before.keys()) if _moves(key, before, fields, kept))
    if kept and moved:
        detail = f"{moved[0]} changes, so the secrets have to be given again: {', '.join(kept)}"
        raise RejectedError([FieldProblem(key, detail) for key in kept])
    return {**{key: value for key, value in fields.items() if value is not None}, **kept}


def _moves(key: str, before: Fields, fields: Fields, kept: Fields) -> bool:
    return key not in kept and fields.get(key) != before.get(key)


def _models(kind: object) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the kinds of contact points: what `type` says, and their fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and "type" in kind.model_fields:
        for word in get_args(kind.model_fields["type"].annotation):
            yield str(word), kind
        return
    for part in get_args(kind):
        yield from _models(part)


KINDS: Final[Mapping[str, type[BaseModel]]] = dict(_models(AnyContact))
"""What `type` says -> the fields of that kind."""


def secrets_of(kind: str) -> tuple[str, ...]:
    """Return the fields of a kind of contact point that are never shown."""
    model = KINDS.get(kind)
    if model is None:
        # Of a kind that is not known nothing is shown but its type.
        return ()
    return tuple(field.alias or name for name, field in model.model_fields.items() if _is_secret(field))


def _is_secret(field: FieldInfo) -> bool:
    def holds(kind: object) -> bool:
        return kind is SecretStr or any(map(holds, get_args(kind)))

    return holds(field.annotation)


def _document(name: str, item: WrittenItem, users: Sequence[str]) -> dict[str, Any]:
    kind = str(item.fields.get("type", ""))
    secrets = secrets_of(kind)
    model = KINDS.get(kind)
    known = set() if model is None else {field.alias or key for key, field in model.model_fields.items()}
    return {
        "name": name,
        "type": kind,
        "contact_point": {
            key: shown(value) for key, value in item.fields.items() if key in known and key not in secrets
        },
        "secrets": {key: item.fields.get(key) not in (None, "", {}) for key in secrets},
        "used_by": list(users),
        "file": item.file,
        "line": item.line,
        "etag": etag(item),
    }


def _users(rules: Sequence[WrittenItem]) -> dict[str, list[str]]:
    """Return the rules that name each contact point."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        levels = rule.fields.get("levels")
        places = (
            [rule.fields, *(level for level in levels if isinstance(level, dict))]
            if isinstance(levels, list)
            else [rule.fields]
        )
        for place in places:
            notify = place.get("notify")
            for name in notify if isinstance(notify, list) else [notify]:
                if isinstance(name, str) and str(rule.fields.get("name")) not in found.setdefault(name, []):
                    found[name].append(str(rule.fields.get("name")))
    return found
