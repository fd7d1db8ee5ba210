"""Which metrics and labels Tocsin exposes, and which a query asks for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import promql_parser

__all__ = ["Metrics", "Selector", "selectors_of"]

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
TARGET = frozenset({"job", "instance"})
"""Labels that the scrape adds."""
OTHERS = frozenset({"up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"})


@dataclass(frozen=True)
class Selector:
    """A metric of a query and the labels by which it is chosen."""

    name: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Metrics:
    """What is exposed: name -> labels."""

    labels: dict[str, frozenset[str]]

    @classmethod
    def documented(cls) -> Self:
        """Return what the table of docs/operations.md lists, which other tests hold against what is exposed."""
        labels: dict[str, frozenset[str]] = {}
        for line in re.findall(r"^\| `tocsin_.*$", OPERATIONS.read_text(), re.MULTILINE):
            cells = line.split(" | ")
            for name, written in re.findall(r"`(tocsin_\w+)(?:\{([\w,]*)\})?`", cells[0]):
                own = frozenset(filter(None, written.split(",")))
                labels[name] = own
                if "histogram" in cells[1]:
                    labels |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        return cls(labels)

    def mistake(self, selector: Selector) -> str | None:
        """Return what is wrong with a selector, or None."""
        if selector.name in OTHERS:
            own: frozenset[str] | None = frozenset()
        else:
            own = self.labels.get(selector.name)
        if own is None:
            return f"{selector.name} is not exposed"
        wrong = selector.labels - own - TARGET
        return f"{selector.name} has no label {sorted(wrong)}" if wrong else None


def selectors_of(expr: str) -> Iterator[Selector]:
    """Yield each selector of a query; the labels that it is summed by count as its own.

    Raises:
        ValueError: it is no PromQL.
    """
    yield from _walked(promql_parser.parse(expr), frozenset())


def _walked(node: Any, by: frozenset[str]) -> Iterator[Selector]:  # noqa: ANN401  # the parser's nodes share no type
    if isinstance(node, promql_parser.VectorSelector):
        yield Selector(node.name or "", by | {matcher.name for matcher in node.matchers.matchers})
    elif isinstance(node, promql_parser.AggregateExpr):
        grouping = getattr(node.modifier, "labels", None) or ()
        yield from _walked(node.expr, by | set(grouping))
    else:
        for part in ("vector_selector", "expr", "lhs", "rhs"):
            if (below := getattr(node, part, None)) is not None:
                yield from _walked(below, by)
        for argument in getattr(node, "args", ()):
            yield from _walked(argument, by)
