"""The base of every configuration model, and the texts that people write for time and size."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["Duration", "Settings", "Size", "nanoseconds", "parse_duration", "parse_size"]

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)


class Settings(BaseModel):
    """Unknown keys are errors; a loaded configuration does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def parse_duration(text: object) -> timedelta:
    """Return the duration that a person wrote: `10s`, `250ms`, `1h30m`, `7d`; `0` needs no unit.

    Raises:
        ValueError: it is none; the text says what would be.
    """
    if isinstance(text, timedelta):
        return text
    written = str(text).strip()
    if written in ("0", "0.0"):
        return timedelta()
    parts = _DURATION.findall(written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        raise ValueError(f"{written!r} is no duration; write a number and a unit, like 30s, 5m or 1h30m")
    total = sum(float(number) * _UNITS_NS[unit] for number, unit in parts)
    if total > 366 * _UNITS_NS["d"]:
        raise ValueError(f"{written!r} is longer than a year")
    return timedelta(microseconds=total / 1000)


def parse_size(text: object) -> int:
    """Return the bytes that a person wrote: `64MiB`, `1GB`, `512`.

    Raises:
        ValueError: it is no size; the text says what would be.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is no size; write a number and a unit, like 64MiB")
    prefix = (found[2] or "").lower()
    base = 1024 if prefix.endswith("i") else 1000
    return int(float(found[1]) * base ** " kmgt".index(prefix[:1] or " "))


def nanoseconds(duration: timedelta) -> int:
    """Return a duration in integer nanoseconds."""
    return (duration.days * 86_400 + duration.seconds) * 1_000_000_000 + duration.microseconds * 1_000


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
