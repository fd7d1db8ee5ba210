"""The rules of the files as somebody sees and changes them: what the REST routes and the page both do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fastapi import HTTPException

from tocsin.alerts.state import AlertState
from tocsin.api.changes import demanded
from tocsin.api.checklist import checklist_of
from tocsin.api.editing import Applied, Edits, FieldProblem, Fields, RejectedError, TakenError, WrittenItem, rule_key
from tocsin.rules.sql.config import SqlConfig
from tocsin.security.roles import Principal

__all__ = ["RuleState", "RuleStatus", "Ruleset", "Running", "RunningRule", "key_of"]


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


@dataclass(frozen=True, slots=True)
class RuleState:
    """A rule as it is written, and what it is doing."""

    item: WrittenItem
    status: RuleStatus
    problems: tuple[str, ...]
    """Mistakes of the file that are within it."""
    last_fired: int | None
    """Event time, Unix nanoseconds."""
    series: int

    @property
    def project(self) -> str:
        """Its project."""
        return key_of(self.item)[0]

    @property
    def name(self) -> str:
        """Its name."""
        return key_of(self.item)[1]

    @property
    def fields(self) -> Fields:
        """As they are written."""
        return self.item.fields


def key_of(item: WrittenItem) -> tuple[str, str]:
    """Return the project and name of a rule as it is written."""
    return rule_key(item.fields)


class Ruleset:
    """The rules of the files: `edits` changes them, the service is `running` them."""

    def __init__(self, edits: Edits, running: Running) -> None:
        self.edits = edits
        self.running = running

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

    async def seen(
        self, who: Principal, *, project: str | None = None, search: str | None = None, status: RuleStatus | None = None
    ) -> list[RuleState]:
        """Return the rules that somebody sees, in the order of the files.

        Args:
            who: asks.
            project: only its.
            search: only those with it in their name or description.
            status: only those that do this.
        """
        items = [item for item in await self.edits.rules() if who.sees(key_of(item)[0])]
        if project is not None:
            items = [item for item in items if key_of(item)[0] == project]
        if search is not None:
            items = [item for item in items if search.lower() in _searched(item)]
        return [one for one in await self.states(items) if status in (None, one.status)]

    async def states(self, items: Sequence[WrittenItem]) -> list[RuleState]:
        """Return rules with what they are doing."""
        live, problems, fired = self.running.rules(), self.running.problems(), await self.running.last_fired()
        return [_state(item, live.get(key_of(item)), problems, fired.get(key_of(item))) for item in items]

    def demand(self, who: Principal, fields: Fields) -> tuple[str, str]:
        """Return the project and name of a rule that somebody means to write.

        Raises:
            HTTPException: its project is not theirs.
        """
        project, name = rule_key(fields)
        if not who.sees(project):
            raise HTTPException(403, f"this token is not for project {project[:80]!r}")
        return project, name

    async def checklist(self, who: Principal, fields: Fields) -> list[dict[str, Any]]:
        """Return the checklist of a rule that is not saved yet, a line for each thing that it needs.

        Raises:
            HTTPException: its project is not theirs.
            TocsinError: the files can't be read.
        """
        self.demand(who, fields)
        problems: Sequence[FieldProblem]
        try:
            problems = await self.edits.check_rule(fields)
        except RejectedError as error:
            problems = error.problems
        return checklist_of(fields, problems, self.running.sql())

    async def create(self, who: Principal, fields: Fields, *, file: str | None = None) -> Applied:
        """Write a new rule to the file that is named, else below the last rule there is.

        Raises:
            HTTPException: its project is not theirs.
            TocsinError: see `Edits.change_rule`; or there is one of its name.
        """
        project, name = self.demand(who, fields)

        def decide(before: WrittenItem | None) -> Fields:
            if before is not None:
                raise TakenError(f"project {project!r} has a rule {name!r} at {before.file}:{before.line}; change that")
            return fields

        return await self.edits.change_rule(project, name, decide, file=file)

    async def replace(
        self, who: Principal, project: str, name: str, fields: Fields, *, if_match: str | None = None
    ) -> Applied:
        """Change all of a rule's fields; project and name stay.

        Raises:
            HTTPException: it is not theirs to see.
            TocsinError: see `Edits.change_rule`; or it is not what `if_match` says.
        """
        _known(who, project)
        _same_key(fields, project, name)
        whole = {**({"project": project} if project != "default" else {}), **fields}
        whole = whole if rule_key(whole) == (project, name) else {"name": name, **whole}
        return await self.edits.change_rule(project, name, demanded(if_match, lambda _: whole))

    async def patch(
        self, who: Principal, project: str, name: str, fields: Fields, *, if_match: str | None = None
    ) -> Applied:
        """Change some fields, as a JSON merge patch (RFC 7396) does; see `replace`."""
        _known(who, project)
        _same_key(fields, project, name)
        decide = demanded(if_match, lambda before: _merged(before.fields, fields))
        return await self.edits.change_rule(project, name, decide)

    async def delete(self, who: Principal, project: str, name: str, *, if_match: str | None = None) -> Applied:
        """Take a rule out of its file; see `replace`."""
        _known(who, project)
        return await self.edits.change_rule(project, name, demanded(if_match, lambda _: None))

    async def switch(
        self, who: Principal, project: str, name: str, *, on: bool, if_match: str | None = None
    ) -> Applied:
        """Have a rule evaluated, or not; see `replace`."""
        _known(who, project)
        return await self.edits.change_rule(project, name, demanded(if_match, lambda old: _on(old, on=on)))


def _known(who: Principal, project: str) -> None:
    if not who.sees(project):
        raise HTTPException(404)


def _same_key(fields: Fields, project: str, name: str) -> None:
    asked = fields.get("project", project), fields.get("name", name)
    if asked != (project, name):
        key = "name" if asked[1] != name else "project"
        detail = "project and name stay; for other ones make a new rule and delete this one"
        raise RejectedError([FieldProblem(key, detail)])


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


def _state(item: WrittenItem, live: RunningRule | None, problems: Sequence[str], fired: int | None) -> RuleState:
    own = tuple(problem for problem in problems if _is_at(problem, item))
    return RuleState(item, _status(item, live, own), own, fired, 0 if live is None else live.series)


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
