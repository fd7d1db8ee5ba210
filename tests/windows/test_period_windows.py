"""Windows of the calendar: what counts, since when, and how much of the period is over."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_histories import Row, samples_of

from tocsin.errors import SnapshotError
from tocsin.model.sections import Section
from tocsin.rules.calendar import Calendar, Period
from tocsin.windows.calendar import PeriodPanes
from tocsin.windows.panes import Panes
from tocsin.windows.sums import IntegerSums

HOUR = 3600 * 10**9
SLOT = np.array([0])


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def month_in(zone: str) -> PeriodPanes[Any]:
    return PeriodPanes(Calendar(Period.MONTH, zone).bounds)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["Europe/Zurich", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia"]),
    st.sampled_from([at("2011-12-28"), at("2025-03-30"), at("2025-10-25"), at("2024-02-28")]),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 70)), min_size=1, max_size=25),
)
def test_a_sample_counts_while_its_local_day_is_today(zone: str, start: int, events: list[tuple[int, int]]) -> None:
    window = IntegerSums(PeriodPanes(Calendar(Period.DAY, zone).bounds))
    now, added = start, []
    local = ZoneInfo(zone)

    def day_of(time: int) -> object:
        return datetime.fromtimestamp(time // 10**9, UTC).astimezone(local).date()

    for passed, age in events:
        now += passed * HOUR
        window.expire(now)
        time = now - age * HOUR // 2
        late = bool(window.panes.is_late(np.array([time]), now)[0])
        assert late == (day_of(time) != day_of(now))
        if not late:
            window.add(samples_of([Row(0, time, 1)], np.int64))
            added.append(time)
        assert window.samples(SLOT).tolist() == [sum(day_of(time) == day_of(now) for time in added)]


def test_at_the_periods_begin_everything_returns_to_nothing_and_is_told() -> None:
    window = IntegerSums(month_in("Europe/Zurich"))
    window.expire(at("2026-10-05"))
    assert window.panes.next_change is None
    window.add(samples_of([Row(0, at("2026-10-04"), 5), Row(3, at("2026-10-05"), 7)], np.int64))
    end = at("2026-10-31T23:00")
    assert window.panes.next_change == end
    assert window.expire(end - 1) == []
    assert [slots.tolist() for slots in window.expire(end)] == [[0, 3]]
    assert window.sum(np.array([0, 3])).tolist() == [0.0, 0.0]
    assert window.panes.next_change is None
    assert window.expire(end + 1) == []


def test_a_window_opened_in_the_middle_of_a_month_says_since_when_it_knows() -> None:
    panes = month_in("UTC")
    window = IntegerSums(panes)
    assert panes.elapsed_fraction(at("2026-11-01")) == 0.0
    window.expire(0)  # before time is known
    assert panes.since is None
    assert panes.bounds is None
    opened = at("2026-11-16")
    window.expire(opened)
    assert panes.bounds == (at("2026-11-01"), at("2026-12-01"))
    assert panes.since == opened
    assert panes.elapsed_ns(at("2026-11-19")) == 72 * HOUR
    assert panes.elapsed_fraction(at("2026-11-19")) == pytest.approx(3 / 15)
    assert window.seconds() == 30 * 86400
    window.expire(at("2026-12-02"))
    assert panes.since == at("2026-12-01")
    assert panes.elapsed_fraction(at("2026-12-02")) == pytest.approx(1 / 31)
    assert panes.elapsed_fraction(at("2027-12-02")) == 1.0


def test_since_when_it_knows_outlives_a_restart() -> None:
    window = IntegerSums(month_in("UTC"))
    window.expire(at("2026-11-16"))
    window.add(samples_of([Row(0, at("2026-11-15"), 5)], np.int64))
    panes = month_in("UTC")
    restored = IntegerSums(panes)
    restored.thaw(Section(window.freeze(1)(), "window"), 1)
    restored.expire(at("2026-11-20"))
    assert panes.since == at("2026-11-16")
    assert panes.next_change == at("2026-12-01")
    assert restored.sum(SLOT).tolist() == [5.0]


@pytest.mark.parametrize(
    "state",
    [
        {"bounds": [5, 9], "since": 9, "used": False},
        {"bounds": [5, 9], "since": 4, "used": False},
        {"bounds": [5], "since": 5, "used": False},
        {"bounds": None, "since": 5, "used": False},
        {"bounds": [5, 9], "since": 6, "used": 1},
    ],
)
def test_a_period_that_cannot_be_is_refused(state: dict[str, object]) -> None:
    panes: Panes[Any] = month_in("UTC")
    with pytest.raises(SnapshotError):
        panes.thaw(Section(state, "panes"), {}, 1, tuple)  # type: ignore[arg-type]  # a state
