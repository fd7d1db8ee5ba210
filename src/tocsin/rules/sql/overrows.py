"""SELECTs over a table: each becomes leaves over one window."""

from dataclasses import dataclass
from functools import partial
from math import gcd

from sqlglot import exp

from tocsin.rules.sql.algebra import Value
from tocsin.rules.sql.calls import call_of
from tocsin.rules.sql.context import Context, bare, name_of
from tocsin.rules.sql.items import Item, group_nodes, is_aggregate, is_bucket, items_of
from tocsin.rules.sql.relations import Bucket, Cell, Computed, Label, Relation, RowSource
from tocsin.rules.sql.rows import RowReader, RowTest, conjuncts
from tocsin.rules.sql.scanning import window_refused
from tocsin.rules.sql.sums import Sums, Window
from tocsin.rules.sql.tables import Kind, Table
from tocsin.rules.sql.values import Evaluator
from tocsin.rules.vector import Entry

__all__ = ["over_rows"]

_LONGEST_NS = 366 * 86_400 * 10**9
_MOST_PANES = 50_000
_METRIC_COLUMNS = {"timestamp", "model_id", "metric_name", "value", "dimensions"}


def over_rows(select: exp.Select, source: RowSource, context: Context, *, outermost: bool) -> Relation | RowSource:
    """Return what a SELECT over a table's rows returns.

    Raises:
        RefusedError: it is not bounded in time, or reads no known metric. What else is wrong is told in the context.
    """
    reader = RowReader(context, source.table, source.alias)
    written = items_of(select)
    items = [Item(item.name, _in_table(item.node, source, context)) for item in written]
    test = _tested(select, source, reader)
    if not is_aggregate(select, items):
        if outermost:
            text = "every sample would be a row of its own; aggregate them: AVG(value) … GROUP BY metric_timestamp"
            raise context.refused(select.expressions[0], "SELECT", text)
        return RowSource(source.table, "", test, _columns(items, source, context))
    inputs = None if source.table is Table.SPANS and source.columns is None else set(source.columns or _METRIC_COLUMNS)
    nodes = group_nodes(select, written, inputs, context)
    groups = _Groups.of([_in_table(node, source, context) for node in nodes], reader)
    window, several = _window(select, test, context, bucketed=groups.bucketed)
    if source.table is not Table.SPANS and not test.metric_names:
        text = "the table has many metrics; name the one that is read: AND metric_name = 'accuracy'"
        raise context.refused(select.args.get("where") or select, "metric_name", text)
    sums = Sums(reader, test, window, groups.labels, outermost)
    cells: dict[str, Cell] = {}
    for item in items:
        # What was refused has some value, so that those who read it are looked at too.
        cells[item.name] = context.attempt(partial(_cell, item, groups, sums)) or Computed(sums.level.zeros())
    return Relation(cells, sums.level, several)


@dataclass(frozen=True, slots=True)
class _Groups:
    """What the rows of a SELECT over a table are grouped by."""

    bucketed: bool
    labels: tuple[Entry, ...]

    @classmethod
    def of(cls, nodes: list[exp.Expression], reader: RowReader) -> "_Groups":
        bucketed = False
        labels: dict[Entry, None] = {}
        for node in nodes:
            entry = reader.context.attempt(partial(_entry, node, reader))
            if entry:
                labels[entry] = None
            else:
                bucketed = bucketed or entry is None
        return cls(bucketed, tuple(labels))


def _entry(node: exp.Expression, reader: RowReader) -> Entry | None:
    """The label that rows are grouped by; empty where all rows have one value, None for the bucket."""
    if is_bucket(node, reader.context):
        return None
    column = None if isinstance(node, exp.Anonymous) else reader.column(node)
    if column is not None and column.kind is Kind.LABEL:
        return (column.label,)
    if column is not None and column.kind in (Kind.MODEL_ID, Kind.METRIC_NAME):
        return ()
    text = "rows are grouped by time_bucket('${interval}', timestamp), text columns and dimensions->>'name'; use these"
    if column is not None and column.kind is Kind.TIME:
        text = (
            "every instant would be a group of its own; group by the bucket: GROUP BY metric_timestamp, or its number"
        )
    raise reader.context.refused(node, "GROUP BY", text)


def _cell(item: Item, groups: _Groups, sums: Sums) -> Cell:
    node, reader, context = bare(item.node), sums.reader, sums.reader.context
    if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
        raise context.refused(node, "*", "name what the query returns: time_bucket(…) AS metric_timestamp, …")
    if is_bucket(node, context):
        if not groups.bucketed:
            text = f"the bucket is not in GROUP BY; add GROUP BY {item.name or 'metric_timestamp'}"
            raise context.refused(node, "GROUP BY", text)
        return Bucket(sums.window.offset_ns)
    if isinstance(node, exp.Column | exp.JSONExtractScalar):
        column = reader.column(node)
        if column is not None and column.kind is Kind.LABEL and (column.label,) in groups.labels:
            return Label((column.label,))
        if column is not None and column.kind in (Kind.MODEL_ID, Kind.METRIC_NAME):
            return Computed(None)
    return Computed(Evaluator(context, sums.level, lambda each: _aggregate(each, sums)).value(node))


def _aggregate(node: exp.Expression, sums: Sums) -> Value:
    context = sums.reader.context
    call = call_of(node, context)
    if call is not None:
        return sums.value(call)
    word = context.parsed.word(node)
    if isinstance(node, exp.Column | exp.JSONExtractScalar):
        sums.reader.column(node)
        text = f"{word} is neither aggregated nor in GROUP BY; write AVG({word}), or group by it"
        raise context.refused(node, word, text)
    raise unknown(node, context)


def unknown(node: exp.Expression, context: Context) -> Exception:
    """Return the refusal of an expression that rules do not have."""
    word = context.parsed.word(node)
    if isinstance(node, exp.Window):
        return window_refused(node, context)
    if isinstance(node, exp.CurrentTimestamp | exp.CurrentDate):
        return context.refused(node, "now()", "a rule's time is that of its bucket; write '${end_time}'")
    if isinstance(node, exp.Subquery):
        return context.refused(node, "sub-query", "put the sub-query in WITH, and CROSS JOIN it")
    if isinstance(node, exp.Literal):
        return context.refused(node, word[:40], "a text is no number; remove the quotes")
    text = f"{word[:40]} is nothing that rules compute; docs/sql.md lists what they do"
    return context.refused(node, word[:40], text)


def _tested(select: exp.Select, source: RowSource, reader: RowReader) -> RowTest:
    """The rows that WHERE leaves of the source's."""
    found, where, context = source.test, select.args.get("where"), reader.context
    for node in conjuncts(where.this) if where is not None else ():
        found = context.attempt(partial(_narrowed, found, node, source, reader)) or found
    return found


def _narrowed(found: RowTest, node: exp.Expression, source: RowSource, reader: RowReader) -> RowTest:
    return reader.joined(found, reader.test(_in_table(node, source, reader.context)), node)


def _window(select: exp.Select, test: RowTest, context: Context, *, bucketed: bool) -> tuple[Window, bool]:
    """The part of time that a SELECT reads, and whether it has several buckets of it."""
    interval, begin, end = context.interval_ns, test.begin_ns, test.end_ns
    source: exp.Expression = select.args.get("from_") or select.args.get("from") or select
    if begin is None or end is None:
        side = "end" if begin is not None else "beginning" if end is not None else "beginning and no end"
        text = (
            f"there is no {side} of the time that is read, so its size has no bound; "
            "add AND timestamp BETWEEN '${start_time}' AND '${end_time}'"
        )
        raise context.refused(source, "timestamp", text)
    place: exp.Expression = select.args.get("where") or source
    if end > 0 or begin >= end:
        text = "the time that is read ends after ${end_time}" if end > 0 else "the time that is read ends as it begins"
        raise context.refused(place, "timestamp", f"{text}; write BETWEEN '${{start_time}}' AND '${{end_time}}'")
    several = bucketed and not (end - begin == interval and end % interval == 0)
    if several:
        if begin > -interval or end != 0:
            text = (
                "a bucket's part of the time that is read is not whole; read '${start_time}' to '${end_time}', "
                "both less a whole number of intervals, or leave time_bucket out of this SELECT"
            )
            raise context.refused(place, "timestamp", text)
        begin = -interval
    if -begin > _LONGEST_NS:
        raise context.refused(place, "timestamp", "a query reads at most 366 days; write less")
    if (end - begin) // gcd(end - begin, -end, interval) > _MOST_PANES:
        text = (
            "the interval does not fit the time that is read, which would be kept in too many parts; let it divide it"
        )
        raise context.refused(place, "timestamp", text)
    return Window(end - begin, -end), several


def _columns(items: list[Item], source: RowSource, context: Context) -> dict[str, exp.Expression] | None:
    """The names of a SELECT that chooses rows; None where it has all of the table's."""
    found: dict[str, exp.Expression] = {}
    for item in items:
        node = bare(item.node)
        if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
            if len(items) == 1:
                return dict(source.columns) if source.columns is not None else None
            raise context.refused(node, "*", "write * alone, or name the columns")
        if item.name:
            found[item.name] = node
    return found


def _in_table(node: exp.Expression, source: RowSource, context: Context) -> exp.Expression:
    """An expression in terms of the table, through the names of a SELECT that chose its rows."""
    columns = source.columns
    if columns is None:
        return node

    def replaced(each: exp.Expression) -> exp.Expression:
        if not isinstance(each, exp.Column) or isinstance(each.this, exp.Star):
            return each
        if name_of(each) not in columns:
            text = f"the sub-query returns no {name_of(each)!r}; add it to its list"
            raise context.refused(each, name_of(each), text)
        inner = columns[name_of(each)].copy()
        for column in inner.find_all(exp.Column):
            column.set("table", None)
        return exp.Paren(this=inner)

    parent = node.parent
    found = node.copy().transform(replaced)
    found.parent = parent
    return found
