"""Problems: what is wrong in a file, where, and what to do; collected, so that all are told at once."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["KeyPath", "Mistake", "Mistakes", "Problem", "closest", "hide", "one_of", "shown_key"]

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists, from the top of the file (or of a rule)."""

_KEY = re.compile(r"[\w.$-][\w .$-]{0,63}")
_SHORTEST_SECRET = 4
"""Shorter values are hidden only where they were written: everywhere else they would blot out other text."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake (or warning) at one place; its text form is a line of `ConfigError`."""

    file: str
    line: int
    """From 1."""
    column: int
    """From 1, in characters."""
    text: str

    def __str__(self) -> str:
        """Return `file:line:col: what, and what to do`."""
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake whose place is known as a path of keys, not yet as a line."""

    path: KeyPath
    text: str
    at_key: bool = False
    """The key itself is wrong, not its value."""
    begin: int | None = None
    """Where in the value's text it is, characters from its begin; None: all of it."""


class Mistakes(list[Mistake]):
    """All that is wrong with something, in the order in which it was found."""

    def tell(self, path: KeyPath, text: str, *, at_key: bool = False, begin: int | None = None) -> None:
        """Add a mistake."""
        self.append(Mistake(path, text, at_key, begin))

    def attempt(self, path: KeyPath, parse: Callable[[], T], otherwise: T) -> T:
        """Return what `parse` returns, or `otherwise` and a mistake where it raises ValueError."""
        try:
            return parse()
        except ValueError as error:
            self.tell(path, str(error))
            return otherwise


def closest(written: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to what was written, else an empty string."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(written.lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {names[found[0]]!r}?" if found else ""


def shown_key(key: str) -> str:
    """Return a key for a message, in quotes; what does not look like one may be a secret in the wrong place."""
    return repr(key) if _KEY.fullmatch(key) else "'…'"


def one_of(written: str, known: Sequence[str]) -> str:
    """Return the sentence for a word that is none of the known ones."""
    return f"{written[:80]!r} is not one of {', '.join(known)}{closest(written, known)}"


def hide(text: str, secrets: Iterable[str], *, here: bool) -> str:
    """Return `text` without any of `secrets`.

    Args:
        text: a message about a value.
        secrets: texts that came from the environment or from files.
        here: the message is about a value that holds a secret; then also a part of one makes the message
            unusable, and it is replaced as a whole.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if not secret:
            continue
        if here and _shares(text, secret):
            return "the value that was put in here is not valid"
        if len(secret) >= _SHORTEST_SECRET:
            for form in (secret, repr(secret)[1:-1]):
                text = text.replace(form, "***")
    return text


def _shares(text: str, secret: str) -> bool:
    """Whether four characters in a row of the secret (or all, if it is shorter) stand in the text."""
    text, secret = text.lower(), secret.lower()
    length = min(len(secret), _SHORTEST_SECRET)
    return any(secret[at : at + length] in text for at in range(len(secret) - length + 1))
