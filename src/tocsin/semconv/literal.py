"""A bounded reader of what Python's `repr` writes for dicts, lists, strings and numbers.

Some libraries put `str(dict)` on a span. `ast.literal_eval` reads that too, but can exhaust the interpreter's
stack on hostile text; this one has a fixed depth, runs in one pass over the text, and builds nothing but
plain values.
"""

import contextlib
import re

import orjson

__all__ = ["parse_literal"]

_MAX_DEPTH = 16

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>[bu]?'(?:[^'\\\n]|\\.)*'|[bu]?"(?:[^"\\\n]|\\.)*")
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)\b)
      | (?P<word>True|False|None)\b
      | (?P<mark>[{}\[\](),:])
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"True": True, "False": False, "None": None}
_FOREIGN = re.compile(r"'[^']*'|None|True|False")
_JSON_WORDS = {"True": "true", "False": "false", "None": "null"}
_MANY_DIGITS = re.compile(r"\d{16}")  # JSON's numbers end at 64 bits
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_MAX_DIGITS = 40
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def parse_literal(text: str) -> object:
    """Return the value that `text` writes down; tuples become lists.

    That is dicts, lists, tuples, strings, numbers, True, False and None; JSON's own spellings may pass as well.

    Raises:
        ValueError: it is anything else, or too deep.
    """
    if '"' not in text and "\\" not in text and not _MANY_DIGITS.search(text):
        # Then every quote is a single one and nothing is escaped: JSON but for quotes and words, and far faster so.
        with contextlib.suppress(ValueError):
            return orjson.loads(_FOREIGN.sub(_in_json, text))
    reader = _Reader(text)
    value = reader.value(0)
    if text[reader.at :].strip():
        raise ValueError("something follows the value")
    return value


class _Reader:
    """A position in a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def token(self) -> re.Match[str]:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            raise ValueError("not a Python literal")
        self.at = found.end()
        return found

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> object:
        found = self.token()
        match found.lastgroup:
            case "text":
                return _string(found["text"])
            case "number":
                return _number(found["number"])
            case "word":
                return _WORDS[found["word"]]
            case _ if found["mark"] in _CLOSING:
                if depth >= _MAX_DEPTH:
                    raise ValueError(f"deeper than {_MAX_DEPTH} levels")
                return self.container(found["mark"], depth + 1)
            case _:
                raise ValueError("not a Python literal")

    def container(self, opening: str, depth: int) -> object:
        closing = _CLOSING[opening]
        items: list[object] = []
        pairs: dict[object, object] = {}
        while self.peek() != closing:
            item = self.value(depth)
            if opening == "{":
                self.expect(":")
                if isinstance(item, dict | list):
                    raise ValueError("a key is no plain value")
                pairs[item] = self.value(depth)
            else:
                items.append(item)
            if self.peek() != closing:
                self.expect(",")
        self.at += 1
        return pairs if opening == "{" else items

    def expect(self, mark: str) -> None:
        if self.peek() != mark:
            raise ValueError(f"{mark!r} expected")
        self.at += 1


def _in_json(found: re.Match[str]) -> str:
    part = found[0]
    return _JSON_WORDS.get(part) or f'"{part[1:-1]}"'


def _string(written: str) -> str:
    body = written[written.index(written[-1]) + 1 : -1]
    return _ESCAPE.sub(_unescaped, body) if "\\" in body else body


def _unescaped(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3]
    if digits is None:
        return _ESCAPED.get(found[4], found[4])
    return chr(int(digits, 16))  # ValueError over U+10FFFF, as for any other broken text


def _number(written: str) -> int | float:
    if len(written) > _MAX_DIGITS:
        raise ValueError("a number of too many digits")
    digits = written.lstrip("+-")
    return int(written) if digits.isdigit() and digits.isascii() else float(written)
