"""Windows of percentiles: a sparse log-histogram per group, mergeable and subtractable.

Values are counted in buckets `(gamma ** (i - 1), gamma ** i]` with gamma = (1 + a) / (1 - a); a bucket stands for the
value `2 * gamma ** i / (gamma + 1)`, which is within the relative accuracy a = 1 % of everything in it, whatever the
distribution.
Negative values mirror the positive ones; values nearer to zero than 1e-9 are zero, those beyond 1e308 are 1e308.
Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", PVLDB 12:12, 2019.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.groups import grown
from tocsin.windows.index import KeyIndex, Secret, mix
from tocsin.windows.narrow import distinct, narrowed
from tocsin.windows.panes import Layout, Panes, panes_over, parts_of
from tocsin.windows.reach import Reach
from tocsin.windows.sums import Samples

__all__ = ["ACCURACY", "SketchCourse", "Sketches", "bucket_of", "value_of"]

ACCURACY = 0.01
"""Relative error of a percentile's value."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = float(np.log(_GAMMA))
_OFFSET = 1 << 16
_TINY = 1e-9
_HUGE = 1e308
_TIDY_AT = 65_536
_TIDY_EVERY = 64
"""Changes between two looks for counters to drop where panes wait, all of which are looked through."""
_CELLS = 1 << 16
"""Samples times buckets that are followed at once: half a megabyte."""
_NOTHING = np.iinfo(np.int64).min
_CHUNKS: Layout = {"counters": (np.int32, ()), "count": (np.int64, ())}

Slots = NDArray[np.int32]
Array = NDArray[Any]
_Chunk = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Counters, and how many samples each counted; a counter may stand there twice."""


def bucket_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return [n] buckets; greater values never have a lower bucket."""
    size = np.abs(values)
    index = np.ceil(np.log(np.clip(size, _TINY, _HUGE)) / _LOG_GAMMA).astype(np.int64) + _OFFSET
    return np.where(size < _TINY, 0, np.where(values < 0, -index, index))


def value_of(bucket: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return [n] the value that a bucket stands for."""
    size = np.exp((np.abs(bucket) - _OFFSET) * _LOG_GAMMA) * (2 / (_GAMMA + 1))
    return np.where(bucket == 0, 0.0, np.sign(bucket) * size)


class Sketches:
    """Percentiles per group. A (slot, bucket) pair that occurs has a counter; a slot knows its counters."""

    def __init__(self, window: int | Reach | Panes[_Chunk], secret: Secret | None = None) -> None:
        self.panes = panes_over(window)
        self._secret = secret or Secret()
        self.capacity = 16
        self._count = np.zeros(self.capacity, np.int64)
        self._top = np.full(self.capacity, _NOTHING)
        self._turn = 0
        self._forget()

    def _forget(self) -> None:
        """Begin without counters."""
        self._index = KeyIndex()
        self._held = np.zeros(1024, np.int64)
        self._bucket = np.zeros(1024, np.int64)
        self._slot = np.zeros(1024, np.int32)
        self._counters: dict[int, list[int]] = {}

    def resize(self, capacity: int) -> None:
        """Make room for more slots."""
        self._count = grown(self._count, capacity, 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._top = grown(self._top, capacity, _NOTHING)
        self.capacity = capacity

    def reset(self, slots: NDArray[np.int64]) -> None:
        """Set slots back to nothing, for reuse."""
        self._count[slots] = 0
        self._top[slots] = _NOTHING

    def add(self, samples: Samples) -> None:
        """Count samples, ordered by time; late ones must not be among them. `expire` must have been told the time."""
        buckets = bucket_of(samples.values.astype(np.float64))
        counters = self._counters_of(samples.slots, buckets)
        counted = self.panes.counted(samples.times)
        np.add.at(self._held, counters[counted], 1)
        np.add.at(self._count, samples.slots[counted], 1)
        np.maximum.at(self._top, samples.slots[counted], buckets[counted])
        ones = np.ones(len(counters), np.int64)
        for pane, rows in parts_of(samples.times, self.panes.width_ns) if len(samples) else ():
            chunk = (counters, ones) if rows is None else (counters[rows], ones[rows])
            self.panes.add(pane, chunk, _merged)

    def _counters_of(self, slots: Slots, buckets: NDArray[np.int64]) -> NDArray[np.int32]:
        counters, fresh = self._index.find_or_insert(self._keys_of(slots, buckets))
        self._reserve()
        if fresh.any():
            new = counters[fresh]
            self._bucket[new], self._slot[new] = buckets[fresh], slots[fresh]
            for slot, counter in zip(slots[fresh].tolist(), new.tolist(), strict=True):
                self._counters.setdefault(slot, []).append(counter)
        return counters

    def _keys_of(self, slots: Slots, buckets: NDArray[np.int64]) -> NDArray[np.uint64]:
        return mix(slots.astype(np.uint64), buckets.view(np.uint64), self._secret)

    def _reserve(self) -> None:
        if self._index.rows > len(self._held):
            size = 1 << self._index.rows.bit_length()
            self._held = grown(self._held, size, 0)  # type: ignore[assignment]  # grown keeps the dtype
            self._bucket = grown(self._bucket, size, 0)  # type: ignore[assignment]  # as above
            self._slot = grown(self._slot, size, 0)  # type: ignore[assignment]  # as above

    def expire(self, now: int) -> list[Slots]:
        """Move on to event time `now`; return the slots of what came into the window and of what left it."""
        if self.panes.begins_anew(now):
            return self._emptied()
        touched = []
        entered, gone = self.panes.move_to(now)
        for counters, held in entered:
            slots, counts = self._slot[counters], held.astype(np.int64, copy=False)
            np.add.at(self._held, counters, counts)
            np.add.at(self._count, slots, counts)
            np.maximum.at(self._top, slots, self._bucket[counters])
            touched.append(slots)
        for counters, held in gone:
            slots, counts = self._slot[counters], held.astype(np.int64, copy=False)
            np.subtract.at(self._held, counters, counts)
            np.subtract.at(self._count, slots, counts)
            self.reset(slots[self._count[slots] == 0].astype(np.int64))
            touched.append(slots)
        if touched and self._index.rows > _TIDY_AT:
            self._turn += 1
            if not self.panes.waiting or self._turn % _TIDY_EVERY == 0:
                self._tidy()
        return touched

    def _emptied(self) -> list[Slots]:
        slots = self._count.nonzero()[0]
        self.reset(slots)
        self._forget()
        return [slots.astype(np.int32)] if len(slots) else []

    def _tidy(self) -> None:
        """Drop the counters that are at zero and in no pane that waits, once they are most."""
        kept = self._held[: self._index.rows] > 0
        for chunks in self.panes.waiting.values():
            for counters, _ in chunks:
                kept[counters] = True
        used = kept.nonzero()[0]
        if len(used) * 4 >= self._index.rows:
            return
        moved = np.full(self._index.rows, -1, np.int32)
        moved[used] = np.arange(len(used), dtype=np.int32)
        self._index.renumber(moved)
        self._held, self._bucket, self._slot = self._held[used], self._bucket[used], self._slot[used]
        for held in (self.panes.chunks, self.panes.waiting):
            for chunks in held.values():
                chunks[:] = [(narrowed(moved[counters]), counts) for counters, counts in chunks]
        self._counters = _by_slot(self._slot)

    def freeze(self, used: int) -> Frozen:
        """Return the state of the first `used` slots, all that were ever given out."""
        rows = self._index.rows
        count, top, held = self._count[:used].copy(), self._top[:used].copy(), self._held[:rows].copy()
        # Of a counter that is there these are never changed: tidying makes new arrays.
        bucket, slot = self._bucket[:rows], self._slot[:rows]
        panes = self.panes.freeze(_CHUNKS, lambda chunk: chunk)

        def state() -> State:
            columns = {"count": count, "top": top, "held": held, "bucket": bucket, "slot": slot}
            return {name: packed(column) for name, column in columns.items()} | {"rows": rows, "panes": panes()}

        return state

    def thaw(self, section: Section, used: int) -> None:
        """Take the state of `used` slots; keys are made anew, with the secret that these have now."""
        rows = section.integer("rows", most=np.iinfo(np.int32).max)
        self._count[:used] = section.array("count", np.int64, used)
        self._top[:used] = section.array("top", np.int64, used)
        slot = section.array("slot", np.int32, rows, least=0, below=used)
        bucket = section.array("bucket", np.int64, rows)
        _, fresh = self._index.find_or_insert(self._keys_of(slot, bucket))
        if not fresh.all():
            raise section.unfit("has a counter twice")
        self._reserve()
        self._slot[:rows], self._bucket[:rows] = slot, bucket
        self._held[:rows] = section.array("held", np.int64, rows)
        self._counters = _by_slot(slot)
        self.panes.thaw(section.part("panes"), _CHUNKS, rows, lambda columns: (columns[0], columns[1]))

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return self._count[slots]

    def unpriced(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] zeros: a sample here always has a value."""
        return np.zeros(len(slots), np.int64)

    def at_most(self, slots: Array) -> NDArray[np.float64]:
        """Return [n] a value that no percentile of the slot is above; saves computing most percentiles."""
        held = self._count[slots] > 0
        return np.where(held, value_of(np.where(held, self._top[slots], 0)), np.nan)

    def highest(self, slots: Array) -> float:
        """Return a value that no percentile of some slots that have samples is above, in raw units."""
        return float(value_of(self._top[slots].max()))

    def quantile(self, slots: Array, rank: float) -> NDArray[np.float64]:
        """Return [n] the value at `rank` (0 to 1) in raw units; NaN where there are no samples.

        The sample at index floor(rank * (n - 1)) of the sorted samples, within ACCURACY.
        """
        found = [self._at_rank(int(slot), rank) for slot in slots]
        return np.array(found, np.float64) if len(found) else np.zeros(0)

    def _at_rank(self, slot: int, rank: float) -> float:
        buckets, held = self._histogram(slot)
        if not len(buckets):
            return float("nan")
        self._top[slot] = buckets[-1]
        return _value_at(buckets, held, rank)

    def _histogram(self, slot: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the buckets in use, ascending, and their counts."""
        counters = np.array(self._counters.get(slot, ()), np.int64)
        counters = counters[self._held[counters] > 0]
        order = np.argsort(self._bucket[counters])
        return self._bucket[counters][order], self._held[counters][order]

    def after_each(self, slot: int, samples: Samples) -> "SketchCourse":
        """Return what `slot` was after the first i + 1 of these samples, the last ones added, under index i."""
        return SketchCourse(*self._histogram(slot), bucket_of(samples.values.astype(np.float64)))


def _by_slot(slot: Slots) -> dict[int, list[int]]:
    """Return the counters of each slot, in order, from [n] the slot of each counter."""
    order = np.argsort(slot, kind="stable")
    counters = order.tolist()
    bounds = [0, *(np.flatnonzero(np.diff(slot[order])) + 1).tolist(), len(counters)]
    slots = slot[order[bounds[:-1]]].tolist() if counters else []
    return {key: counters[begin:end] for key, (begin, end) in zip(slots, pairwise(bounds), strict=False)}


def _merged(chunks: list[_Chunk]) -> _Chunk:
    counters, place = distinct(np.concatenate([held for held, _ in chunks]))
    total = np.zeros(len(counters), np.int64)
    np.add.at(total, place, np.concatenate([counts for _, counts in chunks], dtype=np.int64))
    return counters.astype(np.int32, copy=False), total


class SketchCourse:
    """The percentile of one group after each of its last samples, found by taking them back from the end."""

    def __init__(self, buckets: NDArray[np.int64], held: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        self._buckets = buckets
        self._held = held
        self._last = last

    def samples(self, slots: Array) -> NDArray[np.int64]:
        """Return [n] samples in the window."""
        return int(self._held.sum()) - (len(self._last) - 1 - slots)

    def quantile(self, slots: Array, rank: float) -> NDArray[np.float64]:
        """Return [n] values at `rank`; `slots` must be all indexes in order."""
        found = np.empty(len(slots), np.int64)
        below = np.cumsum(self._held)
        step = max(1, _CELLS // len(below))
        for end in range(len(slots), 0, -step):
            begin = max(0, end - step)
            # A sample that is taken back is missing from its own bucket on.
            places = np.searchsorted(self._buckets, self._last[begin:end])
            taken = np.arange(len(below)) >= places[:, None]
            after = below - (taken[::-1].cumsum(axis=0)[::-1] - taken)
            wanted = (rank * (after[:, -1] - 1)).astype(np.int64)
            found[begin:end] = (after <= wanted[:, None]).sum(axis=1)
            below = after[0] - taken[0]
        return value_of(self._buckets[found])


def _value_at(buckets: NDArray[np.int64], held: NDArray[np.int64], rank: float) -> float:
    passed = np.cumsum(held)
    wanted = int(rank * (passed[-1] - 1))
    return float(value_of(buckets[np.searchsorted(passed, wanted, side="right")][None])[0])
