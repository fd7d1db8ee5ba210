"""How values are written in templates: Jinja's filters."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from tocsin.notify.message import rfc3339
from tocsin.notify.wording import clean, duration, plain_number, quantity

__all__ = ["FILTERS", "ago", "path_of"]

_NS: Final = 1_000_000_000
_NONE: Final = "\u2013"


def ago(at: int | None, now: int | None = None) -> str:
    """Return how long ago a moment was, `5m ago`; `at` in Unix nanoseconds."""
    if at is None:
        return "never"
    seconds = ((time.time_ns() if now is None else now) - at) / _NS
    if seconds < 0:
        return f"in {_roughly(-seconds)}"
    return "just now" if seconds < 1 else f"{_roughly(seconds)} ago"


def path_of(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def _roughly(seconds: float) -> str:
    return duration(round(seconds)).partition(" ")[0] if seconds < 3600 else duration(round(seconds / 60) * 60)


def _moment(at: int | None) -> str:
    """`2026-01-06 03:14:10`, UTC; the browser shows it in its own zone."""
    return _NONE if at is None else rfc3339(at)[:19].replace("T", " ")


def _value(value: float | None, unit: str = "") -> str:
    return _NONE if value is None or not math.isfinite(value) else quantity(value, unit)


def _group(group: Mapping[str, str]) -> str:
    return ", ".join(f"{clean(name, 80)} {clean(value)}" for name, value in group.items()) or "all"


def _brief(value: object) -> str:
    """A value of a file in a few words."""
    if isinstance(value, list | tuple):
        return clean(", ".join(map(str, value)), 80)
    return "…" if isinstance(value, Mapping) else clean(value, 80)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "ago": ago,
    "brief": _brief,
    "clean": clean,
    "duration": duration,
    "group": _group,
    "json": lambda value: orjson.dumps(value).decode(),
    "moment": _moment,
    "number": plain_number,
    "quoted": lambda text: path_of(str(text)),
    "query": lambda fields: urlencode({name: text for name, text in fields.items() if text not in (None, "")}),
    "rfc3339": lambda at: "" if at is None else rfc3339(at),
    "value": _value,
}
