"""What a benchmark says: one number, its goal, and how far it moved between rounds."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Effort", "NotRunError", "Outcome", "median_outcome"]

_TARGET = re.compile(r"\s*(<=|>=|≤|≥|<|>)\s*([0-9][0-9_.,]*(?:e[0-9]+)?)")


class NotRunError(Exception):
    """A benchmark can't run here; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a run spends: enough for a recorded result, or a quick look."""

    rounds: int = 5
    """Interleaved rounds that count, after one that does not."""
    seconds: float = 3.0
    """Of load per server, workload and round."""
    probes: int = 400
    """Alerts that a latency is taken from."""

    @classmethod
    def quick(cls) -> "Effort":
        """Return the effort of a smoke run; its numbers are no results."""
        return cls(rounds=2, seconds=1.0, probes=60)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table."""

    name: str
    value: float
    unit: str
    target: str = ""
    """`<= 0.2`, `>= 10`; empty for a row that only informs."""
    low: float | None = None
    """Smallest value over the rounds."""
    high: float | None = None
    rounds: int = 1
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        found = _TARGET.match(self.target)
        if found is None:
            return None
        goal = float(found[2].replace(",", "").replace("_", ""))
        below = found[1] in ("<=", "≤", "<")
        return self.value <= goal if below else self.value >= goal

    def as_dict(self) -> dict[str, Any]:
        """Return what is written to a result file."""
        return {**asdict(self), "reached": self.reached}

    @classmethod
    def of(cls, row: "Outcome | Mapping[str, Any]") -> "Outcome":
        """Return the outcome that a `run()` gave as a mapping with at least name, value and unit."""
        if isinstance(row, Outcome):
            return row
        known = {key: row[key] for key in ("low", "high", "rounds", "note") if row.get(key) is not None}
        target = row.get("target")
        return cls(
            name=str(row["name"]),
            value=float(row["value"]),
            unit=str(row["unit"]),
            target="" if target is None else str(target),
            **known,
        )


def median_outcome(name: str, values: Sequence[float], unit: str, *, target: str = "", note: str = "") -> Outcome:
    """Return the median of one value a round, with the extremes beside it."""
    return Outcome(
        name=name,
        value=statistics.median(values),
        unit=unit,
        target=target,
        low=min(values),
        high=max(values),
        rounds=len(values),
        note=note,
    )
