"""Samples that a window is to have before anybody looks at it.

What a window costs is for each batch, and hardly for each sample. So where nobody needs to know a window's values, it
is given the samples of many batches at once. Whoever asks for the window finds it with all of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tocsin.windows.extremes import Extremes, LastValues
from tocsin.windows.groups import Groups
from tocsin.windows.sketches import Sketches
from tocsin.windows.sums import FloatSums, IntegerSums, Samples

__all__ = ["Backlog", "Window"]

Window = IntegerSums | FloatSums | Extremes | LastValues | Sketches
_MOST_ROWS = 1 << 12
"""Beyond which a window is given its samples though nobody asks."""


class Backlog:
    """A window (None: there is none) and what it is still to be given, in the order in which it came."""

    def __init__(self, window: Window | None, groups: Groups) -> None:
        self.window = window
        """The window as it is; `settled` gives it what it lacks."""
        self._groups = groups
        self._given: list[Samples] = []
        self._heeded: list[tuple[int, Callable[[Window], None]]] = []
        """Places in `_given`, and who wants to see the window before it is given those."""
        self._rows = 0
        self.resize()

    def resize(self) -> None:
        """Follow the groups' capacity."""
        if self.window is not None and self.window.capacity < self._groups.capacity:
            self.window.resize(self._groups.capacity)

    def give(self, samples: Samples, heeding: Callable[[Window], None] | None) -> None:
        """Take samples, ordered by time; `heeding` is shown an extreme's or last value's window just before."""
        if heeding is not None and isinstance(self.window, Extremes | LastValues):
            self._heeded.append((len(self._given), heeding))
        self._given.append(samples)
        self._rows += len(samples)

    def settled(self) -> Window | None:
        """Return the window with all it was given."""
        if self._given and self.window is not None:
            given, heeded = self._given, self._heeded
            self._given, self._heeded, self._rows = [], [], 0
            self.resize()
            begin = 0
            for place, heeding in heeded:
                self._add(given[begin:place])
                heeding(self.window)
                begin = place
            self._add(given[begin:])
        return self.window

    def _add(self, given: list[Samples]) -> None:
        if given and self.window is not None:
            self.window.add(_joined(given))

    def unheeded(self) -> None:
        """Nobody wants to see the window any more as it was; it may wait, unless much has come together."""
        self._heeded.clear()
        if self._rows >= _MOST_ROWS:
            self.settled()


def _joined(given: list[Samples]) -> Samples:
    """Return samples as one, ordered by time; windows that were given the same share it."""
    *before, last = given
    if not before:
        return last
    if last.joined is not None and len(last.joined[0]) == len(before):
        parts, found = last.joined
        if all(one is other for one, other in zip(parts, before, strict=True)):
            return found
    times = np.concatenate([each.times for each in given])
    joined = Samples(
        np.concatenate([each.slots for each in given]),
        times,
        np.concatenate([each.values for each in given]),
        _column(given, "counts", 1),
        _column(given, "unpriced", False),  # noqa: FBT003  # a fill value
        _column(given, "weights", 1.0),
    )
    if (times[1:] < times[:-1]).any():  # late ones
        joined = joined.part(np.argsort(times, kind="stable"))
    last.joined = before, joined
    return joined


def _column(given: list[Samples], name: str, fill: Any) -> Any:  # noqa: ANN401  # a number; an array or None
    columns = [getattr(each, name) for each in given]
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [np.full(len(each), fill) if column is None else column for each, column in zip(given, columns, strict=True)]
    )
