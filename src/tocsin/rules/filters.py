"""Filters: which samples a rule looks at, decided once per distinct value of a label, not once per span.

A filter holds when any of its positive matches does (or it has none) and every negated one does. A sample
without the label fails positive matches and passes negated ones.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

import numpy as np
import re2
from numpy.typing import NDArray

__all__ = ["Filter", "Match", "MatchKind", "compile_regex", "parse_match"]


_VERDICTS = 1 << 14


class MatchKind(StrEnum):
    """How a value is compared with a match's operand."""

    EQUAL = "="
    GLOB = "*"
    REGEX = "~"
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="


@dataclass(frozen=True, slots=True)
class Match:
    """One item of a filter."""

    kind: MatchKind
    operand: str
    """The text to equal; a glob (`*` and `?`, case-sensitive); an RE2 expression that must match the whole
    value; or a number."""
    negated: bool = False

    def holds(self, value: str) -> bool:
        """Whether `value` matches, negation not yet applied. Numbers never match text that is no number."""
        match self.kind:
            case MatchKind.EQUAL:
                return value == self.operand
            case MatchKind.GLOB:
                return _glob(self.operand).fullmatch(value) is not None
            case MatchKind.REGEX:
                return compile_regex(self.operand).fullmatch(value) is not None
            case _:
                return self._compares(value)

    def _compares(self, value: str) -> bool:
        try:
            left = float(value)
        except ValueError:
            return False
        right = float(self.operand)
        return {
            MatchKind.GT: left > right,
            MatchKind.GTE: left >= right,
            MatchKind.LT: left < right,
            MatchKind.LTE: left <= right,
        }[self.kind]


@dataclass(frozen=True, slots=True)
class Filter:
    """What the values of one label must be."""

    label: str
    """A short name or an attribute key."""
    matches: tuple[Match, ...]
    _verdicts: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of values of late: most come with every batch."""
    _hash: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash once: a filter is a key in every batch."""
        object.__setattr__(self, "_hash", hash((self.label, self.matches)))

    def __hash__(self) -> int:
        """Return the hash of label and matches."""
        return self._hash

    def accepts(self, value: str | None) -> bool:
        """Whether a sample with this value (None: without the label) passes."""
        positive = [match for match in self.matches if not match.negated]
        if value is None:
            return not positive
        if any(match.holds(value) for match in self.matches if match.negated):
            return False
        return not positive or any(match.holds(value) for match in positive)

    def table(self, values: Sequence[str]) -> NDArray[np.bool_]:
        """Return [len(values) + 1] verdicts; the last is an absent value's, so that code -1 finds it."""
        known = self._verdicts
        if len(known) + len(values) > _VERDICTS:
            known.clear()
        found = [known.get(value) for value in values]
        if None in found:
            for place, (value, verdict) in enumerate(zip(values, found, strict=True)):
                if verdict is None:
                    found[place] = known[value] = self.accepts(value)
        return np.array([*found, self.accepts(None)], dtype=np.bool_)

    @property
    def constant(self) -> str | None:
        """The one value that passes, if it is a single equality; rules that differ in it share a plan."""
        if len(self.matches) == 1 and self.matches[0].kind is MatchKind.EQUAL and not self.matches[0].negated:
            return self.matches[0].operand
        return None


_COMPARISONS = (MatchKind.GTE, MatchKind.LTE, MatchKind.GT, MatchKind.LT)


def parse_match(text: str) -> Match:
    """Return the match that a person wrote: `gpt-4o`, `gpt-*`, `!prod`, `>5`, `~regex`, `=exact text`.

    Raises:
        ValueError: what follows a sign is not what the sign needs; the text says what would be right.
    """
    negated = text.startswith("!")
    body = text[1:].lstrip() if negated else text
    if body.startswith("!"):
        raise ValueError(f"{text[:80]!r} is negated twice; write one '!', or '=' before text that begins with '!'")
    if negated and not body:
        raise ValueError("'!' negates nothing; write '!value', or '!*' for samples without the label")
    if body.startswith("="):
        return Match(MatchKind.EQUAL, body[1:], negated)
    if body.startswith("~"):
        return Match(MatchKind.REGEX, _checked_regex(body[1:]), negated)
    for kind in _COMPARISONS:
        if body.startswith(kind.value):
            return Match(kind, _checked_number(body.removeprefix(kind.value).strip(), text), negated)
    return Match(MatchKind.GLOB if "*" in body or "?" in body else MatchKind.EQUAL, body, negated)


def _checked_regex(pattern: str) -> str:
    if not pattern:
        raise ValueError("'~' is followed by no expression; write one, or '=~' for the text '~'")
    try:
        compile_regex(pattern)
    except ValueError as error:
        raise ValueError(f"not an RE2 expression: {error}") from error
    return pattern


def _checked_number(number: str, text: str) -> str:
    try:
        finite = math.isfinite(float(number))
    except ValueError:
        finite = False
    if not finite or "_" in number:
        raise ValueError(
            f"{text[:80]!r} compares with no number; write one, or '=' before text that begins with the sign"
        )
    return number


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": "(?s:.*)", "?": "(?s:.)"}
    return compile_regex("".join(wildcards.get(char) or re2.escape(char) for char in pattern))


@lru_cache(maxsize=4096)
def compile_regex(pattern: str) -> re.Pattern[str]:
    """Compile an RE2 expression (linear time, no back references).

    Raises:
        ValueError: it is not one; the text says why.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from error
