"""Compiled queries give what DuckDB gives for the same SQL over the same samples."""

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sql_peer import EPOCH_NS, INTERVAL_NS, LABELS, Peer, Sample, oracle_samples, with_classes
from sql_queries import Query, query_of
from vector_oracle import evaluate

from tocsin.model.batch import SpanClass
from tocsin.rules.sql import SqlConfig, compile_sql

_CASES = 25
"""Queries over the samples of one example."""
_LATEST = 6 * 60


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def samples_of(rng: random.Random, *, inherited: bool = True) -> list[Sample]:
    """Samples within six buckets, some exactly where buckets meet; inherited: labels that a trace gives may lack."""
    return [_sample(rng, inherited=inherited) for _ in range(rng.choice([0, 1, 3, 10, 25]))]


def _sample(rng: random.Random, *, inherited: bool) -> Sample:
    span_class = rng.choice([SpanClass.LLM, SpanClass.LLM, SpanClass.TOOL, SpanClass.EVALUATION])
    is_call = span_class is SpanClass.LLM
    names = [name for name in LABELS if rng.randrange(4) or not (inherited or name == "model")]
    return Sample(
        at_us=rng.randrange(2 * _LATEST) * 500_000,
        span_class=span_class,
        labels={name: rng.choice(["a", "b", "ab"]) for name in names},
        failed=rng.randrange(4) == 0,
        latency_ms=rng.randrange(40) / 4,
        cost_usd=rng.randrange(16) / 8 if is_call else 0.0,
        input_tokens=rng.choice([None, rng.randrange(10)]) if is_call else None,
        size=rng.choice([None, float(rng.randrange(-4, 5))]),
        score=rng.choice([0.0, 0.25, 0.5, 1.0]) if span_class is SpanClass.EVALUATION else None,
    )


def assert_agrees(peer: Peer, query: Query, recorded: list[Sample], bucket: int) -> None:
    end = EPOCH_NS + bucket * INTERVAL_NS
    compiled = compile_sql(query.text, INTERVAL_NS, SqlConfig())
    vector = with_classes(compiled.expression.value)
    found = evaluate(vector, oracle_samples(recorded), end, end_excluded=True)
    rows = [row for row in peer.rows(query.text, end) if _begins(row, end)]
    if not query.label:
        wanted = (rows or peer.rows(query.empty, end) or [{"metric_value": None}])[0]["metric_value"]
        assert_equal(found.get(()), wanted, query)
        return
    returned = {(row["label"],): row["metric_value"] for row in rows}
    for key, value in returned.items():
        assert_equal(found.get(key), value, query)
    known = {(row["label"],) for row in peer.rows(query.known, end)}
    assert found.keys() - returned.keys() <= known
    for key in known - returned.keys():
        if query.form == "plain":
            wanted = peer.rows(query.of_label(str(key[0])), end)[0]["metric_value"]
            assert_equal(found.get(key), wanted, query)


def _begins(row: dict[str, Any], end: int) -> bool:
    return bool(row["metric_timestamp"].timestamp() * 10**9 == end - INTERVAL_NS)


def assert_equal(found: float | None, wanted: float | None, query: Query) -> None:
    if found is None or wanted is None:
        assert (found is None) == (wanted is None), (found, wanted, query.text)
    else:
        tolerance = 1e-9 if query.exact else 1e-7
        assert math.isclose(found, float(wanted), rel_tol=tolerance, abs_tol=tolerance), (found, wanted, query.text)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64))
def test_queries_mean_what_duckdb_says(peer: Peer, seed: int) -> None:
    rng = random.Random(seed)
    recorded = samples_of(rng)
    peer.fill(recorded)
    for _ in range(_CASES):
        assert_agrees(peer, query_of(rng), recorded, rng.randrange(1, 8))


NEGATED = [f"CASE WHEN NOT (COUNT(*) {sign} 1) THEN 5 ELSE 7 END" for sign in (">", ">=", "<", "<=", "=", "<>")]
BORDERS = [
    *NEGATED,
    "ROUND(COUNT(*) - 2.5)",
    "ROUND(0.5 - COUNT(*))",
    "ROUND(AVG(value) - 5.25, 1)",
    "1 / (COUNT(*) - 1)",
    "(COUNT(*) - 1) / (COUNT(*) - 1)",
    "(0 - COUNT(*)) % 2",
    "COUNT(*) % NULLIF(COUNT(*) - 2, 0)",
    "MIN(-value)",
    "MAX(3 - value)",
    "quantile_cont(-value, 0.25)",
    "percentile_cont(0.25) WITHIN GROUP (ORDER BY value * -2 DESC)",
    "STDDEV(value)",
    "STDDEV_POP(value * -2)",
    "VAR_SAMP(value)",
    "VAR_POP(value + 3)",
    "GREATEST(AVG(value), 4)",
    "LEAST(SUM(value) FILTER (WHERE dimensions->>'tenant' = 'a'), SUM(value))",
    "NULLIF(COUNT(*), 1) + COALESCE(NULLIF(COUNT(*), 2), 10)",
    "CASE COUNT(*) WHEN 1 THEN 10 WHEN 2 THEN 20 END",
    "CASE WHEN AVG(value) IS NULL THEN 1 ELSE 2 END",
    "CASE WHEN AVG(value) > 5 OR COUNT(*) = 0 THEN 1 END",
]


@pytest.mark.parametrize("value", BORDERS)
@pytest.mark.parametrize("label", ["", "dimensions->>'model_version'"])
def test_borders_mean_what_duckdb_says(peer: Peer, value: str, label: str) -> None:
    query = Query(value, where=("metric_name = 'response_latency_ms'",), label=label, exact=False)
    for seed in range(2):
        recorded = samples_of(random.Random(seed))
        peer.fill(recorded)
        for bucket in range(1, 8):
            assert_agrees(peer, query, recorded, bucket)
