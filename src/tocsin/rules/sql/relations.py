"""What a SELECT returns: columns over rows, as the next SELECT reads them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from tocsin.rules.sql.algebra import Level, Value
from tocsin.rules.sql.rows import RowTest
from tocsin.rules.sql.tables import Table
from tocsin.rules.vector import Entry

__all__ = ["Bucket", "Cell", "Computed", "Label", "Relation", "RowSource"]


@dataclass(frozen=True, slots=True)
class Bucket:
    """The time of the bucket: `time_bucket('${interval}', timestamp)`."""

    offset_ns: int
    """How long before the bucket that is evaluated."""


@dataclass(frozen=True, slots=True)
class Label:
    """A group's text."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Computed:
    """A number."""

    value: Value


Cell = Bucket | Label | Computed


@dataclass(frozen=True, slots=True)
class Relation:
    """A SELECT whose rows are groups of samples."""

    columns: Mapping[str, Cell]
    level: Level
    several_buckets: bool = False
    """It reads earlier buckets too. What groups by the bucket sees each at its own time; nothing else may read it."""

    @property
    def is_bucketed(self) -> bool:
        """Whether a column tells the bucket."""
        return any(isinstance(cell, Bucket) for cell in self.columns.values())


@dataclass(frozen=True, slots=True)
class RowSource:
    """A table, or a SELECT that only chooses its samples and names their columns."""

    table: Table
    alias: str
    test: RowTest
    columns: Mapping[str, exp.Expression] | None = None
    """The names that there are, in terms of the table; None: those of the table."""
