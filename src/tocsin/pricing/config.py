"""`prices:` of the configuration file: what a user writes about prices."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tocsin.model.settings import Duration, Settings

__all__ = ["Discount", "OverrideConfig", "PricesConfig", "TierConfig"]

_MAX_PRICE = Decimal(1_000_000)
_MAX_FACTOR = Decimal(100)
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([KM]?)", re.IGNORECASE)
_THOUSANDS = {"": 1, "K": 1_000, "M": 1_000_000}


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("must be a number of US dollars, like 2.5")  # noqa: TRY004  # pydantic reports ValueError
    try:
        # The shortest text of a float is what the user wrote; its binary value is not.
        number = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        raise ValueError("must be a number of US dollars, like 2.5") from None
    if not number.is_finite() or number < 0:
        raise ValueError("must be a finite number, 0 or more")
    return number


def _price(value: object) -> Decimal:
    number = _decimal(value)
    if number > _MAX_PRICE:
        raise ValueError(f"is over ${_MAX_PRICE:,}; prices are per 1M tokens unless the entry says `per: 1K`")
    return number


def _factor(value: object) -> Decimal:
    number = _decimal(value)
    if number > _MAX_FACTOR:
        raise ValueError(f"is over {_MAX_FACTOR}; a factor of 0.5 halves the price")
    return number


def _length(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _LENGTH.fullmatch(str(value).strip())
    if found is None:
        raise ValueError("must be a number of input tokens, like 200000 or 200K")
    return int(Decimal(found[1]) * _THOUSANDS[found[2].upper()])


def _entries(value: object) -> object:
    return [value] if isinstance(value, Mapping) else value


Price = Annotated[Decimal, BeforeValidator(_price)]


class _TokenPrices(Settings):
    """Prices in US dollars per `per` tokens; what is left out costs what it is a part of."""

    input: Price | None = None
    """Everything the provider reads, but for the kinds below that have a price of their own."""
    output: Price | None = None
    cache_read: Price | None = None
    cache_write: Price | None = None
    cache_write_1h: Price | None = None
    """Writes that live for an hour; left out: as `cache_write`."""
    reasoning: Price | None = None
    """The part of the output that is not shown; left out: as `output`."""
    audio: Price | None = None
    """Audio in both directions."""
    input_audio: Price | None = None
    output_audio: Price | None = None

    @model_validator(mode="after")
    def _one_audio(self) -> Self:
        if self.audio is not None and (self.input_audio is not None or self.output_audio is not None):
            raise ValueError("`audio` stands for both `input_audio` and `output_audio`; give it or them")
        return self


class TierConfig(_TokenPrices):
    """Other prices for calls with a long input; what is left out stays as in the entry."""

    above: Annotated[int, BeforeValidator(_length)]
    """Input tokens, cached ones included; the tier holds for calls with more than that (`200K`)."""


class OverrideConfig(_TokenPrices):
    """The price of a model, or of all models that a glob matches, for some time or always."""

    per: Literal["1M", "1K"] = "1M"
    """How many tokens a price is for."""
    request: Price | None = None
    """US dollars for each call."""
    tiers: tuple[TierConfig, ...] = Field(default=(), max_length=16)
    valid_from: date | datetime | None = None
    """First day (or moment, in UTC unless it says otherwise) of the price."""
    valid_to: date | datetime | None = None
    """Last day of the price, or the moment when it ended."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) is None for name in ("input", "output", "request")):
            raise ValueError("gives no price; give `input` and `output`, or `request`")
        if self.output is not None and self.input is None:
            raise ValueError("has no `input`; write `input: 0` if the provider does not bill it")
        if self.first_ns >= self.end_ns:
            raise ValueError("ends (`valid_to`) before it begins (`valid_from`)")
        lengths = [tier.above for tier in self.tiers]
        if len(set(lengths)) < len(lengths):
            raise ValueError("has two tiers with the same `above`")
        return self

    @property
    def first_ns(self) -> int:
        """Unix nanoseconds from which on the price holds; far in the past where it always did."""
        return -(2**63) if self.valid_from is None else _moment(self.valid_from)

    @property
    def end_ns(self) -> int:
        """Unix nanoseconds from which on it no longer does."""
        if self.valid_to is None:
            return 2**63 - 1
        # A day counts whole, as in "valid to 31 December".
        whole_day = not isinstance(self.valid_to, datetime)
        return _moment(self.valid_to + timedelta(days=1) if whole_day else self.valid_to)


class Discount(Settings):
    """A factor on computed prices: 0.5 for batches, 0.9 for committed use."""

    factor: Annotated[Decimal, BeforeValidator(_factor)]
    provider: str | None = None
    """A provider's name or a glob; left out: any."""
    tenant: str | None = None
    """A tenant's name or a glob; left out: any."""
    model: str | None = None
    """A model's name or a glob; left out: any."""

    @property
    def text(self) -> str:
        """The discount in a line, for people."""
        who = [f"{name} {value}" for name in ("provider", "tenant", "model") if (value := getattr(self, name))]
        return f"x {self.factor} for {', '.join(who) or 'everything'}"


class PricesConfig(Settings):
    """How model calls are priced."""

    auto_update: bool = False
    """Fetch the newest default table in the background; off: the one in the installed package."""
    update_interval: Duration = timedelta(hours=1)
    update_url: str | None = Field(default=None, pattern=r"^https?://")
    """A mirror of the default table; left out: the one that genai-prices publishes."""
    overrides: Mapping[str, Annotated[tuple[OverrideConfig, ...], BeforeValidator(_entries)]] = {}
    """Model name, `provider/model`, or a glob of either -> its price, or a list of prices with dates."""
    discounts: tuple[Discount, ...] = ()
    """The first that matches counts."""
    prefer: Literal["reported", "computed"] = "reported"
    """Which cost counts where the span states one and the table gives another."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.update_interval < timedelta(minutes=1):
            raise ValueError("update_interval must be at least 1m")
        empty = [name for name, entries in self.overrides.items() if not entries or not name.strip()]
        if empty:
            raise ValueError(f"overrides: {empty[0]!r} has no price; give it one or remove it")
        return self


def _moment(when: date | datetime) -> int:
    moment = when if isinstance(when, datetime) else datetime.combine(when, time())
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
