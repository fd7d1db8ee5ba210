"""Calendar periods: days, weeks and months of a time zone, as budgets are counted in."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

__all__ = ["Calendar", "Period"]

_NANO = 1_000_000_000


class Period(StrEnum):
    """How long a window of the calendar is; weeks begin on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Calendar:
    """A period of a time zone."""

    period: Period
    timezone: str
    """A name of the IANA time zone database, such as `Europe/Zurich`."""

    def bounds(self, at: int) -> tuple[int, int]:
        """Return when the period that contains `at` begins, and when the next one does; Unix nanoseconds.

        Raises:
            ZoneInfoNotFoundError: no such time zone is known here.
        """
        seconds = at // _NANO
        begin, end = _bounds(self.period, self.timezone, seconds - seconds % 900)
        return begin * _NANO, end * _NANO


@lru_cache(maxsize=1024)
def _bounds(period: Period, timezone: str, second: int) -> tuple[int, int]:
    """Of a quarter of an hour: no time zone changes its day within one."""
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(second, UTC).astimezone(zone).date()
    if second >= _midnight(day + timedelta(days=1), zone):
        day += timedelta(days=1)  # the clock went back over a midnight: the day that had begun goes on
    if period is Period.DAY:
        first, following = day, day + timedelta(days=1)
    elif period is Period.WEEK:
        first = day - timedelta(days=day.weekday())
        following = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    return _midnight(first, zone), _midnight(following, zone)


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
