"""Where a text stops being PromQL: the parser's message with a place, found from the text's words."""

import re
from collections.abc import Sequence

from tocsin.rules.promql.functions import advice_for
from tocsin.rules.promql.tokens import Kind, Token
from tocsin.rules.refusals import Refusal

__all__ = ["syntax_error"]

_QUOTED = re.compile(r"'([^']+)'")
_OPERATORS = (
    *("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="),
    *("and", "or", "unless", "atan2"),
)
_MATCHING = ("bool", "on", "ignoring", "group_left", "group_right")
_SUFFIXES = ("offset", "@", "by", "without")


def syntax_error(text: str, words: Sequence[Token], message: str) -> Refusal:
    """Return a refusal of a text that the parser does not take, at the place that its message means."""
    word = _strange(words) or _named(words, message) or _unbalanced(words) or _misplaced(words)
    if not text.strip():
        return Refusal(0, 0, "expression", "nothing is written here; write one, like avg_over_time(latency[5m]) > 2000")
    begin, end, clause = _place(text, word, message)
    if message.startswith("unknown function"):
        return Refusal(begin, end, f"{clause}()", advice_for(clause))
    if "invalid promql" in message:
        what = "it ends too early" if word is None else f"{clause!r} can't stand here"
        return Refusal(begin, end, clause, f"not PromQL: {what}")
    if "non-empty" in message:
        told = 'it names no metric, and a rule needs one; write it before the braces: cost{model="gpt-4o"}'
        return Refusal(begin, end, clause, told)
    if message.startswith("illegal regex"):
        pattern = message.removeprefix("illegal regex for ")
        return Refusal(begin, end, clause, f"not an RE2 expression: {pattern[:200]}; write one that is")
    return Refusal(begin, end, clause, f"not PromQL: {message.rstrip('.')[:300]}")


def _place(text: str, word: Token | None, message: str) -> tuple[int, int, str]:
    """Return where it is wrong; without a word of which that is known, the end or the whole."""
    if word is not None:
        return word.begin, word.end, word.text
    end = len(text.rstrip())
    return (max(0, end - 1), end, "end") if "invalid promql" in message else (0, len(text), "expression")


def _strange(words: Sequence[Token]) -> Token | None:
    return next((word for word in words if word.kind is Kind.OTHER), None)


def _named(words: Sequence[Token], message: str) -> Token | None:
    """The word that the message quotes; a function is followed by its parenthesis."""
    for name in _QUOTED.findall(message):
        found = [at for at, word in enumerate(words) if word.text == name or word.text.strip("\"'`") == name]
        called = [at for at in found if at + 1 < len(words) and words[at + 1].text == "("]
        if found:
            return words[(called or found)[0]]
    for word in words:
        if word.kind is Kind.STRING and message.startswith("illegal regex") and word.text[1:-1] in message:
            return word
    return None


def _unbalanced(words: Sequence[Token]) -> Token | None:
    pairs = {")": "(", "}": "{"}
    opened: list[Token] = []
    for word in words:
        if word.kind is not Kind.SIGN:
            continue
        if word.text in ("(", "{"):
            opened.append(word)
        elif word.text in pairs:
            if not opened or opened[-1].text != pairs[word.text]:
                return word
            opened.pop()
    return opened[-1] if opened else None


def _misplaced(words: Sequence[Token]) -> Token | None:
    """The first word that stands where a value is wanted and is none, or the other way round."""
    wanted = True
    at = 0
    while at < len(words):
        word = words[at]
        if word.is_word("{"):
            while at < len(words) and not words[at].is_word("}"):
                at += 1
            wanted = False
        elif wanted:
            if word.is_word("+", "-", "("):
                pass
            elif (
                word.kind in (Kind.NAME, Kind.NUMBER, Kind.STRING) and not word.is_word("bool", "on", "ignoring")
            ) or (word.is_word(")") and at and words[at - 1].is_word("(")):
                wanted = False
            else:
                return word
        elif word.is_word(*_OPERATORS):
            wanted = True
            at = _past_matching(words, at + 1) - 1
        elif word.is_word(","):
            wanted = True
        elif word.is_word(*_SUFFIXES):
            at = _past_suffix(words, at)
        elif word.kind is Kind.RANGE or word.is_word(")", "("):
            wanted = word.is_word("(")
        else:
            return word
        at += 1
    return None


def _past_matching(words: Sequence[Token], at: int) -> int:
    while at < len(words) and words[at].is_word(*_MATCHING):
        at = _past_labels(words, at + 1)
    return at


def _past_suffix(words: Sequence[Token], at: int) -> int:
    """Return the last word of `offset 5m`, `@ 12` or `by (a)`."""
    if words[at].is_word("by", "without"):
        return _past_labels(words, at + 1) - 1
    return at + 1 + (at + 1 < len(words) and words[at + 1].is_word("-"))


def _past_labels(words: Sequence[Token], at: int) -> int:
    if at < len(words) and words[at].is_word("("):
        while at < len(words) and not words[at].is_word(")"):
            at += 1
        return at + 1
    return at
