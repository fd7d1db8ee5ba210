"""From requests to a priced batch: decode, normalise, price. Plain functions; they may run in a thread.

Requests that arrived together are prepared together. Where that fails in a way that nobody foresaw, each is
prepared alone, so that one request's data can't spoil its neighbours'.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tocsin import telemetry
from tocsin.errors import DecodeError, TocsinError
from tocsin.forward.splice import splice
from tocsin.model.batch import NANO_USD, CostSource, SpanBatch
from tocsin.model.columns import Decoded, SpanColumns, TextColumn
from tocsin.receivers.intake import Receipt, Signal
from tocsin.semconv.normalizer import Normalized
from tocsin.telemetry import forward as forward_telemetry
from tocsin.telemetry import history as history_telemetry

__all__ = ["Answer", "Decodes", "Normalizes", "Offer", "Prepared", "Prices", "Stages", "internal"]

Answer = Receipt | TocsinError
"""What a request is told: a receipt, or the error to raise."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One request as a receiver gave it."""

    signal: Signal
    data: bytes
    transport: str
    arrival: int
    """Wall clock, Unix nanoseconds."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Some offers of one signal, ready for the engine."""

    batches: tuple[SpanBatch, ...]
    """Priced; together the usable rows of all offers, in order. None are empty."""
    answers: tuple[Answer, ...]
    """One for each offer."""
    onward: tuple[bytes, ...] = ()
    """Of each offer what is passed on, its costs added; empty: their own bytes."""


class Decodes(Protocol):
    """A decoder with its projection."""

    def traces(self, requests: Sequence[bytes]) -> Decoded:
        """Decode ExportTraceServiceRequests."""
        ...

    def logs(self, requests: Sequence[bytes]) -> Decoded:
        """Decode ExportLogsServiceRequests."""
        ...


class Normalizes(Protocol):
    """Dialects to canonical columns."""

    def spans(self, columns: SpanColumns, arrival: NDArray[np.int64]) -> Normalized:
        """Return the usable spans."""
        ...

    def logs(self, columns: SpanColumns, arrival: NDArray[np.int64]) -> Normalized:
        """Return the usable evaluation records."""
        ...


class Prices(Protocol):
    """Fills the cost columns."""

    def price(self, batch: SpanBatch) -> None:
        """Fill them; nobody else has the batch yet."""
        ...


@dataclass(frozen=True, slots=True)
class Stages:
    """What lies between bytes and the engine; made anew from the rules at each reload."""

    decoder: Decodes
    normalizer: Normalizes
    prices: Prices
    add_cost: bool = False
    """Whether requests with spans are passed on with their costs."""

    def prepare(self, offers: Sequence[Offer]) -> Prepared:
        """Return the offers, all of one signal, as priced columns. Raises nothing."""
        return self.finish(offers, self.decode(offers))

    def decode(self, offers: Sequence[Offer]) -> Decoded | None:
        """Return the offers decoded; None if that failed in an unforeseen way. Lets go of the GIL."""
        try:
            return self._decode(offers)
        except Exception as error:  # noqa: BLE001  # hostile data must not end the service
            telemetry.internal_error(stage="decode", error=error)
            return None

    def finish(self, offers: Sequence[Offer], decoded: Decoded | None) -> Prepared:
        """Return what `decode` decoded as priced columns. Raises nothing."""
        if decoded is not None:
            try:
                return self._finish(offers, decoded)
            except Exception as error:  # noqa: BLE001  # see above
                telemetry.internal_error(stage="normalise", error=error)
        if len(offers) == 1:
            return Prepared((), (internal(),))
        alone = [self.prepare([offer]) for offer in offers]
        return Prepared(
            tuple(batch for one in alone for batch in one.batches),
            tuple(answer for one in alone for answer in one.answers),
            tuple(_onward(offer, one) for offer, one in zip(offers, alone, strict=True)) if self.add_cost else (),
        )

    def _decode(self, offers: Sequence[Offer]) -> Decoded:
        requests = [offer.data for offer in offers]
        if offers[0].signal is Signal.TRACES:
            return self.decoder.traces(requests)
        return self.decoder.logs(requests)

    def _finish(self, offers: Sequence[Offer], decoded: Decoded) -> Prepared:
        traces = offers[0].signal is Signal.TRACES
        offsets = np.asarray(decoded.offsets, np.intp)
        sizes = offsets[1:] - offsets[:-1]
        batches: tuple[SpanBatch, ...] = ()
        onward: tuple[bytes, ...] = ()
        lost: list[Mapping[str, int]] = [{}] * len(offers)
        if len(decoded.columns):
            arrival = np.repeat(np.array([offer.arrival for offer in offers], np.int64), sizes)
            normalized = (self.normalizer.spans if traces else self.normalizer.logs)(decoded.columns, arrival)
            if len(normalized.batch):
                self.prices.price(normalized.batch)
                _count_unpriced(normalized.batch)
                batches = (normalized.batch,)
                if self.add_cost and traces:
                    onward = _with_costs(offers, decoded, normalized)
            lost = _lost(normalized, decoded.offsets)
            if normalized.left_out:
                history_telemetry.attributes_left_out(number=normalized.left_out)
            for kind, number in normalized.flawed.items():
                if number:
                    telemetry.values_refused(kind=kind, values=number)
        _count(offers, sizes.tolist(), decoded.errors, lost)
        answers = [error or _receipt(reasons) for error, reasons in zip(decoded.errors, lost, strict=True)]
        return Prepared(batches, tuple(answers), onward)


def internal() -> TocsinError:
    """Return what a request is told that met a defect of ours; the same bytes may well fail again."""
    return TocsinError("internal error; the request was not (or not wholly) counted, and the log says where")


def _onward(offer: Offer, alone: Prepared) -> bytes:
    return alone.onward[0] if alone.onward else offer.data


def _with_costs(offers: Sequence[Offer], decoded: Decoded, normalized: Normalized) -> tuple[bytes, ...]:
    """Return the requests with the cost of each span that has one; decoded rows are spans in the order of the wire."""
    batch, offsets = normalized.batch, decoded.offsets
    costs = np.full(offsets[-1], np.nan)
    priced = np.flatnonzero((batch.cost_source == CostSource.REPORTED) | (batch.cost_source == CostSource.COMPUTED))
    costs[normalized.rows[priced]] = batch.cost_nano[priced] / NANO_USD
    return tuple(_spliced(offer.data, costs[offsets[i] : offsets[i + 1]]) for i, offer in enumerate(offers))


def _spliced(data: bytes, costs: NDArray[np.float64]) -> bytes:
    if np.isnan(costs).all():
        return data  # none has a cost, or the request was refused and is not passed on
    try:
        return splice(data, costs)
    except (DecodeError, ValueError) as error:
        forward_telemetry.cost_not_added(reason=type(error).__name__)
        return data


def _lost(normalized: Normalized, offsets: Sequence[int]) -> list[Mapping[str, int]]:
    """Return for each request how many rows were rejected for which reason."""
    lost: list[dict[str, int]] = [{} for _ in offsets[1:]]
    for reason, rows in normalized.rejected.items():
        of_request = np.searchsorted(np.asarray(offsets), rows, side="right") - 1
        requests, counts = np.unique(of_request, return_counts=True)
        for request, number in zip(requests.tolist(), counts.tolist(), strict=True):
            lost[request][str(reason)] = number
    return list(lost)


_TAKEN = Receipt()


def _receipt(reasons: Mapping[str, int]) -> Receipt:
    if not reasons:
        return _TAKEN
    listed = "; ".join(f"{number} {reason}" for reason, number in reasons.items())
    return Receipt(rejected=sum(reasons.values()), reason=listed)


def _count(
    offers: Sequence[Offer],
    sizes: Sequence[int],
    errors: Sequence[TocsinError | None],
    lost: Sequence[Mapping[str, int]],
) -> None:
    """Count what was decoded, once per transport and reason: a counter costs as much as a span."""
    taken: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for offer, size, error, of_offer in zip(offers, sizes, errors, lost, strict=True):
        if error is None:
            taken[offer.transport] += 1
            rows[offer.transport] += size
            if of_offer:
                reasons.update(of_offer)
    traces = offers[0].signal is Signal.TRACES
    for transport, requests in taken.items():
        spans, records = (rows[transport], 0) if traces else (0, rows[transport])
        telemetry.requests_received(transport=transport, requests=requests, spans=spans, records=records)
    for reason, number in reasons.items():
        telemetry.spans_rejected(reason=reason, spans=number)


def _count_unpriced(batch: SpanBatch) -> None:
    rows = np.flatnonzero(batch.cost_source == CostSource.UNPRICED)
    if not len(rows):
        return
    provider, model = batch.labels["provider"], batch.labels["model"]
    pairs = provider.code[rows].astype(np.int64) << 32 | model.code[rows].astype(np.int64) + 1
    distinct, counts = np.unique(pairs, return_counts=True)
    for pair, number in zip(distinct.tolist(), counts.tolist(), strict=True):
        telemetry.spans_unpriced(
            provider=_text(provider, pair >> 32), model=_text(model, (pair & 0xFFFFFFFF) - 1), spans=number
        )


def _text(column: TextColumn, code: int) -> str:
    return column.values[code] if code >= 0 else ""
