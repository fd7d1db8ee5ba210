"""The default table: genai-prices' snapshot, read for the kinds of tokens that spans report.

Source: github.com/pydantic/genai-prices (MIT), the package's own data, or what its updater fetched. Its
request-specific variants (batch, priority) are not used: spans do not say which applies, and
`prices.discounts` is for that.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version

from genai_prices import types
from genai_prices.data_snapshot import DataSnapshot, find_provider_by_id

from tocsin.pricing.index import ModelIndex
from tocsin.pricing.names import Candidate, provider_of
from tocsin.pricing.rates import Tariff

__all__ = ["DefaultTable", "Listed", "tariff_of_prices"]

_KIND_OF: Mapping[str, str] = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as the default table lists it."""

    provider: str
    """The table's word for the provider that was asked."""
    model: types.ModelInfo
    name: str
    """The reading of the span's model name that matched."""

    def at(self, moment_ns: int) -> Tariff:
        """Return its tariff at a moment, Unix nanoseconds."""
        moment = datetime.fromtimestamp(min(max(moment_ns // 10**9, 0), 32_503_680_000), UTC)
        return tariff_of_prices(self.model.get_prices(moment))

    def dates(self) -> Iterator[int]:
        """Yield the moments, Unix nanoseconds, from which on another price may hold."""
        for constraint in self._constraints():
            if isinstance(constraint, types.StartDateConstraint):
                start = datetime.combine(constraint.start_date, time(), UTC)
                yield int(start.timestamp()) * 10**9

    def times_of_day(self) -> Iterator[int]:
        """Yield the nanoseconds after midnight UTC at which the price may change every day."""
        for constraint in self._constraints():
            if isinstance(constraint, types.TimeOfDateConstraint):
                for moment in (constraint.start_time, constraint.end_time):
                    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                    clock = datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), aware).astimezone(UTC)
                    yield (clock.hour * 3600 + clock.minute * 60 + clock.second) * 10**9 + clock.microsecond * 1_000

    def _constraints(self) -> Iterator[object]:
        if not isinstance(self.model.prices, types.ModelPrice):
            for conditional in self.model.prices:
                yield conditional.constraint


class DefaultTable:
    """The models of one snapshot of genai-prices, by provider and name. Immutable; any thread may read it."""

    def __init__(self, snapshot: DataSnapshot) -> None:
        self._providers: Sequence[types.Provider] = snapshot.providers
        self._index = {provider.id: ModelIndex(provider.models) for provider in snapshot.providers}
        self.fetched_at: datetime | None = snapshot.timestamp if snapshot.from_auto_update else None

    @property
    def version(self) -> str:
        """Which table this is, for people."""
        if self.fetched_at is not None:
            return f"genai-prices, fetched {self.fetched_at:%Y-%m-%d %H:%M}"
        return f"genai-prices {version('genai_prices')}, offline"

    def find(self, provider: str | None, candidates: Sequence[Candidate]) -> Listed | None:
        """Return the model that a span's provider and the readings of its model name mean.

        The provider's own list comes first. Where it is unknown or does not have the model (an OpenAI
        client in front of a gateway says `openai` for every model), the vendor in the name decides, then
        the name itself.
        """
        own = self._provider(provider) if provider else None
        for candidate in candidates if own else ():
            if own and (found := self._listed(own, candidate)):
                return found
        for candidate in candidates:
            vendor = self._provider(candidate.vendor) if candidate.vendor else None
            if vendor and (found := self._listed(vendor, candidate)):
                return found
        for candidate in candidates:
            for known in self._providers:
                if known.model_match is not None and known.model_match.is_match(candidate.name):
                    found = self._listed(known, candidate)
                    if found:
                        return found
        return None

    def near(self, model: str, count: int = 5) -> list[str]:
        """Return listed names that look like an unknown one, the nearest first."""
        ids = {listed.id.lower(): listed.id for provider in self._providers for listed in provider.models}
        return [ids[name] for name in difflib.get_close_matches(model.lower(), ids, count, 0.6)]

    def _provider(self, written: str) -> types.Provider | None:
        return find_provider_by_id(list(self._providers), provider_of(written))

    def _listed(self, provider: types.Provider, candidate: Candidate) -> Listed | None:
        for name in (provider.id, *(provider.fallback_model_providers or ())):
            index = self._index.get(name)
            if index is not None and (model := index.find(candidate.name)) is not None:
                return Listed(provider.id, model, candidate.name)
        return None


def tariff_of_prices(prices: types.ModelPrice) -> Tariff:
    """Return the prices of the table as a tariff; an empty entry is a model that costs nothing.

    A price that is negative or not finite (an update went wrong) makes a tariff without bands, as does a
    model that is billed only by what spans do not report: hours of audio, pages, characters.
    """
    listed = {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}
    thresholds: list[tuple[str, int, Decimal]] = []
    for key, kind in _KIND_OF.items():
        match listed.get(key):
            case Decimal() as price:
                thresholds.append((kind, -1, price))
            case types.TieredPrices() as tiered:
                thresholds.append((kind, -1, tiered.base))
                thresholds += [(kind, tier.start, tier.price) for tier in tiered.tiers]
            case _:
                pass
    requests = listed.get("requests_kcount")
    request = requests / 1000 if isinstance(requests, Decimal) else Decimal(0)
    if any(not price.is_finite() or price < 0 for price in (request, *(price for _, _, price in thresholds))):
        return Tariff((), "the table's price is no price")
    if not thresholds and listed and requests is None:
        return Tariff((), f"billed by {', '.join(sorted(listed))}, which spans do not report")
    return Tariff.of_thresholds(thresholds, request)
