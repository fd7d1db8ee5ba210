"""Texts as small numbers: what a column of hundreds of thousands of rows holds instead of objects.

A column of objects takes 8 bytes a row and is slow to compare; most labels have a few hundred values. A number stands
for the same text for as long as any column has it. Which numbers none has any more is looked up now and then; they are
given to other texts as these come, so that no column is ever written anew and memory follows what is held.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import TextColumn
from tocsin.model.sections import Section, packed
from tocsin.model.state import State
from tocsin.windows.groups import grown
from tocsin.windows.remembered import UNKNOWN, Remembered

__all__ = ["Codes", "Texts", "kept_codes", "with_room"]

Codes = NDArray[np.uint16] | NDArray[np.uint32]
"""Numbers of texts; 0 where there is none."""

_FIRST = 1 << 14
_NARROW = 1 << 16


class Texts:
    """Texts by number, from 1 on; 0 stands for none."""

    def __init__(self) -> None:
        self._values: list[str | None] = [None]
        self._codes: dict[str, int] = {}
        self._limit = _FIRST
        self._unused: list[int] = []
        self._is_unused = np.zeros(1024, np.bool_)
        self._remembered = Remembered()

    def __len__(self) -> int:
        """Return how many numbers there are, those without a text included."""
        return len(self._values)

    @property
    def is_wide(self) -> bool:
        """Whether 16 bits no longer hold all numbers."""
        return len(self._values) > _NARROW

    @property
    def is_crowded(self) -> bool:
        """Whether it is time to `sweep`."""
        return len(self._values) >= self._limit and not self._unused

    def column(self, size: int) -> Codes:
        """Return [size] numbers of no text, of the type that holds all numbers now."""
        return np.zeros(size, np.uint32) if self.is_wide else np.zeros(size, np.uint16)

    def sweep(self, mark: Callable[[NDArray[np.bool_]], None]) -> None:
        """Find the numbers that are free: `mark` sets those that some column has, in [len(self)] flags.

        To be called where every number that was given out stands in a column.
        """
        used = np.zeros(len(self._values), np.bool_)
        used[0] = True
        mark(used)
        self._unused = (~used).nonzero()[0].tolist()
        self._is_unused = ~used
        self._limit = max(_FIRST, 2 * int(np.count_nonzero(used)))
        self._remembered.clear()  # a text that comes back must say so

    def numbers(self, label: str, column: TextColumn) -> NDArray[np.int32]:
        """Return [n] the number of each row's text of a label, 0 where there is none."""
        values, get = column.values, self._codes.get
        if not values:
            return np.zeros(len(column.code), np.int32)
        eager = not self._unused and len(values) <= len(column.code)
        return self._remembered.of(
            label,
            (values,),
            column.code,
            len(values),
            absent=0,
            known=(lambda: [get(value, UNKNOWN) for value in values]) if eager else None,
            found=lambda codes: self.codes([values[code] for code in codes.tolist()])[:-1],
        )

    def codes(self, values: Sequence[str]) -> NDArray[np.int32]:
        """Return [len(values) + 1] the number of each text; the last is 0, so that -1 finds it."""
        get = self._codes.get
        found = [get(value, 0) for value in values]
        if self._unused:  # whoever comes back keeps the number, before others are given the free ones
            known = np.array(found, np.intp)
            self._is_unused[known[known < len(self._is_unused)]] = False
        if 0 in found:
            found = [code or self._code(value) for value, code in zip(values, found, strict=True)]
        return np.array([*found, 0], np.int32)

    def _code(self, text: str) -> int:
        code = self._codes.get(text)  # a text may stand twice among the new ones
        if code is not None:
            return code
        while self._unused:
            code = self._unused.pop()
            if self._is_unused[code]:  # nobody came back to it
                self._is_unused[code] = False
                del self._codes[self._values[code]]  # type: ignore[arg-type]  # a number that was given out has a text
                self._values[code] = text
                break
        else:
            code = len(self._values)
            self._values.append(text)
        self._codes[text] = code
        return code

    def text(self, code: int) -> str | None:
        """Return the text of a number."""
        return self._values[code]

    def objects(self, codes: NDArray[np.integer]) -> NDArray[np.object_]:
        """Return [n] the texts of numbers, None for 0."""
        values = self._values
        out = np.empty(len(codes), object)
        out[:] = [values[code] for code in codes.tolist()]
        return out

    def values(self) -> list[str | None]:
        """Return the texts by number as they are now."""
        return self._values.copy()

    def taken(self, section: Section, size: int) -> NDArray[np.int32]:
        """Return [size] numbers from what `kept_codes` made of a column."""
        values = section.texts("values")
        return self.codes(values)[section.array("code", np.int32, size, least=-1, below=len(values))]


def kept_codes(codes: NDArray[np.integer], values: Sequence[str | None]) -> State:
    """Return a column of numbers as state: only the texts that it has, and their numbers among these, -1 for none."""
    used = np.zeros(len(values), np.bool_)
    used[codes] = True
    used[0] = False
    number = np.cumsum(used, dtype=np.int32) - 1
    number[0] = -1
    return {"code": packed(number[codes]), "values": [values[code] for code in used.nonzero()[0].tolist()]}


def with_room(column: Codes, size: int, texts: Texts) -> Codes:
    """Return the column with room for `size` rows and for every number that there is; itself where it has both."""
    if len(column) < size:
        column = grown(column, size, 0)  # type: ignore[assignment]  # grown keeps the dtype
    return column.astype(np.uint32) if texts.is_wide and column.dtype == np.uint16 else column
