"""The files that hold rules and contact points, as they are now, and where each of them stands."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tocsin.api.editing import FieldProblem, UnwritableError, WrittenItem, rule_key
from tocsin.rules.document import MAX_BYTES, Document, Node, parse
from tocsin.rules.problems import KeyPath
from tocsin.service.editing.layout import Piece, layout_of
from tocsin.service.reading import Reading, ReadingError

__all__ = ["RuleKey", "Shelf", "TextFile", "field_problems", "read_shelf"]

_KEY: Final = secrets.token_bytes(32)
"""Of entity tags: a plain hash of a contact point would let whoever sees it try out passwords."""
_MISSING: Final = re.compile(r"(?:no )?'(\w+)'(?: is missing|; add )")
RuleKey = tuple[str, str]
"""Project and name."""


@dataclass(slots=True)
class TextFile:
    """One file, read once."""

    path: Path
    data: bytes
    text: str
    document: Document
    in_order: bool
    """It is YAML; else nothing in it can be changed by a program."""
    _layout: Piece | None = field(default=None)

    @classmethod
    def read(cls, path: Path) -> "TextFile":
        """Read a file.

        Raises:
            ReadingError: it can't be read.
        """
        return cls.of(path, Reading().read(path, MAX_BYTES))

    @classmethod
    def of(cls, path: Path, data: bytes) -> "TextFile":
        """Return a file that has this content."""
        text = data.decode("utf-8-sig", "replace")
        document, problems = parse(text, str(path))
        broken = bool(problems) or "\ufffd" in text
        return cls(path, data, text, document, not broken)

    def encoded(self, text: str) -> bytes:
        """Return the bytes of a new text, marked as the old ones are."""
        return (b"\xef\xbb\xbf" if self.data.startswith(b"\xef\xbb\xbf") else b"") + text.encode()

    def rules(self) -> Iterator[tuple[int, Node]]:
        """Yield each rule's index and node."""
        rules = self.document.root.child("rules")
        yield from enumerate(rules.items or () if rules is not None else ())

    def item(self, path: KeyPath) -> WrittenItem:
        """Return what stands at a path."""
        node = self.document.at(path)
        fields = _fields(node)
        if self._layout is None and self.in_order:
            self._layout = layout_of(self.text.replace("\r\n", "\n"))
        piece = None if self._layout is None else self._layout.at(path)
        text = self.text.replace("\r\n", "\n")
        last = node.line if piece is None else text.count("\n", 0, max(piece.end - 1, 0)) + 1
        return WrittenItem(fields, str(self.path), node.line, last, _tag(fields))


@dataclass(frozen=True, slots=True)
class Shelf:
    """The main file and the rule files, in the order in which they are read."""

    files: Sequence[TextFile]

    @property
    def main(self) -> TextFile:
        """The configuration file itself."""
        return self.files[0]

    def find_rule(self, key: RuleKey) -> tuple[TextFile, int] | None:
        """Return where a rule stands, the first of that name."""
        for file in self.files:
            for at, node in file.rules():
                if _key_of(node) == key:
                    return file, at
        return None

    def rules(self) -> list[WrittenItem]:
        """Return all rules that are mappings with a name."""
        return [
            file.item(("rules", at)) for file in self.files for at, node in file.rules() if _key_of(node) is not None
        ]

    def home(self, file: str | None) -> TextFile | None:
        """Return the file that a new rule goes to: the one that is named, else the last one that holds rules."""
        if file is not None:
            names = {str(each.path): each for each in self.files}
            names |= {each.path.name: each for each in reversed(self.files)}
            return names.get(file)
        holding = [each for each in self.files if any(True for _ in each.rules())]
        return holding[-1] if holding else self.main


def read_shelf(paths: Sequence[Path], known: Mapping[Path, TextFile]) -> Shelf:
    """Read files; those that did not change are taken from what is known.

    Raises:
        UnwritableError: one can't be read.
    """
    files = []
    for path in paths:
        try:
            data = Reading().read(path, MAX_BYTES)
        except ReadingError as error:
            raise UnwritableError(f"{path}: {error}") from error
        before = known.get(path)
        files.append(before if before is not None and before.data == data else TextFile.of(path, data))
    return Shelf(files)


def field_problems(told: Sequence[str], file: TextFile, path: KeyPath) -> list[FieldProblem]:
    """Return what a load said, each mistake with its field where it is within the value at `path` of `file`."""
    item = file.item(path)
    places = list(_places(file.document.at(path), ()))
    found = []
    for line in told:
        place, _, detail = line.partition(": ")
        name, _, numbers = place.rpartition(":")
        name, _, row = name.rpartition(":")
        if not (row.isdigit() and numbers.isdigit()):
            found.append(FieldProblem("", line))
            continue
        at = int(row), int(numbers)
        within = name == str(file.path) and item.line <= at[0] <= item.last_line
        fields = [names for where, names in places if where <= at] if within else []
        own = detail.split(": ", 1)[1] if within and detail.startswith(("rule ", "contact point ")) else detail
        names = fields[-1] if fields else ()
        if within and (missing := _MISSING.match(own)):
            names = (*names[:-1], missing[1])  # told of what should hold it, which begins with its first key
        shown = ".".join(map(str, names))
        found.append(FieldProblem(shown, own, place))
    return found


def _places(node: Node, path: KeyPath) -> Iterator[tuple[tuple[int, int], KeyPath]]:
    """Yield line and column of each key and item below a node, in the order of the text."""
    for key, (place, value) in (node.entries or {}).items():
        yield place, (*path, key)
        yield from _places(value, (*path, key))
    for at, value in enumerate(node.items or ()):
        yield (value.line, value.column), (*path, at)
        yield from _places(value, (*path, at))


def _key_of(node: Node) -> RuleKey | None:
    if node.entries is None:
        return None
    said = {key: child.plain() for key in ("name", "project", "template") if (child := node.child(key)) is not None}
    named = isinstance(said.get("name", said.get("template")), str | int | float)
    return rule_key(said) if named else None


def _fields(node: Node) -> dict[str, Any]:
    plain = node.plain()
    return plain if isinstance(plain, dict) else {}


def _tag(fields: Mapping[str, Any]) -> str:
    data = json.dumps(fields, sort_keys=True, default=str).encode()
    return hashlib.blake2b(data, key=_KEY, digest_size=12).hexdigest()
