"""What is recorded of spans beside what rules read: some labels, and attributes by name or by the beginning of it.

Attributes become columns of the batch: texts as a label, numbers as a number, and what is both as both. A number's text
is left out where it follows from the number (`rendered`), so that `temperature: 0.2` costs eight bytes and no text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import Needs
from tocsin.model.columns import AttributeColumn, SpanColumns, TextColumn, ValueKind
from tocsin.model.recorded import derivable
from tocsin.semconv.texts import kept_where, mapped, text_of

__all__ = ["NOTHING", "Recorder", "Recording"]

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

    def columns(
        self, columns: SpanColumns, labels: Mapping[str, TextColumn], numbers: Mapping[str, NDArray[np.float64]]
    ) -> tuple[dict[str, TextColumn], dict[str, NDArray[np.float64]], int]:
        """Return more labels and numbers than those that rules read, and how many attributes were left out."""
        texts: dict[str, TextColumn] = {}
        floats: dict[str, NDArray[np.float64]] = {}
        left_out = 0
        if self._recording.names or self._recording.prefixes:
            for key in dict.fromkeys((*columns.attributes, *columns.resources)):
                if not self._wanted(key):
                    left_out += self._is_one_too_many(key)
                    continue
                found = _whole(columns, key)
                if key not in numbers:
                    number = _number_of(found)
                    if number is not None:
                        floats[key] = number
                if key not in labels:
                    text = _text_of(found, key in floats)
                    if text is not None:
                        texts[key] = text
        return texts, floats, left_out

    def _wanted(self, key: str) -> bool:
        if key in self._recording.names or key in self._admitted:
            return True
        if not key.startswith(self._recording.prefixes) or len(self._admitted) >= self._recording.most:
            return False
        self._admitted[key] = None
        return True

    def _is_one_too_many(self, key: str) -> bool:
        return key.startswith(self._recording.prefixes)


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
    counts = ((column.kind == ValueKind.INT) | (column.kind == ValueKind.DOUBLE)) & np.isfinite(column.number)
    return np.where(counts, column.number, np.nan) if counts.any() else None


def _text_of(column: AttributeColumn, has_numbers: bool) -> TextColumn | None:  # noqa: FBT001  # private
    """Return the texts of an attribute without those that follow from its numbers; None where none is left."""
    if has_numbers:
        whole = (column.kind == ValueKind.INT) & (np.abs(column.number) < 2.0**53)
        follows = whole | ((column.kind == ValueKind.DOUBLE) & derivable(column.number))
        if (follows | (column.kind == ValueKind.ABSENT)).all():
            return None
        text = kept_where(text_of(column), ~follows)
    else:
        text = text_of(column)
    if not (text.code >= 0).any():
        return None
    return mapped(text, lambda value: value[:MOST_CHARACTERS])
