"""What a SELECT lists and groups by: names, positions, and the bucket of time."""

from dataclasses import dataclass

from sqlglot import exp

from tocsin.rules.sql.calls import has_call
from tocsin.rules.sql.context import Context, bare, name_of
from tocsin.rules.sql.times import is_interval_variable

__all__ = ["Item", "group_nodes", "is_aggregate", "is_bucket", "items_of"]

_OTHER_BUCKETS = ("date_trunc", "date_bin", "time_bucket_gapfill", "time_bucket_ng")


@dataclass(frozen=True, slots=True)
class Item:
    """One column of a SELECT's list."""

    name: str
    node: exp.Expression


def items_of(select: exp.Select) -> list[Item]:
    """Return what a SELECT lists; a column without a name of its own has an empty one."""
    found = []
    for node in select.expressions:
        if isinstance(node, exp.Alias):
            found.append(Item(name_of(node.args["alias"]), node.this))
        else:
            found.append(Item(name_of(node) if isinstance(node, exp.Column) else "", node))
    return found


def group_nodes(
    select: exp.Select, items: list[Item], inputs: set[str] | None, context: Context
) -> list[exp.Expression]:
    """Return what a SELECT groups by, positions and aliases replaced by what they stand for.

    Args:
        select: the SELECT.
        items: what it lists.
        inputs: names of the columns below, which come before those of the list, as in PostgreSQL; None: any but those
            of the list.
        context: takes the refusals.
    """
    group = select.args.get("group")
    if group is None:
        return []
    by_name = {item.name: item.node for item in items if item.name}
    found: list[exp.Expression] = []
    for node in group.expressions:
        each = bare(node)
        if isinstance(each, exp.Cube | exp.Rollup | exp.GroupingSets):
            continue  # told where clauses are
        if isinstance(each, exp.Literal) and not each.is_string:
            position = int(each.this) if str(each.this).isdecimal() else 0
            if not 1 <= position <= len(items):
                text = f"the list has no column {each.this}; write a number from 1 to {len(items)}"
                context.keep(context.refused(each, "GROUP BY", text))
                continue
            each = items[position - 1].node
        elif isinstance(each, exp.Column) and each.args.get("table") is None and name_of(each) in by_name:
            own = by_name[name_of(each)]
            each = each if inputs is not None and name_of(each) in inputs else own
        found.append(bare(each))
    return found


def is_aggregate(select: exp.Select, items: list[Item]) -> bool:
    """Whether a SELECT's rows are groups of those below."""
    return select.args.get("group") is not None or any(has_call(item.node) for item in items)


def is_bucket(node: exp.Expression, context: Context) -> bool:
    """Whether an expression is `time_bucket('${interval}', timestamp)`.

    Raises:
        RefusedError: it is another way to cut time.
    """
    node = bare(node)
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc | exp.DateBin):
        raise context.refused(node, context.parsed.word(node), "write time_bucket('${interval}', timestamp)")
    if not isinstance(node, exp.Anonymous):
        return False
    name = str(node.this).lower()
    if name in _OTHER_BUCKETS:
        raise context.refused(node, name, "write time_bucket('${interval}', timestamp)")
    if name != "time_bucket":
        return False
    arguments = node.expressions
    if not arguments or not is_interval_variable(arguments[0]):
        text = "a bucket is as long as the rule's interval; write time_bucket('${interval}', timestamp)"
        raise context.refused(arguments[0] if arguments else node, "time_bucket", text)
    if len(arguments) != 2:
        text = "buckets begin at the Unix epoch; write time_bucket('${interval}', timestamp) without offset or zone"
        raise context.refused(node, "time_bucket", text)
    time = bare(arguments[1])
    if not isinstance(time, exp.Column) or name_of(time) != "timestamp":
        raise context.refused(time, "time_bucket", "write time_bucket('${interval}', timestamp)")
    return True
