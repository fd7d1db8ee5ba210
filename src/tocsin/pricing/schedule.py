"""Schedules: which tariff of a model holds when, as a small grid of dates and times of day.

Prices change on dates (a cut, an override's end) and at hours (off-peak). Between two such moments a tariff
is constant, so it is evaluated once for each cell of the grid and then found by two binary searches for any
number of spans at once, however far apart their times are.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.pricing.config import OverrideConfig
from tocsin.pricing.rates import Tariff, tariff_of_override
from tocsin.pricing.table import Listed

__all__ = ["DAY_NS", "Schedule", "schedule_of"]

DAY_NS = 86_400 * 10**9
_ALWAYS = -(2**63)
_NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """The tariffs of one model over time."""

    dates: tuple[int, ...]
    """Unix nanoseconds, ascending: where one row of the grid ends and the next begins."""
    clock: tuple[int, ...]
    """Nanoseconds after midnight UTC, ascending: where a column begins."""
    tariffs: tuple[Tariff, ...]
    """[len(dates) + 1][len(clock) + 1], row by row."""

    def at(self, moment_ns: int) -> Tariff:
        """Return the tariff at a moment, Unix nanoseconds."""
        row, column = bisect_right(self.dates, moment_ns), bisect_right(self.clock, moment_ns % DAY_NS)
        return self.tariffs[row * (len(self.clock) + 1) + column]

    def period(self, moment_ns: int) -> tuple[int | None, int | None]:
        """Return the dates around a moment between which the prices stand, Unix nanoseconds or None."""
        row = bisect_right(self.dates, moment_ns)
        return self.dates[row - 1] if row else None, self.dates[row] if row < len(self.dates) else None


def schedule_of(overrides: Sequence[OverrideConfig], listed: Listed | None) -> Schedule:
    """Return the tariffs of a model: the last override that holds at a time, else the default table's."""
    ends = {moment for config in overrides for moment in (config.first_ns, config.end_ns)} - {_ALWAYS, _NEVER}
    dates = sorted(ends.union(listed.dates() if listed else ()))
    clock = sorted(set(listed.times_of_day() if listed else ()))
    written = [(config, tariff_of_override(config)) for config in overrides]
    tariffs = []
    for day in [dates[0] - 1 if dates else 0, *dates]:
        held = [tariff for config, tariff in written if config.first_ns <= day < config.end_ns]
        # The table's dates are midnights, so any time of the same day stands for the cell.
        midnight = day - day % DAY_NS
        for hour in [0, *clock]:
            if held:
                tariffs.append(held[-1])
            elif listed is not None:
                tariffs.append(listed.at(midnight + hour))
            else:
                tariffs.append(Tariff((), "no price at the time of the call"))
    return Schedule(tuple(dates), tuple(clock), tuple(tariffs))
