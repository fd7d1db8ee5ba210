"""Which spans were seen: exporters retry, and a span that is delivered twice counts once.

Keys are remembered for the dedup window in generations of a fifth of it, or of half a million keys (of a twelfth of all
where there are many). The current one is a hash index; older ones are sorted, 6 bytes a key, since the first two say
where it stands, behind a bitmap that answers "surely not" for nearly every new span. At 10,000 spans/s and the default
window that is 6 million keys in about 60 MiB; every key is known to its last bit.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.index import KeyIndex, thawed_index

__all__ = ["SeenKeys"]

_GENERATIONS = 5
_MOST_GENERATIONS = 12
_ROWS = 500_000
"""Keys that a hash index of 2 ** 20 places still holds."""
_BITS_A_KEY = 8
_BUCKET_BITS = 16
_SHIFT = np.uint64(64 - _BUCKET_BITS)
_AT_ONCE = 4096
"""Keys looked for at a time: a table of so many buckets is made."""


class SeenKeys:
    """Mixed keys (see `tocsin.windows.index.mix`) seen within a window of event time."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._span_ns = max(1, window_ns // _GENERATIONS)
        self._current = KeyIndex()
        self._started: int | None = None
        self._frozen: list[_Frozen] = []

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._current) + sum(map(len, self._frozen))

    def add(self, keys: NDArray[np.uint64], now: int) -> NDArray[np.bool_]:
        """Remember keys and return [n] which of them are new; of equal ones the first is."""
        self._rotate(now, len(keys))
        _, fresh = self._current.find_or_insert(keys)
        for frozen in self._frozen:
            fresh &= ~frozen.holds(keys)
        return fresh

    def _rotate(self, now: int, coming: int) -> None:
        if self._started is None:
            self._started = now
        held = len(self._current)
        over = self._started + self._span_ns
        if now >= over or (held + coming > _ROWS and held > len(self) // _MOST_GENERATIONS):
            if held:
                self._frozen.append(_Frozen(self._current.keys(), min(now, over)))
            self._current = KeyIndex()
            self._started = now
        while self._frozen and self._frozen[0].until + self._window_ns <= now:
            del self._frozen[0]

    def freeze(self) -> Frozen:
        """Return the state of the memory."""
        keys, started, frozen = self._current.freeze(), self._started, self._frozen.copy()

        def state() -> State:
            return {
                "current": keys(),
                "started": started,
                "until": np.array([each.until for each in frozen], np.int64),
                "frozen": {str(i): each.keys() for i, each in enumerate(frozen)},
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take the keys of a state."""
        self._current = thawed_index(section, "current")
        self._started = section.optional("started")
        frozen = section.part("frozen")
        names = frozen.names()
        ends = section.array("until", np.int64, len(names)).tolist()
        pairs = zip(names, ends, strict=True)
        self._frozen = [_Frozen(frozen.array(name, np.uint64), until) for name, until in pairs]


class _Frozen:
    """A generation to which nothing is added any more: keys that were seen before event time `until`.

    Keys with the same first 16 bits stand together, in order; of each the other 48 bits are kept, in two arrays.
    """

    def __init__(self, keys: NDArray[np.uint64], until: int) -> None:
        self.until = until
        keys = np.sort(keys)
        held = np.bincount((keys >> _SHIFT).view(np.int64), minlength=1 << _BUCKET_BITS)
        self._begin = np.zeros(len(held) + 1, np.int32)
        np.cumsum(held, out=self._begin[1:])
        self._longest = int(held.max())
        self._middle = (keys >> np.uint64(16)).astype(np.uint32)
        self._low = keys.astype(np.uint16)
        bits = max(6, int(len(keys) * _BITS_A_KEY).bit_length())
        self._shift = np.uint64(64 - bits)
        flags = np.zeros(1 << bits, np.bool_)
        flags[(keys >> self._shift).view(np.int64)] = True
        self._bitmap = np.packbits(flags, bitorder="little")

    def __len__(self) -> int:
        return len(self._low)

    def keys(self) -> NDArray[np.uint64]:
        """Return [n] the keys, in order."""
        first = np.repeat(np.arange(1 << _BUCKET_BITS, dtype=np.uint64), np.diff(self._begin))
        return first << _SHIFT | self._middle.astype(np.uint64) << np.uint64(16) | self._low

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return [n] whether each key is there."""
        place = (keys >> self._shift).view(np.int64)
        maybe = (self._bitmap[place >> 3] >> (place & 7).astype(np.uint8)) & 1 == 1
        if maybe.any():
            for doubtful in _parts(maybe.nonzero()[0]):
                maybe[doubtful] = self._finds(keys[doubtful])
        return maybe

    def _finds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return [n] whether each key is there, by comparing all that stand where it would."""
        bucket = (keys >> _SHIFT).view(np.int64)
        begin, end = self._begin[bucket], self._begin[bucket + 1]
        where = begin[:, None] + np.arange(self._longest, dtype=np.int32)
        inside = where < end[:, None]
        np.minimum(where, len(self._low) - 1, out=where)
        same = (self._middle[where] == (keys >> np.uint64(16)).astype(np.uint32)[:, None]) & inside
        rows, columns = same.nonzero()
        found = np.zeros(len(keys), np.bool_)
        found[rows[self._low[where[rows, columns]] == keys[rows].astype(np.uint16)]] = True
        return found


def _parts(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for begin in range(0, len(rows), _AT_ONCE):
        yield rows[begin : begin + _AT_ONCE]
