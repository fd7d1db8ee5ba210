"""Rates: what each kind of token costs, before any of it is made fast.

A kind of token without a price of its own costs what it is a part of: cached and audio input as input,
one-hour cache writes as cache writes, reasoning and audio output as output. This is how providers bill, and
how genai-prices reads its own tables (genai_prices/decompose.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tocsin.pricing.config import OverrideConfig

__all__ = ["KINDS", "PER_TOKENS", "Band", "Tariff", "tariff_of_override"]

KINDS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
)
"""The kinds of tokens that are billed apart; each token of a call is counted in exactly one. The order of
all tables."""

PER_TOKENS = 1_000_000
"""Prices are US dollars per this many tokens."""

_PART_OF = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "reasoning": "output",
    "output_audio": "output",
}


@dataclass(frozen=True, slots=True)
class Band:
    """The prices for calls with more than `above` input tokens."""

    above: int
    """-1 for the first band of a tariff."""
    own: Mapping[str, Decimal]
    """Kind -> US dollars per million tokens, only those with a price of their own."""
    request: Decimal = Decimal(0)
    """US dollars for each call."""

    def price(self, kind: str) -> tuple[Decimal, str | None]:
        """Return the price of a kind, US dollars per million tokens, and the kind whose price that is.

        The kind is None, and the price 0, where neither it nor what it is a part of is billed.
        """
        at: str | None = kind
        while at is not None and at not in self.own:
            at = _PART_OF.get(at)
        return (self.own[at], at) if at is not None else (Decimal(0), None)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model costs at one moment."""

    bands: tuple[Band, ...]
    """By `above`, ascending; the first is -1. Empty: no price that spans can be billed by."""
    reason: str = ""
    """Why `bands` is empty."""

    def band(self, input_tokens: int) -> Band:
        """Return the band of a call; only of a tariff that has any."""
        return next(band for band in reversed(self.bands) if input_tokens > band.above)

    @classmethod
    def of_thresholds(cls, prices: Iterable[tuple[str, int, Decimal]], request: Decimal = Decimal(0)) -> "Tariff":
        """Return the tariff of (kind, above, US dollars per million); what a band leaves out stays."""
        bands: list[Band] = [Band(-1, {}, request)]
        for kind, above, price in sorted(prices, key=lambda item: item[1]):
            if above > bands[-1].above:
                bands.append(Band(above, bands[-1].own, request))
            bands[-1] = Band(bands[-1].above, {**bands[-1].own, kind: price}, request)
        return cls(tuple(bands))


def tariff_of_override(config: OverrideConfig) -> Tariff:
    """Return the tariff that a user wrote."""
    unit = Decimal(PER_TOKENS) / {"1M": 1_000_000, "1K": 1_000}[config.per]
    prices = []
    for above, source in [(-1, config), *((tier.above, tier) for tier in config.tiers)]:
        for kind in KINDS:
            price = getattr(source, kind)
            if price is None and kind in ("input_audio", "output_audio"):
                price = source.audio
            if price is not None:
                prices.append((kind, above, price * unit))
    return Tariff.of_thresholds(prices, config.request or Decimal(0))
