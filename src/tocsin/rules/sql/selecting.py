"""A query's SELECTs, from the innermost outwards: WITH, FROM and sub-queries."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from sqlglot import exp

from tocsin.rules.problems import closest
from tocsin.rules.sql.context import Context, RefusedError, name_of
from tocsin.rules.sql.joining import join
from tocsin.rules.sql.overrelations import over_relations
from tocsin.rules.sql.overrows import over_rows
from tocsin.rules.sql.relations import Relation, RowSource
from tocsin.rules.sql.rows import RowTest
from tocsin.rules.sql.tables import Table

__all__ = ["relation_of"]

Source = Relation | RowSource


def relation_of(query: exp.Expression, context: Context) -> Relation | None:
    """Return what a query returns; None where a part without which nothing is known was refused.

    What is wrong is told in the context.
    """
    found = context.attempt(partial(_select, query, {}, context, outermost=True))
    return found if isinstance(found, Relation) else None


def _select(query: exp.Expression, known: Mapping[str, Source | None], context: Context, *, outermost: bool) -> Source:
    while isinstance(query, exp.Subquery) and not query.args.get("alias"):
        query = query.this
    if not isinstance(query, exp.Select):
        raise context.refused(query, "query", "a query here is one SELECT")
    known = _with(query, known, context)
    sources = _sources(query, known, context)
    rows = [(alias, each) for alias, each in sources if isinstance(each, RowSource)]
    if rows and len(sources) > 1:
        text = f"{rows[0][0]} has samples, of which every one would be a row; aggregate it in WITH, and join that"
        raise context.refused(query.args.get("from_") or query.args["from"], "CROSS JOIN", text)
    if rows:
        return over_rows(query, rows[0][1], context, outermost=outermost)
    relations = [(alias, each) for alias, each in sources if isinstance(each, Relation)]
    joined = join(relations, query.args.get("where"), context, query.args.get("from_") or query.args["from"])
    return over_relations(query, joined, context, outermost=outermost)


def _with(query: exp.Select, known: Mapping[str, Source | None], context: Context) -> Mapping[str, Source | None]:
    clause = query.args.get("with_") or query.args.get("with")
    found = dict(known)
    for cte in clause.expressions if clause is not None else ():
        alias = cte.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            text = "name the columns in the SELECT with AS, not behind the name"
            context.keep(context.refused(alias, "WITH", text))
        found[name_of(alias)] = context.attempt(partial(_select, cte.this, found, context, outermost=False))
    return found


def _sources(query: exp.Select, known: Mapping[str, Source | None], context: Context) -> list[tuple[str, Source]]:
    source = query.args.get("from_") or query.args.get("from")
    if source is None:
        raise context.refused(query, "FROM", f"nothing is read; add FROM {Table.NUMERIC}")
    nodes = [source.this, *(each.this for each in query.args.get("joins") or ())]
    found: list[tuple[str, Source]] = []
    for node in nodes:
        alias, each = _source(node, known, context)
        if any(alias == other for other, _ in found):
            raise context.refused(node, "FROM", f"two tables are called {alias!r}; give each its own alias")
        found.append((alias, each))
    return found


def _source(node: exp.Expression, known: Mapping[str, Source | None], context: Context) -> tuple[str, Source]:
    alias = name_of(node.args.get("alias"))
    if isinstance(node, exp.Subquery):
        return alias, _select(node.this, known, context, outermost=False)
    name = name_of(node) if isinstance(node, exp.Table) else ""
    if name in known and node.args.get("db") is None:
        found = known[name]
        if found is None:
            # What is wrong with it was told where it stands.
            raise RefusedError(context.refusals[-1])
        return alias or name, replace(found, alias=alias or name) if isinstance(found, RowSource) else found
    tables = [table.value for table in Table]
    if name not in tables or name_of(node.args.get("db")) not in ("", "public"):
        advice = closest(name, [*tables, *known])
        text = f"a rule reads {', '.join(tables)} and what WITH names, not {name[:60] or 'this'}{advice}"
        raise context.refused(node, "FROM", text)
    return alias or name, RowSource(Table(name), alias or name, RowTest())
