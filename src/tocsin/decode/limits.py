"""The limits that both decoders set; those of single attributes stand in the projection.

Columns have a cell for every row, however few rows carry the attribute. So a small request could ask for much memory,
empty spans and then one with all attributes; and requests that are decoded together multiply each other's rows and
attributes. What they take is known from a `Footprint` before it is taken. The native decoder decides the same in
`native/src/footprint.rs`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ["FIXED_CELLS", "MOST_CELLS", "MOST_ROWS", "NAME_CAP", "TRACE_STATE_CAP", "Footprint", "refused"]

MOST_ROWS = 1 << 17
"""Rows (spans or wanted log records) of one request; also its resources, and its scopes. A span of a
model call takes 500 bytes and more, so a request of the greatest size (64 MiB) stays below this; without it one of
empty spans, 2 bytes each, would become gigabytes."""

MOST_CELLS = 1 << 23
"""Cells of the requests that are decoded together, see `Footprint.cells`; about 110 MB. The most rows that one request
may have fit with 52 attributes, and 8 MiB of requests with spans of 500 bytes fit ten times over."""

FIXED_CELLS = 12
"""What a row, a resource or a scope takes besides the attributes, in cells."""

NAME_CAP = 256
"""Bytes that are kept of a span's name, a log record's event name, and a scope's name and version."""

TRACE_STATE_CAP = 512
"""Bytes that are kept of a trace state: what W3C Trace Context asks everyone to pass on."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The sizes of the columns of one or more requests."""

    rows: int = 0
    columns: frozenset[Hashable] = frozenset()
    """Projected attributes, lists and times of events that the rows carry, whatever their values."""
    resources: int = 0
    """Entries, also those that are like others."""
    resource_columns: frozenset[Hashable] = frozenset()
    scopes: int = 0
    """Entries, also those that are like others."""

    def __add__(self, other: "Footprint") -> "Footprint":
        """Return what both take when they are decoded together: more than the sum of what they take alone."""
        return Footprint(
            self.rows + other.rows,
            self.columns | other.columns,
            self.resources + other.resources,
            self.resource_columns | other.resource_columns,
            self.scopes + other.scopes,
        )

    @property
    def cells(self) -> int:
        """How many cells the columns have; one takes 13 bytes."""
        rows = self.rows * (FIXED_CELLS + len(self.columns))
        resources = self.resources * (FIXED_CELLS + len(self.resource_columns))
        return rows + resources + self.scopes * FIXED_CELLS


def refused(footprints: Sequence[Footprint | None], most_cells: int) -> list[str | None]:
    """Return for each request that is to be decoded (not None) why there is no room for it; None where there is.

    Those that take least alone are given theirs first, so that a request which asks for much harms none but its like.
    """
    reasons: list[str | None] = [None] * len(footprints)
    known = [(index, own) for index, own in enumerate(footprints) if own is not None]
    together = Footprint()
    for index, own in sorted(known, key=lambda item: item[1].cells):
        together += own
        if together.cells > most_cells:
            reasons[index] = (
                f"{own.rows} rows of {len(own.columns)} attributes, {own.resources} resources and {own.scopes} scopes "
                f"do not fit into the {most_cells} cells that are decoded at once: send smaller batches"
            )
    return reasons
