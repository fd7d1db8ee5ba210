"""Datadog's metric queries: `sum(last_5m):sum:app.llm.cost_usd{env:prod} by {gen_ai.conversation.id} > 25`.

Read by recursive descent, as sums, products and comparisons of terms. Both forms are taken: a monitor's, whose window
stands at its beginning, and DDQL's, whose window stands in `.rollup(sum, 300)`.
Source: Datadog documentation, "Monitors API" and "Metrics querying".
"""

import re
from dataclasses import dataclass

__all__ = ["Comparison", "Operation", "Scalar", "Term", "parse_query"]

_TOKEN = re.compile(
    r"""
    \s*(?:
      (?P<window>[a-z]+\d*\(\s*last_(?P<count>\d+)(?P<unit>mo|[smhdwM])\s*\)\s*:)
    | (?P<term>(?P<space>avg|sum|min|max|count|p\d{2}(?:\.\d+)?):(?P<metric>[A-Za-z][\w.\-]*)
        \s*(?:\{(?P<scope>[^{}]*)\})?\s*(?:by\s*\{(?P<by>[^{}]*)\})?(?P<calls>(?:\s*\.\s*\w+\s*\([^()]*\))*))
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<sign>>=|<=|==|!=|[-+*/()<>])
    | (?P<name>[A-Za-z_]\w*)
    )
    """,
    re.VERBOSE,
)
_CALL = re.compile(r"\.\s*(\w+)\s*\(([^()]*)\)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 30 * 86_400, "M": 30 * 86_400}
_FUNCTIONS = {
    "anomalies": "compare with the past by `baseline:` and condition: above_baseline",
    "outliers": "compare groups with each other: x > 2 * on () group_left avg(x) in `expr:`",
    "forecast": "use a calendar window with `forecast: true`",
    "change": "compare with the past by `baseline:`",
    "pct_change": "compare with the past by `baseline:` and threshold: 20%",
    "default_zero": "counts and sums of a known group are 0 by themselves; leave it out",
    "abs": "write it as `expr:`, which has abs()",
    "top": "write it as `expr:`, which has topk()",
}


@dataclass(frozen=True, slots=True)
class Term:
    """One metric query, as it is written."""

    space: str
    """How series are combined: `sum`, `avg`, `p95` …"""
    metric: str
    scope: str
    by: tuple[str, ...]
    calls: tuple[tuple[str, tuple[str, ...]], ...]
    """`.rollup(sum, 300)` is ("rollup", ("sum", "300"))."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An arithmetic operator of two sides."""

    sign: str
    left: "Term | Scalar | Operation"
    right: "Term | Scalar | Operation"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole query."""

    value: Term | Scalar | Operation
    sign: str
    threshold: str
    time: str | None
    """How the window's values are combined, in a monitor's query."""
    seconds: int | None


def parse_query(text: str) -> Comparison:
    """Return what a query says.

    Raises:
        ValueError: it is none that is known; the text says which part, and what would work.
    """
    reader = _Reader(text)
    time, seconds = reader.window()
    value = reader.sum()
    sign = reader.take("sign", (">", ">=", "<", "<="))
    if sign is None:
        raise ValueError(f"it compares with nothing{reader.here()}; a monitor's query ends like > 25")
    negative = "-" if reader.take("sign", ("-",)) else ""
    threshold = reader.take("number", None)
    if threshold is None:
        raise ValueError(f"its threshold is no number{reader.here()}; write one, or `expr:` by hand")
    reader.end()
    return Comparison(value, sign, negative + threshold, time, seconds)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.at = 0

    def here(self) -> str:
        rest = self.text[self.at :].strip()
        return f", at {rest[:40]!r}" if rest else ", at its end"

    def _match(self) -> "re.Match[str] | None":
        return _TOKEN.match(self.text, self.at)

    def take(self, kind: str, words: tuple[str, ...] | None) -> str | None:
        """Return the next word if it is of that kind, and one of these."""
        match = self._match()
        if match is None or match[kind] is None or (words is not None and match[kind] not in words):
            return None
        self.at = match.end()
        return match[kind]

    def window(self) -> tuple[str | None, int | None]:
        match = self._match()
        if match is None or match["window"] is None:
            return None, None
        self.at = match.end()
        time = match["window"].partition("(")[0]
        if time in _FUNCTIONS:
            raise ValueError(f"{time}() has no equivalent: {_FUNCTIONS[time]}")
        return time, int(match["count"]) * _SECONDS[match["unit"]]

    def sum(self) -> Term | Scalar | Operation:
        left = self.product()
        while (sign := self.take("sign", ("+", "-"))) is not None:
            left = Operation(sign, left, self.product())
        return left

    def product(self) -> Term | Scalar | Operation:
        left = self.one()
        while (sign := self.take("sign", ("*", "/"))) is not None:
            left = Operation(sign, left, self.one())
        return left

    def one(self) -> Term | Scalar | Operation:
        if self.take("sign", ("(",)):
            inner = self.sum()
            if not self.take("sign", (")",)):
                raise ValueError(f"a ')' is missing{self.here()}")
            return inner
        if (number := self.take("number", None)) is not None:
            return Scalar(number)
        match = self._match()
        if match is not None and match["name"] is not None:
            advice = _FUNCTIONS.get(match["name"], "write it as `expr:`; docs/expressions.md lists what there is")
            raise ValueError(f"{match['name']}() has no equivalent: {advice}")
        if match is None or match["term"] is None:
            raise ValueError(f"no metric query{self.here()}; one is like sum:app.llm.cost_usd{{*}}")
        self.at = match.end()
        calls = tuple(
            (name, tuple(each.strip() for each in arguments.split(",") if each.strip()))
            for name, arguments in _CALL.findall(match["calls"] or "")
        )
        by = tuple(each.strip() for each in (match["by"] or "").split(",") if each.strip())
        return Term(match["space"], match["metric"], (match["scope"] or "*").strip(), by, calls)

    def end(self) -> None:
        if self.text[self.at :].strip():
            raise ValueError(f"it goes on after its threshold{self.here()}; leave that out, or write two rules")
