"""Which of what was expected is which of what happened: as many pairs as there can be."""

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["in_order", "pairs"]

E = TypeVar("E")
G = TypeVar("G")


def pairs(expected: Sequence[E], got: Sequence[G], fits: Callable[[E, G], bool]) -> dict[int, int]:
    """Return expected -> got, in any order; a largest matching (augmenting paths, H. W. Kuhn, 1955)."""
    of_got: dict[int, int] = {}

    def place(wanted: int, tried: set[int]) -> bool:
        for at, each in enumerate(got):
            if at in tried or not fits(expected[wanted], each):
                continue
            tried.add(at)
            if at not in of_got or place(of_got[at], tried):
                of_got[at] = wanted
                return True
        return False

    for wanted in range(len(expected)):
        place(wanted, set())
    return {wanted: at for at, wanted in of_got.items()}


def in_order(expected: Sequence[E], got: Sequence[G], fits: Callable[[E, G], bool]) -> dict[int, int]:
    """Return expected -> got where both keep their order: a longest common subsequence."""
    longest = [[0] * (len(got) + 1) for _ in range(len(expected) + 1)]
    for i in reversed(range(len(expected))):
        for j in reversed(range(len(got))):
            same = fits(expected[i], got[j])
            longest[i][j] = max(longest[i + 1][j + 1] + 1 if same else 0, longest[i + 1][j], longest[i][j + 1])
    found: dict[int, int] = {}
    i = j = 0
    while i < len(expected) and j < len(got):
        if fits(expected[i], got[j]) and longest[i][j] == longest[i + 1][j + 1] + 1:
            found[i] = j
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return found
