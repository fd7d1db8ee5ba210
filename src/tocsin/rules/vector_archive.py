"""Expressions as a document and back: a part of what is kept of a rule."""

from collections.abc import Mapping
from typing import Any, Final

from tocsin.model.archive import FLAG, REAL, TEXT, WHOLE, Form, Plain, listed, optional, record, word
from tocsin.model.batch import SpanClass
from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.filters import Filter, Match, MatchKind
from tocsin.rules.measures import Aggregate, Metric, Sampling, Scope
from tocsin.rules.vector import (
    Absent,
    Apply,
    Binary,
    Combine,
    Combining,
    Expression,
    Function,
    Language,
    Logical,
    LogicalOperator,
    Matching,
    Now,
    NullIf,
    Number,
    Operator,
    Otherwise,
    Projected,
    Series,
    Vector,
)

__all__ = ["CALENDAR", "EXPRESSION", "FILTERS", "LABELS", "SPANS"]

_DEEPEST: Final = 200
"""Nodes within nodes; what is read is deeper only if it is damaged."""
_CLASSES = listed(word(SpanClass))
SPANS: Final[Form[frozenset[SpanClass]]] = Form(
    lambda classes: _CLASSES.write(tuple(sorted(classes))), lambda value: frozenset(_CLASSES.read(value))
)
LABELS: Final = listed(listed(TEXT))
FILTERS: Final = listed(
    record(Filter, label=TEXT, matches=listed(record(Match, kind=word(MatchKind), operand=TEXT, negated=FLAG)))
)
CALENDAR: Final = record(Calendar, period=word(Period), timezone=TEXT)


def _write(vector: Vector) -> Plain:
    content = _FORMS[type(vector).__name__].write(vector)
    return {"is": type(vector).__name__, **content} if isinstance(content, dict) else content


def _read(value: Plain) -> Any:  # noqa: ANN401  # any node
    name = value.get("is") if isinstance(value, dict) else None
    form = _FORMS.get(name) if isinstance(name, str) else None
    if form is None or not isinstance(value, dict):
        raise ValueError(f"{ascii(name)[:80]} is no node of an expression")
    return form.read({key: part for key, part in value.items() if key != "is"})


def _read_whole(value: Plain) -> Vector:
    if _depth(value, 0) > _DEEPEST:
        raise ValueError("nodes within nodes without an end")
    found: Vector = _read(value)
    return found


def _depth(value: Plain, depth: int) -> int:
    if depth > 4 * _DEEPEST:
        return depth
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((_depth(part, depth + 1) for part in parts), default=depth)


_NODE: Form[Any] = Form(_write, _read)
_SERIES: Final = record(
    Series,
    metric=word(Metric),
    attribute=optional(TEXT),
    aggregate=word(Aggregate),
    quantile=optional(REAL),
    window_ns=WHOLE,
    labels=LABELS,
    filters=FILTERS,
    offset_ns=WHOLE,
    spans=optional(SPANS),
    scope=word(Scope),
    sampling=word(Sampling),
    calendar=optional(CALENDAR),
    baseline=FLAG,
    exclude_incidents=FLAG,
    scale=REAL,
)
_MATCHING: Final = record(Matching, on=LABELS, group=TEXT, include=LABELS)
_FORMS: Final[Mapping[str, Form[Any]]] = {
    "Number": record(Number, value=REAL),
    "Now": record(Now),
    "Series": _SERIES,
    "Apply": record(Apply, function=word(Function), argument=_NODE, parameters=listed(_NODE)),
    "Binary": record(
        Binary,
        operator=word(Operator),
        left=_NODE,
        right=_NODE,
        matching=optional(_MATCHING),
        returns_bool=FLAG,
    ),
    "Logical": record(Logical, operator=word(LogicalOperator), left=_NODE, right=_NODE, on=LABELS),
    "Combine": record(Combine, combining=word(Combining), argument=_NODE, labels=LABELS, parameter=optional(_NODE)),
    "Absent": record(Absent, argument=_NODE),
    "Otherwise": record(Otherwise, argument=_NODE, value=REAL),
    "NullIf": record(NullIf, argument=_NODE, value=REAL),
    "Projected": record(Projected, argument=_SERIES, least_elapsed_ns=WHOLE),
}
_VECTOR: Final[Form[Vector]] = Form(_write, _read_whole)
EXPRESSION: Final[Form[Expression]] = record(
    Expression,
    language=word(Language),
    text=TEXT,
    value=_VECTOR,
    limits=optional(listed(_VECTOR)),
    gate=optional(_VECTOR),
    interval_ns=optional(WHOLE),
    unit=TEXT,
)
"""An expression as a part of a document."""
