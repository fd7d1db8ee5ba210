"""SQL text to an expression that the engine evaluates as samples arrive."""

from dataclasses import dataclass

from sqlglot import exp

from tocsin.rules.refusals import QueryError, Refusal
from tocsin.rules.sql.config import SqlConfig
from tocsin.rules.sql.context import Context, bare
from tocsin.rules.sql.items import Item, items_of
from tocsin.rules.sql.parsing import Parsed, parse
from tocsin.rules.sql.relations import Bucket, Computed, Relation
from tocsin.rules.sql.scanning import scan
from tocsin.rules.sql.selecting import relation_of
from tocsin.rules.sql.times import is_interval_variable
from tocsin.rules.sql.units import unit_of
from tocsin.rules.vector import Entry, Expression, Language, Vector, labels_of, series_of

__all__ = ["TIMESTAMP", "VALUE", "Analysis", "CompiledQuery", "Met", "analyse", "compile_sql"]

TIMESTAMP = "metric_timestamp"
VALUE = "metric_value"
_MOST_LEAVES = 64


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A query that can run."""

    expression: Expression
    labels: tuple[Entry, ...]
    """The groups of its rows: one alert for each. Empty where there is one value per bucket."""


@dataclass(frozen=True, slots=True)
class Met:
    """One of the contract's requirements: whether and where it is met."""

    name: str
    where: tuple[int, int] | None
    """None: it is not met."""
    advice: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is known of a query's text."""

    requirements: tuple[Met, ...]
    refusals: tuple[Refusal, ...]
    """Beside requirements that are not met, in the order of the text."""
    compiled: CompiledQuery | None


def compile_sql(text: str, interval_ns: int, names: SqlConfig) -> CompiledQuery:
    """Return the expression of a query.

    Args:
        text: the SQL, with its template variables.
        interval_ns: the rule's interval, nanoseconds; at least 1.
        names: what names in queries stand for.

    Raises:
        QueryError: it does not meet the contract, or has a part without an equivalent; all reasons are given.
    """
    found = analyse(text, interval_ns, names)
    missing = [
        Refusal(*_whole(text), requirement.name, requirement.advice)
        for requirement in found.requirements
        if requirement.where is None
    ]
    if found.compiled is None or missing or found.refusals:
        raise QueryError((*missing, *found.refusals))
    return found.compiled


def _whole(text: str) -> tuple[int, int]:
    """Where a query begins that lacks something: its first word."""
    begin = len(text) - len(text.lstrip())
    words = text[begin:].split(maxsplit=1)
    return begin, begin + (len(words[0]) if words else 0)


def analyse(text: str, interval_ns: int, names: SqlConfig) -> Analysis:
    """Return what meets the contract in a query, what does not, and the expression if all does.

    Raises:
        QueryError: the text can't be read as SQL.
    """
    parsed = parse(text)
    context = Context(parsed, interval_ns, names)
    try:
        return _analysed(context)
    except RecursionError as error:
        refusal = parsed.refusal(0, len(text), "query", "the query is nested too deep; simplify it")
        raise QueryError((refusal,)) from error


def _analysed(context: Context) -> Analysis:
    parsed = context.parsed
    scan(context)
    select = _outermost(parsed.query)
    relation = None if isinstance(parsed.query, exp.SetOperation) else relation_of(parsed.query, context)
    items = {item.name: item for item in items_of(select)} if select is not None else {}
    requirements = _requirements(parsed, items)
    compiled = None
    if relation is not None and not context.refusals and all(each.where is not None for each in requirements):
        compiled = context.attempt(lambda: _compiled(relation, items, context))
    refusals = tuple(sorted(dict.fromkeys(context.refusals), key=lambda each: (each.begin, each.end)))
    return Analysis(requirements, refusals, None if refusals else compiled)


def _outermost(query: exp.Expression) -> exp.Select | None:
    while isinstance(query, exp.Subquery | exp.SetOperation):
        query = query.this
    return query if isinstance(query, exp.Select) else None


def _requirements(parsed: Parsed, items: dict[str, Item]) -> tuple[Met, ...]:
    places: dict[str, tuple[int, int] | None] = dict.fromkeys((TIMESTAMP, VALUE))
    for name in places:
        if name in items:
            node = items[name].node
            alias = node.parent.args.get("alias") if isinstance(node.parent, exp.Alias) else node
            places[name] = parsed.place(alias if isinstance(alias, exp.Expression) else node)
    times = {name: (begin, end) for name, begin, end in parsed.variables()}
    both = "start_time" in times and "end_time" in times
    starred = any(isinstance(item.node, exp.Star) for item in items.values())
    return (
        Met(
            f"{TIMESTAMP} column",
            places[TIMESTAMP] or (_whole(parsed.text) if starred else None),
            f"the query returns no {TIMESTAMP}; write time_bucket('${{interval}}', timestamp) AS {TIMESTAMP}",
        ),
        Met(
            f"{VALUE} column",
            places[VALUE] or (_whole(parsed.text) if starred else None),
            f"the query returns no {VALUE}; write what is compared AS {VALUE}, like AVG(value) AS {VALUE}",
        ),
        Met(
            "time template variables",
            times["start_time"] if both else None,
            "the query has no time; add AND timestamp BETWEEN '${start_time}' AND '${end_time}'",
        ),
        Met(
            "interval template variable",
            _bucketed(parsed),
            "buckets are as long as the rule's interval; write time_bucket('${interval}', timestamp)",
        ),
    )


def _bucketed(parsed: Parsed) -> tuple[int, int] | None:
    for node in parsed.query.find_all(exp.Anonymous):
        if str(node.this).lower() == "time_bucket" and node.expressions and is_interval_variable(node.expressions[0]):
            return parsed.place(node.expressions[0])
    return None


def _compiled(relation: Relation, items: dict[str, Item], context: Context) -> CompiledQuery:
    time, number = relation.columns.get(TIMESTAMP), relation.columns.get(VALUE)
    place = {name: items[name].node if name in items else context.parsed.query for name in (TIMESTAMP, VALUE)}
    if time != Bucket(0):
        text = f"{TIMESTAMP} is not the bucket that is judged; return time_bucket('${{interval}}', timestamp) as it"
        raise context.refused(bare(place[TIMESTAMP]), TIMESTAMP, text)
    value = number.value if isinstance(number, Computed) else None
    if value is None or not series_of(value):
        text = f"{VALUE} is no number of what the query reads; return an aggregate, like AVG(value)"
        raise context.refused(bare(place[VALUE]), VALUE, text)
    return _checked(relation.level.spread(value), place[VALUE], context)


def _checked(value: Vector, place: exp.Expression, context: Context) -> CompiledQuery:
    leaves = len(series_of(value))
    if leaves > _MOST_LEAVES:
        text = f"the query needs {leaves} windows, of which a rule has at most {_MOST_LEAVES}; simplify it"
        raise context.refused(place, VALUE, text)
    labels = labels_of(value) or ()
    text, interval_ns = context.parsed.text, context.interval_ns
    expression = Expression(Language.SQL, text, value, interval_ns=interval_ns, unit=unit_of(value))
    return CompiledQuery(expression, labels)
