"""What is recorded of spans beside what rules read: some labels, and attributes by name or by the beginning of it.

Attributes become columns of the batch: texts as a label, numbers as a number, and what is both as both. A number's text
is left out where it follows from the number (`rendered`), so that `temperature: 0.2` costs eight bytes and no text.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import Needs
from tocsin.model.columns import AttributeColumn, SpanColumns, TextColumn, ValueKind
from tocsin.model.recorded import derivable
from tocsin.semconv.bodies import is_body
from tocsin.semconv.reductions import some
from tocsin.semconv.texts import kept_where, text_of

__all__ = ["NOTHING", "Recorder", "Recording", "cut"]

MOST_CHARACTERS: Final = 1024
"""Of a value; strings were cut to as many bytes before they came here."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded beside what rules read."""

    needs: Needs = field(default_factory=Needs)
    """Short names."""
    names: frozenset[str] = frozenset()
    """Attributes' keys."""
    prefixes: tuple[str, ...] = ()
    """Beginnings of attributes' keys; what holds a message's body is left out."""
    most: int = 0
    """Attributes that come in by their beginnings, at the most; later ones are left out."""


NOTHING: Final = Recording()


class Recorder:
    """Makes the columns. It remembers which attributes came in by their beginning; one thread at a time uses it."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._admitted: dict[str, None] = {}

    def add(self, columns: SpanColumns, labels: dict[str, TextColumn], numbers: dict[str, NDArray[np.float64]]) -> int:
        """Add attributes to the labels and numbers that there are; return how many were left out."""
        if not self._recording.names and not self._recording.prefixes:
            return 0
        left_out = 0
        for key in dict.fromkeys((*columns.attributes, *columns.resources)):
            if not self._wanted(key):
                left_out += key.startswith(self._recording.prefixes) and not is_body(key)
                continue
            found = _whole(columns, key)
            number = _number_of(found)
            if key not in labels:
                text = _text_of(found, has_numbers=number is not None)
                if text is not None:
                    labels[key] = text
            if number is not None:
                numbers.setdefault(key, number)
        return left_out

    def _wanted(self, key: str) -> bool:
        if key in self._recording.names or key in self._admitted:
            return True
        if not key.startswith(self._recording.prefixes) or is_body(key) or len(self._admitted) >= self._recording.most:
            return False
        self._admitted[key] = None
        return True


def cut(column: TextColumn) -> TextColumn:
    """Return a column with its values cut; itself where none is too long."""
    return _pruned(column) if max(map(len, column.values), default=0) > MOST_CHARACTERS else column


def _pruned(column: TextColumn) -> TextColumn:
    """Return a column with its values cut, and without those that no row has."""
    used, code = np.unique(column.code, return_inverse=True)
    skip = int(len(used) > 0 and used[0] < 0)
    values: dict[str, int] = {}
    codes = [values.setdefault(column.values[i][:MOST_CHARACTERS], len(values)) for i in used[skip:].tolist()]
    return TextColumn(np.array([*[-1] * skip, *codes], np.int32)[code], list(values))


def _whole(columns: SpanColumns, key: str) -> AttributeColumn:
    """Return an attribute over the rows: the span's own value, else the resource's."""
    own, of_resource = columns.attributes.get(key), columns.resources.get(key)
    if of_resource is None:
        assert own is not None  # noqa: S101  # it is one of both
        return own
    rows = columns.resource
    if own is None:
        return AttributeColumn(
            of_resource.kind[rows], of_resource.number[rows], of_resource.code[rows], of_resource.values
        )
    missing = own.kind == ValueKind.ABSENT
    shifted = np.where(of_resource.code < 0, of_resource.code, of_resource.code + np.int32(len(own.values)))
    return AttributeColumn(
        np.where(missing, of_resource.kind[rows], own.kind),
        np.where(missing, of_resource.number[rows], own.number),
        np.where(missing, shifted[rows], own.code),
        [*own.values, *of_resource.values],
    )


def _number_of(column: AttributeColumn) -> NDArray[np.float64] | None:
    """Return the numbers of an attribute, NaN elsewhere; None where it has none."""
    counts = np.isfinite(column.number)  # of INT, DOUBLE and BOOL, as for rules
    return np.where(counts, column.number, np.nan) if counts.any() else None


def _text_of(column: AttributeColumn, *, has_numbers: bool) -> TextColumn | None:
    """Return the texts of an attribute without those that follow from its numbers; None where none is left."""
    text = text_of(column)
    if has_numbers:
        whole = (column.kind == ValueKind.INT) & (np.abs(column.number) < 2.0**53)
        text = kept_where(text, ~whole & ~((column.kind == ValueKind.DOUBLE) & derivable(column.number)))
        return _pruned(text) if some(text.code >= 0) else None
    return cut(text) if some(text.code >= 0) else None
