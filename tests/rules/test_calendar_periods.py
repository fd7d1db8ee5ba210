"""Days, weeks and months of real time zones against a slow walk over the minutes around each midnight."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tocsin.rules.calendar import Calendar, Period

NANO = 10**9
ZONES = (
    "UTC",
    "Europe/Zurich",
    "America/New_York",
    "America/Sao_Paulo",  # summer time began at midnight
    "America/St_Johns",  # until 2011 the clock went back from 00:01 to 23:01
    "America/Havana",  # midnight comes twice
    "Africa/Cairo",
    "Africa/Casablanca",  # the clock goes back for Ramadan
    "Asia/Beirut",
    "Asia/Kathmandu",  # 05:45
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # there was no 30 December 2011
    "Pacific/Kiritimati",  # 14:00
    "Antarctica/Troll",  # two hours of summer time
)

instants = st.integers(
    int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2036, 1, 1, tzinfo=UTC).timestamp())
)


def second_of(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def local_date(second: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(second, UTC).astimezone(zone).date()


def first_instant_of(day: date, zone: ZoneInfo) -> int:
    """Return the first minute whose local date is a day, or a later one where the day was skipped."""
    around = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return next(
        second for second in range(around - 15 * 3600, around + 27 * 3600, 60) if local_date(second, zone) >= day
    )


def first_day_of(period: Period, day: date) -> date:
    if period is Period.DAY:
        return day
    return day - timedelta(days=day.weekday()) if period is Period.WEEK else day.replace(day=1)


def next_first_day_of(period: Period, first: date) -> date:
    later = first + timedelta(days={Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period])
    return later.replace(day=1) if period is Period.MONTH else later


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(list(Period)), instants)
@example("Pacific/Apia", Period.DAY, second_of("2011-12-30T09:59:59"))
@example("Pacific/Apia", Period.DAY, second_of("2011-12-30T10:00"))
@example("Australia/Lord_Howe", Period.DAY, second_of("2025-04-05T15:10"))
@example("America/St_Johns", Period.DAY, second_of("2006-10-29T02:50"))
@example("America/Havana", Period.DAY, second_of("2025-11-02T04:30"))
@example("Africa/Casablanca", Period.MONTH, second_of("2025-03-31T23:30"))
def test_a_period_is_that_of_the_local_date(zone_name: str, period: Period, second: int) -> None:
    zone = ZoneInfo(zone_name)
    begin, end = Calendar(period, zone_name).bounds(second * NANO + 5)
    assert begin <= second * NANO < end
    assert begin % NANO == end % NANO == 0
    begun = local_date(second, zone)
    if second >= first_instant_of(begun + timedelta(days=1), zone):
        begun += timedelta(days=1)  # the clock was put back over midnight
    first = first_day_of(period, begun)
    assert begin // NANO == first_instant_of(first, zone)
    assert end // NANO == first_instant_of(next_first_day_of(period, first), zone)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(list(Period)), instants)
def test_periods_follow_each_other_without_a_gap(zone: str, period: Period, second: int) -> None:
    bounds = Calendar(period, zone).bounds
    begin, end = bounds(second * NANO)
    assert bounds(begin) == bounds(end - 1) == (begin, end)
    assert bounds(end)[0] == end
    assert bounds(begin - 1)[1] == begin


def test_the_day_that_apia_left_out_has_no_length() -> None:
    begin, end = Calendar(Period.DAY, "Pacific/Apia").bounds(second_of("2011-12-30T08:00") * NANO)
    assert (begin, end) == (second_of("2011-12-29T10:00") * NANO, second_of("2011-12-30T10:00") * NANO)
    following = Calendar(Period.DAY, "Pacific/Apia").bounds(end)
    assert local_date(following[0] // NANO, ZoneInfo("Pacific/Apia")) == date(2011, 12, 31)


def test_a_zone_that_is_not_known_is_refused() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        Calendar(Period.DAY, "Europe/Bielefeld").bounds(NANO)
