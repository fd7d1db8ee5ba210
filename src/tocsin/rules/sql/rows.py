"""Columns of a table's rows, and conditions on them as filters.

A filter decides once per distinct text, so a condition must be one on a text, a class, or whether the call failed.
Comparisons with NULL are never true, as in SQL: a sample without a dimension passes neither `=` nor `<>`.
"""

import re
from dataclasses import dataclass, replace
from typing import TypeVar

import re2
from sqlglot import exp

from tocsin.model.batch import SpanClass
from tocsin.rules.filters import Filter, Match, MatchKind, compile_regex
from tocsin.rules.problems import closest
from tocsin.rules.sql.context import Context, bare, name_of
from tocsin.rules.sql.parsing import variable_of
from tocsin.rules.sql.scanning import exists_refused
from tocsin.rules.sql.tables import (
    EVERY_SPAN,
    SPAN_CLASSES,
    SPAN_COLUMNS,
    Column,
    Kind,
    Measure,
    Table,
    attribute_column,
    column_of,
    dimension_of,
)
from tocsin.rules.sql.times import time_of

__all__ = ["FLOAT_TYPES", "INTEGER_TYPES", "RowReader", "RowTest", "conjuncts"]

T = TypeVar("T")

_TYPE = exp.DataType.Type
FLOAT_TYPES = (_TYPE.DOUBLE, _TYPE.FLOAT, _TYPE.DECIMAL)
INTEGER_TYPES = (_TYPE.INT, _TYPE.BIGINT, _TYPE.SMALLINT)
_TEXT_TYPES = (_TYPE.TEXT, _TYPE.VARCHAR)
_PRESENT = Match(MatchKind.GLOB, "*")
_NUMERIC: dict[type[exp.Expression], MatchKind] = {
    exp.GT: MatchKind.GT,
    exp.GTE: MatchKind.GTE,
    exp.LT: MatchKind.LT,
    exp.LTE: MatchKind.LTE,
}
_MIRRORED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
}


_LIKE = re.compile(r"\\.|%|_|[^%_\\]+|\\", re.DOTALL)
_WILD = {"%": "(?s:.*)", "_": "(?s:.)"}


@dataclass(frozen=True, slots=True)
class RowTest:
    """Which rows a condition leaves; what is None is not asked."""

    filters: tuple[Filter, ...] = ()
    metric_names: frozenset[str] | None = None
    spans: frozenset[SpanClass] | None = None
    failed: bool | None = None
    present: Measure | None = None
    """The number that a row must have."""
    begin_ns: int | None = None
    """From when on, relative to the end of the bucket."""
    end_ns: int | None = None
    """Up to when, that instant excluded."""

    def also(self, other: "RowTest") -> "RowTest":
        """Return the test of rows that pass both; `contradicts` is to be asked first."""
        return RowTest(
            tuple(dict.fromkeys((*self.filters, *other.filters))),
            _common(self.metric_names, other.metric_names),
            _common(self.spans, other.spans),
            self.failed if other.failed is None else other.failed,
            other.present or self.present,
            _latest(self.begin_ns, other.begin_ns),
            _earliest(self.end_ns, other.end_ns),
        )

    def contradicts(self, other: "RowTest") -> bool:
        """Whether no row passes both, or what both ask is more than one test can hold."""
        return (
            _common(self.metric_names, other.metric_names) == frozenset()
            or _common(self.spans, other.spans) == frozenset()
            or (None not in (self.failed, other.failed) and self.failed != other.failed)
            or (None not in (self.present, other.present) and self.present != other.present)
        )


def _common(left: frozenset[T] | None, right: frozenset[T] | None) -> frozenset[T] | None:
    return right if left is None else left if right is None else left & right


def _latest(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else max(left, right)


def _earliest(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else min(left, right)


def conjuncts(node: exp.Expression) -> list[exp.Expression]:
    """Return the conditions of which all must hold."""
    found, waiting = [], [node]
    while waiting:
        each = bare(waiting.pop())
        if isinstance(each, exp.And):
            waiting += [each.expression, each.this]
        else:
            found.append(each)
    return found


@dataclass(frozen=True, slots=True)
class RowReader:
    """One table's columns, as one SELECT sees them."""

    context: Context
    table: Table
    alias: str = ""

    def column(self, node: exp.Expression) -> Column | None:
        """Return the column that an expression is; None where it is something else.

        Raises:
            RefusedError: the table has no such column.
        """
        node = bare(node)
        if isinstance(node, exp.JSONExtractScalar):
            return self._dimension(node)
        if isinstance(node, exp.JSONExtract | exp.Bracket):
            raise self.context.refused(node, "dimensions", "write a dimension as text: dimensions->>'name'")
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            return None
        name = name_of(node)
        if (of := name_of(node.args.get("table"))) and of not in (self.alias, self.table.value):
            hint = f"; write dimensions->>'{name}'" if of in ("dimensions", "attributes") else ""
            raise self.context.refused(node, of, f"{of!r} is no table of this FROM{hint}")
        quoted = isinstance(node.this, exp.Identifier) and bool(node.this.quoted)
        found = column_of(self.table, name, quoted=quoted, names=self.context.names)
        if found is None:
            raise self._unknown(node, name)
        return found

    def test(self, node: exp.Expression) -> RowTest:
        """Return a condition on rows.

        Raises:
            RefusedError: it can't be decided for each sample, or nothing passes.
        """
        found = RowTest()
        for each in conjuncts(node):
            found = self.joined(found, self._single(each, negated=False), each)
        return found

    def joined(self, left: RowTest, right: RowTest, node: exp.Expression) -> RowTest:
        """Return both tests as one."""
        if left.contradicts(right):
            text = "together with the other conditions no sample passes, or more is asked than one test holds; drop one"
            raise self.context.refused(node, "condition", text)
        return left.also(right)

    def _single(self, node: exp.Expression, *, negated: bool) -> RowTest:
        node = bare(node)
        match node:
            case exp.Not():
                return self._single(node.this, negated=not negated)
            case exp.Exists():
                raise exists_refused(node, self.context)
            case exp.Or() if not negated:
                return self._either(node)
            case exp.Is():
                return self._is(node, negated=negated ^ bool(node.args.get("negate")))
            case exp.In():
                return self._in(node, negated=negated)
            case exp.Like() | exp.ILike():
                return self._like(node, negated=negated ^ bool(node.args.get("negate")))
            case exp.Between() if not negated:
                low = self._compared(node, exp.GTE, node.this, node.args["low"])
                return self.joined(low, self._compared(node, exp.LTE, node.this, node.args["high"]), node)
            case exp.EQ() | exp.NEQ() if negated:
                return self._compared(node, exp.NEQ if isinstance(node, exp.EQ) else exp.EQ, node.this, node.expression)
            case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE() if not negated:
                return self._compared(node, type(node), node.this, node.expression)
        column = self.column(node)
        if column is not None and column.kind is Kind.FAILED:
            return RowTest(failed=not negated)
        if column is not None and column.kind is Kind.LABEL and column.measure is not None and not negated:
            return RowTest(filters=(Filter(column.label, (Match(MatchKind.EQUAL, "true"),)),))
        word = "NOT" if negated else self.context.parsed.word(node)
        text = "rows are chosen by =, <>, IN, LIKE, IS NULL and AND, on columns and dimensions; use one of these"
        if isinstance(node, exp.RegexpLike | exp.SimilarTo | exp.RegexpILike):
            text = "regular expressions differ between databases; use LIKE, or IN with the values"
        raise self.context.refused(node, word, text)

    def _either(self, node: exp.Or) -> RowTest:
        left, right = self._single(node.this, negated=False), self._single(node.expression, negated=False)
        if left == RowTest(metric_names=left.metric_names) and right == RowTest(metric_names=right.metric_names):
            return RowTest(metric_names=(left.metric_names or frozenset()) | (right.metric_names or frozenset()))
        if left == RowTest(spans=left.spans) and right == RowTest(spans=right.spans):
            return RowTest(spans=(left.spans or frozenset()) | (right.spans or frozenset()))
        alone = left == RowTest(left.filters) and right == RowTest(right.filters)
        if alone and len(left.filters) == len(right.filters) == 1:
            first, second = left.filters[0], right.filters[0]
            negated = any(match.negated for match in (*first.matches, *second.matches))
            if first.label == second.label and not negated:
                return RowTest((Filter(first.label, (*first.matches, *second.matches)),))
        text = "OR joins values of one column only, as IN does; write a query for each side, or add CASE WHEN sums"
        raise self.context.refused(node, "OR", text, keyword="OR")

    def _is(self, node: exp.Is, *, negated: bool) -> RowTest:
        column, value = self._column(node.this), bare(node.expression)
        if isinstance(value, exp.Boolean) and column.kind is Kind.FAILED:
            return RowTest(failed=bool(value.this) ^ negated)
        if isinstance(value, exp.Null):
            if column.kind is Kind.LABEL:
                return RowTest((Filter(column.label, (replace(_PRESENT, negated=not negated),)),))
            if column.kind is Kind.NUMBER and negated:
                return RowTest(present=column.measure)
        text = "IS tells whether a text is NULL, a number is not, or `failed` is true; use one of these"
        raise self.context.refused(node, "IS", text)

    def _in(self, node: exp.In, *, negated: bool) -> RowTest:
        values = [self._text(each) for each in node.expressions]
        if not values or None in values:
            text = "IN takes a list of texts; a sub-query's rows are not known beforehand"
            raise self.context.refused(node, "IN", text, keyword="IN")
        return self._equal(node, self._column(node.this), tuple(value or "" for value in values), negated=negated)

    def _like(self, node: exp.Like | exp.ILike, *, negated: bool) -> RowTest:
        column, pattern = self._column(node.this), self._text(node.expression)
        if column.kind is not Kind.LABEL or pattern is None or isinstance(node.parent, exp.Escape):
            text = "LIKE compares a text column or dimension with a text, without ESCAPE"
            raise self.context.refused(node, "LIKE", text)
        try:
            match = replace(_like(pattern, any_case=isinstance(node, exp.ILike)), negated=negated)
        except ValueError as error:
            raise self.context.refused(node, "LIKE", f"the pattern is too large: {error}; shorten it") from error
        return RowTest((Filter(column.label, (match, _PRESENT) if negated else (match,)),))

    def _compared(
        self, node: exp.Expression, operator: type[exp.Expression], left: exp.Expression, right: exp.Expression
    ) -> RowTest:
        left, right = bare(left), bare(right)
        if isinstance(left, exp.Literal) or (time_of(left, 1) is not None and not isinstance(right, exp.Literal)):
            left, right, operator = right, left, _MIRRORED[operator]
        numeric = isinstance(left, exp.Cast) and left.to.this in (*FLOAT_TYPES, *INTEGER_TYPES)
        column = self._column(left.this if numeric or _is_text_cast(left) else left)
        if column.kind is Kind.TIME:
            return self._bounded(node, operator, right)
        if column.kind is Kind.FAILED and isinstance(right, exp.Boolean) and operator in (exp.EQ, exp.NEQ):
            return RowTest(failed=bool(right.this) == (operator is exp.EQ))
        if isinstance(right, exp.Null):
            text = "comparing with NULL is never true; write IS NULL or IS NOT NULL"
            raise self.context.refused(node, "NULL", text)
        number = _number(right)
        if column.kind is Kind.LABEL and number is not None and (numeric or column.measure is not None):
            return RowTest(self._numeric(node, operator, column.label, number))
        value = self._text(right)
        if value is None or operator not in (exp.EQ, exp.NEQ):
            raise self._unfit(node, column)
        return self._equal(node, column, (value,), negated=operator is exp.NEQ)

    def _numeric(
        self, node: exp.Expression, operator: type[exp.Expression], label: str, number: str
    ) -> tuple[Filter, ...]:
        if operator is exp.EQ:
            return tuple(Filter(label, (Match(kind, number),)) for kind in (MatchKind.GTE, MatchKind.LTE))
        if operator is exp.NEQ:
            raise self.context.refused(node, "<>", "compare a number with > or <, or its text: <> '5'")
        self._check_label(node, label)
        return (Filter(label, (Match(_NUMERIC[operator], number),)),)

    def _equal(self, node: exp.Expression, column: Column, values: tuple[str, ...], *, negated: bool) -> RowTest:
        context = self.context
        match column.kind:
            case Kind.LABEL:
                self._check_label(node, column.label)
                matches = tuple(Match(MatchKind.EQUAL, value, negated) for value in values)
                return RowTest((Filter(column.label, (*matches, _PRESENT) if negated else matches),))
            case Kind.SPAN_CLASS:
                return RowTest(spans=self._classes(node, values, negated=negated))
            case Kind.METRIC_NAME if not negated:
                return RowTest(metric_names=frozenset(values))
            case Kind.MODEL_ID if not negated and len(values) == 1:
                return RowTest(context.names.filters_of(values[0]))
            case Kind.MODEL_ID:
                text = "a query is about one model_id or all; write model_id = '…', or leave it out"
                raise context.refused(node, "model_id", text)
            case _:
                raise self._unfit(node, column)

    def _classes(self, node: exp.Expression, values: tuple[str, ...], *, negated: bool) -> frozenset[SpanClass]:
        unknown = next((value for value in values if value not in SPAN_CLASSES), None)
        if unknown is not None:
            text = f"{unknown!r} is no class of spans; use {', '.join(SPAN_CLASSES)}{closest(unknown, SPAN_CLASSES)}"
            raise self.context.refused(node, "span_class", text)
        chosen = frozenset(SPAN_CLASSES[value] for value in values)
        return EVERY_SPAN - chosen if negated else chosen

    def _bounded(self, node: exp.Expression, operator: type[exp.Expression], right: exp.Expression) -> RowTest:
        at = time_of(right, self.context.interval_ns)
        if at is None:
            text = (
                "time is compared with '${start_time}' and '${end_time}', perhaps plus or minus INTERVAL '24 hours' "
                "(no months or years, whose lengths differ)"
            )
            raise self.context.refused(right, "timestamp", text)
        if operator in (exp.GT, exp.GTE):
            return RowTest(begin_ns=at)
        if operator in (exp.LT, exp.LTE):
            return RowTest(end_ns=at)
        raise self.context.refused(node, "timestamp", "write timestamp BETWEEN '${start_time}' AND '${end_time}'")

    def _column(self, node: exp.Expression) -> Column:
        column = self.column(node)
        if column is None:
            text = "a condition begins with a column or dimension, like dimensions->>'model_version' = 'gpt-4o'"
            raise self.context.refused(node, self.context.parsed.word(node), text)
        return column

    def _dimension(self, node: exp.JSONExtractScalar) -> Column:
        column = self.column(node.this)
        keys = list(node.expression.find_all(exp.JSONPathKey)) if isinstance(node.expression, exp.JSONPath) else []
        if column is None or column.kind is not Kind.DIMENSIONS or len(keys) != 1 or not isinstance(keys[0].this, str):
            name = "attributes" if self.table is Table.SPANS else "dimensions"
            raise self.context.refused(node, "->>", f"write a dimension as {name}->>'name'")
        name = keys[0].this
        if self.table is Table.SPANS:
            return attribute_column(name)
        return Column(Kind.LABEL, dimension_of(name, self.context.names))

    def _check_label(self, node: exp.Expression, label: str) -> None:
        if label == "trace":
            raise self.context.refused(
                node, "trace_id", "a rule can't be about one trace; GROUP BY it, or leave it out"
            )

    def _text(self, node: exp.Expression) -> str | None:
        node = bare(node)
        if isinstance(node, exp.Cast) and node.to.this in _TEXT_TYPES:
            node = bare(node.this)
        if isinstance(node, exp.Boolean):
            return "true" if node.this else "false"
        if not isinstance(node, exp.Literal) or not node.is_string or variable_of(node) is not None:
            return None
        return str(node.this)

    def _unfit(self, node: exp.Expression, column: Column) -> Exception:
        of_numbers = "samples are told apart by texts, not by their numbers; compare what the query returns instead"
        texts = {
            Kind.NUMBER: of_numbers,
            Kind.VALUE: of_numbers,
            Kind.SKETCH: "a sketch can't be compared; take a number of it after kll_float_sketch_merge(value)",
            Kind.RECORDED: "rules can't tell spans apart by their ids; leave it out",
            Kind.METRIC_NAME: "name the metric that is read: metric_name = '…'",
            Kind.FAILED: "write failed, or NOT failed",
            Kind.LABEL: "a text is compared with =, <>, IN or LIKE; for a number write (dimensions->>'x')::float > 5",
        }
        text = texts.get(column.kind, "compare it with = and a text")
        return self.context.refused(node, self.context.parsed.word(node), text)

    def _unknown(self, node: exp.Expression, name: str) -> Exception:
        if self.table is Table.SPANS:
            known = tuple(SPAN_COLUMNS)
            text = f'{self.table} has no column {name!r}; an attribute is written in quotes: "app.{name}"'
        else:
            known = ("timestamp", "model_id", "metric_name", "value", "dimensions")
            text = f"{self.table} has {', '.join(known)}; write a dimension as dimensions->>'{name}'"
        return self.context.refused(node, name, f"{text}{closest(name, known)}")


def _is_text_cast(node: exp.Expression) -> bool:
    return isinstance(node, exp.Cast) and node.to.this in _TEXT_TYPES


def _number(node: exp.Expression) -> str | None:
    sign = ""
    if isinstance(node, exp.Neg):
        node, sign = bare(node.this), "-"
    return f"{sign}{node.this}" if isinstance(node, exp.Literal) and not node.is_string else None


def _like(pattern: str, *, any_case: bool) -> Match:
    """A LIKE pattern as a match: `%` is any text, `_` any character, a backslash takes their meaning away."""
    parts: list[str] = _LIKE.findall(pattern)
    if not any_case and not any(part in _WILD for part in parts):
        return Match(MatchKind.EQUAL, "".join(map(_plain, parts)))
    body = "".join(_WILD.get(part) or re2.escape(_plain(part)) for part in parts)
    regex = f"(?i:{body})" if any_case else body
    compile_regex(regex)
    return Match(MatchKind.REGEX, regex)


def _plain(part: str) -> str:
    return part[1:] or part if part.startswith("\\") else part
