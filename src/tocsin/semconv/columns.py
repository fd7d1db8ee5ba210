"""One batch as the table's aliases see it: which of them occur, and their values as text or as numbers."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from tocsin.model.batch import SpanClass
from tocsin.model.columns import AttributeColumn, SpanColumns, TextColumn, ValueKind
from tocsin.semconv.documents import Documents, number_at, numbers_in, numeric, text_at
from tocsin.semconv.table import SPAN_NAME, Alias, How
from tocsin.semconv.texts import kept_where, of_rows, text_of

__all__ = ["Batch", "numbers_of", "occurs"]

_Floats = NDArray[np.float64]
_Mask = NDArray[np.bool_]
_PLAIN = How.PLAIN  # bound once: looking a member up costs more than the comparison
_END_OF_TIME = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def occurs(alias: Alias, columns: SpanColumns) -> bool:
    """Return whether a span of the batch, or its events, may have the alias."""
    match alias.how:
        case How.EVENT_TIME:
            return alias.key in columns.event_time
        case How.INDEXED:
            return alias.indexed in columns.indexed
        case _:
            return alias.key in columns.attributes or alias.key == SPAN_NAME


def numbers_of(column: AttributeColumn) -> _Floats:
    """Return [n] numbers; texts that are numbers count, NaN for everything else."""
    if not column.values:
        return column.number
    table = np.array([numeric(value) for value in column.values] + [np.nan])
    return np.where(column.kind == ValueKind.STRING, table[column.code], column.number)


class Batch:
    """The columns of one call, with what is computed of them at most once."""

    def __init__(self, columns: SpanColumns) -> None:
        self.columns = columns
        self.size = len(columns)
        self.documents = Documents()
        self.classes: NDArray[np.uint8] = np.zeros(0, np.uint8)
        """[n] SpanClass; set once the classification is done."""

    def text(self, alias: Alias, missing: _Mask | None) -> TextColumn:
        """Return an alias of the spans as text; structured ones only for the rows `missing` (None: all)."""
        if alias.key == SPAN_NAME:
            return self._restricted(self.columns.name, alias)
        column = self.columns.attributes[alias.key]
        if alias.how is _PLAIN:
            return self._restricted(text_of(column), alias)
        match alias.how:
            case How.JSON | How.PYTHON:
                codes, documents = self.documents.values(alias, column, missing)
                texts = {code: text_at(document, alias.at) for code, document in documents.items()}
                return of_rows(texts, codes, len(column.values))
            case How.QUOTED:
                return self._changed(column, _unquoted)
            case How.BEFORE_SLASH:
                return self._changed(column, _before_slash)
            case _:
                return self._restricted(text_of(column), alias)

    def number(self, alias: Alias, missing: _Mask | None) -> _Floats:
        """Return [n] an alias of the spans as numbers in the column's unit, NaN where it does not count."""
        values = self._raw_number(alias, missing)
        if alias.factor != 1.0:
            with np.errstate(over="ignore"):  # infinite is refused and counted later
                values = values * alias.factor
        if alias.zero_is_unknown:
            values = np.where(values == 0, np.nan, values)
        if alias.unless_false:
            off = self.columns.attributes.get(alias.unless_false)
            if off is not None:
                values = np.where(off.number == 0, np.nan, values)
        keep = self._where(alias)
        return values if keep is None else np.where(keep, values, np.nan)

    def scoped(self, beginnings: Sequence[str]) -> _Mask:
        """Return [n] whether the scope's name begins with one of these, whole words between dots."""
        hits = [
            any(scope.name == one or scope.name.startswith(one + ".") for one in beginnings)
            for scope in self.columns.scopes
        ]
        return np.array([*hits, False])[self.columns.scope]

    def _raw_number(self, alias: Alias, missing: _Mask | None) -> _Floats:
        if alias.how is _PLAIN:
            return numbers_of(self.columns.attributes[alias.key])
        match alias.how:
            case How.EVENT_TIME:
                return self._since_start(self.columns.event_time[alias.key].view(np.int64))
            case How.INDEXED:
                return self._indexed(alias)
            case How.JSON | How.PYTHON:
                column = self.columns.attributes[alias.key]
                codes, documents = self.documents.values(alias, column, missing)
                return numbers_in(documents, codes, len(column.values), lambda document: number_at(document, alias))
            case How.ISO_TIME:
                column = self.columns.attributes[alias.key]
                times = [_nanoseconds(value) if isinstance(value, str) else 0 for value in column.values]
                return self._since_start(np.array([*times, 0], np.int64)[column.code])
            case _:
                return numbers_of(self.columns.attributes[alias.key])

    def _since_start(self, times: NDArray[np.int64]) -> _Floats:
        milliseconds: _Floats = (times - self.columns.start.view(np.int64)) / 1e6
        return np.where(times > 0, milliseconds, np.nan)

    def _indexed(self, alias: Alias) -> _Floats:
        assert alias.indexed is not None  # noqa: S101  # what How.INDEXED means
        found = self.columns.indexed[alias.indexed]
        match alias.take:
            case "count":
                return np.where(found.count > 0, found.count, np.nan)
            case "only":
                return np.where(found.count == 1, found.maximum, np.nan)
            case _:
                return found.maximum

    def _where(self, alias: Alias) -> _Mask | None:
        """Return the rows where the alias may count, None for all."""
        keep: _Mask | None = None
        if alias.only is not None:
            keep = _members(alias.only)[self.classes]
        if alias.scopes:
            scoped = self.scoped(alias.scopes)
            keep = scoped if keep is None else keep & scoped
        return keep

    def _restricted(self, column: TextColumn, alias: Alias) -> TextColumn:
        keep = self._where(alias)
        return column if keep is None else kept_where(column, keep)

    def _changed(self, column: AttributeColumn, change: Callable[[str], str]) -> TextColumn:
        texts = text_of(column)
        return of_rows({code: change(value) for code, value in enumerate(texts.values)}, texts.code, len(texts.values))


@lru_cache(maxsize=64)
def _members(only: frozenset[SpanClass]) -> _Mask:
    return np.array([kind in only for kind in SpanClass])


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        value = orjson.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _before_slash(text: str) -> str:
    before, slash, _ = text.partition("/")
    return before if slash else ""


def _nanoseconds(text: str) -> int:
    """Return Unix nanoseconds; 0 for what is no time, or none between 1970 and 2262."""
    try:
        time = datetime.fromisoformat(text.strip('"'))
        since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return 0
    nanoseconds = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    return nanoseconds if 0 < nanoseconds < _END_OF_TIME else 0
