"""What every part of the compiler shares: the query, the configured names, and what was refused so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlglot import exp

from tocsin.rules.refusals import Refusal
from tocsin.rules.sql.config import SqlConfig
from tocsin.rules.sql.parsing import Parsed

__all__ = ["Context", "RefusedError", "bare", "name_of"]

T = TypeVar("T")


class RefusedError(Exception):
    """A part of a query can't be compiled; the rest of it is still looked at."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


@dataclass(slots=True)
class Context:
    """One compilation."""

    parsed: Parsed
    interval_ns: int
    names: SqlConfig
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[Refusal] = field(default_factory=list)
    """What is accepted and worth a second look."""

    def refused(self, node: exp.Expression, clause: str, text: str, *, keyword: str | None = None) -> RefusedError:
        """Return the error to raise for a node.

        Args:
            node: what can't be.
            clause: what a person would call it.
            text: why, and the nearest thing that works.
            keyword: the word before the node that the place should be of.
        """
        begin, end = self.parsed.place(node) if keyword is None else self.parsed.keyword(keyword, node)
        return RefusedError(Refusal(begin, end, clause, text))

    def attempt(self, make: Callable[[], T]) -> T | None:
        """Return what `make` gives; None after keeping its refusal."""
        try:
            return make()
        except RefusedError as error:
            self.keep(error)
            return None

    def keep(self, error: RefusedError) -> None:
        """Keep a refusal, and go on."""
        if error.refusal not in self.refusals:
            self.refusals.append(error.refusal)


def bare(node: exp.Expression) -> exp.Expression:
    """Return an expression without parentheses around it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def name_of(node: exp.Expression | None) -> str:
    """Return an identifier's name as PostgreSQL knows it: in lower case unless it is quoted."""
    identifier = node.this if isinstance(node, exp.Column | exp.TableAlias | exp.Table) else node
    if not isinstance(identifier, exp.Identifier):
        return "" if identifier is None else str(identifier.name).lower()
    return str(identifier.this) if identifier.quoted else str(identifier.this).lower()
