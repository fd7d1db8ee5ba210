"""Time in queries: intervals, the template variables, and the part of time that a query reads.

Times are nanoseconds relative to the end of the bucket that is evaluated: `${end_time}` is 0, `${start_time}` is the
interval before it.
"""

import re
from decimal import Decimal

from sqlglot import exp

from tocsin.rules.sql.parsing import variable_of

__all__ = ["interval_of", "is_interval_variable", "time_of"]

_UNITS = {
    "microsecond": 10**3,
    "millisecond": 10**6,
    "second": 10**9,
    "minute": 60 * 10**9,
    "hour": 3_600 * 10**9,
    "day": 86_400 * 10**9,
    "week": 604_800 * 10**9,
}
_SHORT = {
    "us": "microsecond",
    "usec": "microsecond",
    "ms": "millisecond",
    "msec": "millisecond",
    "s": "second",
    "sec": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "d": "day",
    "w": "week",
}
_PART = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_CLOCK = re.compile(r"\s*(\d{1,4}):(\d\d)(?::(\d\d(?:\.\d+)?))?\s*")
_TIME_TYPES = (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPNTZ)


def is_interval_variable(node: exp.Expression) -> bool:
    """Whether an expression is `${interval}`, with or without a cast to an interval."""
    node = _bare(node)
    if isinstance(node, exp.Interval) and node.args.get("unit") is None:
        node = node.this
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.INTERVAL:
        node = _bare(node.this)
    return variable_of(node) == "interval"


def interval_of(node: exp.Expression, interval_ns: int) -> int | None:
    """Return the length of an interval expression, nanoseconds; None where it is none of a fixed length.

    Args:
        node: `INTERVAL '24 hours'`, `'1 day'::interval`, `${interval}`, or one of them times a number.
        interval_ns: what `${interval}` stands for.
    """
    node = _bare(node)
    if is_interval_variable(node):
        return interval_ns
    if isinstance(node, exp.Mul):
        for factor, length in ((node.this, node.expression), (node.expression, node.this)):
            number, whole = _bare(factor), interval_of(length, interval_ns)
            if whole is not None and isinstance(number, exp.Literal) and not number.is_string:
                return int(Decimal(number.this) * whole)
        return None
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.INTERVAL:
        text = _bare(node.this)
        return _length(text.this, "") if isinstance(text, exp.Literal) and text.is_string else None
    if isinstance(node, exp.Interval) and isinstance(node.this, exp.Literal):
        return _length(str(node.this.this), node.text("unit"))
    return None


def time_of(node: exp.Expression, interval_ns: int) -> int | None:
    """Return when a time expression is, relative to the bucket's end; None where it is none of a template variable."""
    node = _bare(node)
    if isinstance(node, exp.Cast) and node.to.this in _TIME_TYPES:
        return time_of(node.this, interval_ns)
    if (name := variable_of(node)) is not None:
        return {"start_time": -interval_ns, "end_time": 0}.get(name)
    if isinstance(node, exp.Sub | exp.Add):
        at, length = time_of(node.this, interval_ns), interval_of(node.expression, interval_ns)
        if at is None or length is None:
            return None
        return at - length if isinstance(node, exp.Sub) else at + length
    return None


def _bare(node: exp.Expression) -> exp.Expression:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _length(text: str, unit: str) -> int | None:
    """The nanoseconds of `24 hours`, `1 day 2 hours`, `90` (seconds, or `unit`) and `01:30:00`."""
    if (clock := _CLOCK.fullmatch(text)) is not None:
        hours, minutes, seconds = int(clock[1]), int(clock[2]), Decimal(clock[3] or 0)
        return int(((hours * 60 + minutes) * 60 + seconds) * 10**9) if not unit else None
    total, at = 0, 0
    while at < len(text.rstrip()):
        part = _PART.match(text, at)
        if part is None:
            return None
        length = _unit(part[2] or unit or "second")
        if length is None:
            return None
        total += int(Decimal(part[1]) * length)
        at = part.end()
    return total if at else None


def _unit(word: str) -> int | None:
    name = word.lower()
    for spelling in (name, name.removesuffix("s")):
        if (found := _SHORT.get(spelling, spelling)) in _UNITS:
            return _UNITS[found]
    return None
