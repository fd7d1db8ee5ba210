"""Expressions over windows, as the engine evaluates them: what PromQL, SQL and baselines are compiled to.

An expression is a tree. Its leaves are `Series`: one value per label set over a window of samples. Every other node
makes one vector of others. A vector has at each instant at most one number per label set. Which labels it has is known
from the tree alone (`labels_of`), because the labels that tell series apart are chosen when the rule is compiled, not
by what arrives.

A label set without an element is not there: PromQL's missing series, SQL's NULL. NaN is a number, as in PromQL.
Source: Prometheus documentation, "Querying basics", "Operators" and "Functions".
"""

from dataclasses import dataclass
from enum import StrEnum

from tocsin.model.batch import SpanClass
from tocsin.rules.calendar import Calendar
from tocsin.rules.filters import Filter
from tocsin.rules.measures import Aggregate, Metric, Sampling, Scope

__all__ = [
    "Absent",
    "Apply",
    "Binary",
    "Combine",
    "Combining",
    "Entry",
    "Expression",
    "Function",
    "Language",
    "Logical",
    "LogicalOperator",
    "Matching",
    "Now",
    "NullIf",
    "Number",
    "Operator",
    "Otherwise",
    "Projected",
    "Series",
    "Vector",
    "labels_of",
    "series_of",
]

Entry = tuple[str, ...]
"""A label, or alternatives of which the first known counts, as in `Rule.group_by`."""


@dataclass(frozen=True, slots=True)
class Number:
    """A scalar."""

    value: float


@dataclass(frozen=True, slots=True)
class Now:
    """Event time as a scalar, Unix seconds: PromQL's `time()`."""


@dataclass(frozen=True, slots=True)
class Series:
    """A leaf: an aggregate of samples over a window, one element per label set that has samples in it.

    It is in the metric's unit (USD, ms, ratio …) times `scale`. RATE is the sum by the window's seconds.
    """

    metric: Metric
    attribute: str | None
    """The key, where metric is ATTRIBUTE; a key with `_` for `.` stands for any of its dotted spellings."""
    aggregate: Aggregate
    quantile: float | None
    window_ns: int
    """Length; 0 where `calendar` says it."""
    labels: tuple[Entry, ...]
    filters: tuple[Filter, ...] = ()
    offset_ns: int = 0
    """The window is `(T - offset - window, T - offset]`."""
    spans: frozenset[SpanClass] | None = None
    scope: Scope = Scope.SPAN
    sampling: Sampling = Sampling.IGNORE
    calendar: Calendar | None = None
    """Everything since its present period began."""
    baseline: bool = False
    """What others are compared with: its panes are a 64th of the window, so that a week costs little memory."""
    exclude_incidents: bool = False
    """Samples that arrive while the rule's alert of the same labels is firing are left out."""
    scale: float = 1.0


class Function(StrEnum):
    """Functions of each element alone. Parameters are scalars."""

    ABS = "abs"
    CEIL = "ceil"
    FLOOR = "floor"
    ROUND = "round"
    """To the nearest multiple of the parameter (1 without one); halves upwards, as PromQL's."""
    CLAMP_MIN = "clamp_min"
    CLAMP_MAX = "clamp_max"
    CLAMP = "clamp"
    SQRT = "sqrt"
    EXP = "exp"
    LN = "ln"
    LOG2 = "log2"
    LOG10 = "log10"
    SGN = "sgn"
    NEGATE = "-"
    VECTOR = "vector"
    """A scalar as a vector with one element without labels."""
    SCALAR = "scalar"
    """The one element of a vector as a scalar; NaN where it has none or several."""


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of each element."""

    function: Function
    argument: "Vector"
    parameters: tuple["Vector", ...] = ()


class Operator(StrEnum):
    """Arithmetic and comparisons, with PromQL's meaning for floats; `/` of SQL by NullIf gives no element."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    MOD = "%"
    POW = "^"
    ATAN2 = "atan2"
    EQ = "=="
    NE = "!="
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="

    @property
    def compares(self) -> bool:
        """Whether it is a comparison: it keeps the left elements for which it holds."""
        return self in (Operator.EQ, Operator.NE, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which elements of two vectors belong together: those that are equal in the labels `on`."""

    on: tuple[Entry, ...]
    group: str = ""
    """`left`: several on the left may match one on the right; `right`: the other way; empty: one to one."""
    include: tuple[Entry, ...] = ()
    """Labels of the one side that the result has as well."""


@dataclass(frozen=True, slots=True)
class Binary:
    """Two vectors, a vector and a scalar, or two scalars. `matching` is None where one of them is a scalar.

    The result of a one to one match has the labels `on`, of comparisons too, as in Prometheus.
    """

    operator: Operator
    left: "Vector"
    right: "Vector"
    matching: Matching | None = None
    returns_bool: bool = False
    """A comparison that gives 0 or 1 for every element instead of keeping some."""


class LogicalOperator(StrEnum):
    """PromQL's set operators."""

    AND = "and"
    OR = "or"
    UNLESS = "unless"


@dataclass(frozen=True, slots=True)
class Logical:
    """Elements of the left that have (`and`) or lack (`unless`) a match on the right, or all of both.

    Both sides of an `or` have the same labels: series of other labels would be no groups of one rule.
    """

    operator: LogicalOperator
    left: "Vector"
    right: "Vector"
    on: tuple[Entry, ...]


class Combining(StrEnum):
    """Aggregation over elements."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    STDDEV = "stddev"
    STDVAR = "stdvar"
    QUANTILE = "quantile"
    TOPK = "topk"
    BOTTOMK = "bottomk"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Combine:
    """Elements that are equal in `labels` as one; TOPK and BOTTOMK keep elements and their labels instead."""

    combining: Combining
    argument: "Vector"
    labels: tuple[Entry, ...]
    parameter: "Vector | None" = None
    """The scalar of QUANTILE, TOPK and BOTTOMK."""


@dataclass(frozen=True, slots=True)
class Absent:
    """One element without labels, 1, while the argument has none: PromQL's `absent` and `absent_over_time`."""

    argument: "Vector"


@dataclass(frozen=True, slots=True)
class Otherwise:
    """SQL's COALESCE: a number where a known label set has no element. Without labels the one set is known always."""

    argument: "Vector"
    value: float


@dataclass(frozen=True, slots=True)
class NullIf:
    """SQL's NULLIF: no element where it equals a number."""

    argument: "Vector"
    value: float


@dataclass(frozen=True, slots=True)
class Projected:
    """What a calendar series will be at its period's end if it goes on as it did since the period began.

    There is no element before `least_elapsed_ns` of the period have passed: the first call of a month is no pace.
    """

    argument: Series
    least_elapsed_ns: int


Vector = Number | Now | Series | Apply | Binary | Logical | Combine | Absent | Otherwise | NullIf | Projected


class Language(StrEnum):
    """What an expression was written in."""

    PROMQL = "expr"
    SQL = "sql"
    BASELINE = "baseline"
    FORECAST = "forecast"


@dataclass(frozen=True, slots=True)
class Expression:
    """What a rule compares that is more than one window. Each element of `value` is a group of the rule.

    An element is in breach at a level where `Rule.condition` holds between it and the level's limit, and `gate` has an
    element with its labels. With Condition.PRESENT every element is in breach.
    """

    language: Language
    text: str
    """As it was written, for people."""
    value: Vector
    limits: tuple[Vector, ...] | None = None
    """What is compared with, by level; scalars, or vectors whose labels are those of `value`. None: the levels'
    thresholds."""
    gate: Vector | None = None
    """Its labels are among those of `value`."""
    interval_ns: int | None = None
    """Evaluated at the end of each bucket of event time that is this long, aligned to the Unix epoch; every sliding
    window then ends exactly there, that instant excluded. None: at each sample, and when time changes it."""
    unit: str = ""


def series_of(*vectors: Vector | None) -> tuple[Series, ...]:
    """Return the distinct leaves of some vectors, from left to right."""
    found: dict[Series, None] = {}
    for vector in vectors:
        match vector:
            case Series():
                found[vector] = None
            case Apply():
                found |= dict.fromkeys(series_of(vector.argument, *vector.parameters))
            case Binary() | Logical():
                found |= dict.fromkeys(series_of(vector.left, vector.right))
            case Combine():
                found |= dict.fromkeys(series_of(vector.argument, vector.parameter))
            case Absent() | Otherwise() | NullIf() | Projected():
                found |= dict.fromkeys(series_of(vector.argument))
            case Number() | Now() | None:
                pass
    return tuple(found)


def labels_of(vector: Vector) -> tuple[Entry, ...] | None:
    """Return the labels of a vector; None for a scalar."""
    match vector:
        case Number() | Now():
            return None
        case Series():
            return vector.labels
        case Apply():
            return {Function.SCALAR: None, Function.VECTOR: ()}.get(vector.function, labels_of(vector.argument))
        case Binary():
            return _binary_labels(vector)
        case Logical():
            return labels_of(vector.left)
        case Combine():
            keeps = vector.combining in (Combining.TOPK, Combining.BOTTOMK)
            return labels_of(vector.argument) if keeps else vector.labels
        case Absent():
            return ()
        case Otherwise() | NullIf() | Projected():
            return labels_of(vector.argument)


def _binary_labels(binary: Binary) -> tuple[Entry, ...] | None:
    left, right = labels_of(binary.left), labels_of(binary.right)
    if left is None or right is None:
        return right if left is None else left
    if binary.matching is None or not binary.matching.group:
        return left if binary.matching is None else binary.matching.on
    many = left if binary.matching.group == "left" else right
    return many + tuple(entry for entry in binary.matching.include if entry not in many)
