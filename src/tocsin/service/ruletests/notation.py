"""The series notation of `promtool test rules`: `'0+1x10'`, `'0.8x60 0.4x30'`, `'1 _x3 stale'`.

A number is itself; `AxN` is A and N more of it; `A+BxN` goes up by B, N times; `_` is no sample and `_xN` is N of none;
`stale` is a series that ended, which of spans is no sample either.
Source: Prometheus documentation, "Unit testing for rules", Series notation.
"""

import re
from typing import Final

__all__ = ["MOST_VALUES", "is_series", "series_of"]

MOST_VALUES: Final = 100_000
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_STEPS = re.compile(rf"({_NUMBER})(?:([-+])((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?))?x(\d+)")
_PLAIN = re.compile(_NUMBER)
_MISSING = re.compile(r"_(?:x(\d+))?")


def is_series(text: str) -> bool:
    """Return whether a text is meant as several values, not as one number."""
    parts = text.split()
    return len(parts) > 1 or any(_MISSING.fullmatch(part) or _STEPS.fullmatch(part) for part in parts)


def series_of(text: str) -> tuple[float | None, ...]:
    """Return the values of a series, None where there is no sample.

    Raises:
        ValueError: it is none, or too long; the text says what would be.
    """
    found: list[float | None] = []
    for part in text.split():
        if len(found) + (more := _length(part)) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values; write fewer, or a longer interval")
        found += _values(part, more)
    if not found:
        raise ValueError("no values; write some, like '0+1x10' or '0.8x60 0.4x30'")
    return tuple(found)


def _length(part: str) -> int:
    if missing := _MISSING.fullmatch(part):
        return int(missing[1]) if missing[1] else 1
    steps = _STEPS.fullmatch(part)
    return int(steps[4]) + 1 if steps else 1


def _values(part: str, count: int) -> list[float | None]:
    if part == "stale" or _MISSING.fullmatch(part):
        return [None] * count
    if part.startswith("{{"):
        raise ValueError("native histograms have no equivalent: spans have values; write one value for each span")
    if steps := _STEPS.fullmatch(part):
        first, by = float(steps[1]), float((steps[2] or "+") + (steps[3] or "0"))
        return [first + by * at for at in range(count)]
    if _PLAIN.fullmatch(part):
        return [float(part)]
    raise ValueError(
        f"{part[:40]!r} is no value of a series; write numbers, '_' for no sample, 'AxN' for A and N more, "
        "'A+BxN' to go up by B"
    )
