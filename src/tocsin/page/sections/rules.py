"""The rules: all of them in a table, one with its present values, and what can be done to each."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Query, Request
from starlette.responses import Response

from tocsin.api.authorization import Reader, Writer
from tocsin.api.changes import ChangedError, etag
from tocsin.api.contact_points import Tests
from tocsin.api.editing import Applied, MissingError, WrittenItem
from tocsin.api.ruleset import Ruleset, RuleState, RuleStatus
from tocsin.errors import TocsinError
from tocsin.page.charting import Recent
from tocsin.page.forms import Form, form_of
from tocsin.page.rule_fields import texts_of
from tocsin.page.sections.rule_editor import EditorSources, editor_router
from tocsin.page.shell import Link, Pages, Section, done, stay, toast
from tocsin.page.wording import path_of

__all__ = ["RuleSources", "rules_section"]

_PAGE: Final = 100
_SHORT: Final = 256
_Short = Annotated[str, Query(max_length=_SHORT)]
Filled = Annotated[Form, Depends(form_of)]


@dataclass(frozen=True, slots=True)
class RuleSources:
    """What the section asks."""

    rules: Ruleset
    recent: Recent
    test: Tests
    editor: EditorSources


def rules_section(pages: Pages, sources: RuleSources) -> Section:
    """Return the section of rules."""
    router = pages.routes()
    rules = sources.rules

    @router.get("/rules")
    async def table(
        request: Request,
        who: Reader,
        search: _Short = "",
        status: _Short = "",
        project: _Short = "",
        page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    ) -> Response:
        """All that are asked for, page by page."""
        everything = await rules.seen(who)
        chosen = RuleStatus(status) if status in set(RuleStatus) else None
        found = await rules.seen(who, project=project or None, search=search or None, status=chosen)
        found.sort(key=lambda one: one.status is not RuleStatus.FIRING)  # else in the order of the files
        begin = (page - 1) * _PAGE
        return pages.render(
            request,
            "rules.html",
            rules=[_row(one) for one in found[begin : begin + _PAGE]],
            total=len(everything),
            found=len(found),
            begin=begin,
            page=page,
            last=begin + _PAGE >= len(found),
            shown={"search": search, "status": status, "project": project},
            projects=sorted({one.project for one in everything}),
            statuses=[str(each) for each in RuleStatus],
            problems=_elsewhere(rules.running.problems(), everything) if who.projects is None else [],
        )

    @router.post("/rules/switch")
    async def switch(request: Request, who: Writer, form: Filled) -> Response:
        """Evaluated, or not."""
        on = form["on"] == "yes"
        change = rules.switch(who, form["project"], form["name"], on=on)
        applied = await _made(change)
        told = applied.pending or f"{form['name']} is {'enabled' if on else 'disabled'}."
        return stay(request, "/rules", told, kind="bad" if applied.pending else "good")

    @router.post("/rules/delete")
    async def delete(request: Request, who: Writer, form: Filled) -> Response:
        """Out of its file."""
        await _made(rules.delete(who, form["project"], form["name"], if_match=form["tag"] or None))
        return done(request, "/rules", f"{form['name']} is deleted; its alerts' history stays.")

    @router.post("/rules/test")
    async def test(request: Request, who: Writer, form: Filled) -> Response:
        """A test notification to each contact point that the rule names."""
        item = await rules.found(who, form["project"], form["name"])
        names = [name for name in texts_of(item.fields)["notify"].splitlines() if name]
        if not names:
            text = "This rule names no contact point: routes decide who is told. Test those under contact points."
            return toast(Response(status_code=204), text, kind="bad")
        told, good = [], True
        for name in names:
            outcome = await sources.test(name)
            good = good and outcome is not None and outcome.delivered
            told.append(f"{name}: {outcome.text if outcome is not None else 'no such contact point is in force'}")
        return toast(Response(status_code=204), "; ".join(told), kind="good" if good else "bad")

    router.include_router(editor_router(pages, rules, sources.editor))

    @router.get("/rules/{project}/{name:path}")
    async def one(request: Request, project: str, name: str, who: Reader) -> Response:
        """One rule: what it says, what it is doing, its values now."""
        item = await rules.found(who, project, name)
        [state] = await rules.states([item])
        values, groups, chart = sources.recent.look((project, name))
        return pages.render(
            request,
            "rule.html",
            rule=_row(state),
            item=item,
            tag=etag(item),
            text=await _text_of(rules, item),
            values=values,
            groups=groups,
            chart=chart,
            has_history=sources.editor.runs is not None and who.projects is None,
        )

    return Section(router, Link("/rules", "Rules", group="change"))


@dataclass(frozen=True, slots=True)
class _Row:
    """A rule as the table shows it."""

    state: RuleState
    severity: str
    enabled: bool
    shadow: bool
    path: str
    place: str


def _row(state: RuleState) -> _Row:
    texts = texts_of(state.fields)
    levels = [severity for severity in ("critical", "high", "medium", "low") if texts[f"level_{severity}_threshold"]]
    severity = levels[0] if levels else texts["severity"]
    return _Row(
        state,
        severity or ("" if texts["template"] else "medium"),
        bool(texts["enabled"]),
        texts["mode"] == "shadow",
        f"/rules/{path_of(state.project)}/{path_of(state.name)}",
        f"{state.item.file.rpartition('/')[2]}:{state.item.line}",
    )


def _elsewhere(problems: Sequence[str], known: Sequence[RuleState]) -> list[str]:
    """Return the mistakes of the files that are of no rule in the table."""
    shown = {problem for one in known for problem in one.problems}
    return [problem for problem in problems if problem not in shown]


async def _text_of(rules: Ruleset, item: WrittenItem) -> str:
    try:
        return "\n".join(line for _, line in (await rules.edits.written(item.fields)).lines)
    except TocsinError:
        return ""


async def _made(change: Awaitable[Applied]) -> Applied:
    """Return a change that was made.

    Raises:
        HTTPException: it was not.
    """
    try:
        return await change
    except MissingError as error:
        raise HTTPException(404) from error
    except ChangedError as error:
        raise HTTPException(412, "It was changed meanwhile; look at it again first.") from error
    except TocsinError as error:
        raise HTTPException(409, f"Nothing was changed: {error}") from error
