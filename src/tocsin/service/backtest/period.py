"""From when to when: `--from 7d --to 2026-03-02T06:00Z`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin.model.settings import nanoseconds, parse_duration
from tocsin.service.backtest.failures import BacktestError

__all__ = ["Period", "moment_text", "parse_moment", "parse_period"]

_RELATIVE = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w))+")
_UNIX = re.compile(r"\d{9,11}(\.\d+)?")
_LATEST = 253_402_300_800 * 10**9
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of event time, in Unix nanoseconds; None: as far as there is anything."""

    begin: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        """Return it in words."""
        if self.begin is None and self.end is None:
            return "ever"
        parts = [] if self.begin is None else [f"from {moment_text(self.begin)}"]
        return " ".join([*parts, *([] if self.end is None else [f"to {moment_text(self.end)}"])])


def parse_period(begin: str | None, end: str | None, now: int) -> Period:
    """Return the period that a person wrote; `now` is the wall clock, Unix nanoseconds.

    Raises:
        BacktestError: one of the two is no moment, or it ends before it begins.
    """
    period = Period(
        None if begin is None else parse_moment(begin, now, name="--from"),
        None if end is None else parse_moment(end, now, name="--to"),
    )
    if period.begin is not None and period.end is not None and period.end <= period.begin:
        raise BacktestError(
            f"the period ends ({moment_text(period.end)}) before it begins ({moment_text(period.begin)}); swap "
            "--from and --to, or move one"
        )
    return period


def parse_moment(text: str, now: int, *, name: str = "the moment") -> int:
    """Return Unix nanoseconds of what a person wrote.

    Args:
        text: a duration, which is that long ago (`7d`, `1h30m`); `now`; a date or a time of ISO 8601, in UTC where it
            names no zone; or Unix seconds.
        now: the wall clock, Unix nanoseconds.
        name: how messages call it.

    Raises:
        BacktestError: it is none of these.
    """
    written = text.strip()
    if written == "now":
        return now
    if _RELATIVE.fullmatch(written):
        try:
            return now - nanoseconds(parse_duration(written))
        except ValueError as error:
            raise BacktestError(f"{name}: {error}") from error
    if _UNIX.fullmatch(written):
        return round(float(written) * _NS)
    try:
        found = datetime.fromisoformat(written)
    except ValueError as error:
        raise BacktestError(
            f"{name}: {written!r} is no time; write how long ago (7d, 36h, 90m), a date (2026-03-01), a time "
            "(2026-03-01T03:14Z), or now"
        ) from error
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    moment = nanoseconds(since)
    if not 0 <= moment < _LATEST:
        raise BacktestError(f"{name}: {written!r} is before 1970 or after 9999; spans have no such times")
    return moment


def moment_text(at: int) -> str:
    """Return a moment for people: `2026-03-01 03:14:07.250Z`, without the fraction where it is none."""
    try:
        whole = datetime.fromtimestamp(at // _NS, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{at} ns"
    fraction = f".{at % _NS // 1_000_000:03}" if at % _NS else ""
    return f"{whole:%Y-%m-%d %H:%M:%S}{fraction}Z"
