"""What an import comes to: rules as the fields of a YAML file, and what has no equivalent."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tocsin.rules.promql import CompiledExpression, compile_promql
from tocsin.rules.refusals import QueryError

__all__ = ["Imported", "compiled_or_refused", "named", "severity_of"]

_SEVERITIES = {
    "critical": ("critical", "crit", "page", "p1", "sev1", "sev0", "emergency", "disaster", "fatal", "1"),
    "high": ("high", "error", "major", "p2", "sev2", "ticket_high", "2"),
    "medium": ("medium", "warning", "warn", "minor", "average", "p3", "sev3", "ticket", "3"),
    "low": ("low", "info", "information", "informational", "notice", "none", "p4", "p5", "sev4", "4", "5"),
}
_MAX_NAME = 120


@dataclass(slots=True)
class Imported:
    """Rules in the order of their origin; what is said of a rule begins with its name."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    """Each the fields of one rule, in the order in which people write them."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """What has no equivalent, and why, with the nearest thing that works."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """What was taken for something that it need not be."""

    def refuse(self, what: str, why: str) -> None:
        """Say that something has no equivalent."""
        self.refused.append((what, why))

    def note(self, what: str, taken: str) -> None:
        """Say what something was taken for, once."""
        if (what, taken) not in self.notes:
            self.notes.append((what, taken))

    def add(self, rule: dict[str, Any]) -> None:
        """Add a rule under a name that no other has, without what is not said."""
        rule = {key: value for key, value in rule.items() if value not in (None, "", [], {})}
        taken = {each["name"] for each in self.rules}
        name = rule["name"]
        for number in range(2, len(taken) + 2):
            if rule["name"] not in taken:
                break
            rule["name"] = f"{name[: _MAX_NAME - 8]}-{number}"
        self.rules.append(rule)

    def merge(self, other: "Imported") -> None:
        """Add all of another."""
        for rule in other.rules:
            self.add(rule)
        self.refused += other.refused
        for what, taken in other.notes:
            self.note(what, taken)


def named(text: object, otherwise: str = "imported") -> str:
    """Return a text as the name of a rule: printable, without a slash."""
    name = "".join(char if char.isprintable() and char != "/" else "-" for char in str(text or ""))
    name = re.sub(r"\s+", " ", name).strip()[:_MAX_NAME].strip()
    return name or otherwise


def severity_of(words: Iterable[object]) -> str | None:
    """Return the severity that the first word that is one says; None where none is."""
    for word in words:
        text = str(word).strip().lower()
        for severity, spellings in _SEVERITIES.items():
            if text in spellings:
                return severity
    return None


def compiled_or_refused(
    what: str, expr: str, group_by: tuple[tuple[str, ...], ...], imported: Imported
) -> CompiledExpression | None:
    """Return what an expression compiles to; None, and its reasons among what is refused, where it does not."""
    try:
        return compile_promql(expr, group_by)
    except QueryError as error:
        for refusal in error.refusals:
            at = f"at {refusal.clause!r}: " if refusal.clause and refusal.clause not in refusal.text else ""
            imported.refuse(what, at + refusal.text)
        return None
