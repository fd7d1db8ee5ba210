"""What a part reads back of its state: fields by name, each checked for its kind, its size and its bounds.

A state comes from a file. Whatever is in it, it ends as values that the part can live with or as a `SnapshotError`,
never as an index out of range an hour later.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tocsin.errors import SnapshotError
from tocsin.model.state import State

__all__ = ["Section", "coded", "packed"]

_INTEGERS = (np.int8, np.int16, np.int32)


def packed(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column as `Section.array` takes it back, smaller where it can be.

    A column (n rows, or [n, k]) of equal rows becomes one row; signed integers get the smallest type that holds them.
    """
    if len(column) > 1 and column[0].tobytes() == column[-1].tobytes() and (column == column[0]).all():
        column = column[:1]
    if column.dtype.kind != "i" or not len(column):
        return column
    least, most = int(column.min()), int(column.max())
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return column.astype(kind, copy=False)
    return column


def coded(values: Sequence[Any]) -> tuple[NDArray[np.int32], list[Any]]:
    """Return [n] codes of values (hashable; None is -1) and the distinct values in order of appearance."""
    distinct = dict.fromkeys(values)
    distinct.pop(None, None)
    numbers: dict[Any, int] = {value: number for number, value in enumerate(distinct)}
    numbers[None] = -1
    return np.fromiter(map(numbers.__getitem__, values), np.int32, len(values)), list(distinct)


class Section:
    """One mapping of a state; `path` says where it stands, for messages."""

    def __init__(self, state: State, path: str) -> None:
        if not isinstance(state, Mapping):
            raise _unfit(path, "is no mapping")
        self._state = state
        self.path = path

    def unfit(self, what: str) -> SnapshotError:
        """Return the error to raise where the section does not fit."""
        return _unfit(self.path, what)

    def _of(self, name: str) -> State:
        try:
            return self._state[name]
        except KeyError:
            raise self.unfit(f"has no {name!r}") from None

    def is_none(self, name: str) -> bool:
        """Return whether a field is None."""
        return self._of(name) is None

    def part(self, name: str) -> "Section":
        """Return a section within this one."""
        return Section(self._of(name), f"{self.path}.{name}")

    def parts(self, name: str, size: int | None = None) -> "list[Section]":
        """Return a sequence of sections."""
        return [Section(each, f"{self.path}.{name}[{i}]") for i, each in enumerate(self._sequence(name, size))]

    def names(self) -> list[str]:
        """Return the names of the fields."""
        return list(self._state)

    def _sequence(self, name: str, size: int | None) -> Sequence[State]:
        found = self._of(name)
        if not isinstance(found, Sequence) or isinstance(found, str):
            raise self.unfit(f"has a {name!r} that is no sequence")
        if size is not None and len(found) != size:
            raise self.unfit(f"has {len(found)} {name!r} where {size} are due")
        return found

    def integer(self, name: str, least: int = 0, most: int = (1 << 63) - 1) -> int:
        """Return an integer within bounds."""
        found = self._of(name)
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            raise self.unfit(f"has a {name!r} that is no integer from {least} to {most}")
        return found

    def integers(self, name: str, size: int | None = None) -> list[int]:
        """Return integers of up to 64 bits."""
        found = list(self._sequence(name, size))
        if not all(isinstance(each, int) and -(1 << 63) <= each < 1 << 64 for each in found):
            raise self.unfit(f"has {name!r} that are not all integers")
        return found  # type: ignore[return-value]  # looked at above

    def optional(self, name: str, least: int = 0) -> int | None:
        """Return an integer, or None."""
        return None if self._of(name) is None else self.integer(name, least)

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        found = self._of(name)
        if not isinstance(found, bool):
            raise self.unfit(f"has a {name!r} that is neither true nor false")
        return found

    def text(self, name: str) -> str:
        """Return a text."""
        found = self._of(name)
        if not isinstance(found, str):
            raise self.unfit(f"has a {name!r} that is no text")
        return found

    def texts(self, name: str, size: int | None = None) -> list[str]:
        """Return texts as a list of one's own."""
        found = list(self._sequence(name, size))
        if not all(isinstance(text, str) for text in found):
            raise self.unfit(f"has {name!r} that are not all text")
        return found  # type: ignore[return-value]  # looked at above

    def texts_or_none(self, name: str, size: int | None = None) -> list[str | None]:
        """Return texts of which some may be missing."""
        found = list(self._sequence(name, size))
        if not all(text is None or isinstance(text, str) for text in found):
            raise self.unfit(f"has {name!r} that are not all text")
        return found  # type: ignore[return-value]  # looked at above

    def text_lists(self, name: str, size: int | None = None) -> list[list[str]]:
        """Return lists of texts."""
        found = [list(each) if isinstance(each, Sequence) else [None] for each in self._sequence(name, size)]
        if not all(isinstance(text, str) for each in found for text in each):
            raise self.unfit(f"has {name!r} that are not all lists of text")
        return found  # type: ignore[return-value]  # looked at above

    def array(
        self,
        name: str,
        dtype: DTypeLike,
        size: int | None = None,
        *,
        least: int | None = None,
        below: int | None = None,
        shape: tuple[int, ...] = (),
    ) -> NDArray[Any]:
        """Return a column ([n, *shape]) as an array of one's own.

        Args:
            name: the field.
            dtype: what it becomes; what is kept may be a smaller type of the same kind.
            size: rows; a single one stands for as many. None: as many as there are.
            least: no value may be less.
            below: every value must be less.
            shape: of a row.
        """
        found = self._of(name)
        if not isinstance(found, np.ndarray) or not np.can_cast(found.dtype, dtype, "safe"):
            raise self.unfit(f"has a {name!r} that is no array of {np.dtype(dtype)}")
        if found.ndim != 1 + len(shape) or found.shape[1:] != shape:
            raise self.unfit(f"has a {name!r} of the shape {found.shape}")
        if size is not None and len(found) != size and len(found) != 1:
            raise self.unfit(f"has {len(found)} rows of {name!r} where {size} are due")
        if len(found) and least is not None and found.min() < least:
            raise self.unfit(f"has a {name!r} below {least}")
        if len(found) and below is not None and found.max() >= below:
            raise self.unfit(f"has a {name!r} of {below} or more")
        result = np.empty((len(found) if size is None else size, *shape), dtype)
        result[:] = found
        return result

    def is_whole(self, name: str) -> bool:
        """Return whether a column is of integers."""
        found = self._of(name)
        return isinstance(found, np.ndarray) and found.dtype.kind in "iu"


def _unfit(path: str, what: str) -> SnapshotError:
    return SnapshotError(f"the snapshot does not fit: {path} {what}; an older one, or the log alone, may do")
