"""The index of the default table: which model of a provider a name means, found without trying every pattern.

`Provider.find_model` of genai-prices tries up to a thousand patterns one by one, a millisecond for an
unknown name, which a sender could ask for with each span. Here equal names and prefixes are found by hash;
only the few other patterns are tried. Same answer as `find_model` (tests/pricing/test_index.py), with the
provider's fallbacks.
"""

import re
from collections.abc import Sequence
from datetime import date

from genai_prices import types

__all__ = ["ModelIndex"]

_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class ModelIndex:
    """The models of one provider by the names that mean them."""

    def __init__(self, models: Sequence[types.ModelInfo]) -> None:
        self._models = models
        self._equal: dict[str, int] = {}
        self._prefix: dict[str, int] = {}
        self._other: list[tuple[int, types.MatchLogic]] = []
        for position, model in enumerate(models):
            self._add(position, model.match)
        self._lengths = sorted({len(prefix) for prefix in self._prefix})

    def find(self, name: str) -> types.ModelInfo | None:
        """Return the first model that a lower-case name matches, as written or with its date spelled out."""
        found = self._find(name)
        if found is None:
            spelled = _COMPACT_DATE.sub(_dashed, name)
            found = self._find(spelled) if spelled != name else None
        return found

    def _find(self, name: str) -> types.ModelInfo | None:
        best = self._equal.get(name, len(self._models))
        for length in self._lengths:
            if length > len(name):
                break
            best = min(best, self._prefix.get(name[:length], best))
        for position, clause in self._other:
            if position >= best:
                break
            if clause.is_match(name):
                best = position
        return self._models[best] if best < len(self._models) else None

    def _add(self, position: int, clause: types.MatchLogic) -> None:
        match clause:
            case types.ClauseOr():
                for part in clause.or_:
                    self._add(position, part)
            case types.ClauseEquals():
                self._equal.setdefault(clause.equals.lower(), position)
            case types.ClauseStartsWith():
                self._prefix.setdefault(clause.starts_with.lower(), position)
            case _:
                self._other.append((position, clause))


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(found[group]) for group in (1, 2, 3))
    try:
        date(year, month, day)
    except ValueError:
        return found[0]
    return f"-{year:04d}-{month:02d}-{day:02d}"
