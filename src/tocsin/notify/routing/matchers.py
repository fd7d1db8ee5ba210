"""Matchers: `severity=~"high|critical"`, as Alertmanager writes them, over what is known of an alert.

A label that an alert does not have is the empty text, as in Alertmanager: `team=""` matches alerts without a team, and
`team!="x"` matches them too. Expressions are RE2 (linear time) and must match the whole value.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator

from tocsin.alerts.event import AlertEvent
from tocsin.rules.filters import compile_regex

__all__ = [
    "Matcher",
    "Matchers",
    "MatchesConfig",
    "Operator",
    "labels_of",
    "matches",
    "parse_matcher",
    "parse_matchers",
]

MOST: Final = 50
"""Matchers in one list."""
LONGEST: Final = 1_024
"""Characters of a matcher's value."""
_NAME: Final = r"[A-Za-z_][\w.:/-]*"
_MATCHER: Final = re.compile(
    rf"\s*(?P<name>{_NAME}|\"(?:[^\"\\]|\\.)*\")\s*(?P<op>=~|!~|!=|=)\s*(?P<value>.*?)\s*", re.DOTALL
)
_ESCAPES: Final = {"n": "\n", '"': '"', "\\": "\\"}


class Operator(StrEnum):
    """How a label's value is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; made by `parse_matcher` or checked by `Matcher.of`."""

    name: str
    operator: Operator
    value: str
    _pattern: "re.Pattern[str] | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, name: str, operator: Operator, value: str) -> "Matcher":
        """Return a matcher.

        Raises:
            ValueError: the name is none, the value is too long, or no RE2 expression where it should be.
        """
        if not name or len(name) > LONGEST or any(ord(char) < 0x20 for char in name):
            raise ValueError(f"{name[:80]!r} is no label; write one like severity, rule, project, team or conversation")
        if len(value) > LONGEST:
            raise ValueError(f"the value for {name!r} is longer than {LONGEST} characters")
        if operator in (Operator.EQUAL, Operator.NOT_EQUAL):
            return cls(name, operator, value)
        try:
            return cls(name, operator, value, compile_regex(value))
        except ValueError as error:
            raise ValueError(f"{value[:80]!r} for {name!r} is no regular expression: {error}") from error

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels has it."""
        value = labels.get(self.name, "")
        if self._pattern is None:
            return (value == self.value) == (self.operator is Operator.EQUAL)
        return (self._pattern.fullmatch(value) is not None) == (self.operator is Operator.REGEX)

    def __str__(self) -> str:
        """Return it as a person writes it."""
        name = self.name if re.fullmatch(_NAME, self.name) else _quoted(self.name)
        return f"{name}{self.operator}{_quoted(self.value)}"


Matchers = tuple[Matcher, ...]


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all hold; none at all hold for everything."""
    return all(matcher.holds(labels) for matcher in matchers)


def labels_of(event: AlertEvent) -> dict[str, str]:
    """Return what matchers see of an alert.

    `rule` (also `alertname`), `project` and `severity`; the rule's labels and the group's by their own names, the
    group's first, and in any case as `labels.NAME` and `group.NAME`.
    """
    found: dict[str, str] = dict(event.rule.labels)
    found |= {f"labels.{name}": value for name, value in event.rule.labels.items()}
    found |= event.group
    found |= {f"group.{name}": value for name, value in event.group.items()}
    rule = event.rule
    found |= {"rule": rule.name, "alertname": rule.name, "project": rule.project, "severity": str(event.severity)}
    return found


def parse_matcher(text: str) -> Matcher:
    """Return the matcher that a person wrote: `team="support"`, `severity=~high|critical`, `rule!~"test-.*"`.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'{text[:120]!r} is no matcher; write one like severity=~"high|critical" or team="support"')
    name = _unquoted(found["name"]) if found["name"].startswith('"') else found["name"]
    return Matcher.of(name, Operator(found["op"]), _value(found["value"]))


def parse_matchers(written: object) -> Matchers:
    """Return matchers from a list of texts, one text (`{a="b", c="d"}` too), or a mapping.

    In a mapping a value must be equal; of a list of values any may be, and a value that begins with `~` is an
    expression.

    Raises:
        ValueError: they are none.
    """
    found: Sequence[Matcher]
    match written:
        case str():
            found = [parse_matcher(part) for part in _parts(written)]
        case Mapping():
            found = [_of_mapping(str(name), value) for name, value in written.items()]
        case list() | tuple():
            found = [one if isinstance(one, Matcher) else parse_matcher(_text(one)) for one in written]
        case _:
            raise ValueError('write a list of matchers, like [severity="critical", team=~"a|b"]')
    if len(found) > MOST:
        raise ValueError(f"at most {MOST} matchers")
    return tuple(found)


MatchesConfig = Annotated[Matchers, BeforeValidator(parse_matchers)]
"""What a user writes under `matchers:`."""


def _of_mapping(name: str, value: object) -> Matcher:
    if isinstance(value, list):
        alternatives = [re.escape(_text(one)) for one in value]
        if not alternatives:
            raise ValueError(f"no value for {name!r}; name at least one")
        return Matcher.of(name, Operator.REGEX, "|".join(alternatives))
    text = _text(value)
    return (
        Matcher.of(name, Operator.REGEX, text[1:]) if text.startswith("~") else Matcher.of(name, Operator.EQUAL, text)
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{str(value)[:80]!r} is no text; put it in quotation marks")


def _parts(text: str) -> list[str]:
    """Split at commas outside quotation marks."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    parts = re.findall(r'(?:[^,"\\]|\\.|"(?:[^"\\]|\\.)*"|")+', inner, re.DOTALL)
    return [part for part in parts if part.strip()]


def _value(text: str) -> str:
    if text.startswith('"'):
        return _unquoted(text)
    if text.startswith(("=", "~")):
        raise ValueError(f"{text[:80]!r} begins with a part of an operator; put the value in quotation marks")
    if '"' in text:
        raise ValueError(f"{text[:80]!r}: the quotation mark in it does not belong to a pair")
    return text


def _unquoted(text: str) -> str:
    if len(text) < 2 or not re.fullmatch(r'"(?:[^"\\]|\\.)*"', text, re.DOTALL):
        raise ValueError(f"{text[:80]!r} has no end; put the value between two quotation marks")
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], "\\" + found[1]), text[1:-1], flags=re.DOTALL)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
