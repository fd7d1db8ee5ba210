"""The list of what could not be priced, so that a person can add the price. Bounded: senders choose names."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

__all__ = ["MAX_UNPRICED", "UnpricedLedger", "UnpricedModel"]

MAX_UNPRICED = 1_000
"""Models in the list; past it the one that was not seen for the longest time leaves."""


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    """Calls of one model that cost something that we do not know."""

    provider: str | None
    model: str | None
    """None where the span names none."""
    count: int
    last_seen: int
    """Event time of the last such call, Unix nanoseconds."""
    reason: str
    """`no price`: the model is in no table; `no usage`: it is, but the span does not say how many tokens."""


class UnpricedLedger:
    """Counts unpriced calls by provider, model and reason. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: OrderedDict[tuple[str | None, str | None, str], tuple[int, int]] = OrderedDict()
        self._forgotten = 0

    @property
    def forgotten(self) -> int:
        """Calls of models that had to leave the list."""
        return self._forgotten

    def add(self, provider: str | None, model: str | None, reason: str, *, count: int, last_seen: int) -> None:
        """Count calls of a model."""
        with self._lock:
            key = (provider, model, reason)
            before, seen = self._models.pop(key, (0, last_seen))
            self._models[key] = (before + count, max(seen, last_seen))
            if len(self._models) > MAX_UNPRICED:
                _, (left, _) = self._models.popitem(last=False)
                self._forgotten += left

    def list(self) -> list[UnpricedModel]:
        """Return the list, the most frequent first."""
        with self._lock:
            entries = [
                UnpricedModel(provider, model, count, seen, reason)
                for (provider, model, reason), (count, seen) in self._models.items()
            ]
        return sorted(entries, key=lambda entry: (-entry.count, entry.provider or "", entry.model or ""))

    def prune(self, still: Callable[[UnpricedModel], bool]) -> None:
        """Remove the entries for which `still` does not hold."""
        for entry in self.list():
            if not still(entry):
                with self._lock:
                    self._models.pop((entry.provider, entry.model, entry.reason), None)

    def where(self, still: Callable[[UnpricedModel], bool]) -> "UnpricedLedger":
        """Return a copy with only the entries for which `still` holds."""
        kept = UnpricedLedger()
        with self._lock:
            kept._models = self._models.copy()
            kept._forgotten = self._forgotten
        kept.prune(still)
        return kept
