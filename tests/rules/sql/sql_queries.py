# ruff: noqa: S608  # queries put together from parts are what is tested
"""Queries of the supported grammar at random, each with what it is for an empty bucket.

They are drawn from a `random.Random`: drawing each word from Hypothesis took longer than running the queries.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["Query", "query_of"]

_NUMERIC = "metrics_numeric_latest_version"
_SKETCH = "metrics_sketch_latest_version"
_BUCKET = "time_bucket('${interval}', timestamp)"
_START = "'${start_time}'::timestamptz"
_WITHIN = "timestamp BETWEEN '${start_time}' AND '${end_time}'"
_HALF_OPEN = "timestamp >= '${start_time}' AND timestamp < '${end_time}'"


@dataclass(frozen=True)
class Query:
    """A query in parts, so that it can be written as it is and without its bucket."""

    value: str
    table: str = _NUMERIC
    where: tuple[str, ...] = ()
    label: str = ""
    """What the outer rows are grouped by beside the bucket; empty: nothing."""
    form: str = "plain"
    """plain, slices, spike, lagged, chosen or filtered (see `text`)."""
    inner: str = ""
    """The aggregate of the inner SELECT, where there is one."""
    slice_by: str = ""
    back: str = "5 minutes"
    condition: str = ""
    """Of the outer WHERE."""
    exact: bool = True
    """No percentile in it."""

    @property
    def text(self) -> str:
        return self._written(_BUCKET)

    @property
    def empty(self) -> str:
        """The same over a bucket that is there whether or not it has samples."""
        return self._written(None)

    def of_label(self, value: str) -> str:
        """The same for one value of the label, over a bucket that is there whether or not it has samples."""
        return replace(self, label="", where=(*self.where, f"{self.label} = '{value}'")).empty

    @property
    def known(self) -> str:
        """The values of the label that there were so far."""
        conditions = " AND ".join((*self.where, "timestamp < '${end_time}'", f"{self.label} IS NOT NULL"))
        return f"SELECT DISTINCT {self.label} AS label FROM {self.table} WHERE {conditions}"

    def _from(self, window: str, *more: str) -> str:
        return f"FROM {self.table} WHERE {' AND '.join((*self.where, *more, window))}"

    def _written(self, bucket: str | None) -> str:
        """The query; without its bucket where None is given."""
        time = bucket or _START
        within = _WITHIN if bucket else _HALF_OPEN
        groups = ", ".join(each for each in (bucket and "metric_timestamp", self.label) if each)
        group = f" GROUP BY {groups}" if groups else ""
        label = f", {self.label} AS label" if self.label else ""
        present = (f"{self.label} IS NOT NULL",) if self.label else ()
        match self.form:
            case "slices":
                sliced = f"{self.slice_by} IS NOT NULL"
                inner_group = ", ".join(each for each in (bucket and "bucket", self.slice_by) if each)
                inner = (
                    f"SELECT {time} AS bucket, {self.inner} AS x {self._from(within, sliced)} GROUP BY {inner_group}"
                )
                outer = " GROUP BY bucket" if bucket else ""
                where = f" WHERE {self.condition}" if self.condition else ""
                first = "bucket" if bucket else _START
                return (
                    f"SELECT {first} AS metric_timestamp, {self.value} AS metric_value FROM ({inner}) s{where}{outer}"
                )
            case "spike":
                start = f"'${{start_time}}'::timestamptz - INTERVAL '{self.back}'"
                base = f"timestamp >= {start} AND timestamp < '${{start_time}}'::timestamptz"
                current = f"SELECT {time} AS metric_timestamp{label}, {self.inner} AS x"
                where = f" WHERE {self.condition}" if self.condition else ""
                return (
                    f"WITH b AS (SELECT {self.inner} AS y {self._from(base)}), "
                    f"c AS ({current} {self._from(within, *present)}{group}) "
                    f"SELECT c.metric_timestamp{', c.label' if label else ''}, {self.value} AS metric_value "
                    f"FROM c CROSS JOIN b{where} ORDER BY c.metric_timestamp"
                )
            case "chosen":
                chosen = f"SELECT timestamp, value, dimensions->>'tenant' AS who {self._from(_HALF_OPEN)}"
                if self.table == "spans":
                    chosen = f"SELECT * {self._from(_HALF_OPEN)}"
                returned = f"{time} AS metric_timestamp, {self.value} AS metric_value"
                return f"WITH r AS ({chosen}) SELECT {returned} FROM r{group}"
            case _:
                return (
                    f"SELECT {time} AS metric_timestamp{label}, {self.value} AS metric_value "
                    f"{self._from(within, *present)}{group} ORDER BY metric_timestamp"
                )


_CONSTANTS = ("0", "1", "2", "0.5", "-3", "10")
_COLUMNS_OF_SPANS = ("latency_ms", "cost_usd", "input_tokens", '"app.size"')
_EXACT = ("AVG", "SUM", "MIN", "MAX")
_SPREAD = ("STDDEV", "STDDEV_SAMP", "STDDEV_POP", "VARIANCE", "VAR_SAMP", "VAR_POP")
_RANKS = ("0.5", "0.95", "0", "1", "0.25")
_METRICS = ("response_latency_ms", "error_rate", "inference_count", "cost", "app.size", "accuracy")
_OVER_SLICES = (
    "MIN(x)",
    "MAX(x)",
    "AVG(x)",
    "SUM(x)",
    "COUNT(*)",
    "COUNT(x)",
    "COUNT(*) FILTER (WHERE x > 1)",
    "SUM(CASE WHEN x > 1 THEN x ELSE 0 END)",
    "AVG(COALESCE(x, 1))",
    "MAX(x * 2 - 1)",
)
_SPREAD_OF_SLICES = ("STDDEV(x)", "STDDEV_POP(x)", "VARIANCE(x)", "quantile_cont(x, 0.5)", "median(x)")

Draw = Callable[[], str]


def _condition(rng: random.Random, table: str) -> str:
    """A condition on rows."""
    of_spans = table == "spans"
    model, tenant = ("model", "tenant") if of_spans else ("dimensions->>'model_version'", "dimensions->>'tenant'")
    kind = '"app.kind"' if of_spans else "dimensions->>'app.kind'"
    column = rng.choice([model, tenant, kind])
    value = rng.choice(["a", "b", "ab", "c"])
    forms = [
        f"{column} = '{value}'",
        f"{column} <> '{value}'",
        f"{column} IN ('{value}', 'b')",
        f"{column} NOT IN ('{value}', 'c')",
        f"{column} LIKE '{value}%'",
        f"{column} NOT LIKE '_{value}'",
        f"{column} ILIKE '{value.upper()}_'",
        f"{column} IS NULL",
        f"{column} IS NOT NULL",
        f"({column} = '{value}' OR {column} = 'b')",
        f"NOT ({column} = '{value}')",
        f"({model} = 'a' AND {tenant} <> '{value}')",
    ]
    if of_spans:
        forms += ["span_class IN ('llm', 'tool')", "span_class = 'llm'", "span_class <> 'tool'"]
    return rng.choice(forms)


def _number(rng: random.Random, table: str) -> str:
    """What is aggregated of a row."""
    column = rng.choice(_COLUMNS_OF_SPANS) if table == "spans" else "value"
    return rng.choice([column, column, f"{column} * 2", f"-{column}", f"{column} / 4 + 1", f"3 - {column}"])


def _aggregate(rng: random.Random, table: str) -> str:
    """An aggregate of a table's rows whose value is exact."""
    if table == _SKETCH:
        rank = rng.choice(_RANKS)
        merged = "kll_float_sketch_merge(value)"
        return rng.choice(
            [
                f"kll_float_sketch_get_quantile({merged}, {rank})",
                "COUNT(*)",
                f"COALESCE(kll_float_sketch_get_n({merged}), 0)",
            ]
        )
    number, condition = _number(rng, table), _condition(rng, table)
    plain = f"{rng.choice(_EXACT)}({number})"
    forms = [
        plain,
        plain,
        "COUNT(*)",
        f"COUNT({number})",
        f"{plain} FILTER (WHERE {condition})",
        f"COUNT(*) FILTER (WHERE {condition})",
        f"AVG(CASE WHEN {condition} THEN 1 ELSE 0 END)",
        f"SUM(CASE WHEN {condition} THEN {number} ELSE 0 END)",
        f"AVG(CASE WHEN {condition} THEN {number} ELSE 2 END)",
        f"SUM(CASE WHEN {condition} THEN 3 ELSE -1 END)",
        f"COUNT(CASE WHEN {condition} THEN 1 END)",
        f"MIN(CASE WHEN {condition} THEN {number} END)",
        f"AVG(4 * CASE WHEN {condition} THEN 1 ELSE 0 END)",
        f"SUM(COALESCE({_number(rng, table)}, 2))",
        f"AVG(COALESCE({number}, 0))",
    ]
    if table == "spans":
        forms += [
            "AVG(CASE WHEN failed THEN 1 ELSE 0 END)",
            "AVG(failed::int)",
            "COUNT(*) FILTER (WHERE failed)",
            "COUNT(*) FILTER (WHERE NOT failed)",
            "SUM(CASE WHEN failed THEN 2 ELSE 1 END)",
            "COUNT(tenant)",
        ]
    return rng.choice(forms)


def _inexact(rng: random.Random, table: str) -> str:
    """An aggregate that is computed in another way than DuckDB does."""
    if table == _SKETCH:
        return _aggregate(rng, table)
    number, rank = _number(rng, table), rng.choice(_RANKS)
    forms = [
        f"{rng.choice(_SPREAD)}({number})",
        f"quantile_cont({number}, {rank})",
        f"percentile_cont({rank}) WITHIN GROUP (ORDER BY {number})",
        f"percentile_cont({rank}) WITHIN GROUP (ORDER BY {number} DESC)",
        f"median({number})",
    ]
    return rng.choice(forms)


def _computed(rng: random.Random, leaf: Draw, depth: int = 2) -> str:
    """An expression over exact numbers; divisions are guarded."""
    if not depth or rng.randrange(3) == 0:
        return leaf()
    first, second = (_computed(rng, leaf, depth - 1) for _ in range(2))
    constant, comparison, sign = (
        rng.choice(_CONSTANTS),
        rng.choice([">", ">=", "<", "<=", "=", "<>"]),
        rng.choice("+-*"),
    )
    forms = [
        f"({first} {sign} {second})",
        f"({first} {sign} {constant})",
        f"({first} / NULLIF({second}, 0))",
        f"({first} / 4)",
        f"COALESCE({first}, {constant})",
        f"COALESCE({first}, {second}, {constant})",
        f"NULLIF({first}, {constant})",
        f"NULLIF({first}, {second})",
        f"ABS({first})",
        f"-({first})",
        f"FLOOR({first})",
        f"CEIL({first})",
        f"SIGN({first})",
        f"ROUND({first})",
        f"GREATEST({first}, {constant})",
        f"LEAST({first}, {second})",
        f"({first})::float8",
        f"CASE WHEN {first} {comparison} {constant} THEN {second} END",
        f"CASE WHEN {first} {comparison} {second} THEN {constant} ELSE {second} END",
        f"CASE WHEN {first} IS NULL THEN {constant} WHEN {first} > 1 AND {second} < 5 THEN {first} ELSE 0 END",
        f"CASE WHEN NOT ({first} > {constant} OR {second} IS NULL) THEN {first} ELSE {constant} END",
        f"CASE WHEN {first} BETWEEN 0 AND 3 THEN {second} ELSE {first} END",
    ]
    return rng.choice(forms)


def _value(rng: random.Random, leaf: Draw, inexact: Draw) -> tuple[str, bool]:
    """What a query returns, and whether no percentile or deviation is in it."""
    which = rng.randrange(10)
    if which < 2:
        return inexact(), False
    if which == 2:
        return f"{leaf()} / {leaf()}", True
    return _computed(rng, leaf), True


def query_of(rng: random.Random) -> Query:
    """Return a query of any form."""
    table = rng.choice([_NUMERIC, _NUMERIC, "spans", "spans", _SKETCH])
    of_spans = table == "spans"
    where = (_condition(rng, table),) if rng.randrange(2) else ()
    if not of_spans:
        where = (f"metric_name = '{rng.choice(_METRICS)}'", *where)
    label = rng.choice(["", "", "model" if of_spans else "dimensions->>'model_version'"])
    query = Query("", table, where, label, rng.choice(["plain", "plain", "slices", "spike", "chosen"]))
    match query.form:
        case "slices":
            value, exact = _value(rng, lambda: rng.choice(_OVER_SLICES), lambda: rng.choice(_SPREAD_OF_SLICES))
            condition = rng.choice(["", "", "x > 1", "x IS NOT NULL", "x < 5 OR x > 100"])
            slice_by = "tenant" if of_spans else "dimensions->>'tenant'"
            inner = _aggregate(rng, table)
            return replace(
                query, value=value, label="", inner=inner, slice_by=slice_by, condition=condition, exact=exact
            )
        case "spike":
            over = ["c.x / NULLIF(b.y, 0)", "c.x / NULLIF(b.y, 0)", "c.x", "b.y", "x", "(c.x - b.y)"]
            value = _computed(rng, lambda: rng.choice(over))
            condition = rng.choice(["", "", "b.y > 1", "c.x >= b.y"])
            back = rng.choice(["5 minutes", "2 minutes", "90 seconds"])
            return replace(query, value=value, inner=_aggregate(rng, table), back=back, condition=condition)
        case "chosen" if table != _SKETCH:
            return replace(query, value=_computed(rng, lambda: rng.choice(_chosen(table))), label="")
        case _:
            value, exact = _value(rng, lambda: _aggregate(rng, table), lambda: _inexact(rng, table))
            return replace(query, value=value, form="plain", exact=exact)


def _chosen(table: str) -> list[str]:
    if table == "spans":
        return ["AVG(latency_ms)", "COUNT(*)", "SUM(cost_usd) FILTER (WHERE model = 'a')"]
    return ["AVG(value)", "COUNT(*)", "SUM(value) FILTER (WHERE who = 'a')", "MAX(value)"]
