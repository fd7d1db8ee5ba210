"""Which spans were seen: exporters retry, and a span that is delivered twice counts once.

Keys are remembered for the dedup window in generations of a fifth of it. The current one is a hash index; older ones
are sorted arrays of 8 bytes a key behind a bitmap that answers "surely not" for nearly every new span. At 10,000
spans/s and the default window that is 6 million keys in about 80 MiB.
"""

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.index import KeyIndex, thawed_index

__all__ = ["SeenKeys"]

_GENERATIONS = 5
_BITS_A_KEY = 16


class SeenKeys:
    """Mixed keys (see `tocsin.windows.index.mix`) seen within a window of event time."""

    def __init__(self, window_ns: int) -> None:
        self._span_ns = max(1, window_ns // _GENERATIONS)
        self._current = KeyIndex()
        self._started: int | None = None
        self._frozen: list[_Frozen] = []

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._current) + sum(len(frozen.keys) for frozen in self._frozen)

    def add(self, keys: NDArray[np.uint64], now: int) -> NDArray[np.bool_]:
        """Remember keys and return [n] which of them are new; of equal ones the first is."""
        self._rotate(now)
        _, fresh = self._current.find_or_insert(keys)
        for frozen in self._frozen:
            fresh &= ~frozen.holds(keys)
        return fresh

    def _rotate(self, now: int) -> None:
        if self._started is None:
            self._started = now
        while now >= self._started + self._span_ns:
            self._frozen.append(_Frozen(self._current.keys()))
            del self._frozen[:-_GENERATIONS]
            self._current = KeyIndex()
            self._started += self._span_ns
            if now >= self._started + self._span_ns * (_GENERATIONS + 1):
                self._started = now
                self._frozen.clear()

    def freeze(self) -> Frozen:
        """Return the state of the memory."""
        keys, started, frozen = self._current.freeze(), self._started, [frozen.keys for frozen in self._frozen]

        def state() -> State:
            return {"current": keys(), "started": started, "frozen": {str(i): held for i, held in enumerate(frozen)}}

        return state

    def thaw(self, section: Section) -> None:
        """Take the keys of a state."""
        self._current = thawed_index(section, "current")
        self._started = section.optional("started")
        frozen = section.part("frozen")
        self._frozen = [_Frozen(frozen.array(name, np.uint64)) for name in frozen.names()][-_GENERATIONS:]


class _Frozen:
    """A generation to which nothing is added any more."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self.keys = np.sort(keys)
        bits = max(6, int(len(keys) * _BITS_A_KEY).bit_length())
        self._shift = np.uint64(64 - bits)
        flags = np.zeros(1 << bits, np.bool_)
        flags[(keys >> self._shift).view(np.int64)] = True
        self._bitmap = np.packbits(flags, bitorder="little")

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return [n] whether each key is there."""
        place = (keys >> self._shift).view(np.int64)
        maybe = (self._bitmap[place >> 3] >> (place & 7).astype(np.uint8)) & 1 == 1
        if maybe.any():
            doubtful = np.flatnonzero(maybe)
            wanted = keys[doubtful]
            where = np.minimum(np.searchsorted(self.keys, wanted), max(len(self.keys) - 1, 0))
            maybe[doubtful] = self.keys[where] == wanted if len(self.keys) else False
        return maybe
