"""Where each key and value of a YAML text stands, as offsets, so that one of them can be changed and nothing else.

The plain values come from `tocsin.rules.document`, which also bounds depth and size; this holds only places.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

__all__ = ["Piece", "layout_of"]


@dataclass(slots=True)
class Piece:
    """The characters of one value."""

    begin: int
    end: int
    """Past its last character; of a block collection, past its last value's."""
    column: int
    """From 0; of a block list, where its dashes are."""
    key: "Piece | None" = None
    """In a mapping."""
    is_flow: bool = False
    """Written in brackets."""
    entries: "dict[str, Piece] | None" = None
    items: "list[Piece] | None" = None
    is_alias: bool = False
    is_anchored: bool = False

    def at(self, path: tuple[str | int, ...]) -> "Piece | None":
        """Return the piece at the end of a path; None where there is none."""
        piece: Piece | None = self
        for step in path:
            if piece is None:
                return None
            if isinstance(step, str):
                piece = (piece.entries or {}).get(step)
            else:
                piece = piece.items[step] if piece.items is not None and step < len(piece.items) else None
        return piece


def layout_of(text: str) -> Piece | None:
    """Return the places of a text that is YAML, of one document and bounded depth; None where there is no value.

    Raises:
        ValueError: it is no YAML.
    """
    events = iter(YAML(typ="safe", pure=True).parse(text))
    try:
        for event in events:
            if isinstance(event, ScalarEvent | AliasEvent | MappingStartEvent | SequenceStartEvent):
                return _piece(event, events)
    except YAMLError as error:
        raise ValueError("the text is no YAML") from error
    return None


def _piece(event: Event, events: Iterator[Event]) -> Piece:
    piece = Piece(event.start_mark.index, event.end_mark.index, event.start_mark.column)
    piece.is_alias = isinstance(event, AliasEvent)
    piece.is_anchored = not piece.is_alias and getattr(event, "anchor", None) is not None
    if isinstance(event, MappingStartEvent):
        piece.is_flow, piece.entries = bool(event.flow_style), {}
        for inner in events:
            if isinstance(inner, MappingEndEvent):
                _close(piece, inner, list(piece.entries.values()))
                break
            key = _piece(inner, events)
            value = _piece(next(events), events)
            value.key = key
            name = inner.value if isinstance(inner, ScalarEvent) else f"\0{key.begin}"
            piece.entries.setdefault(name, value)
    elif isinstance(event, SequenceStartEvent):
        piece.is_flow, piece.items = bool(event.flow_style), []
        for inner in events:
            if isinstance(inner, SequenceEndEvent):
                _close(piece, inner, piece.items)
                break
            piece.items.append(_piece(inner, events))
    return piece


def _close(piece: Piece, event: Event, inside: list[Piece]) -> None:
    if piece.is_flow:
        piece.end = event.end_mark.index
    elif inside:
        piece.end = max(inside[-1].end, inside[-1].key.end if inside[-1].key else 0)
