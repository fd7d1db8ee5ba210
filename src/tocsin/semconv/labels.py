"""Text columns of a batch: each label from the span's attributes and the resource's, first match first."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from tocsin.model.columns import SpanColumns, TextColumn
from tocsin.semconv.columns import Batch
from tocsin.semconv.providers import provider_names, provider_of_model
from tocsin.semconv.reductions import some
from tocsin.semconv.table import Alias, How, Label, Table
from tocsin.semconv.texts import absent_text, first_of, kept_where, mapped, text_of

__all__ = ["Labels", "Occurring", "resource_aliases"]

_STATUS_ERROR = 2


class Occurring(Protocol):
    """Which of a label's aliases occur in a batch."""

    def __call__(self, name: str) -> tuple[Sequence[Alias], Sequence[Alias]]:
        """Return those of the spans and those of the resources, best first."""


class Labels:
    """Reads labels by the table; one per set of rules."""

    def __init__(self, table: Table) -> None:
        self._labels = table.labels
        self._of_model = provider_of_model(table.providers)
        self._then: Mapping[str, Callable[[str], str]] = {
            "provider": provider_names(table.providers),
            "operation": _operation_names(table.operations),
            "error_type": lambda name: name.rpartition(".")[2],
            "finish_reason": _finish_reasons(table.finish_reasons),
        }

    def canonical(self, name: str, written: str) -> str:
        """Return the spelling that values of a label have in batches, for a value in any dialect's."""
        then = self._then.get(self._labels.get(name, _ANY).then)
        return (written if then is None else then(written)) or written

    def column(self, batch: Batch, name: str, occurring: Occurring) -> TextColumn:
        """Return [n] a label, absent where neither span nor resource has it."""
        label = self._labels.get(name, _ANY)
        of_span, of_resource = occurring(name)
        if not of_span and not of_resource:
            return absent_text(batch.size)
        then = self._then.get(label.then)
        if label.resource_first:
            column = _from_resource(batch.columns, of_resource, then) if of_resource else None
            column = _from_span(batch, of_span, then, column)
        else:
            column = _from_span(batch, of_span, then, None)
            if of_resource and (column is None or some(column.code < 0)):
                resource = _from_resource(batch.columns, of_resource, then)
                column = resource if column is None else first_of([column, resource])
        if column is None:
            return absent_text(batch.size)
        if label.failed_only:
            column = kept_where(column, batch.columns.status == _STATUS_ERROR)
        return column

    def provider(self, batch: Batch, model: TextColumn, occurring: Occurring) -> TextColumn:
        """Return [n] the provider; where nothing names it, the one that alone makes models of that name."""
        provider = self.column(batch, "provider", occurring)
        if batch.size == 0 or not some((provider.code < 0) & (model.code >= 0)):
            return provider
        return first_of([provider, mapped(model, self._of_model)])


_ANY = Label(aliases=())
_ALL = np.ones(1, np.bool_)


def _from_span(
    batch: Batch, aliases: Sequence[Alias], then: Callable[[str], str] | None, before: TextColumn | None
) -> TextColumn | None:
    """Return [n] the first of `before` and the aliases; None where there is no candidate at all."""
    column = before
    for alias in aliases:
        missing: NDArray[np.bool_] = _ALL if column is None else column.code < 0
        if not some(missing):
            break
        text = batch.text(alias, None if column is None else missing)
        if then is not None:
            text = mapped(text, then)
        column = text if column is None else first_of([column, text])
    return column


def _from_resource(columns: SpanColumns, aliases: Sequence[Alias], then: Callable[[str], str] | None) -> TextColumn:
    """Return [n] the first alias that the row's resource has."""
    column = first_of([text_of(columns.resources[alias.key]) for alias in aliases])
    if then is not None:
        column = mapped(column, then)
    return TextColumn(column.code[columns.resource], column.values)


def _operation_names(known: Mapping[str, str]) -> Callable[[str], str]:
    @lru_cache(maxsize=1024)
    def operation(written: str) -> str:
        name = written.lower()
        if name.endswith((".dogenerate", ".dostream")):
            return "chat"
        if name.endswith(".doembed"):
            return "embeddings"
        return known.get(name, name)

    return operation


def _finish_reasons(known: Mapping[str, str]) -> Callable[[str], str]:
    @lru_cache(maxsize=1024)
    def reason(written: str) -> str:
        """Return the canonical reason; of a list (an array, or its JSON text) the first one."""
        if written.startswith("["):
            try:
                items = orjson.loads(written)
            except ValueError:
                items = []
            written = next((item for item in items if isinstance(item, str)), "")
        name = written.lower()
        return known.get(name, name)

    return reason


def resource_aliases(aliases: Sequence[Alias]) -> list[Alias]:
    """Return the aliases that a resource can carry: plain attributes."""
    return [alias for alias in aliases if alias.how is How.PLAIN and alias.event is None and alias.only is None]
