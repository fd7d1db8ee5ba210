"""Which spans were seen: exporters retry, and a span that is delivered twice counts once.

Keys are remembered for the dedup window in generations of a fifth of it, or of half a million keys (of a twelfth of all
where there are many). The current one is a hash index; older ones are sorted, 6 bytes a key, since the first two say
where it stands, behind a bitmap that answers "surely not" for nearly every new span. At 10,000 spans/s and the default
window that is 6 million keys in about 60 MiB; every key is known to its last bit.
"""

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
        if self._frozen:
            parts = _Parts(keys)
            for frozen in self._frozen:
                found = frozen.places_of(keys, parts)
                if len(found):
                    fresh[found] = False
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
        self._steps = np.arange(int(held.max()), dtype=np.int32)
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

    def places_of(self, keys: NDArray[np.uint64], parts: "_Parts") -> NDArray[np.intp]:
        """Return the places of the keys that are there."""
        byte, bit = parts.place(keys, self._shift)
        maybe = (self._bitmap.take(byte) & bit).nonzero()[0]
        if len(maybe) <= _AT_ONCE:
            return self._found(maybe, parts) if len(maybe) else maybe
        cuts = range(0, len(maybe), _AT_ONCE)
        return np.concatenate([self._found(maybe[begin : begin + _AT_ONCE], parts) for begin in cuts])

    def _found(self, doubtful: NDArray[np.intp], parts: "_Parts") -> NDArray[np.intp]:
        """Return which of some places have a key that is there, by comparing it with all that stand where it would."""
        bucket = parts.bucket[doubtful]
        where = self._begin[bucket][:, None] + self._steps
        # Rows of the next bucket are compared as well, and told apart by where they stand.
        same = self._middle.take(where, mode="clip") == parts.middle[doubtful][:, None]
        rows, columns = same.nonzero()
        if not len(rows):
            return rows
        there, asked = where[rows, columns], doubtful[rows]
        inside = there < self._begin[bucket[rows] + 1]
        equal = self._low.take(there, mode="clip") == parts.low[asked]
        return asked[inside & equal]


_BIT = np.left_shift(1, np.arange(8)).astype(np.uint8)


class _Parts:
    """Keys as generations keep them, taken apart once for all."""

    __slots__ = ("_places", "bucket", "low", "middle")

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._places: dict[int, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}
        self.bucket = (keys >> _SHIFT).view(np.int64)
        self.middle = (keys >> np.uint64(16)).astype(np.uint32)
        self.low = keys.astype(np.uint16)

    def place(self, keys: NDArray[np.uint64], shift: np.uint64) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return [n] bytes and [n] bits of a bitmap that are the keys'; most bitmaps are of one size."""
        found = self._places.get(int(shift))
        if found is None:
            place = (keys >> shift).view(np.int64)
            found = self._places[int(shift)] = place >> 3, _BIT[place & 7]
        return found
