"""Two spans of one model call that nothing ties but time: a framework's around a provider's, in different traces.

Some frameworks' instrumentations make their spans outside of the current context, so the provider's span inside is no
descendant and carries another trace id, and the framework's carries no response id. They are taken for one call if one
library wraps and the other does not, both belong to one service, the inner lies within the outer, and model and token
counts agree as far as both state them. A span has one twin at most: equal calls at the same time stay as many as they
are, since each has its own inner span.

Only services where both kinds of span occur are looked at span by span. Of all others the latest calls are kept as far
as they would be compared.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tocsin.engine.batches import Recent
from tocsin.model.batch import ABSENT, SpanBatch, SpanClass
from tocsin.model.sections import Section, packed
from tocsin.model.state import Frozen, State

__all__ = ["Twins", "has_usage", "model_calls"]

_SLACK_NS = 1_000_000
"""Two libraries read the clock one after the other; some round to milliseconds."""
_HORIZON_NS = 60_000_000_000
"""How much later, in event time, the second span of a call may come."""
_RECENT_ROWS = 1 << 15
_COMPARED = ("start", "end", "span_class", "failed", "input_tokens", "output_tokens", "wraps", "deferred")
_MAX_HELD = 1 << 16
_MAX_SERVICES = 4096
_MAX_LOOKED_AT = 64
"""The twin ends within milliseconds: so many other calls of the service rarely end in between."""
_DIRECT, _WRAPS, _BOTH = 1, 2, 3
_VERSION = re.compile(r"[-@:]v?\d{3,}")

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
Service = str | None


def model_calls(batch: SpanBatch) -> Mask:
    """Return [n] which rows are spans of model calls."""
    hit: Mask = (batch.span_class == SpanClass.LLM) | (batch.span_class == SpanClass.EMBEDDINGS)
    return hit


def has_usage(batch: SpanBatch) -> Mask:
    """Return [n] whether a row's usage is known, from it or from a record of its own."""
    hit: Mask = (batch.input_tokens >= 0) | (batch.output_tokens >= 0) | batch.deferred
    return hit


@dataclass(slots=True)
class _Call:
    start: int
    end: int
    span_class: int
    failed: bool
    input_tokens: int
    output_tokens: int
    model: str | None
    wraps: bool
    has_usage: bool
    batch: int
    row: int


_CALL: dict[str, type[np.generic]] = {
    **dict.fromkeys(("start", "end", "span_class", "input_tokens", "output_tokens", "batch", "row"), np.int64),
    **dict.fromkeys(("failed", "wraps", "has_usage"), np.bool_),
}
"""What is kept of a call beside its model."""


@dataclass(slots=True)
class _Pool:
    """Calls of one service that have no twin yet, those that wrap and those that do not, each by end."""

    wrapping: list[_Call] = field(default_factory=list)
    direct: list[_Call] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.wrapping) + len(self.direct)

    def add(self, call: _Call) -> None:
        calls = self.wrapping if call.wraps else self.direct
        for each in (self.wrapping, self.direct):
            if each and each[0].end < call.end - _HORIZON_NS:
                del each[: bisect_left(each, call.end - _HORIZON_NS, key=_end)]
        calls.insert(bisect_right(calls, call.end, key=_end), call)

    def take_twin(self, call: _Call) -> _Call | None:
        """Return and forget the twin of a call: of those that agree best the one that ends nearest to it."""
        calls = self.direct if call.wraps else self.wrapping
        weak: int | None = None
        read = call.input_tokens
        for place in self._near(calls, call):
            if read >= 0 and calls[place].input_tokens not in (read, ABSENT):
                continue  # most of them, told without a call
            outer, inner = (call, calls[place]) if call.wraps else (calls[place], call)
            stated = _agree(outer, inner)
            if stated:
                return calls.pop(place)
            if stated is not None and weak is None:
                weak = place
        return None if weak is None else calls.pop(weak)

    @staticmethod
    def _near(calls: list[_Call], call: _Call) -> Iterable[int]:
        if call.wraps:
            last = bisect_right(calls, call.end + _SLACK_NS, key=_end) - 1
            first = bisect_left(calls, call.start - _SLACK_NS, key=_end)
            return range(last, max(first - 1, last - _MAX_LOOKED_AT), -1)
        first = bisect_left(calls, call.end - _SLACK_NS, key=_end)
        return range(first, min(len(calls), first + _MAX_LOOKED_AT))


class Twins:
    """Model calls of late, as far as a second span of one may still come; bounded in memory."""

    def __init__(self) -> None:
        self._recent = Recent(_COMPARED, ("service", "model"), _RECENT_ROWS)
        self._kinds: dict[Service, int] = {}
        """Which kinds of call spans a service writes, for those that wrote one that wraps."""
        self._pools: dict[Service, _Pool] = {}
        """Of services that write both, the least recently used first."""
        self._held = 0
        self._batch = 0

    def __len__(self) -> int:
        """Return the number of calls that wait for a second span; at most 65,536."""
        return self._held

    def repeated(self, batch: SpanBatch, known: Mask) -> Mask:
        """Return [n] which calls repeat one that another span stands for; rows of `known` are left out.

        Within a batch the inner span counts, over batches the first; but never one without usage in place of one with.
        To be asked once per span.
        """
        result = np.zeros(len(batch), np.bool_)
        self._batch += 1
        if self._kinds or batch.wraps.any():
            for call, service in self._calls(batch, self._rows(batch, known), self._batch):
                self._match(call, service, result)
            self._limit()
        self._recent.add(batch, (model_calls(batch) & ~known).nonzero()[0])
        return result

    def _match(self, call: _Call, service: Service, result: Mask) -> None:
        pool = self._pools[service]
        twin = pool.take_twin(call)
        if twin is None:
            before = len(pool)
            pool.add(call)
            self._held += len(pool) - before
            return
        self._held -= 1
        if twin.batch != call.batch:
            result[call.row] = twin.has_usage or not call.has_usage
            return
        outer, inner = (call, twin) if call.wraps else (twin, call)
        result[(inner if outer.has_usage and not inner.has_usage else outer).row] = True

    def _rows(self, batch: SpanBatch, known: Mask) -> Rows:
        """Return the rows of calls of services that write both kinds of spans, learning which do."""
        rows = np.flatnonzero(model_calls(batch) & ~known)
        service = batch.labels["service"]
        size = len(service.values)
        seen = np.zeros((size + 1, 2), np.bool_)
        seen[service.code[rows], batch.wraps[rows].astype(np.intp)] = True
        mixed = np.zeros(size + 1, np.bool_)
        names = {
            (service.values[code] if code < size else None): code for code in np.flatnonzero(seen.any(axis=1)).tolist()
        }
        self._learn(
            {name: (_DIRECT if seen[code, 0] else 0) | (_WRAPS if seen[code, 1] else 0) for name, code in names.items()}
        )
        for name, code in names.items():
            pool = self._pools.pop(name, None)
            if pool is not None:
                self._pools[name] = pool
                mixed[code] = True
        return rows[mixed[service.code[rows]]]

    def _learn(self, present: dict[Service, int]) -> None:
        direct: set[Service] | None = None
        begun: dict[Service, None] = {}  # in order: which pools go first hangs on when they came
        for name, kinds in present.items():
            before = self._kinds.get(name, 0)
            after = before | kinds
            if not after & _WRAPS:
                continue
            if not before:
                direct = self._direct_services() if direct is None else direct
                after |= _DIRECT if name in direct else 0
            self._kinds[name] = after
            if after == _BOTH and before != _BOTH:
                begun[name] = None
        if begun:
            self._begin(begun)

    def _direct_services(self) -> set[Service]:
        """Return the services of recent calls that do not wrap."""
        found: set[Service] = set()
        for batch in self._recent:
            service = batch.labels["service"]
            rows = np.flatnonzero(~batch.wraps)
            found |= {service.values[code] if code >= 0 else None for code in np.unique(service.code[rows]).tolist()}
        return found

    def _begin(self, services: Collection[Service]) -> None:
        """Look at services span by span from now on, beginning with their recent calls."""
        for name in services:
            self._pools[name] = _Pool()
        for batch in self._recent:
            service = batch.labels["service"]
            wanted = np.array([*(value in services for value in service.values), None in services])
            rows = np.flatnonzero(wanted[service.code])
            for call, name in self._calls(batch, rows, 0):
                pool = self._pools[name]
                before = len(pool)
                pool.add(call)
                self._held += len(pool) - before

    @staticmethod
    def _calls(batch: SpanBatch, rows: Rows, number: int) -> Iterator[tuple[_Call, Service]]:
        if not len(rows):
            return
        service, model = batch.labels["service"], batch.labels["model"]
        columns = (
            batch.start, batch.end, batch.span_class, batch.failed, batch.input_tokens, batch.output_tokens,
            model.code, batch.wraps, has_usage(batch), service.code,
        )  # fmt: skip
        for row, *values in zip(rows.tolist(), *(column[rows].tolist() for column in columns), strict=True):
            start, end, span_class, failed, read, written, model_code, wraps, usage, code = values
            name = model.values[model_code] if model_code >= 0 else None
            call = _Call(start, end, span_class, failed, read, written, name, wraps, usage, number, row)
            yield call, service.values[code] if code >= 0 else None

    def freeze(self) -> Frozen:
        """Return the calls and services of late; no call is ever changed."""
        recent, kinds, number = self._recent.freeze(), self._kinds.copy(), self._batch
        pools = [(service, pool.wrapping.copy(), pool.direct.copy()) for service, pool in self._pools.items()]

        def state() -> State:
            calls = [call for _, wrapping, direct in pools for call in (*wrapping, *direct)]
            columns = {name: np.array([getattr(call, name) for call in calls], dtype) for name, dtype in _CALL.items()}
            return {
                "batch": number,
                "recent": recent(),
                "services": list(kinds),
                "kinds": np.array(list(kinds.values()), np.int64),
                "pools": [service for service, _, _ in pools],
                "wrapping": np.array([len(wrapping) for _, wrapping, _ in pools], np.int64),
                "direct": np.array([len(direct) for _, _, direct in pools], np.int64),
                "models": [call.model for call in calls],
                "calls": {name: packed(column) for name, column in columns.items()},
            }

        return state

    def thaw(self, section: Section) -> None:
        """Take the calls and services of a state."""
        self._batch = section.integer("batch")
        self._recent.thaw(section.part("recent"))
        services = section.texts_or_none("services")
        kinds = section.array("kinds", np.int64, len(services), least=1, below=_BOTH + 1)
        self._kinds = dict(zip(services, kinds.tolist(), strict=True))
        pools = section.texts_or_none("pools")
        sizes = [section.array(name, np.int64, len(pools), least=0, below=1 << 31) for name in ("wrapping", "direct")]
        self._held = int(sizes[0].sum() + sizes[1].sum())
        calls = self._thawed_calls(section, self._held)
        for service, wrapping, direct in zip(pools, *(size.tolist() for size in sizes), strict=True):
            if self._kinds.get(service) != _BOTH:
                raise section.unfit("has calls of a service that does not write both kinds")
            self._pools[service] = _Pool(list(islice(calls, wrapping)), list(islice(calls, direct)))

    @staticmethod
    def _thawed_calls(section: Section, size: int) -> Iterator[_Call]:
        held, models = section.part("calls"), section.texts_or_none("models", size)
        columns = (held.array(name, dtype, size).tolist() for name, dtype in _CALL.items())
        for model, *values in zip(models, *columns, strict=True):
            yield _Call(model=model, **dict(zip(_CALL, values, strict=True)))

    def _limit(self) -> None:
        """Forget the services that were least recently heard of, where there are too many calls or services."""
        while self._held > _MAX_HELD:
            name, pool = next(iter(self._pools.items()))
            self._held -= len(pool)
            del self._pools[name], self._kinds[name]
        if len(self._kinds) > _MAX_SERVICES:
            self._kinds = dict.fromkeys(self._pools, _BOTH) if len(self._pools) <= _MAX_SERVICES // 2 else {}
            if not self._kinds:
                self._pools, self._held = {}, 0


def _end(call: _Call) -> int:
    return call.end


def _agree(outer: _Call, inner: _Call) -> bool | None:
    """Return whether two spans can be of one call (None: no) and both state a token count, the same."""
    if inner.start < outer.start - _SLACK_NS or inner.end > outer.end + _SLACK_NS:
        return None
    if outer.span_class != inner.span_class or not _one_model(outer.model, inner.model):
        return None
    stated = False
    for one, other in ((outer.input_tokens, inner.input_tokens), (outer.output_tokens, inner.output_tokens)):
        if one >= 0 and other >= 0:
            if one != other:
                return None
            stated = True
    # Without counts an attempt that failed could pass for the whole of a call that succeeded after it.
    return stated if stated or outer.failed == inner.failed else None


@lru_cache(4096)
def _one_model(one: str | None, other: str | None) -> bool:
    """Return whether two names may be one model's: alike, or one with its version or its host in addition."""
    if one is None or other is None or one == other:
        return True
    short, long = sorted((_bare(one), _bare(other)), key=len)
    return long.startswith(short) and (len(long) == len(short) or _VERSION.match(long, len(short)) is not None)


def _bare(name: str) -> str:
    return name.rpartition("/")[2].lower().removesuffix("-latest")
