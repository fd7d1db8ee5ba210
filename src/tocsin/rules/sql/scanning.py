"""Clauses that no rule has, wherever in a query they stand."""

from collections.abc import Iterator

from sqlglot import exp

from tocsin.rules.problems import closest
from tocsin.rules.sql.context import Context, RefusedError
from tocsin.rules.sql.parsing import VARIABLES

__all__ = ["exists_refused", "scan", "window_refused"]

_READ = frozenset({"expressions", "from", "from_", "joins", "where", "group", "order", "with", "with_", "kind"})
_CLAUSES = {
    "having": (
        "HAVING",
        "the rule's bound and threshold judge the value; leave HAVING out, or put the SELECT in WITH and choose its "
        "rows by WHERE",
    ),
    "limit": ("LIMIT", "each bucket is judged as it ends, so there is nothing to cut off; leave LIMIT out"),
    "offset": ("OFFSET", "each bucket is judged as it ends, so there is nothing to skip; leave OFFSET out"),
    "distinct": ("DISTINCT", "groups are distinct already; use GROUP BY in place of DISTINCT"),
    "windows": ("WINDOW", "rows before and after are not kept; compare with an earlier time in a WITH query"),
    "qualify": ("QUALIFY", "rows before and after are not kept; leave QUALIFY out"),
    "locks": ("FOR", "a rule only reads; leave FOR UPDATE out"),
    "laterals": ("LATERAL", "put the sub-query in WITH, and CROSS JOIN it"),
    "sample": ("TABLESAMPLE", "all samples count; leave TABLESAMPLE out"),
    "into": ("INTO", "a rule only reads; leave INTO out"),
}
_SETS: tuple[tuple[type[exp.Expression], str], ...] = (
    (exp.Union, "UNION"),
    (exp.Except, "EXCEPT"),
    (exp.Intersect, "INTERSECT"),
)
_GROUPINGS: dict[str, type[exp.Expression]] = {
    "CUBE": exp.Cube,
    "ROLLUP": exp.Rollup,
    "GROUPING SETS": exp.GroupingSets,
}
_OTHER_VARIABLES = ("dateStart", "dateEnd")


def scan(context: Context) -> None:
    """Tell the context of every such clause."""
    for error in _found(context):
        context.keep(error)


def window_refused(node: exp.Window, context: Context) -> RefusedError:
    """Return the refusal of a window function."""
    text = "rows before and after are not kept; compare with an earlier time in a WITH query, joined by CROSS JOIN"
    return context.refused(node, "OVER", text, keyword="OVER")


def exists_refused(node: exp.Exists, context: Context) -> RefusedError:
    """Return the refusal of EXISTS."""
    return context.refused(node, "EXISTS", "choose groups by GROUP BY and WHERE; leave EXISTS out", keyword="EXISTS")


def _found(context: Context) -> Iterator[RefusedError]:
    yield from _variables(context)
    for node in context.parsed.query.walk():
        if isinstance(node, exp.Select):
            yield from _clauses(node, context)
        elif isinstance(node, exp.Join):
            yield from _join(node, context)
        elif isinstance(node, exp.Window) and not isinstance(node.parent, exp.Select):
            yield window_refused(node, context)
        elif isinstance(node, exp.Group):
            yield from _group(node, context)
        elif isinstance(node, exp.With) and node.args.get("recursive"):
            text = "a query can't read itself here; leave RECURSIVE out"
            yield context.refused(node, "WITH RECURSIVE", text, keyword="RECURSIVE")
        elif isinstance(node, exp.Exists):
            yield exists_refused(node, context)
        elif isinstance(node, exp.TableSample):
            yield context.refused(node, "TABLESAMPLE", _CLAUSES["sample"][1], keyword="TABLESAMPLE")
        for kind, word in _SETS:
            if isinstance(node, kind):
                text = f"a rule has one value per bucket and group; write a rule for each side of {word}"
                yield context.refused(node, word, text, keyword=word)


def _clauses(select: exp.Select, context: Context) -> Iterator[RefusedError]:
    for key, value in select.args.items():
        if not value or key in _READ:
            continue
        node = value[0] if isinstance(value, list) else value
        word, text = _CLAUSES.get(key, (key.upper().strip("_"), "rules have no such clause; leave it out"))
        place = node if isinstance(node, exp.Expression) else select
        if isinstance(place, exp.Fetch):
            word = "FETCH"
        yield context.refused(place, word, text, keyword=word)
    if select.args.get("kind"):
        yield context.refused(select, str(select.args["kind"]), "list columns behind SELECT, and nothing else")


def _join(join: exp.Join, context: Context) -> Iterator[RefusedError]:
    conditions = [name.upper() for name in ("on", "using") if join.args.get(name)]
    words = [str(join.args.get(name) or "").upper() for name in ("method", "side", "kind")]
    word = " ".join(each for each in (*words, "JOIN", *conditions) if each)
    if not conditions and words in (["", "", ""], ["", "", "CROSS"]) and not isinstance(join.this, exp.Lateral):
        return
    text = (
        f"{word} is not known; write CROSS JOIN, and compare the two SELECTs' columns in WHERE: "
        "CROSS JOIN b WHERE a.bucket = b.bucket"
    )
    yield context.refused(join, word, text, keyword="JOIN")


def _group(group: exp.Group, context: Context) -> Iterator[RefusedError]:
    for word, kind in _GROUPINGS.items():
        for node in group.find_all(kind):
            text = f"write a rule for each grouping; leave {word} out"
            yield context.refused(node, word, text, keyword=word.split()[0])
    if group.args.get("all"):
        yield context.refused(group, "ALL", "name what is grouped by; leave ALL out", keyword="ALL")


def _variables(context: Context) -> Iterator[RefusedError]:
    parsed = context.parsed
    for name, begin, end in parsed.variables():
        if name not in VARIABLES:
            text = f"${{{name}}} is not known; use {', '.join(f'${{{each}}}' for each in VARIABLES)}"
            yield RefusedError(parsed.refusal(begin, end, "template variable", text + closest(name, VARIABLES)))
    for name in _OTHER_VARIABLES:
        written = f"{{{{{name}}}}}"
        if (at := parsed.text.find(written)) >= 0:
            other = "start_time" if name == "dateStart" else "end_time"
            text = f"{written} belongs to graphs; a rule's time is '${{{other}}}'"
            yield RefusedError(parsed.refusal(at, at + len(written), written, text))
