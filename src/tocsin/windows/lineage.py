"""Spans and their parents: who is above whom in a trace, for inheritance and against counting a call twice.

Spans arrive in any order, children mostly first, so facts are kept for a while (two generations of a minute of event
time, or of 250,000 spans) and questions that only a later span can answer are left as marks on the span id that is
awaited. Marks are small and few, and are kept for their two minutes however many spans there are.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import SpanClass
from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.groups import grown
from tocsin.windows.index import KeyIndex, thawed_index
from tocsin.windows.texts import Codes, Texts, kept_codes, with_room

__all__ = ["Lineage"]

_GENERATION_NS = 60_000_000_000
_GENERATION_ROWS = 250_000
"""Twice these facts are 22 MiB with four labels; a hash index of 2 ** 19 places holds them."""
_GENERATION_MARKS = 1_000_000
_MAX_DEPTH = 64
_FIRST_ROWS = 1 << 13

Keys = NDArray[np.uint64]
Rows = NDArray[np.intp]


class Lineage:
    """Span facts by span key (mixed trace and span id); `labels` are those that may be inherited.

    Their values are numbers that `texts` gives, 0 where there is none.
    """

    def __init__(self, labels: Sequence[str], texts: Texts | None = None) -> None:
        self.labels = tuple(labels)
        self.texts = Texts() if texts is None else texts
        self._old = KeyIndex()
        self._new = KeyIndex()
        self._split = 0
        self._started = 0
        self._marks_started = 0
        self._parent = np.zeros(_FIRST_ROWS, np.uint64)
        self._class = np.zeros(_FIRST_ROWS, np.uint8)
        self._codes: dict[str, Codes] = {label: self.texts.column(_FIRST_ROWS) for label in self.labels}
        self._nested = _Marks()
        self._calls = _Marks()
        self._is_shared = False
        """Whether a frozen state reads parents and texts of the rows that were there."""

    def extend(self, labels: Sequence[str]) -> None:
        """Remember more labels from now on."""
        self.labels += tuple(labels)
        self._codes |= {label: self.texts.column(len(self._parent)) for label in labels}

    def add(
        self,
        keys: Keys,
        parents: Keys,
        classes: NDArray[np.uint8],
        codes: Mapping[str, NDArray[np.int32]],
        now: int,
    ) -> None:
        """Remember spans; `parents` is 0 for a root, `codes` [n] the number of a text per label."""
        self._rotate(now)
        rows, fresh = self._new.find_or_insert(keys)
        if self._is_shared and not fresh.all():  # a span that comes again after all: as a rule it is a new row
            self._parent = self._parent.copy()
            self._codes = {label: held.copy() for label, held in self._codes.items()}
            self._is_shared = False
        self._reserve(self._split + self._new.rows)
        place = rows.astype(np.intp) + self._split
        self._parent[place] = parents
        self._class[place] = classes
        for label, held in self._codes.items():
            column = self._codes[label] = with_room(held, len(held), self.texts)
            column[place] = codes[label]

    def _reserve(self, rows: int) -> None:
        size = len(self._parent)
        if rows <= size:
            return
        size = max(_FIRST_ROWS, 1 << (rows - 1).bit_length())
        self._parent = grown(self._parent, size, 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._class = grown(self._class, size, 0)  # type: ignore[assignment]  # grown keeps the dtype
        self._codes = {label: with_room(held, size, self.texts) for label, held in self._codes.items()}

    def _rotate(self, now: int) -> None:
        marks = max(len(self._nested), len(self._calls))
        if now >= self._marks_started + _GENERATION_NS or marks >= _GENERATION_MARKS:
            self._nested.rotate()
            self._calls.rotate()
            self._marks_started = now
        if now < self._started + _GENERATION_NS and self._new.rows < _GENERATION_ROWS:
            return
        kept = slice(self._split, self._split + self._new.rows)
        self._parent, self._class = self._parent[kept].copy(), self._class[kept].copy()
        self._codes = {label: held[kept].copy() for label, held in self._codes.items()}
        self._old, self._new = self._new, KeyIndex()
        self._split = self._old.rows
        self._reserve(max(_FIRST_ROWS, self._split))
        self._started = now
        self._is_shared = False

    def _find(self, keys: Keys) -> Rows:
        """Return [n] rows of facts, -1 where a span is not known."""
        rows = self._new.find(keys).astype(np.intp)
        found = rows >= 0
        rows[found] += self._split
        if self._split and not found.all():
            missing = np.flatnonzero(~found)
            rows[missing] = self._old.find(keys[missing])
        return rows

    def mark_texts(self, used: NDArray[np.bool_]) -> None:
        """See `Texts.sweep`."""
        for column in self._codes.values():
            used[column[: self._split + self._new.rows]] = True

    def inherited(self, parents: Keys, label: str) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return [n] the label of the nearest ancestor that has it, as a number; 0 where none is known to.

        Also [n] whether the chain is known up to the root; it need not be where a label was found.
        """
        codes = np.zeros(len(parents), np.int32)
        whole = parents == 0
        going = np.flatnonzero(~whole)
        above = parents[going]
        for _ in range(_MAX_DEPTH):
            if not len(going):
                break
            rows = self._find(above)
            known = rows >= 0
            going, rows = going[known], rows[known]
            found = self._codes[label][rows]
            codes[going] = found
            above = self._parent[rows]
            on = found == 0
            whole[going[on & (above == 0)]] = True
            on &= above != 0
            going, above = going[on], above[on]
        return codes, whole

    def repeated_calls(self, keys: Keys, parents: Keys, classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return [n] which model-call spans stand for a call that another span stands for, above or below them.

        Two instrumentations that nest write two spans for one call. Within a batch the inner one counts, else the one
        that came first. The search upwards stops at agents and tools: a call that a tool makes is another call.
        To be asked after `add`, once per span.
        """
        repeated = np.zeros(len(keys), np.bool_)
        is_call = (classes == SpanClass.LLM) | (classes == SpanClass.EMBEDDINGS)
        below = self._nested.found(keys)
        repeated[is_call & below] = True
        is_glue = ~is_call & (classes != SpanClass.AGENT) & (classes != SpanClass.TOOL)
        start = np.flatnonzero(is_call | (is_glue & below))
        self._climb(keys, parents, start, is_call, repeated)
        self._mark_calls(keys, parents, classes, is_call)
        if repeated.any():
            # Another call below the same wrapper, that comes later, is not taken for a repetition of it.
            self._class[self._find(keys[repeated])] = SpanClass.OTHER
        return repeated

    def _climb(
        self, keys: Keys, parents: Keys, going: Rows, is_call: NDArray[np.bool_], repeated: NDArray[np.bool_]
    ) -> None:
        above = parents[going]
        here: dict[int, int] | None = None
        for _ in range(_MAX_DEPTH):
            going, above = going[above != 0], above[above != 0]
            if not len(going):
                return
            rows = self._find(above)
            unknown = rows < 0
            self._nested.add(above[unknown])
            going, above, rows = going[~unknown], above[~unknown], rows[~unknown]
            found = self._class[rows]
            outer = (found == SpanClass.LLM) | (found == SpanClass.EMBEDDINGS)
            came_before = np.zeros(len(going), np.bool_)
            if here is None and outer.any():
                rows_of_calls = np.flatnonzero(is_call)
                here = dict(zip(keys[rows_of_calls].tolist(), rows_of_calls.tolist(), strict=True))
            for place in np.flatnonzero(outer).tolist():
                row = here.get(int(above[place])) if here is not None else None
                came_before[place] = row is None
                repeated[int(going[place]) if row is None else row] = True
            on = ~came_before & (found != SpanClass.AGENT) & (found != SpanClass.TOOL)
            going, above = going[on], self._parent[rows[on]]

    def _mark_calls(self, keys: Keys, parents: Keys, classes: NDArray[np.uint8], is_call: NDArray[np.bool_]) -> None:
        """Mark every ancestor of a model call, known or awaited, as one that has a call below it."""
        carrying = is_call | (classes == SpanClass.USAGE)
        carrying |= self._calls.found(keys)
        self.mark_billed(parents[carrying])

    def mark_billed(self, parents: Keys) -> None:
        """Note that these spans and those above them have a billed call below, or an agent whose own usage counts."""
        above = parents
        for _ in range(_MAX_DEPTH):
            above = above[above != 0]
            if len(above):
                above = above[self._calls.add(above)]  # each once, and only those that were not marked
            if not len(above):
                return
            rows = self._find(above)
            above = self._parent[rows[rows >= 0]]

    def freeze(self) -> Frozen:
        """Return what is known of spans; rows that are there are hardly ever written again, and are not copied."""
        size = self._split + self._new.rows
        classes, values = self._class[:size].copy(), self.texts.values()
        parents, codes = self._parent[:size], {label: held[:size] for label, held in self._codes.items()}
        self._is_shared = True
        old, new, split, started = self._old.freeze(), self._new.freeze(), self._split, self._started
        nested, calls, marks_started = self._nested.freeze(), self._calls.freeze(), self._marks_started

        def state() -> State:
            labels: dict[str, State] = {label: kept_codes(column, values) for label, column in codes.items()}
            facts: dict[str, State] = {"old": old(), "new": new(), "parents": parents, "classes": classes}
            marks: dict[str, State] = {"nested": nested(), "calls": calls(), "marks_started": marks_started}
            return {"split": split, "started": started, "labels": labels, **facts, **marks}

        return state

    def thaw(self, section: Section) -> None:
        """Take the facts of a state with the same labels."""
        self._old, self._new = thawed_index(section, "old"), thawed_index(section, "new")
        self._split = section.integer("split", self._old.rows, self._old.rows)
        self._started = section.integer("started", least=-(1 << 63))
        self._marks_started = section.integer("marks_started", least=-(1 << 63))
        size = self._split + self._new.rows
        self._reserve(size)
        self._parent[:size] = section.array("parents", np.uint64, size)
        self._class[:size] = section.array("classes", np.uint8, size, below=len(SpanClass))
        labels = section.part("labels")
        for label in self.labels:
            codes = self.texts.taken(labels.part(label), size)
            self._codes[label] = with_room(self._codes[label], len(self._parent), self.texts)
            self._codes[label][:size] = codes
        self._nested.thaw(section.part("nested"))
        self._calls.thaw(section.part("calls"))

    def has_call_below(self, keys: Keys) -> NDArray[np.bool_]:
        """Return [n] whether a model call is known below these spans: their own usage repeats it."""
        return self._calls.found(keys)


class _Marks:
    """Span keys, known or awaited, for two generations."""

    def __init__(self) -> None:
        self._old = KeyIndex()
        self._new = KeyIndex()

    def __len__(self) -> int:
        return len(self._new)

    def rotate(self) -> None:
        self._old, self._new = self._new, KeyIndex()

    def freeze(self) -> Frozen:
        old, new = self._old.freeze(), self._new.freeze()
        return lambda: {"old": old(), "new": new()}

    def thaw(self, section: Section) -> None:
        self._old, self._new = thawed_index(section, "old"), thawed_index(section, "new")

    def add(self, keys: Keys) -> NDArray[np.bool_]:
        """Add keys; return [n] which were not there."""
        if not len(keys):
            return np.zeros(0, np.bool_)
        _, fresh = self._new.find_or_insert(keys)
        return fresh & (self._old.find(keys) < 0) if len(self._old) else fresh

    def found(self, keys: Keys) -> NDArray[np.bool_]:
        if not len(self._new) and not len(self._old):
            return np.zeros(len(keys), np.bool_)
        found = self._new.find(keys) >= 0
        return found | (self._old.find(keys) >= 0) if len(self._old) else found
