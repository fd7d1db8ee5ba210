"""The checklist of a query: what the contract asks for, and whether it is there."""

from dataclasses import dataclass

from tocsin.rules.refusals import QueryError, Refusal
from tocsin.rules.sql.compiling import TIMESTAMP, VALUE, Met, analyse
from tocsin.rules.sql.config import SqlConfig

__all__ = ["Requirement", "checklist"]

_NAMES = (f"{TIMESTAMP} column", f"{VALUE} column", "time template variables", "interval template variable")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of the checklist."""

    name: str
    """One of the four requirements, or the clause that is not supported."""
    passed: bool
    where: tuple[int, int] | None
    """Offsets in the text, begin and end; None where nothing stands for it."""
    advice: str
    """What to do; empty where it passed."""


def checklist(text: str, interval_ns: int, names: SqlConfig) -> list[Requirement]:
    """Return the four requirements of the contract, and then every clause that is not supported.

    Args:
        text: the SQL, with its template variables.
        interval_ns: the rule's interval, nanoseconds; at least 1.
        names: what names in queries stand for.
    """
    try:
        found = analyse(text, interval_ns, names)
    except QueryError as error:
        advice = "the text can't be read as SQL; correct it first"
        unread = (Requirement(name, passed=False, where=None, advice=advice) for name in _NAMES)
        return [*unread, *map(_refused, error.refusals)]
    return [*map(_required, found.requirements), *map(_refused, found.refusals)]


def _required(met: Met) -> Requirement:
    passed = met.where is not None
    return Requirement(met.name, passed=passed, where=met.where, advice="" if passed else met.advice)


def _refused(refusal: Refusal) -> Requirement:
    return Requirement(refusal.clause, passed=False, where=(refusal.begin, refusal.end), advice=refusal.text)
