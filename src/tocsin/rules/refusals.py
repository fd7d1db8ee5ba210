"""Why a query can't be compiled: where in its text, which clause, and what would work."""

from dataclasses import dataclass

__all__ = ["QueryError", "Refusal"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that is wrong with a query."""

    begin: int
    """Offset in the query's text, characters."""
    end: int
    clause: str
    """What stands there, as a person would call it: `HAVING`, `label_replace()`, `[5m:1m]`."""
    text: str
    """Why it can't be, and the nearest thing that works."""


class QueryError(ValueError):
    """A query can't be compiled."""

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        super().__init__("; ".join(refusal.text for refusal in refusals))
        self.refusals = refusals
