"""Values in a terminal: short, aligned, and nothing of what comes from outside moves the cursor."""

from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["age", "amount", "count", "group_text", "printable", "usd"]

_BREAKS: Final = ((86_400, "d"), (3600, "h"), (60, "m"))
_LARGE: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def printable(text: str) -> str:
    """Return a text in which no character begins a line, moves the cursor or turns the writing round."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def usd(dollars: float) -> str:
    """Return an amount of money: cents, and more digits where it is less than that."""
    if dollars and abs(dollars) < 0.1:
        return f"${dollars:.4f}"
    return f"${dollars:,.2f}"


def count(number: float) -> str:
    """Return a number in four or five characters."""
    for size, letter in _LARGE:
        if abs(number) >= 10 * size or (abs(number) >= size and size > 1e3):
            return f"{number / size:.1f}{letter}" if abs(number) < 100 * size else f"{number / size:.0f}{letter}"
    return f"{number:.0f}"


def amount(value: float | None, unit: str = "") -> str:
    """Return a value in its unit; a dash where there is none."""
    if value is None:
        return "-"
    if unit == "USD":
        return usd(value)
    if unit == "ratio":
        return f"{value:.1%}"
    return f"{value:.4g} {unit}".rstrip() if abs(value) < 1e6 else f"{count(value)} {unit}".rstrip()


def age(moment: str | None, now: float) -> str:
    """Return how long ago a moment (RFC 3339) was; `now` in Unix seconds."""
    if moment is None:
        return "-"
    seconds = max(0, int(now - datetime.fromisoformat(moment).astimezone(UTC).timestamp()))
    for size, letter in _BREAKS:
        if seconds >= size:
            rest = seconds % size * (24 if letter == "d" else 60) // size
            return f"{seconds // size}{letter}{rest:02}{'h' if letter == 'd' else 'm' if letter == 'h' else 's'}"
    return f"{seconds}s"


def group_text(group: dict[str, Any]) -> str:
    """Return a group's labels in one line; a rule without groups has none."""
    return printable(", ".join(f"{label}={value}" for label, value in group.items())) or "-"
