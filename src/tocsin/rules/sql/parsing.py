"""SQL text to a syntax tree whose nodes know where they stand.

Template variables stay where they are: one outside of quotes becomes a text literal of the same length, so that every
offset of the tree is one of the text as it was written. Parsing is sqlglot's, in the dialect of PostgreSQL.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]  # re-exported without saying so

from tocsin.rules.refusals import QueryError, Refusal

__all__ = ["VARIABLES", "Parsed", "parse", "variable_of"]

VARIABLES = ("start_time", "end_time", "interval")
"""Template variables, written `${start_time}`."""

_MARK = "\ue000"
_LONGEST = 20_000
_DEEPEST = 200
_PIECES = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|(?P<variable>\$\{(?P<name>\w*)\})", re.DOTALL
)
_STATEMENTS = (TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A query as a tree, and its text."""

    text: str
    query: exp.Expression
    tokens: tuple[Token, ...]

    def place(self, node: exp.Expression) -> tuple[int, int]:
        """Return the offsets of a node's words, from the first to behind the last; of the whole where it has none."""
        found = [(each.meta["start"], each.meta["end"] + 1) for each in node.walk() if "start" in each.meta]
        if found:
            begin = min(begin for begin, _ in found)
            return begin, self._closed(begin, max(end for _, end in found))
        return self.place(node.parent) if isinstance(node.parent, exp.Expression) else (0, len(self.text))

    def _closed(self, begin: int, end: int) -> int:
        """Return where the last parenthesis closes that was opened since `begin`."""
        opened = 0
        for token in self.tokens:
            if token.start < begin:
                continue
            if token.start >= end and (not opened or token.token_type is not TokenType.R_PAREN):
                break
            opened += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
            end = max(end, token.end + 1)
        return end

    def keyword(self, word: str, node: exp.Expression) -> tuple[int, int]:
        """Return where a keyword stands: the last one before a node's end; the node's place where there is none."""
        begin, end = self.place(node)
        own = [token for token in self.tokens if token.text.upper() == word and token.end < end]
        before = [token for token in own if token.start <= begin] or own
        if not before:
            before = [token for token in self.tokens if token.text.upper() == word]
        return (before[-1].start, before[-1].end + 1) if before else (begin, end)

    def word(self, node: exp.Expression) -> str:
        """Return the first word of a node, as it was written."""
        begin, end = self.place(node)
        return next((token.text for token in self.tokens if token.start >= begin), self.text[begin:end])

    def refusal(self, begin: int, end: int, clause: str, text: str) -> Refusal:
        """Return a refusal of a part of the text."""
        return Refusal(begin, end, clause, text)

    def variables(self) -> Iterator[tuple[str, int, int]]:
        """Yield every text literal that is a template variable: its name, begin and end."""
        for token in self.tokens:
            if token.token_type is TokenType.STRING and (name := _name_in(token.text)) is not None:
                yield name, token.start, token.end + 1


def parse(text: str) -> Parsed:
    """Return the tree of a query.

    Raises:
        QueryError: it is no SQL, more than one statement, no query, or longer or deeper than any rule needs.
    """
    if len(text) > _LONGEST:
        raise _error(text, _LONGEST, len(text), "query", f"a query is at most {_LONGEST} characters; shorten it")
    if _MARK in text:
        at = text.index(_MARK)
        raise _error(text, at, at + 1, "character U+E000", "this character is for private use; remove it")
    marked = _PIECES.sub(_marked, text)
    try:
        tokens = tuple(Postgres().tokenize(marked))
    except SqlglotError as error:
        raise _error(text, *_unclosed(text), "text", "a quote or comment that begins here has no end") from error
    if not tokens:
        raise _error(text, 0, len(text), "query", "there is no query; begin with SELECT time_bucket('${interval}', …")
    if tokens[0].token_type not in _STATEMENTS:
        text_of = f"{tokens[0].text[:40]} is no query; a rule only reads: begin with SELECT or WITH"
        raise _error(text, tokens[0].start, tokens[0].end + 1, tokens[0].text[:40].upper(), text_of)
    return Parsed(text, _tree(text, marked, tokens), tokens)


def variable_of(node: exp.Expression) -> str | None:
    """Return the name of the template variable that a literal is; None where it is none."""
    return _name_in(node.this) if isinstance(node, exp.Literal) and node.is_string else None


def _name_in(text: str) -> str | None:
    if text.startswith(_MARK):
        return text[1:]
    found = re.fullmatch(r"\$\{(\w*)\}", text)
    return found[1] if found else None


def _marked(found: re.Match[str]) -> str:
    return found[0] if found["variable"] is None else f"'{_MARK}{found['name']}'"


def _tree(text: str, marked: str, tokens: tuple[Token, ...]) -> exp.Expression:
    try:
        trees = [tree for tree in Postgres().parse(marked) if isinstance(tree, exp.Expression)]
        deep = any(_deeper(tree) for tree in trees)
    except ParseError as error:
        raise _syntax(text, tokens, error) from error
    except SqlglotError as error:
        raise _error(text, 0, len(text), "syntax", "this is no SQL that can be read; check it") from error
    except (RecursionError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        # The parser's own defects on text that is no SQL end here too: bad text never ends the process.
        raise _error(text, 0, len(text), "syntax", "this is no SQL that can be read; check it") from error
    if deep:
        raise _error(text, 0, len(text), "query", f"the query is nested more than {_DEEPEST} deep; simplify it")
    if len(trees) != 1:
        ends = [token for token in tokens if token.token_type is TokenType.SEMICOLON]
        at = ends[0].start if ends else 0
        raise _error(text, at, at + 1, ";", "a rule is one query; remove what follows the semicolon")
    return trees[0]


def _deeper(tree: exp.Expression) -> bool:
    level = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in node.iter_expressions()]
        if not level:
            return False
    return True


def _syntax(text: str, tokens: tuple[Token, ...], error: ParseError) -> QueryError:
    details = error.errors[0] if error.errors else {}
    line, column, word = details.get("line"), details.get("col"), str(details.get("highlight") or "")
    at = next((token for token in tokens if (token.line, token.col) == (line, column)), tokens[-1])
    begin, end = (at.start, at.end + 1) if word else (len(text), len(text))
    said = f"{word[:40]!r} is not expected here" if word else "the query ends too early"
    return _error(text, begin, end, "syntax", f"{said}; check the SQL before it")


def _unclosed(text: str) -> tuple[int, int]:
    """Where the first quote or comment stands that nothing closes."""
    rest = _PIECES.sub(lambda found: " " * len(found[0]), text)
    found = re.search(r"'|\"|/\*|\$", rest)
    return (found.start(), found.end()) if found else (0, len(text))


def _error(text: str, begin: int, end: int, clause: str, why: str) -> QueryError:
    return QueryError((Refusal(min(begin, len(text)), min(end, len(text)), clause, why),))
