# ruff: noqa: S608  # queries put together from parts are what is tested
"""What no rule can compute is refused, at its place, with what works instead."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.rules.refusals import QueryError, Refusal
from tocsin.rules.sql import SqlConfig, checklist, compile_sql

HOUR_NS = 3_600 * 10**9
WITHIN = "timestamp BETWEEN '${start_time}' AND '${end_time}'"


def query(
    value: str = "AVG(value)",
    *,
    where: str = "metric_name = 'latency'",
    table: str = "metrics_numeric_latest_version",
    within: str = WITHIN,
    more: str = "",
) -> str:
    return (
        f"SELECT time_bucket('${{interval}}', timestamp) AS metric_timestamp, {value} AS metric_value "
        f"FROM {table} WHERE {where} AND {within} GROUP BY metric_timestamp{more}"
    )


def spans(value: str, where: str = "span_class = 'llm'") -> str:
    return query(value, where=where, table="spans")


def refusals(text: str) -> tuple[Refusal, ...]:
    with pytest.raises(QueryError) as refused:
        compile_sql(text, HOUR_NS, SqlConfig())
    return refused.value.refusals


REFUSED: dict[str, tuple[str, str, str]] = {
    # what -> (query, the words at the place, a part of the advice)
    "HAVING": (query(more=" HAVING COUNT(*) > 3"), "HAVING", "bound and threshold"),
    "LIMIT": (query(more=" ORDER BY 1 LIMIT 5"), "LIMIT", "leave LIMIT out"),
    "OFFSET": (query(more=" ORDER BY 1 OFFSET 5"), "OFFSET", "leave OFFSET out"),
    "FETCH": (query(more=" FETCH FIRST 3 ROWS ONLY"), "FETCH", "leave LIMIT out"),
    "FOR UPDATE": (query(more=" FOR UPDATE"), "FOR", "only reads"),
    "SELECT DISTINCT": (query().replace("SELECT", "SELECT DISTINCT"), "DISTINCT", "use GROUP BY"),
    "UNION": (f"{query()} UNION ALL {query()}", "UNION", "a rule for each side"),
    "EXCEPT": (f"{query()} EXCEPT {query()}", "EXCEPT", "a rule for each side"),
    "JOIN ON": (
        f"WITH a AS ({query()}), b AS ({query()}) SELECT a.metric_timestamp, a.metric_value FROM a "
        "JOIN b ON a.metric_timestamp = b.metric_timestamp",
        "JOIN",
        "CROSS JOIN",
    ),
    "LEFT JOIN": (
        f"WITH a AS ({query()}), b AS ({query()}) SELECT a.metric_timestamp, a.metric_value FROM a "
        "LEFT JOIN b USING (metric_timestamp)",
        "JOIN",
        "CROSS JOIN",
    ),
    "WITH RECURSIVE": (f"WITH RECURSIVE a AS ({query()}) SELECT * FROM a", "RECURSIVE", "leave RECURSIVE out"),
    "window functions": (query("AVG(value) OVER (PARTITION BY model_id)"), "OVER", "WITH query"),
    "COUNT(DISTINCT)": (query("COUNT(DISTINCT dimensions->>'user')"), "DISTINCT", "group by them in a sub-query"),
    "SUM(DISTINCT)": (query("SUM(DISTINCT value)"), "DISTINCT", "leave DISTINCT out"),
    "array_agg": (query("array_agg(value)"), "array_agg(value)", "use AVG"),
    "an unknown function": (query("AGG(value)"), "AGG(value)", "use AVG"),
    "another function": (query("hypot(AVG(value), 1)"), "hypot(AVG(value), 1)", "docs/sql.md"),
    "ROLLUP": (query().replace("GROUP BY", "GROUP BY ROLLUP (dimensions->>'a'),"), "ROLLUP", "each grouping"),
    "no bounds of time": (query(within="model_id = 'm'"), "metrics_numeric_latest_version", "no bound"),
    "one bound of time": (query(within="timestamp >= '${start_time}'"), "metrics_numeric_latest_version", "no end"),
    "now()": (query(within="timestamp > now() - INTERVAL '1 hour'"), "now() - INTERVAL '1 hour'"[:3], "${start_time}"),
    "the future": (
        query(within="timestamp >= '${start_time}' AND timestamp < '${end_time}'::timestamptz + INTERVAL '1 hour'"),
        "metric_name = 'latency' AND timestamp",
        "after ${end_time}",
    ),
    "months": (
        query(within="timestamp >= '${start_time}'::timestamptz - INTERVAL '1 month' AND timestamp < '${end_time}'"),
        "'${start_time}'",
        "no months",
    ),
    "a bucket cut in two": (
        query(within="timestamp >= '${start_time}' AND timestamp < '${end_time}'::timestamptz - INTERVAL '1 minute'"),
        "metric_name",
        "whole number of intervals",
    ),
    "a literal bucket": (query().replace("'${interval}'", "'1 hour'"), "'1 hour'", "${interval}"),
    "a bucket with an origin": (
        query().replace("timestamp) AS", "timestamp, TIMESTAMP '2000-01-01') AS"),
        "time_bucket('${interval}', timestamp, TIMESTAMP '2000-01-01')",
        "Unix epoch",
    ),
    "date_trunc": (
        query().replace("time_bucket('${interval}', timestamp)", "date_trunc('hour', timestamp)"),
        "date_trunc('hour', timestamp)",
        "time_bucket",
    ),
    "an unknown variable": (query(within="timestamp > '${strt_time}'"), "'${strt_time}'", "did you mean 'start_time'"),
    "graphs' variables": (query(within="timestamp > '{{dateStart}}'"), "{{dateStart}}", "belongs to graphs"),
    "two statements": (f"{query()}; {query()}", ";", "remove what follows"),
    "a change": ("DELETE FROM spans", "DELETE", "only reads"),
    "broken SQL": ("SELECT a FROM WHERE", "WHERE", "not expected here"),
    "an open quote": ("SELECT 'a", "'", "has no end"),
    "an unknown table": (query(table="metrics_numeric"), "metrics_numeric", "did you mean"),
    "an unknown column": (query("AVG(valu)"), "valu", "did you mean 'value'"),
    "an unknown column of spans": (spans("AVG(latency)"), "latency", "did you mean 'latency_ms'"),
    "an unknown class": (spans("COUNT(*)", "span_class = 'lm'"), "span_class = 'lm'", "did you mean 'llm'"),
    "no metric": (query(where="model_id = 'm'"), "model_id", "metric_name = 'accuracy'"),
    "two metrics": (query(where="metric_name IN ('latency', 'cost')"), "value", "choose one"),
    "a number in WHERE": (query(where="metric_name = 'latency' AND value > 3"), "value > 3", "not by their numbers"),
    "a span's id": (spans("COUNT(*)", "span_id = 'x'"), "span_id = 'x'", "their ids"),
    "one trace": (spans("COUNT(*)", "trace_id = 'x'"), "trace_id = 'x'", "GROUP BY it"),
    "OR of two columns": (
        query(where="metric_name = 'latency' AND (dimensions->>'a' = 'x' OR dimensions->>'b' = 'y')"),
        "OR",
        "one column",
    ),
    "= NULL": (query(where="metric_name = 'latency' AND dimensions->>'a' = NULL"), "dimensions", "IS NULL"),
    "EXISTS": (query(where="metric_name = 'latency' AND EXISTS (SELECT 1)"), "EXISTS", "leave EXISTS out"),
    "IN a sub-query": (
        query(where="metric_name = 'latency' AND dimensions->>'a' IN (SELECT 1)"),
        "IN",
        "not known beforehand",
    ),
    "regular expressions": (
        query(where="metric_name = 'latency' AND dimensions->>'a' ~ 'x'"),
        "dimensions->>'a' ~ 'x'"[:10],
        "use LIKE",
    ),
    "nothing passes": (query(where="metric_name = 'a' AND metric_name = 'b'"), "metric_name = 'b'", "no sample passes"),
    "samples as rows": (
        f"SELECT time_bucket('${{interval}}', timestamp) AS metric_timestamp, value AS metric_value "
        f"FROM metrics_numeric_latest_version WHERE metric_name = 'cost' AND {WITHIN}",
        "time_bucket('${interval}', timestamp)",
        "aggregate them",
    ),
    "a column beside aggregates": (query("AVG(value) + value"), "value", "neither aggregated"),
    "text as number": (query("AVG(dimensions->>'a')"), "dimensions", "no number"),
    "numbers of a sketch": (
        query("AVG(value)", table="metrics_sketch_latest_version"),
        "AVG(value)",
        "kll_float_sketch_get_quantile",
    ),
    "a sketch of numbers": (
        query("kll_float_sketch_get_quantile(kll_float_sketch_merge(value), 0.9)"),
        "kll_float_sketch_get_quantile(kll_float_sketch_merge(value), 0.9)",
        "quantile_cont",
    ),
    "a merged sketch alone": (
        query("kll_float_sketch_merge(value)", table="metrics_sketch_latest_version"),
        "kll_float_sketch_merge(value)",
        "is no number",
    ),
    "a rank above 1": (query("quantile_cont(value, 95)"), "95", "from 0 to 1"),
    "numbers of one sample": (
        spans("SUM(input_tokens + output_tokens)"),
        "SUM(input_tokens + output_tokens)",
        "SUM(a)",
    ),
    "failed spans' numbers": (spans("AVG(latency_ms) FILTER (WHERE failed)"), "AVG(latency_ms)", "error_type"),
    "CASE with two WHENs": (
        query("SUM(CASE WHEN dimensions->>'a' = 'x' THEN 1 WHEN dimensions->>'a' = 'y' THEN 2 END)"),
        "CASE",
        "one WHEN",
    ),
    "division by a constant zero": (query("AVG(value) / 0"), "0", "divides by zero"),
    "a constant": (query("1"), "1", "return an aggregate"),
    "a text": (query("'x'"), "'x'", "remove the quotes"),
    "a rounding cast": (query("AVG(value)::int"), "AVG(value)", "FLOOR"),
    "a position too far": (query(more=", 7"), "7", "from 1 to 2"),
    "GROUP BY raw time": (
        query().replace("GROUP BY metric_timestamp", "GROUP BY timestamp"),
        "timestamp",
        "every instant",
    ),
    "no GROUP BY of the bucket": (query().replace(" GROUP BY metric_timestamp", ""), "time_bucket(", "GROUP BY"),
    "a joined table": (
        f"WITH a AS ({query()}) SELECT a.metric_timestamp, a.metric_value FROM a CROSS JOIN spans",
        "a",
        "aggregate it in WITH",
    ),
    "several buckets together": (
        "WITH a AS (SELECT time_bucket('${interval}', timestamp) AS b, AVG(value) AS x "
        "FROM metrics_numeric_latest_version WHERE metric_name = 'cost' "
        "AND timestamp >= '${start_time}'::timestamptz - INTERVAL '24 hours' "
        "AND timestamp < '${end_time}' GROUP BY b), "
        f"c AS ({query()}) SELECT c.metric_timestamp, c.metric_value / y.x AS metric_value "
        "FROM c CROSS JOIN (SELECT AVG(x) AS x FROM a) y",
        "SELECT AVG(x) AS x FROM a"[7:13],
        "several buckets",
    ),
    "yesterday's bucket as the time": (
        query(
            within="timestamp >= '${start_time}'::timestamptz - INTERVAL '24 hours' "
            "AND timestamp < '${end_time}'::timestamptz - INTERVAL '24 hours'"
        ),
        "time_bucket('${interval}', timestamp)",
        "not the bucket that is judged",
    ),
    "two groupings": (
        f"WITH a AS ({query(more=', dimensions->>' + repr('x'))}), b AS ({query(more=', dimensions->>' + repr('x'))}) "
        "SELECT a.metric_timestamp, a.metric_value / b.metric_value AS metric_value FROM a CROSS JOIN b",
        "a",
        "both have groups",
    ),
    "the same alias twice": (
        f"WITH a AS ({query()}) SELECT metric_timestamp, metric_value FROM a CROSS JOIN a",
        "a",
        "own alias",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_is_refused_at_its_place(what: str) -> None:
    text, words, advice = REFUSED[what]
    found = refusals(text)
    fitting = [each for each in found if text[each.begin : each.end].upper().startswith(words.upper())]
    assert fitting, [(text[each.begin : each.end], each.text) for each in found]
    assert any(advice in each.text for each in fitting), fitting
    assert all(0 <= each.begin <= each.end <= len(text) and each.clause and each.text for each in found)


def test_every_mistake_of_a_query_is_told_in_the_order_of_the_text() -> None:
    text = query("AVG(valu)", where="metric_name = 'cost' AND value > 3", more=" HAVING 1 > 2 LIMIT 3")
    assert [text[each.begin : each.end] for each in refusals(text)] == ["valu", "value > 3", "HAVING", "LIMIT"]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (
            query().replace("metric_timestamp,", "bucket,").replace("BY metric_timestamp", "BY 1"),
            "metric_timestamp column",
        ),
        (query().replace("metric_value", "v"), "metric_value column"),
        (query(within="timestamp > '${start_time}'"), "time template variables"),
        (query().replace("'${interval}'", "'1 hour'"), "interval template variable"),
    ],
)
def test_the_checklist_names_each_requirement(text: str, missing: str) -> None:
    lines = checklist(text, HOUR_NS, SqlConfig())
    assert [line.name for line in lines[:4]] == [
        "metric_timestamp column",
        "metric_value column",
        "time template variables",
        "interval template variable",
    ]
    failed = [line for line in lines[:4] if not line.passed]
    assert [line.name for line in failed] == [missing]
    assert failed[0].advice
    assert any(refusal.clause == missing for refusal in refusals(text))


def test_the_checklist_of_a_good_query_says_where_each_requirement_is_met() -> None:
    text = query()
    lines = checklist(text, HOUR_NS, SqlConfig())
    assert all(line.passed and not line.advice and line.where is not None for line in lines)
    places = [text[line.where[0] : line.where[1]] for line in lines if line.where is not None]
    assert places == ["metric_timestamp", "metric_value", "'${start_time}'", "'${interval}'"]


def test_the_checklist_of_text_that_is_no_sql_says_so() -> None:
    lines = checklist("SELEC a", HOUR_NS, SqlConfig())
    assert [line.passed for line in lines] == [False] * 5
    assert lines[4].where == (0, 5)


_WORDS = (  # noqa: SIM905  # a list of these words would fill a page
    "SELECT FROM WHERE GROUP BY HAVING ORDER WITH AS AND OR NOT IN IS NULL LIKE BETWEEN CASE WHEN THEN ELSE END CROSS "
    "JOIN ON UNION time_bucket timestamp value metric_name metric_value metric_timestamp dimensions AVG SUM COUNT "
    "COALESCE NULLIF quantile_cont FILTER OVER WITHIN INTERVAL EXISTS metrics_numeric_latest_version spans ( ) ( ) , . "
    "; * + - / % = <> < > :: ->> -> ' \" [ ] $ $$ ${start_time} '${end_time}' '${interval}' '1 hour' 0 1 0.5 1e999 'x' "
    "\"app.x\" -- /* */ E'\\' @ # ? ! ~ é \x00 :: int failed latency_ms ROWS LATERAL VALUES ARRAY"
).split(" ")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=40))
def test_any_words_are_compiled_or_refused_within_the_text(words: list[str]) -> None:
    check_never_crashes(" ".join(words))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.integers(0, 400), st.integers(0, 60))
def test_any_damage_to_a_query_is_compiled_or_refused(inserted: str, at: int, removed: int) -> None:
    text = query("COALESCE(AVG(CASE WHEN dimensions->>'a' LIKE 'x%' THEN value ELSE 0 END) / NULLIF(COUNT(*), 0), 1)")
    check_never_crashes(text[:at] + inserted + text[at + removed :])


def check_never_crashes(text: str) -> None:
    for each in refused_by(text):
        assert 0 <= each.begin <= each.end <= len(text)
        assert each.text
    assert len(checklist(text, HOUR_NS, SqlConfig())) >= 4


def refused_by(text: str) -> tuple[Refusal, ...]:
    try:
        compile_sql(text, HOUR_NS, SqlConfig())
    except QueryError as error:
        return error.refusals
    return ()


@pytest.mark.parametrize("depth", [60, 500, 5000])
def test_deep_queries_are_refused_and_never_end_the_process(depth: int) -> None:
    for inner in (
        "(" * depth + "AVG(value)" + ")" * depth,
        "+".join(["AVG(value)"] * depth),
        "-" * depth + "AVG(value)",
    ):
        check_never_crashes(query(inner))


def test_a_query_with_too_many_windows_is_refused() -> None:
    many = " + ".join(f"AVG(value) FILTER (WHERE dimensions->>'a' = 'x{number}')" for number in range(70))
    assert any("at most 64" in each.text for each in refusals(query(many)))
