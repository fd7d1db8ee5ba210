"""Contact points: who is told and how; a test and a preview of each. Secrets go in and never come out."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from tocsin.api.authorization import Reader, Writer
from tocsin.api.changes import answered
from tocsin.api.contact_points import (
    KINDS,
    Admin,
    Tests,
    add_point,
    points_of,
    preview_point,
    remove_point,
    replace_point,
    secrets_of,
)
from tocsin.api.editing import Applied, Edits, FieldProblem, Fields, MissingError, RejectedError, WrittenItem
from tocsin.errors import TocsinError
from tocsin.notify.templating.preview import STATES
from tocsin.page.controls import controls_of, fields_of
from tocsin.page.forms import Filled, Form
from tocsin.page.shell import Link, Pages, Section, done, stay

__all__ = ["contact_points_section"]

Name = Annotated[str, Query(max_length=255)]
_WORDS: Final[Mapping[str, str]] = {
    "alertmanager": "Prometheus' Alertmanager",
    "apprise": "any service that Apprise knows",
    "email": "a mail server",
    "kafka": "a topic of Kafka",
    "log": "the log of this service",
    "otlp": "an OpenTelemetry collector",
    "pagerduty": "PagerDuty",
    "slack": "Slack",
    "ticket": "tickets in Jira or GitHub",
    "webhook": "a webhook of yours",
}


def contact_points_section(pages: Pages, edits: Edits, test: Tests) -> Section:
    """Return the section of contact points, which `edits` changes and `test` tries."""
    router = pages.routes()
    editor = _Editor(pages, edits)

    @router.get("/contact-points")
    async def table(request: Request, _: Reader) -> Response:
        """All of them."""
        found = await points_of(edits)
        return pages.render(request, "contact_points.html", points=found, words=_WORDS)

    @router.get("/contact-points/new")
    async def new(request: Request, _: Admin, type: str = "") -> Response:  # noqa: A002  # the YAML's word
        """The kinds, or the form of one."""
        if type not in KINDS:
            return pages.render(request, "contact_point_kinds.html", kinds=sorted(KINDS), words=_WORDS)
        return editor.form(request, type, "", {}, "", None)

    @router.get("/contact-points/edit")
    async def edit(request: Request, _: Admin, name: Name) -> Response:
        """The form of one that is there."""
        item = await _item(edits, name)
        return editor.form(request, str(item.fields.get("type")), name, item.fields, item.tag, None)

    @router.post("/contact-points")
    async def save(request: Request, _: Admin, form: Filled) -> Response:
        """Write a new one, or change one; in force when this is answered."""
        return await editor.save(request, form)

    @router.post("/contact-points/delete")
    async def delete(request: Request, _: Admin, form: Filled) -> Response:
        """Take one out of the file; refused while a rule names it."""
        await _made(remove_point(edits, form["name"], None))
        return stay(request, "/contact-points", f"{form['name']} is gone.")

    _add_trials(router, pages, edits, test)
    return Section(router, Link("/contact-points", "Contact points", group="change"))


def _add_trials(router: APIRouter, pages: Pages, edits: Edits, test: Tests) -> None:
    @router.post("/contact-points/test")
    async def send(request: Request, _: Writer, form: Filled) -> Response:
        """Send a test notification, and say what the receiver said."""
        outcome = await test(form["name"])
        if outcome is None:
            raise HTTPException(409, f"{form['name']} is not in force; see under Health why")
        if outcome.delivered:
            return stay(
                request, "/contact-points", f"{form['name']} took the test: {outcome.text or 'no more was said'}"
            )
        return stay(request, "/contact-points", f"{form['name']} did not take the test: {outcome.text}", kind="bad")

    @router.get("/contact-points/preview")
    async def preview(
        request: Request, _: Writer, name: Name, state: Annotated[str, Query(max_length=40)] = STATES[0]
    ) -> Response:
        """What one would be sent for an alert of a state."""
        try:
            shown = await preview_point(edits, {"name": name, "state": state})
        except MissingError as error:
            raise HTTPException(404) from error
        except RejectedError as error:
            raise HTTPException(422, str(error)) from error
        return pages.render(request, "contact_point_preview.html", name=name, preview=shown, state=state, states=STATES)

    @router.post("/contact-points/preview")
    async def tried(request: Request, _: Writer, form: Filled) -> Response:
        """What the template in a form would make of an alert, as a part of the form."""
        kind = form["type"]
        try:
            if kind not in KINDS:
                raise HTTPException(422, "there is no such kind of contact point")
            written = fields_of(controls_of(KINDS[kind], secrets_of(kind), {}, form), form)
            shown = await preview_point(edits, {"type": kind, "template": written.get("template")})
        except RejectedError as error:
            return pages.render(request, "contact_point_try.html", wrong=str(error), preview=None)
        return pages.render(request, "contact_point_try.html", wrong="", preview=shown)


class _Editor:
    """The form of a contact point, and what becomes of it."""

    def __init__(self, pages: Pages, edits: Edits) -> None:
        self._pages = pages
        self._edits = edits

    def form(
        self,
        request: Request,
        kind: str,
        name: str,
        fields: Fields,
        tag: str,
        sent: Form | None,
        problems: Sequence[FieldProblem] = (),
        *,
        refused: str = "",
        status: int = 200,
    ) -> Response:
        """Return the form; `tag` is empty for a new one."""
        if kind not in KINDS:
            raise HTTPException(409, f"{name!r} is of type {kind!r}, which there is not; correct the file by hand")
        controls = controls_of(KINDS[kind], secrets_of(kind), fields, sent)
        known = {control.name for control in controls} | {"name"}
        wrong: dict[str, str] = {}
        for problem in problems:
            wrong.setdefault(_known(problem.field, known), problem.detail)
        return self._pages.render(
            request,
            "contact_point.html",
            status=status,
            kind=kind,
            word=_WORDS.get(kind, kind),
            name=name,
            tag=tag,
            own=[control for control in controls if not control.common],
            common=[control for control in controls if control.common],
            shown_common=bool(wrong.keys() & {control.name for control in controls if control.common}),
            wrong=wrong,
            refused=refused,
        )

    async def save(self, request: Request, form: Form) -> Response:
        """Write what a form says, or show it again with what is wrong."""
        kind, name, tag = form["type"], form["name"], form["tag"]
        if kind not in KINDS:
            raise HTTPException(422, "there is no such kind of contact point")
        held = (await self._edits.contact_points()).get(name) if tag else None
        before: Fields = held.fields if held is not None else {}
        controls = controls_of(KINDS[kind], secrets_of(kind), before, form)
        again = (request, kind, name, before, tag, form)
        if not name:
            return self.form(*again, [FieldProblem("name", "give the name that rules use under notify")], status=422)
        try:
            fields = {"type": kind, **fields_of(controls, form)}
            change = replace_point(self._edits, name, fields, f'"{tag}"') if tag else self._add(name, fields)
            applied = await change
        except RejectedError as error:
            return self.form(*again, error.problems, status=422)
        except TocsinError as error:
            answer = answered(error)
            return self.form(*again, refused=str(error) or "It is not there any more.", status=answer.status_code)
        said = f"{name} is written and in force."
        return done(request, "/contact-points", f"{name}: {applied.pending}" if applied.pending else said)

    def _add(self, name: str, fields: dict[str, Any]) -> Awaitable[Applied]:
        return add_point(self._edits, name, {key: value for key, value in fields.items() if value is not None})


def _known(field: str, known: set[str]) -> str:
    """Return the control that a mistake is told at: `to.0` at `to`; empty for what is of the whole."""
    while field and field not in known:
        field = field.rpartition(".")[0]
    return field


async def _item(edits: Edits, name: str) -> WrittenItem:
    item = (await edits.contact_points()).get(name)
    if item is None:
        raise HTTPException(404)
    return item


async def _made(change: Awaitable[Applied]) -> Applied:
    """Await a change.

    Raises:
        HTTPException: it was not made; the text says why.
    """
    try:
        return await change
    except MissingError as error:
        raise HTTPException(404) from error
    except TocsinError as error:
        raise HTTPException(answered(error).status_code, str(error)) from error
