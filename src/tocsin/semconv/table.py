"""The dialect table: which attributes stand behind each canonical column, read once from `attributes.json`.

The file is data, so that a new dialect is a line and not a function; `docs/attributes.md` explains its
fields.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from tocsin.model.batch import SpanClass
from tocsin.model.columns import DEFAULT_CAP

__all__ = ["SPAN_NAME", "Alias", "ExclusiveInput", "How", "Kind", "Label", "Table", "default_table"]

SPAN_NAME = "(span name)"
"""The key that stands for the span's own name; no attribute of that name is decoded."""


class How(StrEnum):
    """How the value of an alias is read."""

    PLAIN = "plain"
    JSON = "json"
    """A JSON text; `at` are dotted paths in it."""
    PYTHON = "python"
    """What Python's `repr` made of a dict; `at` as for JSON."""
    QUOTED = "quoted"
    """A text that may be a JSON string, quotes included."""
    BEFORE_SLASH = "before_slash"
    """What stands before the first slash; nothing where there is none."""
    ISO_TIME = "iso_time"
    """An absolute time, ISO 8601, possibly in quotes: milliseconds since the span's start."""
    EVENT_TIME = "event_time"
    """The first span event of that name: milliseconds since the span's start."""
    INDEXED = "indexed"
    """A flattened list, `prefix.N.suffix`."""


@dataclass(frozen=True, slots=True)
class Alias:
    """One place where a value may stand."""

    key: str
    """Attribute key; `event/key` for an attribute of a span event; the event's name for EVENT_TIME."""
    how: How = How.PLAIN
    at: tuple[tuple[str, ...], ...] = ()
    """Paths, the first that is there counts."""
    plus: tuple[tuple[tuple[str, ...], ...], ...] = ()
    """Groups of paths; the first of each group that is there is added."""
    unless: tuple[tuple[str, ...], ...] = ()
    """Paths that, where one is there, cancel `plus`."""
    otherwise_sum: bool = False
    """Without any path of `at`: the sum of all numbers of the document."""
    take: str = ""
    """`count`, `maximum` or `only` of a list; empty for one value."""
    factor: float = 1.0
    zero_is_unknown: bool = False
    cap: int = DEFAULT_CAP
    only: frozenset[SpanClass] | None = None
    """Span classes where it counts; None: all."""
    scopes: tuple[str, ...] = ()
    """Beginnings of the scope's name where it counts; empty: all."""
    unless_false: str = ""
    """A key; where its value is false, the alias does not count."""
    indexed: tuple[str, str] | None = None
    event: tuple[str, str] | None = None
    """(event name, key) of an attribute of a span event."""


@dataclass(frozen=True, slots=True)
class Label:
    """A text column and where it stands."""

    aliases: tuple[Alias, ...]
    resource_first: bool = False
    """The resource's value wins over the span's; else the other way round."""
    failed_only: bool = False
    then: str = ""
    """The last step: `provider`, `operation`, `error_type` or `finish_reason`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One step of the classification; either a marker attribute or the presence of some keys."""

    key: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """Lower-case value -> word for a span class."""
    endings: Mapping[str, str] = field(default_factory=dict)
    any_of: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Names of spans that count like the presence of a key."""
    scope: str = ""
    without_model: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ExclusiveInput:
    """An instrumentation whose input count leaves the cached tokens out."""

    scope: str
    before: str = ""
    """The version that counts them in."""
    through: str = ""
    """The last version known to leave them out."""
    providers: frozenset[str] = frozenset()
    or_models: tuple[str, ...] = ()
    not_models: tuple[str, ...] = ()
    unless_any_of: tuple[str, ...] = ()
    """Keys that only later versions write."""


@dataclass(frozen=True, slots=True)
class Table:
    """Everything in `attributes.json`, and what the configuration changed in it."""

    kinds: tuple[Kind, ...]
    labels: Mapping[str, Label]
    tokens: Mapping[str, tuple[Alias, ...]]
    numbers: Mapping[str, tuple[Alias, ...]]
    exclusive_input: tuple[ExclusiveInput, ...]
    wrapping_scopes: tuple[str, ...]
    """Beginnings of the scopes that frameworks' instrumentations have."""
    late_usage_scopes: tuple[str, ...]
    """Beginnings of the scopes that write a stream's usage on a record of its own."""
    providers: Mapping[str, Any]
    finish_reasons: Mapping[str, str]
    """Lower-case spelling -> canonical one."""
    operations: Mapping[str, str]

    def with_aliases(self, name: str, aliases: Sequence[Alias], *, keep: bool) -> "Table":
        """Return a table where `aliases` stand in front of (`keep`) or in place of the ones that `name` has.

        Raises:
            KeyError: the table has no such name.
        """
        before = tuple(aliases)
        if name in self.labels:
            label = self.labels[name]
            label = replace(label, aliases=before + (label.aliases if keep else ()))
            return replace(self, labels={**self.labels, name: label})
        tokens = name.removesuffix("_tokens")
        if tokens in self.tokens and name != tokens:
            return replace(self, tokens={**self.tokens, tokens: before + (self.tokens[tokens] if keep else ())})
        return replace(self, numbers={**self.numbers, name: before + (self.numbers[name] if keep else ())})


@cache
def default_table() -> Table:
    """Return the table as shipped."""
    raw = json.loads(files("tocsin.semconv").joinpath("attributes.json").read_text("utf-8"))
    return Table(
        kinds=tuple(_kind(entry) for entry in raw["kinds"]),
        labels={name: _label(entry) for name, entry in raw["labels"].items()},
        tokens={name: tuple(map(_alias, entries)) for name, entries in raw["tokens"].items()},
        numbers={name: tuple(map(_alias, entries)) for name, entries in raw["numbers"].items()},
        exclusive_input=tuple(_exclusive(entry) for entry in raw["exclusive_input"]),
        wrapping_scopes=tuple(raw["wrapping_scopes"]),
        late_usage_scopes=tuple(raw["late_usage_scopes"]),
        providers=raw["providers"],
        finish_reasons={word: name for name, words in raw["finish_reasons"].items() for word in words},
        operations=raw["operations"],
    )


def _kind(entry: dict[str, Any]) -> Kind:
    return Kind(**{**entry, **{name: tuple(entry.get(name, ())) for name in ("any_of", "names")}})


def _label(entry: dict[str, Any]) -> Label:
    return Label(
        aliases=tuple(map(_alias, entry["aliases"])),
        resource_first=entry.get("place") == "resource",
        failed_only=entry.get("failed_only", False),
        then=entry.get("then", ""),
    )


def _exclusive(entry: dict[str, Any]) -> ExclusiveInput:
    tuples = {name: tuple(entry.get(name, ())) for name in ("or_models", "not_models", "unless_any_of")}
    return ExclusiveInput(**{**entry, **tuples, "providers": frozenset(entry.get("providers", ()))})


def _alias(entry: str | dict[str, Any]) -> Alias:
    if isinstance(entry, str):
        return Alias(entry)
    if "indexed" in entry:
        prefix, suffix = entry["indexed"]
        return Alias(f"{prefix}N{suffix}", How.INDEXED, indexed=(prefix, suffix), take=entry["take"])
    event = entry.get("event")
    if event is not None and "key" not in entry:
        return Alias(event, How.EVENT_TIME)
    return Alias(
        key=entry["key"] if event is None else f"{event}/{entry['key']}",
        how=How(entry.get("as", "plain")),
        at=_paths(entry.get("at", ())),
        plus=tuple(map(_paths, entry.get("plus", ()))),
        unless=_paths(entry.get("unless", ())),
        otherwise_sum=entry.get("else") == "sum",
        take=entry.get("take", ""),
        factor=float(entry.get("factor", 1)),
        zero_is_unknown=entry.get("zero") == "unknown",
        cap=entry.get("cap", DEFAULT_CAP),
        only=_classes(entry),
        scopes=tuple(entry.get("scopes", ())),
        unless_false=entry.get("unless_false", ""),
        event=None if event is None else (event, entry["key"]),
    )


def _paths(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(text.split(".")) for text in texts)


def _classes(entry: dict[str, Any]) -> frozenset[SpanClass] | None:
    if "only" in entry:
        return frozenset(SpanClass[name.upper()] for name in entry["only"])
    if "not" in entry:
        return frozenset(SpanClass) - {SpanClass[name.upper()] for name in entry["not"]}
    return None
