"""What a run was and found, for people: printed, and written into docs/reliability.md."""

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Report"]

_MEASURED = re.compile(r"(<!-- chaos: begin -->\n).*?(<!-- chaos: end -->)", re.DOTALL)


@dataclass
class Report:
    """Filled while the run goes on."""

    seed: int
    began: str
    machine: str
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    acknowledged: int = 0
    requests: int = 0
    duplicates: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    recovery: list[float] = field(default_factory=list)
    """Seconds from the start of the process to ready, after each kill."""
    well_again: list[float] = field(default_factory=list)
    """Seconds from room on the disk to nothing degraded."""
    expected: int = 0
    deliveries: int = 0
    taken: int = 0
    events: int = 0
    forwarded: int | None = None
    self_alerts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.violations

    def text(self) -> str:
        """Return it as Markdown."""
        rows = [
            ("faults injected", f"{self.faults.total()} ({_listed(self.faults)})"),
            ("seed", f"{self.seed}"),
            ("run", f"{self.began}, {self.seconds:.0f} s, {self.machine}"),
            ("acknowledged", f"{self.acknowledged:,} spans in {self.requests:,} requests"),
            ("sent again", f"{self.duplicates:,} spans ({_listed(self.retries)})"),
            ("starts of the process", f"{self.starts}"),
            ("start after a kill, to ready", _spread(self.recovery)),
            ("well again after a full disk", _spread(self.well_again)),
            ("alerts that the oracle expects", f"{self.expected:,}"),
            (
                "notifications that arrived",
                f"{self.deliveries:,}, of {self.events:,} events; {self.taken:,} answered 200",
            ),
            ("alerts about Tocsin itself", _listed(self.self_alerts) or "none"),
        ]
        if self.forwarded is not None:
            rows.append(("spans at the next collector", f"{self.forwarded:,}"))
        rows.append(("violations", f"{len(self.violations)}" if self.violations else "none"))
        lines = ["| what | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
        lines += [f"- {note}" for note in self.notes]
        lines += [f"- VIOLATION: {text}" for text in self.violations[:50]]
        return "\n".join(lines)

    def write_into(self, page: Path) -> None:
        """Put it between the page's markers."""
        before = page.read_text()
        after, times = _MEASURED.subn(lambda found: f"{found[1]}{self.text()}\n{found[2]}", before)
        if times != 1:
            raise ValueError(f"{page}: no '<!-- chaos: begin -->' and '<!-- chaos: end -->' to write between")
        page.write_text(after)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "–"  # noqa: RUF001  # as tables of the documentation write it
    return f"median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s ({len(seconds)} times)"
