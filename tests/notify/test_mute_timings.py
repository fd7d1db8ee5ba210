from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tocsin.notify.routing.timings import TimeInterval, muted_by

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"]


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000


def interval(**written: Any) -> TimeInterval:  # noqa: ANN401  # what people write
    return TimeInterval.model_validate(written)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@settings(max_examples=200)
@given(
    begin=st.integers(0, 1439),
    end=st.integers(0, 1440),
    days=st.sets(st.sampled_from(range(7))),
    month_days=st.lists(st.integers(-31, 31).filter(bool), max_size=2),
    months=st.sets(st.integers(1, 12)),
    zone=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(2011, 1, 1), datetime(2030, 12, 31)),  # noqa: DTZ001  # given a zone below
    near_change=st.booleans(),
)
def test_an_instant_is_in_an_interval_as_a_wall_clock_read_by_hand_says(
    begin: int,
    end: int,
    days: set[int],
    month_days: list[int],
    months: set[int],
    zone: str,
    moment: datetime,
    near_change: bool,  # Hypothesis gives it
) -> None:
    if near_change:  # the European and American changes of 2026, and Samoa's lost day, to within two hours
        changes = ["2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2011-12-30T10:00"]
        base = [datetime.fromisoformat(one) for one in changes]
        moment = base[moment.day % 4] + timedelta(minutes=moment.minute * 4 - 120)
    instant = moment.replace(tzinfo=UTC)
    written: dict[str, Any] = {"location": zone, "times": [{"start_time": clock(begin), "end_time": clock(end)}]}
    if days:
        written["weekdays"] = [DAYS[day] for day in sorted(days)]
    if month_days:
        written["days_of_month"] = [str(day) for day in month_days]
    if months:
        written["months"] = [str(month) for month in sorted(months)]
    found = interval(**written).contains(int(instant.timestamp()) * 1_000_000_000)

    local = instant.astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute

    def day_counts(day: Any) -> bool:  # noqa: ANN401  # a date
        last = 31
        while True:
            try:
                day.replace(day=last)
                break
            except ValueError:
                last -= 1
        wanted = {one if one > 0 else last + one + 1 for one in month_days}
        return (
            (not days or day.weekday() in days)
            and (not months or day.month in months)
            and (not month_days or day.day in wanted)
        )

    today, yesterday = local.date(), local.date() - timedelta(days=1)
    if begin < end:
        expected = begin <= minute < end and day_counts(today)
    else:
        expected = (minute >= begin and day_counts(today)) or (minute < end and day_counts(yesterday))
    assert found == expected


def test_a_night_from_friday_goes_on_into_saturday_and_not_into_friday_morning() -> None:
    night = interval(times=[{"start_time": "22:00", "end_time": "06:00"}], weekdays=["friday"])
    assert not night.contains(at("2026-01-09T05:00"))  # Friday morning
    assert night.contains(at("2026-01-09T23:00"))
    assert night.contains(at("2026-01-10T05:59"))
    assert not night.contains(at("2026-01-10T06:00"))


def test_the_wall_clock_counts_when_summer_begins_and_ends() -> None:
    night = interval(times=[{"start_time": "02:00", "end_time": "03:00"}], location="Europe/Zurich")
    begins = datetime(2026, 3, 29, tzinfo=UTC)
    inside = [night.contains(int((begins + timedelta(minutes=one)).timestamp()) * 10**9) for one in range(0, 240, 10)]
    assert not any(inside)  # there is no 02:30 on that day
    ends = datetime(2026, 10, 25, tzinfo=UTC)
    inside = [night.contains(int((ends + timedelta(minutes=one)).timestamp()) * 10**9) for one in range(0, 240, 10)]
    assert sum(inside) == 12  # two hours of it


def test_days_are_counted_from_the_end_of_the_month_too() -> None:
    last = interval(days_of_month=["-1"])
    assert last.contains(at("2028-02-29T12:00"))
    assert not last.contains(at("2028-02-28T12:00"))
    assert interval(days_of_month=["25:-1"]).contains(at("2026-02-27T00:00"))


def test_the_first_timing_that_holds_is_named() -> None:
    timings = {"never": (interval(years=["1999"]),), "always": (TimeInterval(),)}
    assert muted_by(("never", "always"), timings, at("2026-01-09T05:00")) == "always"
    assert muted_by(("never",), timings, at("2026-01-09T05:00")) is None


@pytest.mark.parametrize(
    "written",
    [
        {"times": [{"start_time": "25:00"}]},
        {"times": [{"start_time": "8"}]},
        {"weekdays": ["someday"]},
        {"weekdays": ["friday:monday"]},
        {"weekdays": ["1:5"]},
        {"days_of_month": ["0"]},
        {"days_of_month": ["1:40"]},
        {"months": ["13"]},
        {"years": ["2026:2020"]},
        {"location": "Atlantis/Center"},
        {"hours": []},
    ],
)
def test_what_is_no_time_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TimeInterval.model_validate(written)
