"""The words of a PromQL text and where they stand, for refusals that point at the right one.

The parser gives a tree without places. This scan is not a parser: it only has to cut any text that the parser takes
into the same words. Source: Prometheus, `promql/parser/lex.go`.
"""

import re
from dataclasses import dataclass
from enum import Enum

__all__ = ["Kind", "Token", "tokens_of"]


class Kind(Enum):
    """What a word is."""

    NAME = "name"
    STRING = "string"
    NUMBER = "number"
    """Or a duration."""
    RANGE = "range"
    """Brackets with what they hold."""
    SIGN = "sign"
    OTHER = "other"
    """A character that has no place in PromQL."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word."""

    kind: Kind
    text: str
    begin: int
    end: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords or signs, whatever its case."""
        return self.kind in (Kind.NAME, Kind.SIGN) and self.text.lower() in words


_WORDS = re.compile(
    r"""
    (?P<skip>\s+|\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:ms|[smhdwy]))+(?![A-Za-z0-9_])
      |(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<range>\[[^\]]*\])
  | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=@(){},])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens_of(text: str) -> list[Token]:
    """Return the words of a text without spaces and comments; every character belongs to one word at most."""
    return [
        Token(Kind(match.lastgroup), match[0], match.start(), match.end())
        for match in _WORDS.finditer(text)
        if match.lastgroup != "skip"
    ]
