"""The rules of a long file one by one: an edit of one rule costs what one rule costs, not what the file costs.

A file whose `rules:` is its last key and a plain block list is cut at the dashes of the list. What was parsed before
is taken from memory and moved to its new line; the rest is parsed alone. Whatever does not fit that form, or has any
problem, is parsed whole: the result is the one of `tocsin.rules.document.parse`, which tests/rules/test_items.py holds
it to.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tocsin.rules.document import Document, Node, Substitution, parse
from tocsin.rules.problems import Problem

__all__ = ["ItemMemory", "Parsed", "split_items"]

_RULES = re.compile(r"^rules:[ \t]*(?:#[^\n]*)?\n", re.MULTILINE)
_DASH = re.compile(r"( *)-(?: |$)")
_REFERENCE = re.compile(r"\$\{(?!(?:start_time|end_time|interval)\})")
"""What stands for something outside of the file; what SQL queries are filled in with does not."""
_MOST_NEW = 0.25
"""With a larger share of new rules the whole file is parsed: that is faster than as many parts."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One file's document, its problems, and the text of each of its rules where they are known one by one."""

    document: Document
    problems: list[Problem]
    items: Sequence[str] = ()
    """Empty where the file was not cut; an item that refers to the outside (`${env:…}`) is an empty text."""


class ItemMemory:
    """The rules of one file as they were when it was last in order."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Node, int]] = {}

    def parse(self, text: str, file: str, substitute: Callable[[str], Substitution] | None = None) -> Parsed:
        """Return what `document.parse` returns, from memory as far as that goes."""
        parts = split_items(text)
        if parts is None:
            return Parsed(*parse(text, file, substitute))
        head, items = parts
        texts = ["" if _REFERENCE.search(item) else item for _, item in items]
        document = self._assembled(head, items, file, substitute)
        if document is not None:
            return Parsed(document, [], texts)
        document, problems = parse(text, file, substitute)
        rules = document.at(("rules",)).items
        if problems or document.has_anchors or rules is None or len(rules) != len(items):
            return Parsed(document, problems)
        self._known = {
            item: (node, start) for (start, item), node in zip(items, rules, strict=True) if not _REFERENCE.search(item)
        }
        return Parsed(document, problems, texts)

    def _assembled(
        self, head: str, items: list[tuple[int, str]], file: str, substitute: Callable[[str], Substitution] | None
    ) -> Document | None:
        """The document put together from its parts; None where that can't be done, or is not worth it."""
        if sum(item not in self._known for _, item in items) > len(items) * _MOST_NEW:
            return None
        document, problems = parse(head, file, substitute)
        if problems or document.root.entries is None or document.root.child("rules") is None:
            return None
        known: dict[str, tuple[Node, int]] = {}
        nodes, shifts = [], []
        for start, item in items:
            found = self._known.get(item) or _alone(item, file, substitute, document)
            if found is None:
                return None
            if not _REFERENCE.search(item):
                known[item] = found
            nodes.append(found[0])
            shifts.append(start - found[1])
        self._known = known
        place, _ = document.root.entries["rules"]
        column = len(items[0][1]) - len(items[0][1].lstrip(" ")) + 1
        document.root.entries["rules"] = (place, Node(items[0][0] + 1, column, items=nodes))
        document.shifts = shifts
        return document


def split_items(text: str) -> tuple[str, list[tuple[int, str]]] | None:
    """Return the text up to the list of rules, and each rule's first line (from 0) and text.

    None where `rules:` is not the last key, or not a block list with one dash under the other.
    """
    found = _RULES.search(text)
    if found is None:
        return None
    head = text[: found.end()]
    number = head.count("\n")
    items: list[tuple[int, list[str]]] = []
    indent: str | None = None
    for at, line in enumerate(text[found.end() :].split("\n"), start=number):
        bare = line.lstrip(" ")
        if dash := _DASH.match(line):
            indent = dash[1] if indent is None else indent
            if dash[1] == indent:
                items.append((at, [line]))
                continue
        if not bare or bare.startswith("#"):
            if items:
                items[-1][1].append(line)
        elif indent is None or len(line) - len(bare) <= len(indent):
            return None
        else:
            items[-1][1].append(line)
    return (head, [(at, "\n".join(lines)) for at, lines in items]) if items else None


def _alone(
    item: str, file: str, substitute: Callable[[str], Substitution] | None, whole: Document
) -> tuple[Node, int] | None:
    """One rule parsed by itself, and its line 0."""
    document, problems = parse(item, file, substitute)
    if problems or document.has_anchors or not document.root.items or len(document.root.items) != 1:
        return None
    whole.secrets |= document.secrets
    whole.is_whole &= document.is_whole
    return document.root.items[0], 0
