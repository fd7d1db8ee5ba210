"""PromQL's syntax tree with the place of every part, so that what is refused can be pointed at.

The tree is `promql_parser`'s. Its nodes have no places, so they are read in the order of the text, side by side with
the text's words. Should the two ever come apart, places are the whole text and the meaning is still the parser's.
"""

from dataclasses import dataclass
from datetime import timedelta

__all__ = [
    "Aggregation",
    "Call",
    "Grouping",
    "Infix",
    "Literal",
    "Matched",
    "Matcher",
    "Name",
    "Negation",
    "Node",
    "Place",
    "Selector",
    "Subquery",
    "Text",
    "nanoseconds_of",
]


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the text: from an offset up to another, in characters."""

    begin: int
    end: int

    def to(self, other: "Place") -> "Place":
        """Return the place from the beginning of this to the end of another."""
        return Place(min(self.begin, other.begin), max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Name:
    """A word that the text says, a label or a function."""

    text: str
    place: Place
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A number."""

    place: Place
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    place: Place


@dataclass(frozen=True, slots=True)
class Matcher:
    """`label=~"value"`."""

    place: Place
    label: Name
    sign: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{matchers}[range] offset d`."""

    place: Place
    name: Name | None
    """None: it has no name, or one that is no equality."""
    matchers: tuple[Matcher, ...]
    range_ns: int | None
    range_place: Place | None
    offset_ns: int
    offset_place: Place | None
    at_place: Place | None
    """Of `@`, which is refused."""
    has_alternatives: bool
    """Matchers combined with `or`, which are refused."""


@dataclass(frozen=True, slots=True)
class Subquery:
    """`expression[range:step]`, which is refused."""

    place: Place
    clause: Place


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    place: Place
    argument: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of arguments."""

    place: Place
    function: Name
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """`by (labels)` or `without (labels)`; of matching `on` or `ignoring`."""

    place: Place
    keeps: bool
    """`by` and `on`."""
    labels: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`sum by (label) (argument)`."""

    place: Place
    operator: Name
    argument: "Node"
    parameter: "Node | None"
    grouping: Grouping | None


@dataclass(frozen=True, slots=True)
class Matched:
    """How the sides of an operator belong together."""

    labels: Grouping | None
    group: str = ""
    """`left` or `right`."""
    include: tuple[Name, ...] = ()
    group_place: Place | None = None
    fill_place: Place | None = None
    """Of `fill`, which is refused."""
    bool_place: Place | None = None


@dataclass(frozen=True, slots=True)
class Infix:
    """`left operator right`."""

    place: Place
    operator: Name
    left: "Node"
    right: "Node"
    matched: Matched


Node = Literal | Text | Selector | Subquery | Negation | Call | Aggregation | Infix


def nanoseconds_of(duration: timedelta) -> int:
    """Return a duration in nanoseconds, exact."""
    return (duration // timedelta(microseconds=1)) * 1000
