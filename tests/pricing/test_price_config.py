"""What a user writes about prices: read as meant, or refused with the reason."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from tocsin.pricing import PricesConfig


def test_reads_prices_as_written() -> None:
    config = PricesConfig.model_validate(
        {"overrides": {"m": {"input": 0.1, "output": "$0.30", "tiers": [{"above": "200K", "input": 1}]}}}
    )
    (entry,) = config.overrides["m"]
    assert (entry.input, entry.output) == (Decimal("0.1"), Decimal("0.30"))
    assert entry.tiers[0].above == 200_000


def test_a_day_counts_whole() -> None:
    config = PricesConfig.model_validate(
        {"overrides": {"m": {"input": 1, "valid_from": "2026-01-01", "valid_to": "2026-01-31"}}}
    )
    (entry,) = config.overrides["m"]
    assert entry.first_ns == int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    assert entry.end_ns == int(datetime(2026, 2, 1, tzinfo=UTC).timestamp()) * 10**9


def test_a_moment_is_exact() -> None:
    config = PricesConfig.model_validate({"overrides": {"m": {"input": 1, "valid_to": "2026-01-31T12:00:00+02:00"}}})
    assert config.overrides["m"][0].end_ns == int(datetime(2026, 1, 31, 10, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"overrides": {"m": {"input": -1, "output": 1}}}, "0 or more"),
        ({"overrides": {"m": {"input": float("nan"), "output": 1}}}, "finite"),
        ({"overrides": {"m": {"input": float("inf"), "output": 1}}}, "finite"),
        ({"overrides": {"m": {"input": "cheap", "output": 1}}}, "number of US dollars"),
        ({"overrides": {"m": {"input": True, "output": 1}}}, "number of US dollars"),
        ({"overrides": {"m": {"input": 1e12}}}, "per 1M tokens"),
        ({"overrides": {"m": {"output": 1}}}, "input: 0"),
        ({"overrides": {"m": {}}}, "gives no price"),
        ({"overrides": {"m": []}}, "has no price"),
        ({"overrides": {"m": {"input": 1, "inptu": 1}}}, "Extra inputs"),
        ({"overrides": {"m": {"input": 1, "per": "2M"}}}, "'1M' or '1K'"),
        ({"overrides": {"m": {"input": 1, "audio": 1, "input_audio": 1}}}, "both"),
        ({"overrides": {"m": {"input": 1, "tiers": [{"above": "much"}]}}}, "200K"),
        ({"overrides": {"m": {"input": 1, "tiers": [{"above": 5}, {"above": 5}]}}}, "same `above`"),
        (
            {"overrides": {"m": {"input": 1, "valid_from": "2026-02-01", "valid_to": "2026-01-01"}}},
            "before it begins",
        ),
        ({"discounts": [{"provider": "openai"}]}, "Field required"),
        ({"discounts": [{"factor": -0.5}]}, "0 or more"),
        ({"discounts": [{"factor": 1000}]}, "0.5 halves"),
        ({"prefer": "guessed"}, "'reported' or 'computed'"),
        ({"update_interval": "1s"}, "at least 1m"),
        ({"update_url": "file:///etc/passwd"}, "pattern"),
    ],
)
def test_refuses_what_is_no_price(written: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PricesConfig.model_validate(written)
