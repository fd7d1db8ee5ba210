"""Newer default tables from the network, fetched by genai-prices' own background thread; off by default.

The thread builds the new table too, so that the pricing of spans only swaps a reference. A table that lost
most of its models is refused: an empty answer must not make every call unpriced. What fails is logged by
genai-prices and tried again; the table in use stays.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from genai_prices import UpdatePrices, data_snapshot
from genai_prices.update_prices import DEFAULT_UPDATE_URL

from tocsin.pricing.config import PricesConfig
from tocsin.pricing.table import DefaultTable

__all__ = ["Updater", "offline_table", "updater_of"]


def offline_table() -> DefaultTable:
    """Return the table of the installed package."""
    return DefaultTable(_offline())


@dataclass
class Updater(UpdatePrices):
    """Hands each fetched table to `adopt`, on the background thread."""

    adopt: Callable[[DefaultTable], None] = field(default=lambda _: None, repr=False, compare=False)

    def fetch(self) -> data_snapshot.DataSnapshot | None:
        """Fetch, judge and hand over.

        Raises:
            ValueError: the answer is no price table, or has fewer than half of the installed one's models.
        """
        snapshot = super().fetch()
        if snapshot is not None:
            models, known = _models_of(snapshot), _models_of(_offline())
            if models * 2 < known:
                raise ValueError(f"the fetched price table has {models} models, the installed one {known}: not used")
            self.adopt(DefaultTable(snapshot))
        return snapshot


def updater_of(config: PricesConfig, adopt: Callable[[DefaultTable], None]) -> Updater:
    """Return an updater as configured; it does nothing before `start()`."""
    return Updater(
        update_interval=config.update_interval.total_seconds(),
        url=config.update_url or DEFAULT_UPDATE_URL,
        adopt=adopt,
    )


def _models_of(snapshot: data_snapshot.DataSnapshot) -> int:
    return sum(len(provider.models) for provider in snapshot.providers)


def _offline() -> data_snapshot.DataSnapshot:
    # Not get_snapshot(): that is the fetched one once there is one.
    return data_snapshot._bundled_snapshot()  # the only name for it
