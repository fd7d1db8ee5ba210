"""The catalogue: what a provider and a model name cost under one configuration and one default table.

A name is resolved once and remembered; the memory is bounded, because senders choose the names.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from threading import Lock

from tocsin.pricing.config import Discount, OverrideConfig, PricesConfig
from tocsin.pricing.meter import Meter, RateRows
from tocsin.pricing.names import MAX_NAME, Candidate, candidates_of, glob_of, provider_of
from tocsin.pricing.schedule import Schedule, schedule_of
from tocsin.pricing.table import DefaultTable, Listed

__all__ = ["MAX_NAMES", "Catalogue", "Entry"]

MAX_NAMES = 10_000
"""Distinct (provider, model, tenant) that are remembered; the least recently used is forgotten first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one (provider, model, tenant) means."""

    schedule: Schedule
    meter: Meter
    override: str | None
    """The key under `prices.overrides`, if any matched."""
    listed: Listed | None
    discount: Discount | None


@dataclass(frozen=True, slots=True)
class _Override:
    key: str
    entries: tuple[OverrideConfig, ...]


class Catalogue:
    """All prices under one configuration and default table. Safe to use from several threads."""

    def __init__(self, config: PricesConfig, table: DefaultTable) -> None:
        self.table = table
        self.rates = RateRows()
        self.by_tenant = any(discount.tenant is not None for discount in config.discounts)
        self._exact: dict[str, _Override] = {}
        self._globs: list[tuple[Callable[[str], bool], _Override]] = []
        self._overrides = config.overrides
        for key, entries in config.overrides.items():
            override = _Override(key, entries)
            if "*" in key or "?" in key:
                self._globs.append((glob_of(key.lower()), override))
            else:
                self._exact[key.lower()] = override
        self._discounts = [_Discount(discount) for discount in config.discounts]
        self._lock = Lock()
        self._names: OrderedDict[tuple[str | None, str, str | None], Entry | None] = OrderedDict()
        self._schedules: dict[tuple[str | None, int | None], tuple[Schedule, Listed | None]] = {}
        self._meters: dict[tuple[int, Decimal], Meter] = {}

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._names)

    def find(self, provider: str | None, model: str, tenant: str | None) -> Entry | None:
        """Return what a model costs; None where neither the overrides nor the default table know it."""
        if len(model) > MAX_NAME or (provider and len(provider) > MAX_NAME):
            return None
        key = (provider, model, tenant if self.by_tenant else None)
        with self._lock:
            if key in self._names:
                self._names.move_to_end(key)
                return self._names[key]
            entry = self._names[key] = self._resolve(*key)
            if len(self._names) > MAX_NAMES:
                self._names.popitem(last=False)
            return entry

    def overridden(self, key: str, at: int) -> bool:
        """Whether an override of `prices.overrides` holds at a time, Unix nanoseconds."""
        return any(config.first_ns <= at < config.end_ns for config in self._overrides[key])

    def _resolve(self, provider: str | None, model: str, tenant: str | None) -> Entry | None:
        candidates = candidates_of(model)
        listed = self.table.find(provider, candidates)
        override = self._override(provider, candidates, listed)
        if override is None and listed is None:
            return None
        # Keyed by what was found, not by the name that found it: many names may mean one model.
        found = (override.key if override else None, id(listed.model) if listed else None)
        if found not in self._schedules:
            self._schedules[found] = schedule_of(override.entries if override else (), listed), listed
        schedule, _ = self._schedules[found]
        discount = self._discount(provider, model, tenant, listed)
        factor = discount.factor if discount else Decimal(1)
        meter = self._meters.get((id(schedule), factor))
        if meter is None:
            meter = self._meters[id(schedule), factor] = Meter.of(schedule, factor, self.rates)
        return Entry(schedule, meter, override.key if override else None, listed, discount)

    def _override(
        self, provider: str | None, candidates: Sequence[Candidate], listed: Listed | None
    ) -> _Override | None:
        words = _words(provider, listed)
        for candidate in candidates:
            names = [*(f"{word}/{candidate.name}" for word in words), candidate.name]
            for name in names:
                if name in self._exact:
                    return self._exact[name]
            for matches, override in self._globs:
                if any(map(matches, names)):
                    return override
        return None

    def _discount(self, provider: str | None, model: str, tenant: str | None, listed: Listed | None) -> Discount | None:
        words = _words(provider, listed)
        holding = (known for known in self._discounts if known.holds(words, model.lower(), tenant))
        return next((known.discount for known in holding), None)


class _Discount:
    """A discount with its patterns compiled."""

    def __init__(self, discount: Discount) -> None:
        self.discount = discount
        self._provider = glob_of(discount.provider.lower()) if discount.provider is not None else None
        self._model = glob_of(discount.model.lower()) if discount.model is not None else None
        self._tenant = glob_of(discount.tenant) if discount.tenant is not None else None

    def holds(self, providers: Sequence[str], model: str, tenant: str | None) -> bool:
        if self._provider and not any(map(self._provider, providers)):
            return False
        if self._model and not self._model(model):
            return False
        return not self._tenant or (tenant is not None and self._tenant(tenant))


def _words(provider: str | None, listed: Listed | None) -> list[str]:
    """Return the names by which an override or a discount may call a span's provider."""
    if provider:
        return list(dict.fromkeys((provider.lower(), provider_of(provider))))
    return [listed.provider] if listed else []
