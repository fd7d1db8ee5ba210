"""Why a call costs what it costs, in words and numbers: for `tocsin prices` and the API."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from decimal import Decimal

import numpy as np

from tocsin.model.batch import ABSENT
from tocsin.pricing.catalogue import Catalogue, Entry
from tocsin.pricing.meter import RateRows, Tokens
from tocsin.pricing.rates import KINDS, PER_TOKENS, Band

__all__ = ["Line", "PriceExplanation", "Usage", "explain"]


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call, as in `SpanBatch`: parts are contained in their whole; ABSENT where unknown."""

    input: int = ABSENT
    cache_read: int = ABSENT
    cache_write: int = ABSENT
    cache_write_1h: int = ABSENT
    input_audio: int = ABSENT
    output: int = ABSENT
    reasoning: int = ABSENT
    output_audio: int = ABSENT


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of token on the bill."""

    kind: str
    price: Decimal
    """US dollars per million tokens, discount not yet applied; per call for `request`."""
    priced_as: str | None
    """The kind whose price it is; None: not billed."""
    tokens: int
    usd: Decimal
    """With the discount; exact, so the sum of all lines may differ from the total by less than a
    nano-dollar."""


@dataclass(frozen=True, slots=True)
class PriceExplanation:
    """What a call costs, by which table, and why."""

    provider: str | None
    model: str
    priced: bool
    reason: str
    """Why it is not priced; empty where it is."""
    table: str = ""
    """`prices.overrides`, or the default table with its version."""
    matched: str = ""
    """The override's key, or the default table's `provider/model`."""
    above: int | None = None
    """The tier holds for calls with more input tokens than this; None: no tier."""
    valid_from: int | None = None
    """The prices stand from then on, Unix nanoseconds; None: always did."""
    valid_to: int | None = None
    discount: str = ""
    lines: Sequence[Line] = ()
    """Every kind that the model bills, also without tokens."""
    total_nano: int | None = None
    """nano-USD; None where it is not priced or no usage was given."""
    near: Sequence[str] = field(default=())
    """Known models with a similar name, where this one is unknown."""


def explain(
    catalogue: Catalogue, provider: str | None, model: str, tenant: str | None, usage: Usage, at: int
) -> PriceExplanation:
    """Return what a call costs at a time, Unix nanoseconds, by the same steps as the pricing of spans."""
    entry = catalogue.find(provider, model, tenant)
    if entry is None:
        near = tuple(catalogue.table.near(model))
        return PriceExplanation(provider, model, priced=False, reason="no table knows the model", near=near)
    tokens = Tokens.of([np.array([count], np.int64) for count in astuple(usage)])
    counts = {KINDS[kind]: int(count[0]) for kind, count in tokens.used}
    tariff = entry.schedule.at(at)
    table, matched = _source(catalogue, entry, at)
    valid_from, valid_to = entry.schedule.period(at)
    if not tariff.bands:
        return PriceExplanation(
            provider, model, priced=False, reason=tariff.reason, table=table, matched=matched,
            valid_from=valid_from, valid_to=valid_to,
        )  # fmt: skip
    band = tariff.band(int(tokens.length[0]))
    factor = entry.discount.factor if entry.discount else Decimal(1)
    return PriceExplanation(
        provider,
        model,
        priced=True,
        reason="",
        table=table,
        matched=matched,
        above=band.above if band.above >= 0 else None,
        valid_from=valid_from,
        valid_to=valid_to,
        discount=entry.discount.text if entry.discount else "",
        lines=_lines(band, factor, counts),
        total_nano=_total(band, factor, tokens) if tokens.known[0] else None,
    )


def _source(catalogue: Catalogue, entry: Entry, at: int) -> tuple[str, str]:
    if entry.override is not None and catalogue.overridden(entry.override, at):
        return "prices.overrides", entry.override
    if entry.listed is None:
        return "prices.overrides", entry.override or ""
    return catalogue.table.version, f"{entry.listed.provider}/{entry.listed.model.id}"


def _lines(band: Band, factor: Decimal, counts: dict[str, int]) -> tuple[Line, ...]:
    lines = []
    for kind in KINDS:
        price, priced_as = band.price(kind)
        tokens = counts.get(kind, 0)
        if tokens or priced_as == kind:
            lines.append(Line(kind, price, priced_as, tokens, price * factor * tokens / PER_TOKENS))
    if band.request:
        lines.append(Line("request", band.request, "request", 1, band.request * factor))
    return tuple(lines)


def _total(band: Band, factor: Decimal, tokens: Tokens) -> int:
    rows = RateRows()
    return int(rows.charge(tokens, np.array([rows.add(band, factor)], np.intp))[0])
