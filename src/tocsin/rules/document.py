"""YAML with positions: plain data, and the line and column of every key and value in it.

YAML 1.2 (core schema: `yes` and `no` are text) is read from ruamel.yaml's events, so that nothing
is built but what was asked for: no tags, no objects, one document. Depth and size are bounded
before anything is expanded, so that nested aliases ("billion laughs") cost nothing. Duplicate keys
are mistakes; `<<` merges.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from tocsin.rules.problems import KeyPath, Mistake, Problem, hide, shown_key

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "QUERIES",
    "Document",
    "Node",
    "Substitution",
    "WrittenFloat",
    "WrittenInt",
    "parse",
]

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 1_000_000
"""Keys and values of one file, aliases counted as often as they are used."""

QUERIES = ("expr", "sql")
"""Keys whose texts are languages of their own."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_DIGITS = 400
_SURROGATE = re.compile("[\ud800-\udfff]")
_MERGE = "<<"


class WrittenInt(int):
    """An integer that remembers its text: `007` may be meant as that."""

    written: str


class WrittenFloat(float):
    """A float that remembers its text: `1.10` may be a version."""

    written: str


@dataclass(frozen=True, slots=True)
class Substitution:
    """What became of a text in which `${env:…}` and `${file:…}` were replaced."""

    text: str
    secrets: tuple[str, ...] = ()
    """What was put in; never to be shown."""
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class Node:
    """A value and where it stands. A scalar has neither entries nor items."""

    line: int
    column: int
    value: object = None
    entries: dict[str, tuple[tuple[int, int], "Node"]] | None = None
    """Key -> (line and column of the key, value)."""
    items: list["Node"] | None = None
    size: int = 1
    """Keys and values in it, aliases expanded."""
    secrets: tuple[str, ...] = ()
    """What was put into it from outside."""
    source: str = ""
    """The file's own characters, of a query: what is wrong in it is told at its very place."""

    def child(self, key: str | int) -> "Node | None":
        """Return the value under a key or index, None where there is none."""
        if self.entries is not None and isinstance(key, str):
            entry = self.entries.get(key)
            return entry[1] if entry else None
        if self.items is not None and isinstance(key, int) and 0 <= key < len(self.items):
            return self.items[key]
        return None

    def plain(self) -> object:
        """Return dicts, lists and scalars."""
        if self.entries is not None:
            return {key: node.plain() for key, (_, node) in self.entries.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return self.value

    def place_of(self, begin: int) -> tuple[int, int]:
        """Return line and column of a character of the text; of the value itself where that is not known.

        What is not space stands in a YAML text in the order in which it stands in the file: folding changes only
        spaces, and quotes and escapes add characters.
        """
        if not self.source or not isinstance(self.value, str) or self.secrets:
            return self.line, self.column
        # A block's first line has only its indicators and a comment.
        at = self.source.find("\n") + 1 if self.source[0] in "|>" else 0
        for char in self.value[: begin + 1].rstrip():
            if not char.isspace():
                found = self.source.find(char, at)
                if found < 0:
                    return self.line, self.column
                at = found + 1
        at = max(at - 1, 0)
        lines = self.source.count("\n", 0, at)
        column = at - self.source.rfind("\n", 0, at) if lines else self.column + at
        return self.line + lines, column


@dataclass(slots=True)
class Document:
    """One parsed file."""

    file: str
    """As it is to be shown."""
    root: Node = field(default_factory=lambda: Node(1, 1))
    secrets: set[str] = field(default_factory=set)
    """Everything that was put in from outside."""
    is_whole: bool = True
    """Nothing in it refers to the outside: the same text is the same document."""
    has_anchors: bool = False
    shifts: list[int] = field(default_factory=list)
    """Lines to add to those of each rule's nodes, where they were parsed at another line; empty: none."""

    def at(self, path: KeyPath) -> Node:
        """Return the deepest value on the way along `path`; keys that are not in the file are passed over."""
        return self._find(path)[0]

    def problem(self, mistake: Mistake) -> Problem:
        """Return a mistake with its line and column, and without secrets."""
        node, shift, key_place = self._find(mistake.path)
        line, column = key_place if mistake.at_key else (node.line, node.column)
        if mistake.begin is not None and not mistake.at_key:
            line, column = node.place_of(mistake.begin)
        text = hide(mistake.text, node.secrets, here=bool(node.secrets))
        return Problem(self.file, line + shift, column, hide(text, self.secrets, here=False))

    def _find(self, path: KeyPath) -> tuple[Node, int, tuple[int, int]]:
        """The deepest value on the way, lines to add, and the place of its key: its own where it has none."""
        node, shift = self.root, 0
        place = node.line, node.column
        for depth, key in enumerate(path):
            child = node.child(key)
            if child is None:
                continue
            if depth == 1 and path[0] == "rules" and isinstance(key, int) and self.shifts:
                shift = self.shifts[key]
            place = child.line, child.column
            if node.entries is not None and isinstance(key, str):
                place = node.entries[key][0]
            node = child
        return node, shift, place


def parse(
    text: str, file: str, substitute: Callable[[str], Substitution] | None = None
) -> tuple[Document, list[Problem]]:
    """Return the document of a text and what is wrong with it; what can be used of it is.

    Args:
        text: YAML.
        file: the name to show.
        substitute: replaces references in each text value; None leaves them as they are.
    """
    composer = _Composer(file, substitute)
    try:
        composer.document.root = composer.compose(text)
    except _BrokenError as broken:
        composer.problems.append(Problem(file, broken.line, broken.column, broken.text))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        composer.problems.append(Problem(file, line, column, "a character that YAML does not allow; remove it"))
    except MarkedYAMLError as error:
        composer.problems.append(_syntax_problem(file, error))
    except YAMLError:
        composer.problems.append(Problem(file, 1, 1, "not YAML; see https://yaml.org"))
    return composer.document, sorted(composer.problems)


class _BrokenError(Exception):
    """The file can't be read any further."""

    def __init__(self, line: int, column: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.column = column
        self.text = text


class _Composer:
    """Events to nodes."""

    def __init__(self, file: str, substitute: Callable[[str], Substitution] | None) -> None:
        self.document = Document(file)
        self.problems: list[Problem] = []
        self._substitute = substitute
        self._anchors: dict[str, Node] = {}
        self._source = ""

    def compose(self, text: str) -> Node:
        # Text that is all comment has no document; ruamel then yields only the stream's own events.
        self._source = text
        events = YAML(typ="safe", pure=True).parse(text)
        root: Node | None = None
        for event in events:
            if isinstance(event, ScalarEvent | AliasEvent | MappingStartEvent | SequenceStartEvent):
                if root is not None:
                    raise _BrokenError(*_place(event), "a second document ('---'); write one document a file")
                root = self._node(event, events, 0)
        return root if root is not None else Node(1, 1)

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        line, column = _place(event)
        if depth > MAX_DEPTH:
            raise _BrokenError(line, column, f"nested more than {MAX_DEPTH} deep; make it flatter")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        node = Node(line, column)
        if isinstance(event, ScalarEvent):
            self._fill_scalar(node, event)
        elif isinstance(event, MappingStartEvent):
            self._refuse_tag(event)
            self._fill_mapping(node, events, depth)
        elif isinstance(event, SequenceStartEvent):
            self._refuse_tag(event)
            self._fill_list(node, events, depth)
        if node.size > MAX_NODES:
            raise _BrokenError(
                line, column, f"more than {MAX_NODES:,} keys and values, aliases expanded; make it smaller"
            )
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = node
            self.document.has_anchors = True
        return node

    def _alias(self, event: AliasEvent) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _BrokenError(
                *_place(event), "an alias ('*') of nothing before it; quote a value that begins with '*'"
            )
        return node

    def _fill_list(self, node: Node, events: Iterator[Event], depth: int) -> None:
        node.items = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                return
            item = self._node(event, events, depth + 1)
            node.items.append(item)
            node.size += item.size
            self._refuse_size(node, item)

    def _fill_mapping(self, node: Node, events: Iterator[Event], depth: int) -> None:
        node.entries = {}
        merged: list[Node] = []
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            place = _place(event)
            key = self._key(event, events, depth)
            begun = next(events)
            value = self._node(begun, events, depth + 1)
            if key in QUERIES and isinstance(begun, ScalarEvent):
                value.source = self._source[begun.start_mark.index : begun.end_mark.index]
            node.size += 1 + value.size
            self._refuse_size(node, value)
            if key == _MERGE and isinstance(event, ScalarEvent) and event.implicit[0]:
                merged.append(value)
            elif key in node.entries:
                first = node.entries[key][0][0]
                self._tell(place, f"key {shown_key(key)} a second time; it is on line {first} already, keep one")
            else:
                node.entries[key] = (place, value)
        for value in merged:
            self._merge(node, value)

    def _refuse_size(self, node: Node, last: Node) -> None:
        if node.size > MAX_NODES:
            text = f"more than {MAX_NODES:,} keys and values, aliases expanded; make it smaller"
            raise _BrokenError(last.line, last.column, text)

    def _key(self, event: Event, events: Iterator[Event], depth: int) -> str:
        node = self._node(event, events, depth + 1)
        if node.entries is not None or node.items is not None:
            text = "a key that is a list or mapping; quote text that begins with '{' or '['"
            self._tell((node.line, node.column), text)
            return f"\0{node.line}:{node.column}"
        return self._text(event) if isinstance(event, ScalarEvent) else str(node.value)

    def _merge(self, node: Node, value: Node) -> None:
        sources = value.items if value.items is not None else [value]
        for source in sources:
            if source.entries is None or node.entries is None:
                self._tell(
                    (value.line, value.column),
                    "'<<' takes a mapping or a list of mappings, like <<: *defaults",
                )
                return
            for key, entry in source.entries.items():
                if node.entries.setdefault(key, entry) is entry:
                    node.size += entry[1].size
                    self._refuse_size(node, value)

    def _fill_scalar(self, node: Node, event: ScalarEvent) -> None:
        tag = str(event.ctag) if event.ctag is not None else None
        if tag is None and event.implicit[0]:
            node.value = _plain_value(self._text(event))
        elif tag is None or tag in ("!", "tag:yaml.org,2002:str"):
            node.value = self._text(event)
        else:
            self._refuse_tag(event)
            node.value = self._text(event)
        if self._substitute is not None and isinstance(node.value, str) and "$" in node.value:
            self._fill_substituted(node, self._substitute(node.value))

    def _text(self, event: ScalarEvent) -> str:
        r"""The text, where escapes of half characters ("\ud83d\ude00", as JSON writes them) are made whole."""
        text: str = event.value
        if not text.isascii() and _SURROGATE.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text

    def _fill_substituted(self, node: Node, substitution: Substitution) -> None:
        if substitution.text != node.value or substitution.secrets or substitution.problems:
            self.document.is_whole = False
        node.value = substitution.text
        node.secrets = substitution.secrets
        self.document.secrets.update(substitution.secrets)
        for text in substitution.problems:
            self._tell((node.line, node.column), text)

    def _refuse_tag(self, event: ScalarEvent | CollectionStartEvent) -> None:
        if event.ctag is not None and str(event.ctag) not in (
            "!",
            "tag:yaml.org,2002:map",
            "tag:yaml.org,2002:seq",
        ):
            self._tell(_place(event), "a YAML tag ('!…'), which is not used here; quote a value that begins with '!'")

    def _tell(self, place: tuple[int, int], text: str) -> None:
        self.problems.append(Problem(self.document.file, *place, text))


def _place(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _plain_value(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        whole = WrittenInt(text, 0) if text[:2] in ("0o", "0x") else WrittenInt(text)
        whole.written = text
        return whole
    if _FLOAT.fullmatch(text):
        number = WrittenFloat(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        number.written = text
        return number
    return text


_ADVICE = (
    ("'<stream end>'", "the file ends here inside a '[' or '{'; close it"),
    ("'\\t' that cannot start", "a tab where indentation is expected; indent with spaces"),
    ("that cannot start any token", "a value can't begin with this character; put it in quotes"),
    (
        "mapping values are not allowed",
        "a ': ' that does not belong here; quote the value, or align the indentation",
    ),
    ("chomping or indentation", "'>' and '|' begin a text block; put a value that begins with one in quotes"),
    ("expected ',' or ']'", "the list that began with '[' is not closed before this; add ',' or ']'"),
    ("expected ',' or '}'", "the mapping that began with '{' is not closed before this; add ',' or '}'"),
    ("could not find expected ':'", "a key without ': value'; add it, or align the indentation"),
    ("expected <block end>", "this line is not aligned with the ones above it; fix its indentation"),
    ("unexpected end of stream", "the quote that begins here is not closed; close it"),
    ("expected the node content", "a value is expected here; write one, or remove the bracket"),
    ("undefined tag handle", "a YAML tag ('!…'), which is not used here; quote a value that begins with '!'"),
    (
        "unknown escape",
        "an unknown escape in double quotes; use single quotes, or write '\\\\' for a backslash",
    ),
)


def _syntax_problem(file: str, error: MarkedYAMLError) -> Problem:
    what = str(error.problem or error.context or "not YAML")
    mark = error.problem_mark or error.context_mark
    if "unexpected end of stream" in what and error.context_mark is not None:
        mark = error.context_mark
    # The parser's own words may quote the text, which may be a secret.
    default = re.sub(r"'[^']{3,}'", "…", what) + "; fix the YAML here"
    text = next((advice for sign, advice in _ADVICE if sign in what), default)
    return Problem(file, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, text)
