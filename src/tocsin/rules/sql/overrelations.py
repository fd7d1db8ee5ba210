"""SELECTs over what other SELECTs return: projections of their rows, and aggregates over them."""

from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from tocsin.rules.sql.algebra import Level, Value, apply, both, combine, divide, operate
from tocsin.rules.sql.calls import Call, Kind, call_of
from tocsin.rules.sql.context import Context, bare, name_of
from tocsin.rules.sql.items import Item, group_nodes, is_aggregate, is_bucket, items_of
from tocsin.rules.sql.joining import Joined
from tocsin.rules.sql.relations import Bucket, Cell, Computed, Label, Relation
from tocsin.rules.sql.values import Evaluator
from tocsin.rules.vector import Combining, Entry, Function, Number, Operator, Vector

__all__ = ["over_relations"]

_COMBINING = {
    Kind.SUM: Combining.SUM,
    Kind.AVG: Combining.AVG,
    Kind.MIN: Combining.MIN,
    Kind.MAX: Combining.MAX,
    Kind.STDDEV_POP: Combining.STDDEV,
    Kind.STDDEV_SAMP: Combining.STDDEV,
    Kind.VAR_POP: Combining.STDVAR,
    Kind.VAR_SAMP: Combining.STDVAR,
}


def over_relations(select: exp.Select, joined: Joined, context: Context, *, outermost: bool) -> Relation:
    """Return what a SELECT over other SELECTs returns.

    Raises:
        RefusedError: it needs several buckets at once. What else is wrong is told in the context.
    """
    items = items_of(select)
    if not is_aggregate(select, items):
        below = joined.relation.level
        level = Level(below.labels, below.rows, known=outermost and not _restricted(select))
        evaluator = Evaluator(context, level, joined.number)
        return Relation(_cells(items, joined, evaluator, None), level, joined.relation.several_buckets)
    inputs = {column for _, column in joined.names}
    groups = _groups(group_nodes(select, items, inputs, context), joined)
    if joined.relation.several_buckets and not any(isinstance(cell, Bucket) for cell in groups):
        text = (
            "this combines several buckets, which are not kept; GROUP BY the bucket, or leave time_bucket out of the "
            "SELECT that reads the table"
        )
        raise context.refused(select.args.get("group") or select, "GROUP BY", text)
    labels = tuple(dict.fromkeys(cell.entry for cell in groups if isinstance(cell, Label)))
    rows = combine(Combining.COUNT, joined.relation.level.zeros(), labels) if labels else None
    level = Level(labels, rows, known=outermost)
    above = _Above(joined, level, context)
    evaluator = Evaluator(context, level, above.leaf)
    return Relation(_cells(items, joined, evaluator, groups), level, joined.relation.several_buckets)


def _restricted(select: exp.Select) -> bool:
    return select.args.get("where") is not None


def _groups(nodes: list[exp.Expression], joined: Joined) -> list[Cell]:
    found = []
    for node in nodes:
        cell = joined.context.attempt(partial(_group, node, joined))
        if cell is not None:
            found.append(cell)
    return found


def _group(node: exp.Expression, joined: Joined) -> Cell:
    cell = joined.cell(node) if isinstance(node, exp.Column) else None
    if isinstance(cell, Bucket | Label):
        return cell
    text = "rows are grouped by the bucket and by texts here; a number is no group"
    raise joined.context.refused(node, "GROUP BY", text)


def _cells(items: list[Item], joined: Joined, evaluator: Evaluator, groups: list[Cell] | None) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for item in items:
        node = bare(item.node)
        if groups is None and _is_star(node):
            found |= _starred(node, joined)
            continue
        cell = joined.context.attempt(partial(_cell, item, joined, evaluator, groups))
        found[item.name] = cell or Computed(evaluator.level.zeros())
    return found


def _is_star(node: exp.Expression) -> bool:
    return isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star))


def _starred(node: exp.Expression, joined: Joined) -> dict[str, Cell]:
    of = name_of(node.args.get("table")) if isinstance(node, exp.Column) else ""
    return {column: cell for (alias, column), cell in joined.names.items() if of in ("", alias)}


def _cell(item: Item, joined: Joined, evaluator: Evaluator, groups: list[Cell] | None) -> Cell:
    node, context = bare(item.node), joined.context
    if _is_star(node):
        raise context.refused(node, "*", "name what the query returns")
    if is_bucket(node, context):
        text = "there are no samples here, but buckets; return the column that the SELECT below names them by"
        raise context.refused(node, "time_bucket", text)
    if isinstance(node, exp.Column):
        cell = joined.cell(node)
        if groups is None or cell in groups:
            return cell
        name = name_of(node)
        text = f"{name} is neither aggregated nor in GROUP BY; write MIN({name}), or group by it"
        raise context.refused(node, name, text)
    return Computed(evaluator.value(node))


@dataclass(frozen=True, slots=True)
class _Above:
    """Aggregates over the rows of other SELECTs."""

    joined: Joined
    level: Level
    context: Context

    def leaf(self, node: exp.Expression) -> Value:
        call = call_of(node, self.context)
        if call is None:
            if isinstance(node, exp.Column):
                name = name_of(node)
                text = f"{name} is neither aggregated nor in GROUP BY; write MIN({name}), or group by it"
                raise self.context.refused(node, name, text)
            return self.joined.number(node)
        below = self.joined.relation.level
        evaluator = Evaluator(self.context, below, self.joined.number)
        value = self._argument(call, evaluator)
        if value is None:
            return None
        if call.condition is not None:
            value = both(value, evaluator.truth(call.condition))
        return self._combined(call, value, self.level.labels)

    def _argument(self, call: Call, evaluator: Evaluator) -> Vector | None:
        below = self.joined.relation.level
        argument = None if call.argument is None else bare(call.argument)
        if argument is None:
            return below.zeros()
        if call.kind is Kind.COUNT and isinstance(argument, exp.Column):
            cell = self.joined.cell(argument)
            if not isinstance(cell, Computed):
                return below.zeros()
        value = evaluator.value(argument)
        return None if value is None else below.spread(value)

    def _combined(self, call: Call, value: Vector, labels: tuple[Entry, ...]) -> Value:
        if call.kind is Kind.COUNT:
            return self.level.filled(combine(Combining.COUNT, value, labels), Number(0.0))
        if call.kind is Kind.QUANTILE and call.quantile is not None and not _is_discrete(call.node):
            rank = 1.0 - call.quantile if call.descending else call.quantile
            return combine(Combining.QUANTILE, value, labels, rank)
        if call.kind not in _COMBINING:
            text = "over the rows of a sub-query use AVG, SUM, MIN, MAX, COUNT, STDDEV or quantile_cont"
            raise self.context.refused(call.node, self.context.parsed.word(call.node), text)
        found: Value = combine(_COMBINING[call.kind], value, labels)
        if call.kind not in (Kind.STDDEV_SAMP, Kind.VAR_SAMP):
            return found
        count = combine(Combining.COUNT, value, labels)
        ratio = divide(count, operate(Operator.SUB, count, Number(1.0)))
        return operate(Operator.MUL, found, ratio if call.kind is Kind.VAR_SAMP else apply(Function.SQRT, ratio))


def _is_discrete(node: exp.Expression) -> bool:
    """Whether a percentile is one of the values itself; over slices rules interpolate."""
    names = {str(each.this).lower() for each in node.find_all(exp.Anonymous)}
    return "quantile_disc" in names or node.find(exp.PercentileDisc, exp.ApproxQuantile) is not None
