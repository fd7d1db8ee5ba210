"""Relations side by side: CROSS JOIN, and conditions that tell which of their rows belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from tocsin.rules.sql.algebra import Level, Value, both
from tocsin.rules.sql.context import Context, bare, name_of
from tocsin.rules.sql.overrows import unknown
from tocsin.rules.sql.relations import Bucket, Cell, Computed, Label, Relation
from tocsin.rules.sql.rows import conjuncts
from tocsin.rules.sql.times import time_of
from tocsin.rules.sql.values import Evaluator
from tocsin.rules.vector import Entry, Vector, labels_of

__all__ = ["Joined", "join"]


@dataclass(frozen=True, slots=True)
class Joined:
    """Relations as one, with the names by which their columns are known."""

    relation: Relation
    names: Mapping[tuple[str, str], Cell]
    """(alias, column) -> what it is."""
    context: Context

    def cell(self, node: exp.Column) -> Cell:
        """Return the column of a name.

        Raises:
            RefusedError: there is none, or several.
        """
        name, of = name_of(node), name_of(node.args.get("table"))
        found = [cell for (alias, column), cell in self.names.items() if column == name and of in ("", alias)]
        if len(found) == 1:
            return found[0]
        if found:
            alias = next(alias for alias, column in self.names if column == name)
            raise self.context.refused(node, name, f"several tables have {name!r}; write {alias}.{name}")
        known = ", ".join(dict.fromkeys(column for _, column in self.names))
        text = f"{f'{of}.' if of else ''}{name} is not returned by what is read here, which has {known or 'no columns'}"
        raise self.context.refused(node, name, text)

    def number(self, node: exp.Expression) -> Value:
        """Return a column's numbers; what an `Evaluator` asks for.

        Raises:
            RefusedError: it is no column, or no number.
        """
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            raise unknown(node, self.context)
        cell = self.cell(node)
        if isinstance(cell, Computed):
            return cell.value
        what = "the bucket's time" if isinstance(cell, Bucket) else "a text"
        raise self.context.refused(node, name_of(node), f"{name_of(node)} is {what}, and no number")


def join(
    sources: Sequence[tuple[str, Relation]], where: exp.Where | None, context: Context, place: exp.Expression
) -> Joined:
    """Return relations as one, where their conditions hold.

    Raises:
        RefusedError: more than one of them has groups, and nothing says which belong together.
    """
    names = {(alias, column): cell for alias, each in sources for column, cell in each.columns.items()}
    plain = Joined(Relation({}, Level((), None)), names, context)
    conditions = conjuncts(where.this) if where is not None else []
    pairs: list[tuple[str, str, Cell]] = []
    numeric: list[exp.Expression] = []
    for node in conditions:
        pair = context.attempt(partial(_equated, node, plain))
        if pair is None or isinstance(pair, exp.Expression):
            numeric += [pair] if pair is not None else []
        else:
            pairs.append(pair)
    labels = _labels(sources, pairs, context, place)
    _check_buckets(sources, pairs, context, place)
    rows = [each.level.zeros() for _, each in sources if each.level.rows is not None]
    level = Level(labels, _common(rows, labels))
    if len(rows) > 1 and level.rows is not None:
        names = {key: _limited(cell, level, level.rows) for key, cell in names.items()}
    relation = Relation(_unqualified(names), level, any(each.several_buckets for _, each in sources))
    return _where(Joined(relation, names, context), numeric)


def _equated(node: exp.Expression, joined: Joined) -> tuple[str, str, Cell] | exp.Expression:
    """What an equality of two tables' columns says: their aliases, and the column; the condition where it is another.

    A bucket compared with the time of the query says nothing new: there is one bucket.
    """
    node = bare(node)
    left, right = bare(node.args.get("this") or node), bare(node.args.get("expression") or node)
    left_cell = joined.cell(left) if isinstance(left, exp.Column) else None
    right_cell = joined.cell(right) if isinstance(right, exp.Column) else None
    context = joined.context
    if isinstance(node, exp.EQ) and left_cell == right_cell and isinstance(left_cell, Bucket | Label):
        return name_of(left.args.get("table")), name_of(right.args.get("table")), left_cell
    if isinstance(left_cell, Label) or isinstance(right_cell, Label):
        text = "choose groups where the samples are read: put this condition in the WHERE of the table's SELECT"
        raise context.refused(node, "WHERE", text)
    if isinstance(left_cell, Bucket) or isinstance(right_cell, Bucket):
        if _holds(node, left_cell, context):
            return "", "", left_cell if isinstance(left_cell, Bucket) else Bucket(0)
        text = "buckets are compared with those of another SELECT by =, and with nothing else; leave it out"
        raise context.refused(node, "WHERE", text)
    return node


def _holds(node: exp.Expression, cell: Cell | None, context: Context) -> bool:
    """Whether a comparison of the bucket with the query's time is true of the bucket that is evaluated."""
    if not isinstance(cell, Bucket):
        return False
    at = -context.interval_ns - cell.offset_ns
    if isinstance(node, exp.Between):
        low, high = (time_of(node.args[name], context.interval_ns) for name in ("low", "high"))
        return low is not None and high is not None and low <= at <= high
    other = time_of(node.expression, context.interval_ns) if isinstance(node, exp.Binary) else None
    if other is None:
        return False
    return (
        (isinstance(node, exp.GTE) and at >= other)
        or (isinstance(node, exp.LT) and at < other)
        or (isinstance(node, exp.LTE) and at <= other)
        or (isinstance(node, exp.GT) and at > other)
        or (isinstance(node, exp.EQ) and at == other)
    )


def _labels(
    sources: Sequence[tuple[str, Relation]],
    pairs: Sequence[tuple[str, str, Cell]],
    context: Context,
    place: exp.Expression,
) -> tuple[Entry, ...]:
    grouped = [(alias, each) for alias, each in sources if each.level.labels]
    if not grouped:
        return ()
    first, relation = grouped[0]
    for alias, other in grouped[1:]:
        matched = {cell.entry for left, right, cell in pairs if isinstance(cell, Label) and alias in (left, right)}
        if other.level.labels != relation.level.labels or matched != set(relation.level.labels):
            text = (
                f"{first} and {alias} both have groups; group both by the same columns in the same order, and write "
                f"WHERE {first}.x = {alias}.x for each"
            )
            raise context.refused(place, "CROSS JOIN", text)
    return relation.level.labels


def _check_buckets(
    sources: Sequence[tuple[str, Relation]],
    pairs: Sequence[tuple[str, str, Cell]],
    context: Context,
    place: exp.Expression,
) -> None:
    bucketed = [(alias, each) for alias, each in sources if each.is_bucketed]
    if len(bucketed) < 2 or not any(each.several_buckets for _, each in bucketed):
        return
    matched = {alias for left, right, cell in pairs if isinstance(cell, Bucket) for alias in (left, right)}
    for alias, _ in bucketed:
        if alias not in matched:
            text = f"both sides have several buckets; write WHERE {alias}.bucket = … for the two that belong together"
            raise context.refused(place, "CROSS JOIN", text)


def _common(rows: Sequence[Vector], labels: tuple[Entry, ...]) -> Vector | None:
    """The rows that all have; those with the labels first."""
    if not rows:
        return None
    level = Level(labels, None)
    ordered = sorted(rows, key=lambda each: _labels_of(each) != labels)
    found = ordered[0]
    for each in ordered[1:]:
        found = both(level.spread(found) if not labels else found, each)
    return found


def _labels_of(rows: Vector) -> tuple[Entry, ...]:
    return labels_of(rows) or ()


def _limited(cell: Cell, level: Level, truth: Vector) -> Cell:
    if not isinstance(cell, Computed) or cell.value is None:
        return cell
    return Computed(both(level.spread(cell.value), truth))


def _unqualified(names: Mapping[tuple[str, str], Cell]) -> dict[str, Cell]:
    return {column: cell for (_, column), cell in names.items()}


def _where(joined: Joined, conditions: Sequence[exp.Expression]) -> Joined:
    """The rows where conditions on numbers hold."""
    found = joined
    for node in conditions:
        evaluator = Evaluator(joined.context, found.relation.level, found.number)
        truth = joined.context.attempt(partial(evaluator.truth, node))
        if truth is None:
            continue
        level = found.relation.level
        limited = Level(level.labels, both(level.zeros(), truth))
        names = {key: _limited(cell, level, truth) for key, cell in found.names.items()}
        relation = Relation(_unqualified(names), limited, found.relation.several_buckets)
        found = Joined(relation, names, joined.context)
    return found
