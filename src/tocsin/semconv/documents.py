"""Values inside structured texts: a usage object in JSON, or in what Python's `repr` made of a dict.

A text is parsed once per distinct value and batch, whatever number of columns look into it, and only when a
row needs it.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from tocsin.model.columns import AttributeColumn, ValueKind
from tocsin.semconv.literal import parse_literal
from tocsin.semconv.table import Alias, How

__all__ = ["Documents", "number_at", "numbers_in", "numeric", "text_at"]

_Paths = Sequence[tuple[str, ...]]


class Documents:
    """The structured texts of one batch, parsed on demand; `broken` counts those that were none."""

    def __init__(self) -> None:
        self.broken = 0
        self._parsed: dict[tuple[str, How], dict[int, object]] = {}

    def values(
        self, alias: Alias, column: AttributeColumn, wanted: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int32], Mapping[int, object]]:
        """Return [n] codes, -1 where there is no document, and the parsed document of each code that occurs.

        Only rows of `wanted` (None: all) are looked at.
        """
        keep = column.kind == ValueKind.STRING
        if wanted is not None:
            keep &= wanted
        codes = np.where(keep, column.code, np.int32(-1))
        known = self._parsed.setdefault((alias.key, alias.how), {})
        for code in np.unique(codes[keep]).tolist():
            if code not in known:
                known[code] = self._parse(str(column.values[code]), alias.how)
        return codes, known

    def _parse(self, text: str, how: How) -> object:
        if not text:
            return None
        try:
            return parse_literal(text) if how is How.PYTHON else orjson.loads(text)
        except ValueError:
            self.broken += 1
            return None


def numbers_in(
    documents: Mapping[int, object], codes: NDArray[np.int32], size: int, read: Callable[[object], float]
) -> NDArray[np.float64]:
    """Return [n] `read` of each row's document, NaN where there is none; `size` is the distinct values."""
    table = np.full(size + 1, np.nan)
    for code, document in documents.items():
        table[code] = read(document)
    return table[codes]


def number_at(document: object, alias: Alias) -> float:
    """Return the number that an alias means in a document; NaN where it is not there."""
    if alias.take:
        return _of_list(document, alias)
    value = _first(document, alias.at)
    if math.isnan(value):
        return _sum_of(document) if alias.otherwise_sum else math.nan
    if alias.plus and not any(_found(document, path) is not None for path in alias.unless):
        for group in alias.plus:
            extra = _first(document, group)
            value += 0.0 if math.isnan(extra) else extra
    return value


def text_at(document: object, paths: _Paths) -> str:
    """Return the first text or whole number at one of the paths; empty where there is none."""
    for path in paths:
        value = _found(document, path)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def numeric(value: object) -> float:
    """Return a number, or a text that is one, as float; NaN for anything else."""
    if isinstance(value, bool):
        return math.nan
    try:
        return float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _found(document: object, path: tuple[str, ...]) -> object:
    for name in path:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _first(document: object, paths: _Paths) -> float:
    for path in paths:
        value = numeric(_found(document, path))
        if not math.isnan(value):
            return value
    return math.nan


def _sum_of(document: object) -> float:
    if not isinstance(document, dict):
        return math.nan
    parts = [part for part in map(numeric, document.values()) if not math.isnan(part)]
    return math.fsum(parts) if parts and all(map(math.isfinite, parts)) else math.nan


def _of_list(document: object, alias: Alias) -> float:
    if not isinstance(document, list):
        return math.nan
    if alias.take == "count":
        return float(len(document))
    scores = [score for item in document if not math.isnan(score := _first(item, alias.at))]
    return max(scores, default=math.nan)
