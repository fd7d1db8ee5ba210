"""Aggregates of a table's rows as leaves over windows.

What an aggregate adds up may be a number, a constant, either times and plus constants, or a CASE of one condition: each
is sums and counts of samples, so that `AVG(CASE WHEN … THEN 1 ELSE 0 END)` costs two leaves and no memory of samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from tocsin.model.batch import SpanClass
from tocsin.rules.measures import Aggregate, Metric
from tocsin.rules.sql.algebra import Level, Value, apply, both, divide, operate, scale
from tocsin.rules.sql.calls import Call, Kind
from tocsin.rules.sql.context import Context, bare
from tocsin.rules.sql.rows import FLOAT_TYPES, INTEGER_TYPES, RowReader, RowTest
from tocsin.rules.sql.tables import BILLED_SPANS, EVERY_SPAN, Measure, Table, measure_of
from tocsin.rules.sql.tables import Kind as ColumnKind
from tocsin.rules.vector import Entry, Function, Logical, LogicalOperator, NullIf, Number, Operator, Series, Vector

__all__ = ["Sums", "Window"]

_COUNT = Measure(Metric.COUNT)
_FAILED = Measure(Metric.ERROR_RATE)
_SUCCEEDED = Measure(Metric.SUCCESS_RATE)
_DIRECT: Mapping[Kind, Aggregate] = {
    Kind.AVG: Aggregate.AVG,
    Kind.MIN: Aggregate.MIN,
    Kind.MAX: Aggregate.MAX,
    Kind.QUANTILE: Aggregate.QUANTILE,
    Kind.SKETCH_QUANTILE: Aggregate.QUANTILE,
    Kind.LAST: Aggregate.LAST,
}
_SPREADS = (Kind.STDDEV_POP, Kind.STDDEV_SAMP, Kind.VAR_POP, Kind.VAR_SAMP)
_OPPOSITE = {Kind.MIN: Kind.MAX, Kind.MAX: Kind.MIN}


@dataclass(frozen=True, slots=True)
class Window:
    """The part of time that a SELECT reads, relative to the end of the bucket."""

    length_ns: int
    offset_ns: int


@dataclass(frozen=True, slots=True)
class _Line:
    """`factor * number + shift` of a row; a constant where it has no measure."""

    measure: Measure | None
    factor: float = 1.0
    shift: float = 0.0

    def times(self, factor: float) -> "_Line":
        return replace(self, factor=self.factor * factor, shift=self.shift * factor)

    def plus(self, shift: float) -> "_Line":
        return replace(self, shift=self.shift + shift)


@dataclass(frozen=True, slots=True)
class _Term:
    """What is aggregated: a line where the test holds, and a constant (None: NULL) in all other rows."""

    line: _Line
    test: RowTest
    otherwise: float | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """The rows that one SELECT aggregates."""

    reader: RowReader
    test: RowTest
    window: Window
    labels: tuple[Entry, ...]
    known: bool
    """Of the level: see `Level.known`."""

    @property
    def level(self) -> Level:
        """Return the SELECT's rows: one per label set that has samples, or the one of an aggregate without groups."""
        if not self.labels:
            return Level((), None, known=self.known)
        return Level(self.labels, self._rows(self.test), known=self.known)

    def value(self, call: Call) -> Value:
        """Return an aggregate.

        Raises:
            RefusedError: it needs more than sums of samples.
        """
        context = self.reader.context
        test = self.test
        if call.condition is not None:
            test = self.reader.joined(test, self.reader.test(call.condition), call.condition)
        if call.argument is None:
            return self._filled(self._count(test, None, call.node))
        term = self._term(call, test)
        self._check_kind(call, term)
        if call.kind in (Kind.COUNT, Kind.SKETCH_COUNT):
            numbers = self._numbers(call, term, test)
            # Of no samples there is no sketch, and NULL has no size.
            return self._filled(numbers) if call.kind is Kind.COUNT else numbers
        if call.kind in (Kind.SUM, Kind.AVG):
            return self._sum(call, term, test)
        if term.otherwise is not None:
            text = f"{call.kind} over two different values of a CASE needs every sample; leave ELSE out, or use SUM"
            raise context.refused(call.node, "CASE", text)
        return self._direct(call, term)

    def _check_kind(self, call: Call, term: _Term) -> None:
        """Sketches are read by their functions, and only they are."""
        is_sketch = self.reader.table is Table.SKETCH and term.line.measure is not None
        wants = call.kind in (Kind.SKETCH_QUANTILE, Kind.SKETCH_COUNT)
        if is_sketch and not wants and call.kind is not Kind.COUNT:
            text = (
                f"value is a sketch in this table, which {call.kind} can't read; write "
                f"kll_float_sketch_get_quantile(kll_float_sketch_merge(value), 0.95), or read {Table.NUMERIC}"
            )
            raise self.reader.context.refused(call.node, str(call.kind), text)
        if wants and not is_sketch:
            text = f"there is no sketch here; read {Table.SKETCH}, or write quantile_cont(value, 0.95)"
            raise self.reader.context.refused(call.node, str(call.kind), text)

    def _sum(self, call: Call, term: _Term, test: RowTest) -> Value:
        """SUM or AVG: of one part, or of the two parts of a CASE."""
        line, node = term.line, call.node
        counted = self._count(term.test, line.measure, node)
        if term.otherwise is None:
            if call.kind is Kind.AVG and line.measure is not None:
                return self._direct(call, term)
            total = self._line_sum(line, term.test, counted, node)
            return total if call.kind is Kind.SUM else divide(total, counted)
        rows = self._count(test, None, node)
        part = self._filled(self._line_sum(line, term.test, counted, node))
        if term.otherwise != 0.0:
            rest = operate(Operator.SUB, rows, self._filled(self._count(term.test, None, node)))
            part = operate(Operator.ADD, part, operate(Operator.MUL, rest, Number(term.otherwise)))
        numbers = self._numbers(call, term, test)
        if call.kind is Kind.AVG:
            return divide(part, numbers)
        # The sum of no numbers is NULL: it is there only where there are some.
        return None if part is None or numbers is None else both(part, NullIf(numbers, 0.0))

    def _numbers(self, call: Call, term: _Term, test: RowTest) -> Value:
        """How many rows have a number: what COUNT of a column counts, and AVG divides by."""
        there = self._count(term.test, term.line.measure, call.node)
        if term.otherwise is None:
            return there
        rows = self._count(test, None, call.node)
        if term.line.measure is None or self.reader.table is not Table.SPANS:
            return rows
        chosen = self._filled(self._count(term.test, None, call.node))
        return operate(Operator.ADD, operate(Operator.SUB, rows, chosen), self._filled(there))

    def _line_sum(self, line: _Line, test: RowTest, counted: Value, node: exp.Expression) -> Value:
        if line.measure is None:
            return operate(Operator.MUL, counted, Number(line.shift)) if line.shift != 1.0 else counted
        total = scale(self._series(line.measure, Aggregate.SUM, test, node), line.factor)
        if line.shift == 0.0:
            return total
        return operate(Operator.ADD, total, operate(Operator.MUL, counted, Number(line.shift)))

    def _direct(self, call: Call, term: _Term) -> Value:
        """An aggregate that one leaf is, of a line of its numbers."""
        line, node = term.line, call.node
        if line.measure is None:
            raise self.reader.context.refused(node, str(call.kind), f"{call.kind} of a constant; name a column")
        if call.kind in _SPREADS:
            return self._spread(call, term, line.measure)
        falling = line.factor < 0
        kind = _OPPOSITE.get(call.kind, call.kind) if falling else call.kind
        quantile = call.quantile
        if quantile is not None and falling != call.descending:
            quantile = 1.0 - quantile
        found = self._series(line.measure, _DIRECT[kind], term.test, node, quantile)
        return scale(found, line.factor, line.shift)

    def _spread(self, call: Call, term: _Term, measure: Measure) -> Value:
        """Standard deviations and variances; of a sample they divide by n - 1, and one number has none."""
        deviation = self._series(measure, Aggregate.STDDEV, term.test, call.node)
        found: Value = scale(deviation, abs(term.line.factor))
        if call.kind in (Kind.VAR_POP, Kind.VAR_SAMP):
            found = operate(Operator.MUL, found, found)
        if call.kind in (Kind.STDDEV_POP, Kind.VAR_POP):
            return found
        count = self._count(term.test, measure, call.node)
        ratio = divide(count, operate(Operator.SUB, count, Number(1.0)))
        return operate(Operator.MUL, found, ratio if call.kind is Kind.VAR_SAMP else apply(Function.SQRT, ratio))

    def _count(self, test: RowTest, measure: Measure | None, node: exp.Expression) -> Value:
        """How many rows pass, with a number where a measure is given; none where that is no row."""
        measure = measure or test.present
        if measure is not None:
            return self._series(measure, Aggregate.COUNT, test, node)
        counts = self._row_counts(test)
        if len(counts) == 1:
            return counts[0]
        found: Value = Number(0.0)
        for each in counts:
            found = operate(Operator.ADD, found, self._filled(each))
        return None if found is None else both(self.level.spread(found), self._rows(test))

    def _rows(self, test: RowTest) -> Vector:
        """An element for every label set that has rows."""
        found, *others = self._row_counts(test)
        for each in others:
            found = Logical(LogicalOperator.OR, found, each, self.labels)
        return found

    def _row_counts(self, test: RowTest) -> list[Vector]:
        """How many rows there are of each metric; none where there are none."""
        if test.failed is not None:
            chosen = _FAILED if test.failed else _SUCCEEDED
            return [NullIf(self._leaf(chosen, Aggregate.SUM, test), 0.0)]
        if test.present is not None:
            return [self._leaf(test.present, Aggregate.COUNT, test)]
        if self.reader.table is Table.SPANS:
            return [self._leaf(_COUNT, Aggregate.COUNT, test)]
        measures = dict.fromkeys(
            measure_of(name, self.reader.context.names) for name in sorted(test.metric_names or ())
        )
        return [self._leaf(measure, Aggregate.COUNT, test) for measure in measures]

    def _series(
        self,
        measure: Measure,
        aggregate: Aggregate,
        test: RowTest,
        node: exp.Expression,
        quantile: float | None = None,
    ) -> Series:
        if test.failed is not None:
            raise self._failing(node)
        if test.present is not None and test.present != measure:
            text = "IS NOT NULL of another number can't choose samples; leave it out"
            raise self.reader.context.refused(node, "IS NOT NULL", text)
        return self._leaf(measure, aggregate, test, quantile)

    def _leaf(self, measure: Measure, aggregate: Aggregate, test: RowTest, quantile: float | None = None) -> Series:
        return Series(
            metric=measure.metric,
            attribute=measure.attribute,
            aggregate=aggregate,
            quantile=quantile,
            window_ns=self.window.length_ns,
            labels=self.labels,
            filters=tuple(dict.fromkeys((*measure.filters, *test.filters))),
            offset_ns=self.window.offset_ns,
            spans=self._classes(measure, test),
            scope=measure.scope,
        )

    def _classes(self, measure: Measure, test: RowTest) -> frozenset[SpanClass] | None:
        """Which spans are samples: in the metrics tables those that the metric is about."""
        if self.reader.table is not Table.SPANS:
            return None
        spans = EVERY_SPAN if test.spans is None else test.spans
        return spans & BILLED_SPANS if measure.metric is Metric.COST else spans

    def _filled(self, value: Value) -> Value:
        """A count or a part of a sum: 0 where no row passes."""
        return self.level.filled(value, Number(0.0))

    def _failing(self, node: exp.Expression) -> Exception:
        text = (
            "`failed` can only be counted: COUNT(*) FILTER (WHERE failed), AVG(failed::int); "
            "to choose spans write error_type IS NOT NULL"
        )
        return self.reader.context.refused(node, "failed", text)

    def _term(self, call: Call, test: RowTest) -> _Term:
        """What an aggregate's argument is."""
        argument = bare(call.argument) if call.argument is not None else exp.Null()
        if isinstance(argument, exp.Case | exp.Coalesce | exp.If):
            return self._case(argument, test, call)
        if call.kind is Kind.COUNT:
            column = self.reader.column(argument)
            if column is not None and column.measure is None and column.kind is not ColumnKind.VALUE:
                return self._counted(argument, test)
        scaled = self._scaled_case(argument, test, call)
        if scaled is not None:
            return scaled
        return _Term(self._line(argument, test, call), test)

    def _counted(self, argument: exp.Expression, test: RowTest) -> _Term:
        """COUNT of a text column: of the rows that have it."""
        column = self.reader.column(argument)
        if column is None or column.kind is not ColumnKind.LABEL:
            return _Term(_Line(None, shift=1.0), test)
        there = exp.Not(this=exp.Is(this=argument.copy(), expression=exp.Null()))
        return _Term(_Line(None, shift=1.0), self.reader.joined(test, self.reader.test(there), argument))

    def _scaled_case(self, argument: exp.Expression, test: RowTest, call: Call) -> _Term | None:
        """`100 * CASE … END` as the CASE of the products."""
        if not isinstance(argument, exp.Mul | exp.Div):
            return None
        left, right = bare(argument.this), bare(argument.expression)
        if isinstance(left, exp.Case) and (factor := _constant(right)):
            factor = 1.0 / factor if isinstance(argument, exp.Div) else factor
            inner = left
        elif isinstance(argument, exp.Mul) and isinstance(right, exp.Case) and (factor := _constant(left)):
            inner = right
        else:
            return None
        term = self._case(inner, test, call)
        otherwise = None if term.otherwise is None else term.otherwise * factor
        return replace(term, line=term.line.times(factor), otherwise=otherwise)

    def _case(self, node: exp.Expression, test: RowTest, call: Call) -> _Term:
        context = self.reader.context
        if isinstance(node, exp.Coalesce):
            return self._coalesced(node, test, call)
        branches = node.args.get("ifs") or []
        if node.args.get("this") is not None or len(branches) != 1:
            text = "a CASE inside of an aggregate has one WHEN with a condition; write an aggregate for each"
            raise context.refused(node, "CASE", text, keyword="CASE")
        condition, then = branches[0].this, bare(branches[0].args["true"])
        chosen = self.reader.joined(test, self.reader.test(condition), condition)
        default = node.args.get("default")
        otherwise = None if default is None or isinstance(bare(default), exp.Null) else _constant(bare(default))
        if default is not None and otherwise is None and not isinstance(bare(default), exp.Null):
            text = "ELSE is a number or NULL inside of an aggregate; write an aggregate for each side"
            raise context.refused(default, "ELSE", text)
        return _Term(self._line(then, chosen, call), chosen, otherwise)

    def _coalesced(self, node: exp.Coalesce, test: RowTest, call: Call) -> _Term:
        line = self._line(bare(node.this), test, call)
        by = _constant(bare(node.expressions[0])) if len(node.expressions) == 1 else None
        if by is None:
            raise self.reader.context.refused(node, "COALESCE", "COALESCE of a column takes one number: COALESCE(x, 0)")
        if line.measure is None or self.reader.table is not Table.SPANS:
            return _Term(line, test)  # a row of a metric has a number
        present = self.reader.joined(test, RowTest(present=line.measure), node)
        return _Term(line, present, by)

    def _line(self, node: exp.Expression, test: RowTest, call: Call) -> _Line:
        node = bare(node)
        constant = _constant(node)
        if constant is not None:
            return _Line(None, shift=constant)
        match node:
            case exp.Cast() if node.to.this in (*FLOAT_TYPES, *INTEGER_TYPES):
                return self._cast(node, test, call)
            case exp.Neg():
                return self._line(node.this, test, call).times(-1.0)
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
                return self._arithmetic(node, test, call)
            case _:
                return _Line(self._measure(node, test))

    def _cast(self, node: exp.Cast, test: RowTest, call: Call) -> _Line:
        inner = bare(node.this)
        column = self.reader.column(inner)
        if column is not None and column.kind is ColumnKind.FAILED:
            return _Line(_FAILED)
        if node.to.this in INTEGER_TYPES or node.to.expressions:
            text = "a cast that rounds each sample can't be summed up; leave it out, or ROUND the result"
            raise self.reader.context.refused(node, "::int", text)
        return self._line(inner, test, call)

    def _arithmetic(self, node: exp.Expression, test: RowTest, call: Call) -> _Line:
        left, right = self._line(node.this, test, call), self._line(node.expression, test, call)
        if isinstance(node, exp.Sub):
            node, right = exp.Add(), right.times(-1.0)
        if isinstance(node, exp.Add):
            if right.measure is None:
                return left.plus(right.shift)
            if left.measure is None:
                return right.plus(left.shift)
        if isinstance(node, exp.Mul) and (left.measure is None or right.measure is None):
            return left.times(right.shift) if right.measure is None else right.times(left.shift)
        if isinstance(node, exp.Div) and right.measure is None and right.shift != 0.0:
            return left.times(1.0 / right.shift)
        text = "two numbers of one sample can't be combined; aggregate each: SUM(a) + SUM(b)"
        raise self.reader.context.refused(call.node, str(call.kind), text)

    def _measure(self, node: exp.Expression, test: RowTest) -> Measure:
        column, context = self.reader.column(node), self.reader.context
        if column is None:
            raise context.refused(node, context.parsed.word(node), _not_supported(context, node))
        if column.kind in (ColumnKind.VALUE, ColumnKind.SKETCH):
            return self._valued(node, test)
        if column.measure is not None:
            return column.measure
        if column.kind is ColumnKind.FAILED:
            raise context.refused(node, "failed", "AVG(failed::int) is the share of failures; write the cast")
        text = f"{context.parsed.word(node)} is no number; aggregate value, or a number of spans like cost_usd"
        raise context.refused(node, context.parsed.word(node), text)

    def _valued(self, node: exp.Expression, test: RowTest) -> Measure:
        """The one metric whose values these rows have."""
        measures = {measure_of(name, self.reader.context.names) for name in test.metric_names or ()}
        if len(measures) != 1:
            text = (
                "these rows are of several metrics; choose one: metric_name = '…', or FILTER (WHERE metric_name = '…')"
            )
            raise self.reader.context.refused(node, "value", text)
        return measures.pop()


def _constant(node: exp.Expression) -> float | None:
    """The number that an expression without columns is."""
    if isinstance(node, exp.Neg):
        inner = _constant(bare(node.this))
        return None if inner is None else -inner
    if isinstance(node, exp.Cast) and node.to.this in FLOAT_TYPES and not node.to.expressions:
        return _constant(bare(node.this))
    if isinstance(node, exp.Literal) and not node.is_string:
        try:
            return float(node.this)
        except ValueError:
            return None
    return None


def _not_supported(context: Context, node: exp.Expression) -> str:
    return f"{context.parsed.word(node)} of each sample can't be kept as samples arrive; compute with the aggregate"
