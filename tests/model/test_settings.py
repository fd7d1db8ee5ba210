"""Durations and sizes as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model.settings import nanoseconds, parse_duration, parse_size

UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}


def written(microseconds: int) -> str:
    """The longest units first, as people write it."""
    parts = []
    for unit, size in UNITS.items():
        number, microseconds = divmod(microseconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0"


@given(st.integers(0, 366 * UNITS["d"]))
def test_a_duration_comes_back_exactly(microseconds: int) -> None:
    found = parse_duration(written(microseconds))
    assert found == timedelta(microseconds=microseconds)
    assert nanoseconds(found) == microseconds * 1000


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5h", 5400), ("0.25s", 0.25), ("2w", 1209600), ("0", 0), (0, 0), ("1h30m", 5400)]
)
def test_durations_may_have_fractions(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", 5, "5 m", "m", "-5m", "5x", "1m 30s", "1e3s", None, True, [], "5mm"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration; write a number and a unit"):
        parse_duration(text)


def test_a_duration_is_at_most_a_leap_year() -> None:
    assert parse_duration("366d") == timedelta(days=366)
    with pytest.raises(ValueError, match="longer than a year"):
        parse_duration("367d")


@given(st.integers(0, 2**20), st.sampled_from([("", 1), ("KiB", 1024), ("MiB", 1024**2), ("k", 1000), ("GB", 10**9)]))
def test_sizes_are_bytes(number: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize("text", ["", "x", "-1", "1 PiB", "1MiBB", True, None, [1]])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
