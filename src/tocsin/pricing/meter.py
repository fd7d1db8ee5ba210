"""Meters: tokens in, nano-USD out, for many spans at once and exact to the nano-dollar.

A rate is a Decimal price times a factor, as a whole number of units of 1/scale nano-USD per token, where
scale is the power of ten (at most 10^6) that makes the rates of a call whole; what is finer still is
rounded half-even. The cost of a call is the sum of tokens times rate, rounded half-even to a nano-dollar
once, plus the fee of a request, rounded alike. Sums that int64 could not hold are made of Python
integers, row by row; only absurd token counts get there.
Agreement with Decimal arithmetic is tested in tests/pricing/test_meter.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tocsin.model.batch import NANO_USD
from tocsin.pricing.rates import KINDS, PER_TOKENS, Band
from tocsin.pricing.schedule import DAY_NS, Schedule

__all__ = ["MAX_CALL_NANO", "MAX_TOKENS", "Meter", "RateRows", "Tokens", "rates_of"]

MAX_CALL_NANO = 10**15
"""No call costs more than this, a million dollars: what is computed or reported above is cut to it, so that
thousands of hostile spans can't overflow a sum."""

MAX_TOKENS = 10**15
"""Token counts above this are read as this."""

_MAX_SCALE_DIGITS = 6
_MAX_RATE = 2**56
_SAFE = 2**62
_END = np.iinfo(np.int64).max


def rates_of(band: Band, factor: Decimal) -> tuple[list[int], int, int]:
    """Return the rates of `KINDS`, 1/scale nano-USD per token; the fee of a call, nano-USD; and the scale."""
    with localcontext(prec=60, rounding=ROUND_HALF_EVEN):
        exact = [band.price(kind)[0] * factor * NANO_USD / PER_TOKENS for kind in KINDS]
        digits = max(-int(rate.normalize().as_tuple().exponent) for rate in exact)
        scale = 10 ** min(max(digits, 0), _MAX_SCALE_DIGITS)
        while scale > 1 and max(exact) * scale > _MAX_RATE:
            scale //= 10
        rates = [min(int((rate * scale).to_integral_value()), _MAX_RATE) for rate in exact]
        request = min(int((band.request * factor * NANO_USD).to_integral_value()), MAX_CALL_NANO)
    return rates, request, scale


class RateRows:
    """The rates of all bands in use, a row each; row 0 is no price. Grows only; one thread at a time adds."""

    def __init__(self) -> None:
        self._rates: list[list[int]] = [[0] * len(KINDS)]
        self._request = [0]
        self._scale = [1]
        self._tables: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None
        self._most = 0
        self._lock = Lock()

    def add(self, band: Band, factor: Decimal) -> int:
        """Return the row of a band's prices with a factor on them."""
        rates, request, scale = rates_of(band, factor)
        with self._lock:
            self._rates.append(rates)
            self._request.append(request)
            self._scale.append(scale)
            self._most = max(self._most, sum(rates))
            self._tables = None
            return len(self._scale) - 1

    def charge(self, tokens: "Tokens", rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return [n] nano-USD of calls, priced by these rows; 0 where the row is 0."""
        rates, request, scales = self._tables or self._tabulate()
        total = np.zeros(len(rows), np.int64)
        most = 0
        for kind, count in tokens.used:
            most = max(most, int(count.max(initial=0)))
            total += count * rates[kind][rows]
        scale = scales[rows]
        # Half-even: away from the quotient where the rest is over half, or is half and the quotient odd.
        quotient = total // scale
        rest = (total - quotient * scale) * 2
        quotient += (rest > scale) | ((rest == scale) & (quotient & 1 == 1))
        if most * self._most >= _SAFE:
            self._recharge(quotient, tokens, rows)
        cost: NDArray[np.int64] = np.minimum(quotient + request[rows], MAX_CALL_NANO)
        return cost

    def _tabulate(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        with self._lock:
            columns = np.ascontiguousarray(np.array(self._rates, np.int64).T)
            tables = columns, np.array(self._request, np.int64), np.array(self._scale, np.int64)
            self._tables = tables
        return tables

    def _recharge(self, cost: NDArray[np.int64], tokens: "Tokens", rows: NDArray[np.intp]) -> None:
        """Compute again, exactly, the rows whose sum may not have fitted."""
        limit = _SAFE // self._most
        largest = np.stack([count for _, count in tokens.used]).max(axis=0)
        for row in np.flatnonzero(largest > limit).tolist():
            at = int(rows[row])
            total = sum(int(count[row]) * self._rates[at][kind] for kind, count in tokens.used)
            quotient, rest = divmod(total, self._scale[at])
            up = rest * 2 > self._scale[at] or (rest * 2 == self._scale[at] and quotient % 2 == 1)
            cost[row] = min(quotient + up, MAX_CALL_NANO)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of n calls, split so that each is billed once."""

    used: Sequence[tuple[int, NDArray[np.int64]]]
    """(index in KINDS, [n] tokens), only the kinds that occur."""
    length: NDArray[np.int64]
    """[n] input tokens that choose the tier: the total, or the cached ones where they are more."""
    known: NDArray[np.bool_]
    """[n] whether the span says anything about its usage."""

    @classmethod
    def of(cls, columns: Sequence[NDArray[np.int64]]) -> "Tokens":
        """Split the usage of n calls.

        A part that is larger than its whole is cut to it; a cache larger than the input is billed as it is,
        for then the input did not contain it.

        Args:
            columns: [n] counts in the order of `KINDS`, input, cache_write and output with all their parts;
                negative where unknown.
        """
        counts = np.stack(columns)
        known = counts.max(axis=0) >= 0
        np.clip(counts, 0, MAX_TOKENS, out=counts)
        total, read, write, write_1h, audio_in, output, reasoning, audio_out = counts
        present = counts.max(axis=1, initial=0) > 0
        if not (present[1:5].any() or present[6:].any()):
            return cls([(0, total), (5, output)], total, known)
        write = np.maximum(write, write_1h)
        cached = read + write
        uncached = np.maximum(total - cached, 0)
        audio_in = np.minimum(audio_in, uncached)
        reasoning = np.minimum(reasoning, output)
        audio_out = np.minimum(audio_out, output - reasoning)
        split = (
            uncached - audio_in,
            read,
            write - write_1h,
            write_1h,
            audio_in,
            output - reasoning - audio_out,
            reasoning,
            audio_out,
        )
        used = [(kind, count) for kind, count in enumerate(split) if kind in (0, 5) or present[kind] or kind == 2]
        return cls(used, np.maximum(total, cached), known)


@dataclass(frozen=True, slots=True)
class Meter:
    """A schedule with a factor, as rows of a `RateRows`."""

    dates: NDArray[np.int64]
    clock: NDArray[np.int64]
    first: NDArray[np.intp]
    """[cells] row of the first band; 0 where the cell has no price."""
    above: NDArray[np.int64]
    """[cells, bands - 1] where the next band begins; the greatest integer where there is none."""
    constant: int | None
    """The one row of all calls; None where it depends on time or length."""

    @classmethod
    def of(cls, schedule: Schedule, factor: Decimal, rows: RateRows) -> "Meter":
        """Compile a schedule, adding what it needs to `rows`."""
        bands = max(len(tariff.bands) for tariff in schedule.tariffs)
        first = np.zeros(len(schedule.tariffs), np.intp)
        above = np.full((len(schedule.tariffs), max(bands - 1, 0)), _END, np.int64)
        for cell, tariff in enumerate(schedule.tariffs):
            added = [rows.add(band, factor) for band in tariff.bands]
            first[cell] = added[0] if added else 0
            above[cell, : max(len(added) - 1, 0)] = [band.above for band in tariff.bands[1:]]
        dates, clock = np.array(schedule.dates, np.int64), np.array(schedule.clock, np.int64)
        constant = int(first[0]) if first.size == 1 and above.size == 0 else None
        return cls(dates, clock, first, above, constant)

    def rows(self, end: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return [n] the rows of calls that ended at `end`, Unix nanoseconds, with `length` input tokens."""
        cell = np.searchsorted(self.dates, end, side="right") * (self.clock.size + 1)
        if self.clock.size:
            cell += np.searchsorted(self.clock, end % DAY_NS, side="right")
        rows: NDArray[np.intp] = self.first[cell] + (length[:, None] > self.above[cell]).sum(axis=1)
        return rows
