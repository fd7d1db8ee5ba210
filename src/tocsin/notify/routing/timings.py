"""Hours of a week, days of a month: when a contact point or a route is quiet. Alertmanager's `time_intervals`.

An instant is turned into the local time of the zone, and that is compared field by field, so what a person reads on the
clock on the wall decides: an hour that the summer's change skips is no time at all, one that it repeats counts twice.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

from tocsin.model.settings import Settings
from tocsin.rules.config import TimeZone

__all__ = ["TimeInterval", "TimeRange", "muted_by"]

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
Ranges = tuple[tuple[int, int], ...]


def _minutes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1440:
        return value  # 22:00 without quotation marks is a number of base 60 to older YAML
    text = str(value)
    if not _CLOCK.fullmatch(text):
        raise ValueError(f'{text[:40]!r} is no time of day; write one from 00:00 to 24:00, like "08:30"')
    return int(text[:2]) * 60 + int(text[3:])


def _named(names: tuple[str, ...], first: int) -> Mapping[str, int]:
    found = {name: at + first for at, name in enumerate(names)}
    return found | {name[:3]: number for name, number in found.items()}


def _ranges(written: object, what: str, number_of: Callable[[str], int | None]) -> Ranges:
    """Read `[monday:friday, sunday]` or `1:15`; both ends belong to a range."""
    found: list[tuple[int, int]] = []
    for part in written if isinstance(written, list | tuple) else [written]:
        if isinstance(part, tuple):
            found.append(part)
            continue
        numbers = [number_of(end.strip().lower()) for end in str(part).split(":")]
        begin, end = numbers[0], numbers[-1]
        if len(numbers) > 2 or begin is None or end is None:
            raise ValueError(f"{str(part)[:40]!r} is no {what} or range of them")
        if begin > end and (begin >= 0) == (end >= 0):
            raise ValueError(f"{str(part)[:40]!r} ends before it begins; write two ranges")
        found.append((begin, end))
    return tuple(found)


def _within_bounds(text: str, least: int, most: int) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if least <= number <= most else None


def _weekdays(written: object) -> Ranges:
    return _ranges(written, "day of the week (monday … sunday)", _named(_DAYS, 0).get)


def _days(written: object) -> Ranges:
    return _ranges(
        written,
        "day of the month (1 … 31, or -1 for the last)",
        lambda text: _within_bounds(text, -31, 31) or None,  # 0 is no day
    )


def _months(written: object) -> Ranges:
    named = _named(_MONTHS, 1)
    return _ranges(written, "month (1 … 12, or a name)", lambda text: named.get(text) or _within_bounds(text, 1, 12))


def _years(written: object) -> Ranges:
    return _ranges(written, "year", lambda text: _within_bounds(text, 1970, 9999))


class TimeRange(Settings):
    """From a time of day up to another, which does not belong to it; over midnight where it ends before it begins."""

    start_time: Annotated[int, BeforeValidator(_minutes)] = 0
    """Minutes since midnight; written 22:00."""
    end_time: Annotated[int, BeforeValidator(_minutes)] = 1440

    @property
    def wraps(self) -> bool:
        """Whether it goes on past midnight."""
        return self.end_time <= self.start_time


class TimeInterval(Settings):
    """When all that is said holds; what is left out holds always."""

    times: tuple[TimeRange, ...] = ()
    weekdays: Annotated[Ranges, BeforeValidator(_weekdays)] = ()
    days_of_month: Annotated[Ranges, BeforeValidator(_days)] = ()
    """Negative ones count from the end of the month."""
    months: Annotated[Ranges, BeforeValidator(_months)] = ()
    years: Annotated[Ranges, BeforeValidator(_years)] = ()
    location: TimeZone = "UTC"

    def contains(self, at_ns: int) -> bool:
        """Whether an instant, Unix nanoseconds, is in it."""
        local = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).astimezone(ZoneInfo(self.location))
        if not self.times:
            return self._has_day(local.date())
        minute = local.hour * 60 + local.minute
        # What began yesterday evening and goes past midnight belongs to yesterday's day.
        return any(self._has_time(one, minute, local.date()) for one in self.times)

    def _has_time(self, one: TimeRange, minute: int, day: date) -> bool:
        if not one.wraps:
            return one.start_time <= minute < one.end_time and self._has_day(day)
        if minute >= one.start_time and self._has_day(day):
            return True
        return minute < one.end_time and self._has_day(day - timedelta(days=1))

    def _has_day(self, day: date) -> bool:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        length = (following - timedelta(days=1)).day
        return (
            _within(day.weekday(), self.weekdays)
            and _within(day.month, self.months)
            and _within(day.year, self.years)
            and (not self.days_of_month or any(_in_month(day.day, length, *one) for one in self.days_of_month))
        )


def muted_by(names: tuple[str, ...], timings: Mapping[str, tuple[TimeInterval, ...]], at_ns: int) -> str | None:
    """Return the first of the timings named that an instant is in, or None."""
    return next((name for name in names if any(one.contains(at_ns) for one in timings.get(name, ()))), None)


def _within(value: int, ranges: Ranges) -> bool:
    return not ranges or any(begin <= value <= end for begin, end in ranges)


def _in_month(day: int, length: int, begin: int, end: int) -> bool:
    first = begin if begin > 0 else length + begin + 1
    last = end if end > 0 else length + end + 1
    return first <= day <= last
