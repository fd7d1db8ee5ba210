"""What the codes of a column stand for elsewhere, found once for a batch that is taken in many parts.

A long batch is cut wherever time changes something. Its parts share their lists of values, and looking all of them up
for every part costs more than everything else there. So what was found is kept for as long as the same lists come.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tocsin.model.columns import distinct_codes

__all__ = ["UNKNOWN", "Remembered"]

UNKNOWN: Final = -2
"""Stands for a code that was not looked up yet."""

Codes = NDArray[np.integer]
Numbers = NDArray[np.int32]


class Remembered:
    """Tables from codes to numbers (from -1 on), one for each of a few names: the latest lists that came under it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[tuple[Sequence[str], ...], Numbers]] = {}

    def holds(self, name: str, lists: tuple[Sequence[str], ...]) -> bool:
        """Return whether these very lists are the latest of a name."""
        held = self._held.get(name)
        return held is not None and len(held[0]) == len(lists) and all(map(_is, held[0], lists))

    def of(
        self,
        name: str,
        lists: tuple[Sequence[str], ...],
        code: Codes,
        size: int,
        *,
        absent: int,
        known: Callable[[], Sequence[int]] | None,
        found: Callable[[NDArray[np.intp]], Numbers],
    ) -> Numbers:
        """Return [n] the numbers that codes stand for.

        Args:
            name: whose lists they are.
            lists: what the codes are codes of. They may not change, and are held until others come.
            code: [n] from -1 to `size` - 1.
            size: how many codes there may be.
            absent: what -1 stands for.
            known: returns [size] what is known of all codes at once, `UNKNOWN` for the others; None: it would not pay.
            found: returns [k] numbers for [k] rising codes that are not known, all of them some row's.
        """
        if not self.holds(name, lists):
            table = np.full(size + 1, UNKNOWN, np.int32)
            if known is not None:
                table[:size] = known()
            table[size] = absent  # which -1 finds
            self._held[name] = lists, table
        table = self._held[name][1]
        numbers = table[code]
        if len(numbers) and numbers.min() == UNKNOWN:
            new, _ = distinct_codes(code[numbers == UNKNOWN], size)
            table[new] = found(new)
            numbers = table[code]
        return numbers

    def forget(self, numbers: Sequence[int] | NDArray[np.int64], below: int) -> None:
        """Look up again what stands for some numbers; all there are are less than `below`."""
        gone = np.zeros(below + 2, np.bool_)  # the last two are what -1 and UNKNOWN find
        gone[numbers] = True
        for _, table in self._held.values():
            table[:-1][gone[table[:-1]]] = UNKNOWN

    def clear(self) -> None:
        """Look up everything again."""
        self._held.clear()


def _is(one: object, other: object) -> bool:
    return one is other
