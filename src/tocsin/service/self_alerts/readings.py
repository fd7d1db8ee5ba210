"""What is known of Tocsin's own health: signals come in at any time, and are read once per evaluation.

A signal carries no time. It counts for the moment at which it is first read, which is within a second of it; so the
clock is asked in one place, and a history of signals and readings has one outcome.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tocsin.pricing.unpriced import MAX_UNPRICED, UnpricedModel
from tocsin.service.self_alerts import sentences
from tocsin.service.self_alerts.conditions import CONDITIONS, Kind

__all__ = ["LOAD_REASONS", "Attempts", "Deliveries", "Faults", "Found", "Future", "Model", "Refusals", "Unpriced"]

LOAD_REASONS: Final = frozenset({"connections", "in_flight_bytes", "memory", "reading"})
"""Why requests are refused that would have been taken at another time; all other refusals are the sender's doing."""
_MINUTE: Final = 60_000_000_000
_FAILURES: Final = 10
_FAILURES_NS: Final = _MINUTE // 2
"""So many in a row over so long; without that time, a restart of the receiver while many notifications wait is one."""
_FAILING_NS: Final = 5 * _MINUTE
"""Or failures over so long without a success between them."""
_DAY: Final = 24 * 60 * _MINUTE
_MODELS: Final = 50
"""Unpriced models with an alert of their own; all later ones share one: senders choose names."""
_OTHERS: Final = ("(others)", "(others)")
_LEAST_AHEAD: Final = 10
_AHEAD_SHARE: Final = 0.01
"""Of the spans of five minutes, so many and such a share must come from the future."""


@dataclass(frozen=True, slots=True)
class Found:
    """A condition that holds now, for one group."""

    kind: Kind
    group: Mapping[str, str]
    value: float
    """More than 0."""
    sentence: str
    """What is wrong, since when, and what to do."""


@dataclass(slots=True)
class Attempts:
    """How it goes with one contact point since its last success."""

    failures: int = 0
    permanent: bool = False
    """One of them was final: the receiver, or its configuration, is wrong."""
    reason: str = ""
    read: int = 0
    """Failures that were there at the last reading."""
    first_at: int = 0
    last_at: int = 0


class Deliveries:
    """Which contact points keep failing. Nothing here ever stops an attempt."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempts] = {}

    def add(self, contact_point: str, *, ok: bool, permanent: bool, reason: str) -> None:
        """Note an attempt."""
        if ok:
            self.attempts.pop(contact_point, None)
            return
        known = self.attempts.setdefault(contact_point, Attempts())
        known.failures += 1
        known.permanent |= permanent
        known.reason = reason or known.reason

    def forget(self, contact_point: str) -> None:
        """Know nothing of it: it is gone, or another one now."""
        self.attempts.pop(contact_point, None)

    def read(self, now: int) -> Iterator[Found]:
        """Yield those that keep failing: ten times in a row over half a minute, for five minutes, or for good."""
        for name, known in self.attempts.items():
            if known.failures > known.read:
                known.first_at = known.first_at or now
                known.last_at, known.read = now, known.failures
            lasted = known.last_at - known.first_at
            often = known.failures >= _FAILURES and lasted >= _FAILURES_NS
            if known.permanent or often or lasted >= _FAILING_NS:
                yield Found(
                    Kind.DELIVERY_FAILING,
                    {"contact_point": name},
                    known.failures,
                    sentences.delivery_failing(
                        name, known.failures, known.first_at, known.reason, permanent=known.permanent
                    ),
                )


class Faults:
    """What is wrong until it is said to be right again: parts that are degraded, files that can't be used."""

    def __init__(self) -> None:
        self._problems: tuple[str, ...] = ()
        self._reasons: dict[Kind, str] = {}
        self._since: dict[Kind, int] = {}

    def configuration(self, problems: Iterable[str]) -> None:
        """Note why the files can't be used; empty: they are in force."""
        self._problems = tuple(problems)

    def degraded(self, part: str, reason: str | None) -> None:
        """Note why a part does not do its work; None: it does.

        Args:
            part: `journal`, `storage` or `forward`.
            reason: for people.
        """
        kind = Kind(f"{part}-degraded")
        if reason is None:
            self._reasons.pop(kind, None)
        else:
            self._reasons[kind] = reason

    def read(self, now: int) -> Iterator[Found]:
        """Yield what is wrong."""
        present = {Kind.RULES_INVALID} if self._problems else set()
        present |= self._reasons.keys()
        self._since = {kind: self._since.get(kind, now) for kind in present}
        for kind, since in self._since.items():
            if kind is Kind.RULES_INVALID:
                sentence = sentences.rules_invalid(self._problems, since)
                yield Found(kind, {}, len(self._problems), sentence)
            else:
                yield Found(kind, {}, 1, sentences.degraded(kind, since, self._reasons[kind]))


class Refusals:
    """Requests that were refused for load in the last minute."""

    def __init__(self) -> None:
        self._pending: Counter[str] = Counter()
        self._kept: deque[tuple[int, Counter[str]]] = deque()

    def add(self, reason: str, requests: int) -> None:
        """Note requests that were refused; those for another reason than load are none of our trouble."""
        if reason in LOAD_REASONS:
            self._pending[reason] += requests

    def read(self, now: int) -> Iterator[Found]:
        """Yield the refusals of the window, if there are any."""
        if self._pending:
            self._kept.append((now, self._pending))
            self._pending = Counter()
        while self._kept and self._kept[0][0] <= now - CONDITIONS[Kind.SPANS_REFUSED].window_ns:
            self._kept.popleft()
        total: Counter[str] = Counter()
        for _, reasons in self._kept:
            total += reasons
        if total:
            yield Found(Kind.SPANS_REFUSED, {}, total.total(), sentences.spans_refused(total))


class Future:
    """The share of spans from the future in the last five minutes, from counters that only grow."""

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None
        self._kept: deque[tuple[int, int, int]] = deque()

    def count(self, ahead: int, spans: int) -> None:
        """Note the totals so far, spans from the future and all spans; the first call says where they begin."""
        self._seen = ahead, spans
        if self._last is None:
            self._last = self._seen

    def read(self, now: int) -> Iterator[Found]:
        """Yield the share, if it is worth a word."""
        ahead, spans = 0, 0
        if self._seen is not None and self._last is not None:
            ahead, spans = self._seen[0] - self._last[0], self._seen[1] - self._last[1]
        self._last = self._seen
        if spans > 0 or ahead > 0:
            self._kept.append((now, ahead, max(spans, ahead)))
        while self._kept and self._kept[0][0] <= now - CONDITIONS[Kind.CLOCK_SKEW].window_ns:
            self._kept.popleft()
        total = sum(entry[1] for entry in self._kept)
        of = sum(entry[2] for entry in self._kept)
        if total >= _LEAST_AHEAD and total >= _AHEAD_SHARE * of:
            yield Found(Kind.CLOCK_SKEW, {}, total / of, sentences.clock_skew(total, of))


@dataclass(slots=True)
class Model:
    """A model without a price."""

    calls: int
    since: int
    last_at: int


class Unpriced:
    """Models that are called and have no price, until they have one or were not called for a day."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], Model] = {}
        self._listed: dict[tuple[str, str], int] = {}
        """The price book's list when it was last noted: calls since the start of the process."""
        self._called: Counter[tuple[str, str]] = Counter()
        """Since the last reading."""
        self._priced: set[tuple[str, str]] = set()

    def listing(self, listed: Iterable[UnpricedModel]) -> None:
        """Note the price book's list as it is now."""
        now: dict[tuple[str, str], int] = {}
        for entry in listed:
            if entry.reason == "no price":
                key = entry.provider or "unknown", entry.model or "unknown"
                now[key] = now.get(key, 0) + entry.count
        for key, calls in now.items():
            before = self._listed.get(key, 0)
            if calls != before:  # fewer: the book forgot it, and it was called again
                self._called[key] += calls - before if calls > before else calls
        if len(self._listed) < MAX_UNPRICED // 2:  # of a full list entries leave for want of room, not for a price
            self._priced |= self._listed.keys() - now.keys()
        self._priced -= now.keys()
        self._listed = now

    def read(self, now: int) -> Iterator[Found]:
        """Yield each model; the first ones by name, the others together."""
        for key in self._priced:
            self.models.pop(key, None)
        self._priced.clear()
        for key, calls in self._called.items():
            own = key in self.models or len(self.models) < _MODELS
            model = self.models.setdefault(key if own else _OTHERS, Model(0, now, now))
            model.calls += calls
            model.last_at = now
        self._called.clear()
        for key in [key for key, model in self.models.items() if model.last_at <= now - _DAY]:
            del self.models[key]
        for (provider, name), model in self.models.items():
            sentence = sentences.unpriced(provider, name, model.calls, model.since)
            yield Found(Kind.UNPRICED_MODELS, {"provider": provider, "model": name}, model.calls, sentence)
