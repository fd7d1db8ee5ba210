"""The labels of traces: of each the first value that a span had, and the few further ones that some traces have."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tocsin.model.sections import Section
from tocsin.model.state import Frozen, State
from tocsin.windows.texts import Codes, Texts, kept_codes, with_room

__all__ = ["TraceLabels"]

_FIRST = 1 << 12
_MAX_TEXTS = 8
"""Distinct values of one label that a trace remembers."""

Slots = NDArray[np.int32]


class TraceLabels:
    """Values by trace slot, as the numbers that `texts` gives them."""

    def __init__(self, labels: Sequence[str], texts: Texts) -> None:
        self.texts = texts
        self._first: dict[str, Codes] = {}
        self._further: dict[str, dict[int, list[int]]] = {}
        """Of traces with several values, those after the first."""
        self.extend(labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are followed."""
        return tuple(self._first)

    def extend(self, labels: Sequence[str], slots: int = 0) -> None:
        """Follow more labels from now on; `slots` are given out already."""
        self._first |= {label: self.texts.column(max(slots, _FIRST)) for label in labels}
        self._further |= {label: {} for label in labels}

    def reserve(self, rows: int) -> None:
        """Make room for so many slots."""
        for label, column in self._first.items():
            if len(column) < rows:
                self._first[label] = with_room(column, 1 << (rows - 1).bit_length(), self.texts)

    def learn(self, slots: Slots, label: str, codes: NDArray[np.int32]) -> None:
        """Note the values ([n] numbers, 0 where absent) of a label; several distinct ones are all kept, up to 8."""
        rows = codes.nonzero()[0]
        if len(rows) < len(codes):
            if not len(rows):
                return
            slots, codes = slots[rows], codes[rows]
        column = self._first[label] = with_room(self._first[label], 0, self.texts)
        unknown = column[slots] == 0
        # Backwards, so that of several values in one batch the first is the one that stays.
        column[slots[unknown][::-1]] = codes[unknown][::-1]
        differing = (column[slots] != codes).nonzero()[0]
        for slot, code in zip(slots[differing].tolist(), codes[differing].tolist(), strict=True):
            known = self._further[label].setdefault(slot, [])
            if code not in known and len(known) < _MAX_TEXTS - 1:
                known.append(code)

    def first(self, slots: Slots, label: str) -> Codes:
        """Return [n] the number of the first known value of each trace."""
        return self._first[label][slots]

    def all(self, slot: int, label: str) -> tuple[str, ...]:
        """Return all known values of a trace, in order of arrival."""
        codes = [int(self._first[label][slot]), *self._further[label].get(slot, ())]
        return tuple(text for code in codes if (text := self.texts.text(code)) is not None)

    def mark(self, used: NDArray[np.bool_], rows: int) -> None:
        """Set the flags ([len(texts)]) of all numbers that the first `rows` slots have."""
        for label, column in self._first.items():
            used[column[:rows]] = True
            for codes in self._further[label].values():
                used[codes] = True

    def compact(self, old: NDArray[np.intp], moved: NDArray[np.int32]) -> None:
        """Keep the slots `old`, in this order; `moved` says where each went, -1 where it was dropped."""
        for column in self._first.values():
            column[: len(old)] = column[old]
            column[len(old) : len(moved)] = 0
        self._further = {
            label: {int(moved[slot]): codes for slot, codes in held.items() if moved[slot] >= 0}
            for label, held in self._further.items()
        }

    def freeze(self, rows: int) -> Frozen:
        """Return the state of the first `rows` slots."""
        values = self.texts.values()
        first = {label: column[:rows].copy() for label, column in self._first.items()}
        further = {
            label: [(slot, code) for slot, codes in held.items() for code in codes]
            for label, held in self._further.items()
        }

        def state() -> State:
            return {
                label: {
                    "first": kept_codes(column, values),
                    "slots": np.array([slot for slot, _ in further[label]], np.int64),
                    "further": [values[code] for _, code in further[label]],
                }
                for label, column in first.items()
            }

        return state

    def thaw(self, section: Section, rows: int) -> None:
        """Take the labels of a state."""
        for label in self.labels:
            held = section.part(label)
            codes = self.texts.taken(held.part("first"), rows)
            slots = held.array("slots", np.int64, least=0, below=rows).tolist()
            further = self.texts.codes(held.texts("further", len(slots)))[:-1].tolist()
            self._first[label] = with_room(self._first[label], rows, self.texts)
            self._first[label][:rows] = codes
            for slot, code in zip(slots, further, strict=True):
                self._further[label].setdefault(slot, []).append(code)
