"""What the API asks of whoever changes the configuration's files, and what it may be told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tocsin.errors import TocsinError
from tocsin.rules.rule import Rule

__all__ = [
    "Applied",
    "Decide",
    "Edits",
    "FieldProblem",
    "Fields",
    "MissingError",
    "RejectedError",
    "TakenError",
    "UnwritableError",
    "Written",
    "WrittenItem",
    "rule_key",
]

Fields = Mapping[str, Any]
"""A rule or contact point in the YAML's own fields, references to the outside as they are written."""


def rule_key(fields: Fields) -> tuple[str, str]:
    """Return the project and name of a rule as it is written; one from a template may leave the name to that."""
    lent = str(fields["template"]).replace("_", "-") if "template" in fields else ""
    return str(fields.get("project", "default")), str(fields.get("name", lent))


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One mistake of a change."""

    field: str
    """Like `filters.model`; empty: of the whole, or elsewhere in the files."""
    detail: str
    place: str = ""
    """`file:line:column`, as it would be if the change were made."""

    def document(self) -> dict[str, str]:
        """Return it for an answer."""
        return {"field": self.field, "detail": self.detail, **({"place": self.place} if self.place else {})}


@dataclass(frozen=True, slots=True)
class WrittenItem:
    """A rule or contact point as a file has it now."""

    fields: Fields
    file: str
    line: int
    last_line: int
    tag: str
    """Changes with the fields; an entity tag without its quotes."""


@dataclass(frozen=True, slots=True)
class Written:
    """How a rule would stand in its file."""

    file: str
    lines: tuple[tuple[str, str], ...]
    """Each a mark and a text: `+` where it is new, `-` where it goes, a blank where it stays."""
    read_only: str | None
    """Why it can't be written there; None: it can."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a change."""

    item: WrittenItem | None
    """None: it is gone."""
    pending: str | None
    """Why it is not in force yet; None: it is."""


class RejectedError(TocsinError):
    """The configuration would not be valid with a change; nothing was written."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(problem.detail for problem in problems))
        self.problems = tuple(problems)


class MissingError(TocsinError):
    """There is no such rule or contact point in the files."""


class TakenError(TocsinError):
    """What should be made is there already, or what should go is still used."""


class UnwritableError(TocsinError):
    """The file can't be written, or not by a program."""


Decide = Callable[[WrittenItem | None], Fields | None]
"""Given what is there (None: nothing), returns what shall be (None: nothing), or raises why not. May be asked again
where somebody else changed the file meanwhile."""


class Edits(Protocol):
    """Changes of the configuration's files."""

    async def rules(self) -> Sequence[WrittenItem]:
        """Return the rules of all files, in their order; those that are wrong, too."""
        ...

    async def change_rule(self, project: str, name: str, decide: Decide, *, file: str | None = None) -> Applied:
        """Change, make or remove a rule, and return once it is in force, or it is known why not.

        Args:
            project: of the rule.
            name: of the rule.
            decide: says what shall be.
            file: where a new one goes, as `WrittenItem.file` names it; None: where the last rule stands.

        Raises:
            RejectedError: it is not valid.
            MissingError: there is no such file.
            UnwritableError: it can't be written.
        """
        ...

    async def contact_points(self) -> Mapping[str, WrittenItem]:
        """Return the contact points as they are written, by name."""
        ...

    async def change_contact_point(self, name: str, decide: Decide) -> Applied:
        """Change, make or remove a contact point; see `change_rule`."""
        ...

    async def add_price(self, model: str, prices: Fields) -> Applied:
        """Write an override of a model's price, and return once calls are priced by it, or it is known why not.

        Args:
            model: as it stands under `prices.overrides`: a model, or `provider/model`.
            prices: of `prices.overrides`, like `input` and `output`.

        Raises:
            TakenError: there is an override for it.
            RejectedError: it is not valid.
            UnwritableError: it can't be written.
        """
        ...

    async def check_rule(self, fields: Fields) -> Sequence[FieldProblem]:
        """Return what would be wrong with a rule; one of its project and name is thought away."""
        ...

    async def written(self, fields: Fields, *, file: str | None = None) -> Written:
        """Return how a rule would stand in its file, whether it is valid or not; `file` as for `change_rule`.

        Raises:
            RejectedError: it holds what only a person may write.
            MissingError: there is no such file.
            UnwritableError: it can't be written by a program.
        """
        ...

    async def files(self) -> Sequence[str]:
        """Return the files that rules can be in, as `WrittenItem.file` names them; the main one first."""
        ...

    async def compiled(self, fields: Fields) -> Rule:
        """Return a rule as the engine would have it; contact points need not be there.

        Raises:
            RejectedError: it is not valid.
        """
        ...
