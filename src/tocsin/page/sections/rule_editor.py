"""The editor of rules: one form, its checklist and text while it is filled in, its past, and its way into the file."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.responses import Response, StreamingResponse

from tocsin.api.authorization import Reader, Writer
from tocsin.api.backtests import Question, Runs
from tocsin.api.changes import ChangedError, etag
from tocsin.api.editing import FieldProblem, Fields, MissingError, RejectedError, WrittenItem
from tocsin.api.ruleset import Ruleset, key_of
from tocsin.errors import OverloadedError, TocsinError
from tocsin.page.charting import backtest_chart
from tocsin.page.forms import Form, form_of
from tocsin.page.rule_fields import CONDITIONS, Kind, fields_of, texts_of
from tocsin.page.shell import Pages, done
from tocsin.page.wording import path_of
from tocsin.rules.config import SHORT_NAMES, SPAN_WORDS
from tocsin.rules.measures import Aggregate, Metric, NoData, Sampling, Scope
from tocsin.rules.rule import Severity
from tocsin.security.roles import Principal

__all__ = ["EditorSources", "ReadyRule", "editor_router"]

PERIODS: Final = (("1h", "the last hour"), ("1d", "the last day"), ("7d", "the last week"), ("", "all there is"))
_QUANTILES: Final = ("p50", "p90", "p95", "p99", "p99.9")
_WORDS: Final[Mapping[str, Any]] = {
    "conditions": CONDITIONS,
    "metrics": [each.value for each in Metric if each not in (Metric.ATTRIBUTE, Metric.EXPRESSION)],
    "aggregates": [*(each.value for each in Aggregate if each is not Aggregate.QUANTILE), *_QUANTILES],
    "severities": [each.value for each in Severity],
    "scopes": [each.value for each in Scope],
    "span_words": SPAN_WORDS,
    "labels": SHORT_NAMES,
    "no_data": [each.value for each in NoData],
    "samplings": [each.value for each in Sampling],
    "periods": PERIODS,
    "summary_hint": (
        "A Liquid template, like {{ group.conversation }} spent {{ value | usd }} in {{ window }}."
        " Empty: a sentence is made from the rule."
    ),
}
Filled = Annotated[Form, Depends(form_of)]
_Short = Annotated[str, Query(max_length=1024)]


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A template that a rule can name."""

    name: str
    description: str
    parameters: Mapping[str, object]
    """With their defaults; None: it must be given."""

    @property
    def told(self) -> str:
        """The parameters as `with` takes them."""
        return ", ".join(f"{name}: {'…' if value is None else value}" for name, value in self.parameters.items())


@dataclass(frozen=True, slots=True)
class EditorSources:
    """What the editor asks besides the rules."""

    runs: Runs | None
    """Backtests; None where nothing is recorded."""
    templates: Callable[[], Sequence[ReadyRule]]
    """Gives those that there are, those of the configuration included."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A rule in the form."""

    item: WrittenItem | None
    """What it was filled in with; None: a new one."""
    texts: Mapping[str, str]
    notify: Sequence[str]
    problems: Sequence[FieldProblem] = ()
    conflict: "_Conflict | None" = None
    file: str = ""

    @property
    def errors(self) -> dict[str, str]:
        """The first mistake of each field, by the field's first word."""
        return {one.field.partition(".")[0]: one.detail for one in reversed(self.problems)}


@dataclass(frozen=True, slots=True)
class _Conflict:
    """Somebody else changed the rule meanwhile."""

    theirs: WrittenItem | None
    """As it is now; None: it is gone."""
    their_lines: Sequence[tuple[str, str]] = field(default=())
    my_lines: Sequence[tuple[str, str]] = field(default=())


def editor_router(pages: Pages, rules: Ruleset, sources: EditorSources) -> APIRouter:
    """Return the routes of the editor."""
    router = pages.routes()
    editor = _Editor(pages, rules, sources)

    @router.get("/rules/new")
    async def new(
        request: Request, who: Writer, template: _Short = "", like: _Short = "", project: _Short = ""
    ) -> Response:
        """An empty form, or one filled in with a template or like another rule."""
        fields: dict[str, Any] = {"condition": "gt"}
        if like:
            fields = {**(await rules.found(who, project or "default", like)).fields}
            fields["name"] = f"{like}-copy"
        elif template:
            fields = {"template": template}
        return await editor.shown(request, who, _draft_of(fields, None))

    @router.get("/rules/edit")
    async def edit(request: Request, who: Writer, name: _Short, project: _Short = "default") -> Response:
        """The form filled in with a rule."""
        item = await rules.found(who, project, name)
        return await editor.shown(request, who, _draft_of(item.fields, item))

    @router.post("/rules/check")
    async def check(request: Request, who: Reader, form: Filled) -> Response:
        """The checklist and the text of what is in the form; nothing is changed."""
        return await editor.side(request, who, form)

    @router.post("/rules/save")
    async def save(request: Request, who: Writer, form: Filled) -> Response:
        """Into the file; or the form again, with what stands against it."""
        return await editor.saved(request, who, form)

    @router.post("/rules/backtest")
    async def backtest(request: Request, who: Reader, form: Filled) -> Response:
        """What it would have done: lines of JSON, `progress` and at last `html`. It ends when the browser goes."""
        return await editor.tried(request, who, form)

    return router


class _Editor:
    """What the routes share."""

    def __init__(self, pages: Pages, rules: Ruleset, sources: EditorSources) -> None:
        self._pages = pages
        self._rules = rules
        self._sources = sources

    async def shown(self, request: Request, who: Principal, draft: _Draft, *, status: int = 200) -> Response:
        """Return the page of the form."""
        edits = self._rules.edits
        points = [*await edits.contact_points()]
        return self._pages.render(
            request,
            "rule_editor.html",
            status=status,
            draft=draft,
            t=draft.texts,
            errors=draft.errors,
            points=[*points, *(name for name in draft.notify if name not in points)],
            unknown_points=set(draft.notify) - set(points),
            files=await edits.files(),
            templates=sorted(self._sources.templates(), key=lambda one: one.name),
            words=_WORDS,
            key=key_of(draft.item) if draft.item is not None else ("default", ""),
            tag=etag(draft.item) if draft.item is not None else "",
            has_history=self._sources.runs is not None and who.projects is None,
        )

    async def side(self, request: Request, who: Principal, form: Form) -> Response:
        """Return the checklist and the text."""
        fields = fields_of(form, await self._before(who, form))
        written, refused = None, ""
        try:
            lines = await self._rules.checklist(who, fields)
        except TocsinError as error:
            lines, refused = [], str(error)
        try:
            written = await self._rules.edits.written(fields, file=form["file"] or None)
        except TocsinError as error:
            refused = refused or str(error)
        missing = sum(not line["passed"] for line in lines)
        return self._pages.render(
            request, "rule_side.html", lines=lines, missing=missing, written=written, refused=refused
        )

    async def saved(self, request: Request, who: Principal, form: Form) -> Response:
        """Return on to the rule that was saved; or the form again."""
        item = await self._item(who, form)
        before = {} if item is None else item.fields
        fields = fields_of(form, before)
        self._rules.demand(who, fields)
        if item is None and form["tag"] and not form["again"]:
            return await self._conflict(request, who, form, None, fields)
        try:
            if item is None:
                applied = await self._rules.create(who, fields, file=form["file"] or None)
            else:
                project, name = key_of(item)
                applied = await self._rules.replace(who, project, name, fields, if_match=form["tag"] or None)
        except ChangedError:
            return await self._conflict(request, who, form, item, fields)
        except RejectedError as error:
            return await self.shown(request, who, _draft_from(form, item, error.problems), status=422)
        except MissingError as error:
            problems = [FieldProblem("", str(error) or "it is not there any more")]
            return await self.shown(request, who, _draft_from(form, item, problems), status=422)
        except OverloadedError:
            raise
        except TocsinError as error:  # taken, or not to be written
            field_name = "name" if item is None and "has a rule" in str(error) else ""
            problems = [FieldProblem(field_name, str(error))]
            return await self.shown(request, who, _draft_from(form, item, problems), status=409)
        project, name = key_of(applied.item) if applied.item is not None else ("default", form["name"])
        place = (
            f" in {applied.item.file.rpartition('/')[2]}, line {applied.item.line}" if applied.item is not None else ""
        )
        told = applied.pending or f"{name} is saved{place}, and in force."
        return done(request, f"/rules/{path_of(project)}/{path_of(name)}", told)

    async def tried(self, request: Request, who: Principal, form: Form) -> Response:
        """Return the stream of a backtest."""
        if self._sources.runs is None:
            raise HTTPException(409, "Nothing is recorded: journal.enabled is false.")
        if who.projects is not None:
            raise HTTPException(403, "What was recorded is of all projects; this token is bound to some.")
        if form["saved"]:
            fields: Fields = (await self._rules.found(who, form["project"] or "default", form["name"])).fields
        else:
            fields = fields_of(form, await self._before(who, form))
        try:
            await self._rules.edits.compiled(fields)
        except RejectedError as error:
            problems = [f"{one.field}: {one.detail}" if one.field else one.detail for one in error.problems]
            return _stream(_only(self._outcome(request, problems=problems)))
        except TocsinError as error:
            return _stream(_only(self._outcome(request, problems=[str(error)])))
        question = Question(rule={**fields}, begin=form["period"] or None, end=None, as_recorded=False)
        answers = self._sources.runs.answers(question)
        try:
            first = await anext(answers)
        except OverloadedError as error:
            return _stream(_only(self._outcome(request, refused=str(error))))
        return _stream(self._told(request, first, answers))

    async def _told(
        self, request: Request, first: dict[str, Any], answers: AsyncGenerator[dict[str, Any], None]
    ) -> AsyncIterator[bytes]:
        answer = first
        try:
            while "progress" in answer:
                yield orjson.dumps(answer) + b"\n"
                answer = await anext(answers)
            yield (
                orjson.dumps(self._outcome(request, report=answer.get("report"), refused=answer.get("problem", "")))
                + b"\n"
            )
        finally:
            await answers.aclose()

    def _outcome(
        self,
        request: Request,
        *,
        report: Mapping[str, Any] | None = None,
        refused: str = "",
        problems: Sequence[str] = (),
    ) -> dict[str, str]:
        rule = report["rules"][0] if report and report["rules"] else None
        chart = None if rule is None else backtest_chart(rule)
        page = self._pages.render(
            request, "rule_backtest.html", report=report, rule=rule, chart=chart, refused=refused, problems=problems
        )
        return {"html": bytes(page.body).decode()}

    async def _conflict(
        self, request: Request, who: Principal, form: Form, item: WrittenItem | None, mine: Fields
    ) -> Response:
        """Return the form with both versions: nothing of either is lost."""
        edits = self._rules.edits
        theirs: Sequence[tuple[str, str]] = ()
        if item is not None:
            theirs = (await edits.written(item.fields)).lines
        conflict = _Conflict(item, theirs, (await edits.written(mine)).lines)
        return await self.shown(request, who, _draft_from(form, item, (), conflict), status=412)

    async def _item(self, who: Principal, form: Form) -> WrittenItem | None:
        """Return the rule that is edited as it is now; None for a new one, and where it is gone."""
        if not form["original"]:
            return None
        try:
            return await self._rules.found(who, form["original_project"] or "default", form["original"])
        except HTTPException:
            return None

    async def _before(self, who: Principal, form: Form) -> Fields:
        item = await self._item(who, form)
        return {} if item is None else item.fields


def _draft_of(fields: Fields, item: WrittenItem | None) -> _Draft:
    texts = texts_of(fields)
    return _Draft(item, texts, texts["notify"].splitlines(), file="" if item is None else item.file)


def _draft_from(
    form: Form, item: WrittenItem | None, problems: Sequence[FieldProblem], conflict: _Conflict | None = None
) -> _Draft:
    """Return what is in a form, to be shown again."""
    empty = dict.fromkeys(texts_of({}), "")
    texts = {**empty, "kind": Kind.MEASURE.value, **{name: form.raw(name) for name in form}}
    return _Draft(item, texts, form.all("notify"), problems, conflict, form["file"])


async def _only(outcome: Mapping[str, str]) -> AsyncIterator[bytes]:
    yield orjson.dumps(outcome) + b"\n"


def _stream(lines: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"x-accel-buffering": "no"})
