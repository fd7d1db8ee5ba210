"""Values as people read them, and text that is safe to show.

Group values, models and trace ids come from the attributes of spans: whoever sends spans writes them. `clean`
is the one gate they all pass: no control characters, no line breaks, no bidirectional overrides, no lone
surrogates (which no encoder takes), and a length.
"""

import math
import unicodedata

__all__ = ["clean", "counted", "duration", "percent", "plain_number", "quantity", "usd"]

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LARGE = 1e15
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def clean(text: object, limit: int = 256) -> str:
    """Return `text` on one line, without characters that steer a terminal or a header.

    At most `limit` long.
    """
    whole = str(text)
    if whole.isprintable():  # nearly always, and a thousand times faster; it has none of what is taken out below
        line = whole.strip()
        return line if len(line) <= limit else line[: limit - 1] + "…"
    kept = []
    for char in whole[: 4 * limit]:
        if char in "\t\n\r\v\f\x85\u2028\u2029":
            kept.append(" ")
        elif char not in _BIDI and unicodedata.category(char) not in ("Cc", "Cs"):
            kept.append(char)
    line = "".join(kept).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def usd(value: float) -> str:
    """Return dollars: `$27.31`, `$1,204.50`, and for parts of a cent two digits that count: `$0.0043`."""
    if not math.isfinite(value):
        return "no value"
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= _LARGE:
        return f"{sign}${size:.3g}"
    if size == 0 or size >= 0.01:  # a cent
        return f"{sign}${size:,.2f}"
    digits = min(12, 1 - math.floor(math.log10(size)))
    return f"{sign}${size:.{digits}f}"


def percent(value: float) -> str:
    """Return a ratio as a percentage: 0.05 is `5 %`, 0.9734 is `97.3 %`."""
    return f"{plain_number(value * 100, digits=3)} %" if math.isfinite(value) else "no value"


def plain_number(value: float, *, digits: int = 4) -> str:
    """Return a number with thousands separated and `digits` significant digits of a fraction.

    `1,200,000`, `0.5512`.
    """
    if not math.isfinite(value):
        return "no value"
    if abs(value) >= _LARGE:
        return f"{value:.{digits}g}"
    if value == int(value) or abs(value) >= 10**digits:
        return f"{round(value):,}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 12)}f}".rstrip("0").rstrip(".")


def duration(seconds: float) -> str:
    """Return the two largest parts of a duration: `5m`, `1h 30m`, `3.2s`, `250ms`."""
    if not math.isfinite(seconds):
        return "no value"
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 1:
        return f"{plain_number(seconds * 1000, digits=3)}ms" if seconds else "0s"
    if seconds < 60 and seconds != int(seconds):  # a minute
        return f"{plain_number(seconds, digits=3)}s"
    if seconds >= _LARGE:
        return f"{seconds:.3g}s"
    left, parts = round(seconds), []
    for size, name in _STEPS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:,}{name}")
    return " ".join(parts[:2])


def counted(count: float, noun: str) -> str:
    """Return `1 call`, `240 calls`; `noun` is the plural of a word that takes an s."""
    return f"{plain_number(count)} {noun[:-1] if count == 1 else noun}"


def quantity(value: float, unit: str) -> str:
    """Return a value in a rule's unit: `$27.31`, `3.2s`, `5 %`, `1,200 tokens`, `12 samples/s`, `0.55`."""
    if not math.isfinite(value):
        return "no value"
    base, slash, per = unit.partition("/")
    suffix = slash + per
    match base:
        case "USD":
            return usd(value) + suffix
        case "ms":
            return duration(value / 1000) + suffix
        case "ratio":
            return percent(value) + suffix
        case "":
            return plain_number(value) + suffix
        case _:
            return counted(value, base) + suffix
