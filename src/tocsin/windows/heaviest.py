"""Sums by key over sliding windows of event time, of the keys that have most; bounded whatever keys come.

A window is made of panes: of a second for the last five minutes, of twelve seconds for the hour before. A pane holds,
for each label, the sums of at most `KEPT` keys. Where more come, those that have least are put together, and it is
noted how much of each measure one of them may have at the most. So a key's sum is exact where nothing was put together,
and otherwise too low by at most the sum of what the window's panes noted (`Standing.most_more`): a key that has more
than that is never missing. This is a mergeable summary (Agarwal et al., "Mergeable summaries", PODS 2012) that states
the bound which was met, not the one for the worst case: a `KEPT`-th of a pane's total each time that the pane is cut.
Totals are exact, always.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State
from tocsin.windows.narrow import distinct, narrowed
from tocsin.windows.texts import Texts, kept_codes

__all__ = ["COARSE_NS", "FINE_NS", "FINE_WINDOW_NS", "KEPT", "LONGEST_NS", "Heaviest", "Standing"]

_SECOND: Final = 1_000_000_000
FINE_NS: Final = _SECOND
COARSE_NS: Final = 12 * _SECOND
FINE_WINDOW_NS: Final = 300 * _SECOND
"""Windows up to this are of fine panes."""
LONGEST_NS: Final = 3600 * _SECOND
KEPT: Final = 256
"""Keys of a label that a pane is cut to, and that a coarse one has at the most."""
_MOST: Final = 2 * KEPT
"""Keys of a label in a fine pane before it is cut, and rows before they are merged."""
_REST_NS: Final = 10 * _SECOND
"""Panes that ended so long ago are laid to rest: what comes for them now is little."""
_MOST_CHUNKS: Final = 16
_SPARSE: Final = 8
"""A table of panes times keys is made where it has so many times more places than there are rows, at the most."""
_CAP: Final = float(2**52)
"""No key has more of a measure in a pane, so that no sum of a window overflows: four million dollars a second."""
_FRACTION: Final = 2.0**-53
_COARSE_FINE: Final = COARSE_NS // FINE_NS

Column = NDArray[Any]
Columns = tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """A window's sums of one label."""

    codes: NDArray[np.int64]
    """[k] distinct keys, as numbers of texts."""
    sums: Columns
    """[k] of each measure."""
    labelled: tuple[int, ...]
    """Of each measure: of all keys, those that were put together included."""
    most_more: tuple[int, ...]
    """Of each measure: how much a key may have beyond its sum, and a key that is not here in all; 0: sums are exact."""


class Heaviest:
    """Sums of some measures, in all and by the keys of some labels. Whoever asks has told it the time before."""

    def __init__(self, labels: Sequence[str], measures: int) -> None:
        """Make it; of the measures the first says which keys have most, and the second where the first is 0."""
        self.labels = tuple(labels)
        self._measures = measures
        self._fine: dict[int, _Pane] = {}
        self._coarse: dict[int, _Pane] = {}
        self._first_fine = 0
        """The oldest pane that is a fine one."""
        self._first_coarse = 0
        self._resting = 0
        """The fine panes before this one are at rest."""

    def move(self, now: int) -> None:
        """Let event time be `now`, never less than before: panes leave, and fine ones become coarse."""
        first = (now - FINE_WINDOW_NS) // COARSE_NS
        if first * _COARSE_FINE > self._first_fine:
            self._first_fine = first * _COARSE_FINE
            for index in sorted(index for index in self._fine if index < self._first_fine):
                pane = self._fine.pop(index)
                self._pane(self._coarse, index // _COARSE_FINE).absorb(pane)
        ended = (now - _REST_NS) // FINE_NS
        if ended > self._resting:
            for index in [index for index in self._fine if self._resting <= index < ended]:
                self._fine[index].rest()
            self._resting = ended
        first = (now - LONGEST_NS) // COARSE_NS
        if first > self._first_coarse:
            self._first_coarse = first
            for index in [index for index in self._coarse if index < first]:
                del self._coarse[index]

    def add(self, times: NDArray[np.int64], measures: Columns) -> None:
        """Add rows to the totals.

        Args:
            times: [n] event times, Unix nanoseconds.
            measures: [n] of each, none negative: whole numbers below 2 ** 53 of any type; floats are the fastest, and
                truth values where there are no others than 0 and 1.
        """
        for panes, index, rows in self._placed(times):
            first = int(index.min())
            columns = measures if rows is None else tuple(column[rows] for column in measures)
            sums = [_exact_sums(index - first, column) for column in columns]
            for place in np.bincount(index - first).nonzero()[0].tolist():
                total = self._pane(panes, first + place).totals
                for measure, each in enumerate(sums):
                    total[measure] += each[place]

    def add_keys(self, label: str, times: NDArray[np.int64], codes: NDArray[np.integer], measures: Columns) -> None:
        """Add rows, that were added to the totals, to the sums of a label's keys ([n] numbers of texts)."""
        for panes, index, rows in self._placed(times):
            if rows is None:
                self._add_keys(panes, label, index, codes, measures)
            else:
                self._add_keys(panes, label, index, codes[rows], tuple(column[rows] for column in measures))

    def _placed(
        self, times: NDArray[np.int64]
    ) -> "Iterator[tuple[dict[int, _Pane], NDArray[np.int64], NDArray[np.intp] | None]]":
        """Yield panes, [k] the number of each row's pane, and which rows (None: all); late rows are left out."""
        if not len(times):
            return
        index = times // FINE_NS
        fine = index >= self._first_fine
        if fine.all():
            yield self._fine, index, None
            return
        rows = fine.nonzero()[0]
        if len(rows):
            yield self._fine, index[rows], rows
        index //= _COARSE_FINE
        rows = (~fine & (index >= self._first_coarse)).nonzero()[0]
        if len(rows):
            yield self._coarse, index[rows], rows

    def _add_keys(
        self,
        panes: "dict[int, _Pane]",
        label: str,
        index: NDArray[np.int64],
        codes: NDArray[np.integer],
        measures: Columns,
    ) -> None:
        keys, place = distinct(codes)
        first, width = int(index.min()), len(keys)
        size = (int(index.max()) - first + 1) * width
        if size > width:
            place = (index - first) * width + place
        where: NDArray[np.int64] | None = None
        if size > _SPARSE * len(place) + 1024:
            where, place = np.unique(place, return_inverse=True)
            size = len(where)
        rows = np.bincount(place, minlength=size)
        used = rows.nonzero()[0]
        sums = tuple(_capped_sums(place, column, rows)[used] for column in measures)
        spot = used if where is None else where
        cuts = np.searchsorted(spot, np.arange(int(spot[0]) // width, int(spot[-1]) // width + 2) * width)
        number = first + int(spot[0]) // width
        for begin, end in zip(cuts.tolist(), cuts[1:].tolist(), strict=False):
            if end > begin:
                part = slice(begin, end)
                chunk = keys[spot[part] % width].astype(np.int64), tuple(column[part] for column in sums)
                self._pane(panes, number).keys[label].add(chunk)
            number += 1

    def _pane(self, panes: "dict[int, _Pane]", index: int) -> "_Pane":
        found = panes.get(index)
        if found is None:
            found = panes[index] = _Pane(self.labels, self._measures)
        return found

    def _within(self, now: int, window_ns: int) -> "Iterator[tuple[int, _Pane]]":
        """Yield (when it begins, pane) of a window: one of whole panes, never shorter than asked."""
        first = (now - window_ns) // FINE_NS
        yield from ((index * FINE_NS, pane) for index, pane in self._fine.items() if index >= first)
        if window_ns > FINE_WINDOW_NS:
            first = (now - window_ns) // COARSE_NS
            yield from ((index * COARSE_NS, pane) for index, pane in self._coarse.items() if index >= first)

    def totals(self, now: int, window_ns: int) -> tuple[int, ...]:
        """Return the exact sum of each measure over a window that ends at `now`."""
        sums = [0] * self._measures
        for _, pane in self._within(now, window_ns):
            for measure, total in enumerate(pane.totals):
                sums[measure] += total
        return tuple(sums)

    def course(self, now: int, window_ns: int, step_ns: int, measure: int = 0) -> list[tuple[int, int]]:
        """Return (begin, sum of a measure) of each step of a window; steps are aligned to the epoch."""
        first = (now - window_ns) // step_ns
        sums = dict.fromkeys(range(first, now // step_ns + 1), 0)
        for begin, pane in self._within(now, window_ns):
            step = begin // step_ns
            if step in sums:
                sums[step] += pane.totals[measure]
        return [(step * step_ns, total) for step, total in sums.items()]

    def standing(self, label: str, now: int, window_ns: int) -> Standing:
        """Return the sums of a label's keys over a window that ends at `now`."""
        keys = [pane.keys[label] for _, pane in self._within(now, window_ns)]
        chunks = [chunk for each in keys for chunk in each.chunks]
        codes, sums = _merged(chunks, self._measures)
        measures = range(self._measures)
        rest = [sum(each.rest[measure] for each in keys) for measure in measures]
        return Standing(
            codes,
            sums,
            tuple(rest[measure] + _sum(sums[measure]) for measure in measures),
            tuple(sum(each.cut[measure] for each in keys) for measure in measures),
        )

    def mark(self, used: NDArray[np.bool_]) -> None:
        """Set the flags of all texts' numbers that are held; see `Texts.sweep`."""
        for pane in (*self._fine.values(), *self._coarse.values()):
            for keys in pane.keys.values():
                for codes, _ in keys.chunks:
                    used[codes] = True

    def freeze(self, texts: Texts) -> Frozen:
        """Return the state; chunks are never changed in place."""
        held = [
            (coarse, index, pane.totals.copy(), {label: keys.copied() for label, keys in pane.keys.items()})
            for coarse, panes in ((False, self._fine), (True, self._coarse))
            for index, pane in panes.items()
        ]
        first_fine, first_coarse, values = self._first_fine, self._first_coarse, texts.values()

        def state() -> State:
            return {
                "first_fine": first_fine,
                "first_coarse": first_coarse,
                "coarse": np.array([coarse for coarse, *_ in held], np.bool_),
                "index": np.array([index for _, index, *_ in held], np.int64),
                "totals": list(_halves([total for _, _, totals, _ in held for total in totals])),
                "labels": {
                    label: _state_of([keys[label] for *_, keys in held], values, self._measures)
                    for label in self.labels
                },
            }

        return state

    def thaw(self, section: Section, texts: Texts) -> None:
        """Take a state of the same labels and measures."""
        self._first_fine = section.integer("first_fine")
        self._first_coarse = section.integer("first_coarse")
        index = section.array("index", np.int64, least=0)
        coarse = section.array("coarse", np.bool_, len(index))
        totals = _wholes(section.integers("totals", 2 * self._measures * len(index)))
        panes = []
        for number, (is_coarse, at) in enumerate(zip(coarse.tolist(), index.tolist(), strict=True)):
            pane = self._pane(self._coarse if is_coarse else self._fine, at)
            pane.totals = totals[self._measures * number : self._measures * (number + 1)]
            panes.append(pane)
        labels = section.part("labels")
        for label in self.labels:
            _thaw_keys([pane.keys[label] for pane in panes], labels.part(label), texts, self._measures)


class _Pane:
    """What one pane has: exact totals, and the heaviest keys of each label."""

    __slots__ = ("keys", "totals")

    def __init__(self, labels: Sequence[str], measures: int) -> None:
        self.totals = [0] * measures
        self.keys = {label: _Keys(measures) for label in labels}

    def rest(self) -> None:
        """Take less room."""
        for keys in self.keys.values():
            if keys.chunks:
                keys.pack(_MOST)

    def absorb(self, other: "_Pane") -> None:
        """Take what an older pane of a shorter time has; it is at rest then."""
        self.totals = [own + its for own, its in zip(self.totals, other.totals, strict=True)]
        for label, keys in self.keys.items():
            keys.absorb(other.keys[label])


_Chunk = tuple[NDArray[Any], Columns]
"""Codes of keys, each once, and their sums."""


class _Keys:
    """The heaviest keys of one label in one pane."""

    __slots__ = ("chunks", "cut", "rest", "rows")

    def __init__(self, measures: int) -> None:
        self.chunks: list[_Chunk] = []
        self.rows = 0
        self.rest = [0] * measures
        """What was put together."""
        self.cut = [0] * measures
        """How much of it one key may have at the most."""

    def add(self, chunk: _Chunk) -> None:
        self.chunks.append(chunk)
        self.rows += len(chunk[0])
        if len(self.chunks) >= _MOST_CHUNKS or self.rows > _MOST:
            self._merge(_MOST)

    def absorb(self, other: "_Keys") -> None:
        if not other.chunks:
            return
        self.chunks += other.chunks
        self.rest = [own + its for own, its in zip(self.rest, other.rest, strict=True)]
        self.cut = [own + its for own, its in zip(self.cut, other.cut, strict=True)]
        self.pack(KEPT)

    def pack(self, most: int) -> None:
        """Be one chunk of narrow columns, cut where there are more keys than `most`."""
        self._merge(most)
        self.chunks = [(narrowed(codes), tuple(map(narrowed, sums))) for codes, sums in self.chunks]

    def copied(self) -> "_Keys":
        copy = _Keys(len(self.rest))
        copy.chunks, copy.rows, copy.rest, copy.cut = self.chunks.copy(), self.rows, self.rest.copy(), self.cut.copy()
        return copy

    def _merge(self, most: int) -> None:
        codes, sums = _merged(self.chunks, len(self.rest))
        if len(codes) > most:
            first, second = sums[0].astype(np.float64), sums[1]
            weight = np.where(first > 0, first, second * _FRACTION)
            order = np.argpartition(weight, len(codes) - KEPT)
            kept, left = np.sort(order[-KEPT:]), order[:-KEPT]
            for measure, column in enumerate(sums):
                self.rest[measure] += _sum(column[left])
                self.cut[measure] += int(column[left].max())
            codes, sums = codes[kept], tuple(column[kept] for column in sums)
        self.chunks = [(codes, sums)]
        self.rows = len(codes)


def _merged(chunks: Sequence[_Chunk], measures: int) -> _Chunk:
    """Return chunks as one, each key once."""
    if not chunks:
        nothing = np.zeros(0, np.int64)
        return nothing, (nothing,) * measures
    if len(chunks) == 1:
        return chunks[0]
    codes, place = distinct(np.concatenate([codes for codes, _ in chunks]))
    columns = (np.concatenate([sums[measure] for _, sums in chunks]) for measure in range(measures))
    rows = np.bincount(place, minlength=len(codes))
    return codes, tuple(_capped_sums(place, column, rows) for column in columns)


def _capped_sums(place: NDArray[np.integer], column: Column, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sums of a column by place, at most `_CAP` each; exact, as floats hold integers below.

    `rows` is how many rows each place has: what a column sums to that is true throughout.
    """
    if column.dtype == np.bool_:
        some = column.nonzero()[0]
        return rows if len(some) == len(column) else np.bincount(place[some], minlength=len(rows))
    return np.minimum(np.bincount(place, column, len(rows)), _CAP).astype(np.int64)


def _sum(column: Column) -> int:
    """Return a column's sum, exact however large it is."""
    if len(column) and int(column.max()) * len(column) >= 1 << 62:
        return sum(column.tolist())
    return int(column.sum())


def _exact_sums(place: NDArray[np.integer], column: Column) -> Sequence[int]:
    """Return sums of a column's rows by place, exact however large they are."""
    if int(column.max()) * len(column) < _CAP:
        return list(map(int, np.bincount(place, column).tolist()))
    sums = [0] * (int(place.max()) + 1)
    for at, value in zip(place.tolist(), column.tolist(), strict=True):
        sums[at] += int(value)
    return sums


def _halves(totals: Sequence[int]) -> Iterator[int]:
    """Yield whole numbers as pairs that 64 bits hold."""
    for total in totals:
        yield from (total >> 62, total & (1 << 62) - 1)


def _state_of(keys: Sequence[_Keys], values: Sequence[str | None], measures: int) -> State:
    merged = [_merged(each.chunks, measures) for each in keys]
    nothing = np.zeros(0, np.int64)
    return {
        "rows": np.array([len(codes) for codes, _ in merged], np.int64),
        "keys": kept_codes(np.concatenate([nothing, *(codes for codes, _ in merged)]), values),
        "sums": {
            str(measure): packed(np.concatenate([nothing, *(sums[measure] for _, sums in merged)]))
            for measure in range(measures)
        },
        "rest": list(_halves([total for each in keys for total in each.rest])),
        "cut": list(_halves([total for each in keys for total in each.cut])),
    }


def _thaw_keys(panes: Sequence[_Keys], section: Section, texts: Texts, measures: int) -> None:
    rows = section.array("rows", np.int64, len(panes), least=0, below=1 << 31)
    codes = texts.taken(section.part("keys"), int(rows.sum())).astype(np.int64)
    if len(codes) and not codes.min():
        raise section.unfit("has a key without a text")
    held = section.part("sums")
    sums = [held.array(str(measure), np.int64, len(codes), least=0) for measure in range(measures)]
    rest, cut = (_wholes(section.integers(name, 2 * measures * len(panes))) for name in ("rest", "cut"))
    end = 0
    for number, (keys, size) in enumerate(zip(panes, rows.tolist(), strict=True)):
        begin, end = end, end + size
        own = slice(measures * number, measures * (number + 1))
        keys.rest, keys.cut, keys.rows = rest[own], cut[own], size
        if size:
            keys.chunks = [(codes[begin:end], tuple(column[begin:end] for column in sums))]


def _wholes(halves: Sequence[int]) -> list[int]:
    """Return what `_halves` made into pairs."""
    return [high << 62 | low for high, low in zip(halves[::2], halves[1::2], strict=True)]
