"""The price book: fills the cost columns of a batch.

Work is per batch and per distinct (provider, model[, tenant]), never per span; see docs/performance.md.
Rounding and overflow are defined in `tocsin.pricing.meter`.
"""

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import ABSENT, NANO_USD, CostSource, Needs, SpanBatch, SpanClass
from tocsin.model.columns import TextColumn
from tocsin.pricing.catalogue import Catalogue, Entry
from tocsin.pricing.config import PricesConfig
from tocsin.pricing.explanation import PriceExplanation, Usage, explain
from tocsin.pricing.meter import MAX_CALL_NANO, Tokens
from tocsin.pricing.table import DefaultTable
from tocsin.pricing.unpriced import UnpricedLedger, UnpricedModel
from tocsin.pricing.updates import offline_table, updater_of

__all__ = ["PriceBook"]

_BILLED = np.zeros(256, np.bool_)
"""Classes that get a cost."""
_BILLED[[SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.USAGE, SpanClass.AGENT]] = True
_CALL = np.zeros(256, np.bool_)
"""Classes that cost something even where the span does not say how much."""
_CALL[[SpanClass.LLM, SpanClass.EMBEDDINGS, SpanClass.USAGE]] = True


class PriceBook:
    """Prices spans under one configuration; a reload makes a new one from the old.

    `price` is for one thread at a time; everything else may be called from any thread.
    """

    def __init__(self, config: PricesConfig, previous: "PriceBook | None" = None) -> None:
        """Build the book; opens nothing and starts nothing.

        Args:
            config: the `prices` of the configuration.
            previous: the book that this one replaces; its counts and the table that it fetched are kept.
        """
        self._config = config
        self._updater = updater_of(config, self._adopt) if config.auto_update else None
        fetched = previous is not None and self._updater is not None
        table: DefaultTable = previous._catalogue.table if previous and fetched else offline_table()
        self._catalogue: Catalogue = Catalogue(config, table)
        ledger: UnpricedLedger = previous._ledger if previous else UnpricedLedger()
        self._ledger: UnpricedLedger = ledger.where(self._still_unpriced)

    @property
    def needs(self) -> Needs:
        """The labels that pricing reads beyond those that are always there."""
        return Needs(labels=frozenset({"tenant"} if self._catalogue.by_tenant else ()))

    @property
    def table_version(self) -> str:
        """Which default table is in use, for people."""
        return self._catalogue.table.version

    def start(self) -> None:
        """Begin to fetch newer tables, if the configuration says so; returns at once."""
        if self._updater is not None:
            self._updater.start()

    def close(self) -> None:
        """Stop fetching; returns at once. Start the book that follows first, so that its thread is shared."""
        if self._updater is not None:
            self._updater.stop()  # type: ignore[no-untyped-call]  # genai-prices leaves it untyped

    def price(self, batch: SpanBatch) -> None:
        """Fill `cost_nano`, `computed_nano` and `cost_source`."""
        catalogue = self._catalogue  # one catalogue for the whole batch, whatever another thread fetches
        billed = _BILLED[batch.span_class]
        tokens = Tokens.of(_usage_columns(batch))
        distinct, of_row = _distinct(batch, billed, by_tenant=catalogue.by_tenant)
        entries = _entries(catalogue, batch, distinct)
        rows = _rows(entries, of_row, batch.end, tokens.length)
        priced = (rows > 0) & tokens.known & billed
        computed = np.where(priced, catalogue.rates.charge(tokens, rows), ABSENT)
        due = (tokens.known | (_CALL[batch.span_class] & ~batch.failed & ~batch.deferred)) & billed
        cost = np.where(priced, computed, 0)
        source = np.where(priced, np.uint8(CostSource.COMPUTED), np.where(due, np.uint8(CostSource.UNPRICED), 0))
        with np.errstate(invalid="ignore"):
            reported = billed & (batch.reported_usd >= 0) & (batch.reported_usd < np.inf)
        if self._config.prefer == "computed":
            reported &= ~priced
        if reported.any():
            usd = np.minimum(np.where(reported, batch.reported_usd, 0.0), MAX_CALL_NANO / NANO_USD)
            cost = np.where(reported, np.rint(usd * NANO_USD).astype(np.int64), cost)
            source[reported] = CostSource.REPORTED
        batch.computed_nano, batch.cost_nano, batch.cost_source = computed, cost, source.astype(np.uint8)
        unpriced = (source == CostSource.UNPRICED) & (batch.span_class != SpanClass.AGENT)
        if unpriced.any():
            self._count(batch, unpriced, tokens.known, distinct, of_row, by_tenant=catalogue.by_tenant)

    def explain(
        self,
        provider: str | None,
        model: str,
        *,
        usage: Usage = Usage(),  # noqa: B008  # immutable
        tenant: str | None = None,
        at: int,
    ) -> PriceExplanation:
        """Return what a call of a model costs and why.

        Args:
            provider: as spans write it; None: by the model's name.
            model: as spans write it.
            usage: the tokens of the call; none: only the prices.
            tenant: whose discount counts.
            at: event time, Unix nanoseconds.
        """
        return explain(self._catalogue, provider, model, tenant, usage, at)

    def unpriced(self) -> list[UnpricedModel]:
        """Return what could not be priced, the most frequent first; at most `MAX_UNPRICED`."""
        return self._ledger.list()

    def _adopt(self, table: DefaultTable) -> None:
        self._catalogue = Catalogue(self._config, table)
        self._ledger.prune(self._still_unpriced)

    def _still_unpriced(self, entry: UnpricedModel) -> bool:
        if entry.reason != "no price" or entry.model is None:
            return True
        return not self.explain(entry.provider, entry.model, at=entry.last_seen).priced

    def _count(
        self,
        batch: SpanBatch,
        unpriced: NDArray[np.bool_],
        known: NDArray[np.bool_],
        distinct: NDArray[np.int64],
        of_row: NDArray[np.intp],
        *,
        by_tenant: bool,
    ) -> None:
        for mask, reason in ((unpriced & known, "no price"), (unpriced & ~known, "no usage")):
            at = of_row[mask]
            counts = np.bincount(at, minlength=len(distinct))
            seen = np.full(len(distinct), np.iinfo(np.int64).min)
            np.maximum.at(seen, at, batch.end[mask])
            there = np.flatnonzero(counts)
            named = _texts(batch, distinct[there], by_tenant=by_tenant)
            for (provider, model, _), pair in zip(named, there.tolist(), strict=True):
                self._ledger.add(provider, model, reason, count=int(counts[pair]), last_seen=int(seen[pair]))


def _usage_columns(batch: SpanBatch) -> list[NDArray[np.int64]]:
    """The order of `KINDS`."""
    return [
        batch.input_tokens,
        batch.cache_read_tokens,
        batch.cache_write_tokens,
        batch.cache_write_1h_tokens,
        batch.input_audio_tokens,
        batch.output_tokens,
        batch.reasoning_tokens,
        batch.output_audio_tokens,
    ]


def _distinct(
    batch: SpanBatch, billed: NDArray[np.bool_], *, by_tenant: bool
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the distinct keys of what decides a price, and [n] which of them each row has.

    A key packs the dictionary codes plus one, so 0 is "names nothing"; rows that are not billed have key 0.
    """
    columns = _key_columns(batch, by_tenant=by_tenant)
    key = np.zeros(len(batch), np.int64)
    for column in columns:
        key = key * (len(column.values) + 1) + (column.code + 1)
    distinct, of_row = np.unique(key * billed, return_inverse=True)
    return distinct, of_row


def _key_columns(batch: SpanBatch, *, by_tenant: bool) -> list[TextColumn]:
    names = ("provider", "model", "tenant") if by_tenant else ("provider", "model")
    return [batch.labels[name] for name in names]


def _texts(
    batch: SpanBatch, distinct: NDArray[np.int64], *, by_tenant: bool
) -> list[tuple[str | None, str | None, str | None]]:
    """Return the provider, model and tenant of each key."""
    texts: list[list[str | None]] = []
    rest = distinct
    for column in reversed(_key_columns(batch, by_tenant=by_tenant)):
        rest, code = np.divmod(rest, len(column.values) + 1)
        values = column.values
        texts.append([values[at - 1] if at else None for at in code.tolist()])
    if not by_tenant:
        texts.insert(0, [None] * len(distinct))
    tenant, model, provider = texts
    return list(zip(provider, model, tenant, strict=True))


def _entries(catalogue: Catalogue, batch: SpanBatch, distinct: NDArray[np.int64]) -> list[Entry | None]:
    named = _texts(batch, distinct, by_tenant=catalogue.by_tenant)
    return [catalogue.find(provider, model, tenant) if model else None for provider, model, tenant in named]


def _rows(
    entries: list[Entry | None], of_row: NDArray[np.intp], end: NDArray[np.int64], length: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Return [n] the row of each call's prices in the catalogue's rates; 0 where it has none."""
    constant = np.zeros(len(entries), np.intp)
    varying: dict[int, list[int]] = {}
    for position, entry in enumerate(entries):
        if entry is not None:
            row = entry.meter.constant
            if row is None:
                varying.setdefault(id(entry.meter), []).append(position)
            else:
                constant[position] = row
    rows = constant[of_row]
    if varying:
        # By meter, not by name: a sender may write one model in hundreds of ways.
        number = np.full(len(entries), -1)
        for which, positions in enumerate(varying.values()):
            number[positions] = which
        which_of_row = number[of_row]
        for which, positions in enumerate(varying.values()):
            entry = entries[positions[0]]
            at = np.flatnonzero(which_of_row == which)
            if entry is not None:
                rows[at] = entry.meter.rows(end[at], length[at])
    return rows
