"""SQL rules in the engine: buckets end as samples pass, and their values are DuckDB's."""

import math
import random
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SECOND, Span, batch_of, rule_of
from sql_peer import EPOCH_NS, INTERVAL_NS, LABELS, Peer, Sample, oracle_samples, with_classes
from sql_queries import Query, query_of
from test_against_duckdb import assert_agrees, samples_of
from vector_oracle import evaluate

from tocsin.engine import Engine
from tocsin.model.batch import ABSENT, CostSource, SpanClass
from tocsin.rules.measures import Condition, Metric, NoData
from tocsin.rules.rule import Rule
from tocsin.rules.sql import SqlConfig, compile_sql

_CASES = 8
"""Queries in one engine."""
_BUCKETS = 7


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def span_of(sample: Sample, number: int) -> Span:
    """Return a sample as the engine gets it: a trace of its own."""
    is_call = sample.span_class is SpanClass.LLM
    evaluation = {} if sample.score is None else {"evaluation": "accuracy"}
    numbers = {"app.size": sample.size, "judge_score": sample.score}
    nano = int(sample.cost_usd * 10**9)
    return Span(
        time=sample.time_ns,
        trace=number,
        span=number,
        span_class=sample.span_class,
        latency=int(sample.latency_ms * 10**6),
        failed=sample.failed,
        labels={**sample.labels, **evaluation},
        numbers={name: value for name, value in numbers.items() if value is not None},
        cost_nano=nano if is_call else 0,
        computed_nano=nano if is_call else ABSENT,
        cost_source=CostSource.COMPUTED if is_call else CostSource.NONE,
        input_tokens=ABSENT if sample.input_tokens is None else sample.input_tokens,
    )


def rule_for(text: str, name: str = "sql") -> Rule:
    """Return a rule of a query in which every value is a breach."""
    compiled = compile_sql(text, INTERVAL_NS, SqlConfig())
    return rule_of(
        name=name,
        metric=Metric.EXPRESSION,
        expression=compiled.expression,
        group_by=compiled.labels,
        condition=Condition.PRESENT,
        no_data=NoData.OK,
        window_ns=None,
    )


def _keeping() -> list[Rule]:
    """Rules that keep every group known."""
    return [
        rule_of(
            name=f"keep {label}", metric=Metric.COUNT, threshold=10**9, window_ns=3600 * SECOND, group_by=((label,),)
        )
        for label in LABELS
    ]


def values_of(engine: Engine, rule: Rule) -> Mapping[tuple[str, ...], float]:
    names = [entry[0] for entry in rule.group_by]
    return {
        tuple(each.group[name] for name in names): each.value for each in engine.values() if each.rule.key == rule.key
    }


def bucket_ends(engine: Engine, recorded: list[Sample], rng: random.Random) -> Iterator[int]:
    """Give an engine samples in random requests, and stop at the end of each bucket."""
    spans = [span_of(sample, number) for number, sample in enumerate(recorded, 1)]
    spans.sort(key=lambda span: span.time)
    engine.advance(EPOCH_NS)
    for bucket in range(1, _BUCKETS + 1):
        end = EPOCH_NS + bucket * INTERVAL_NS
        waiting = [span for span in spans if end - INTERVAL_NS <= span.time < end]
        while waiting:
            size = rng.randrange(1, len(waiting) + 1)
            request, waiting = waiting[:size], waiting[size:]
            batch = batch_of(request, (*LABELS, "evaluation"), ("app.size", "judge_score"))
            engine.ingest(batch, request[-1].time)
        engine.advance(end)
        yield end


def _without_sketches(rng: random.Random) -> Query:
    query = query_of(rng)
    inexact = ("quantile", "percentile", "median", "kll_")
    while any(word in query.text for word in inexact):
        query = query_of(rng)
    return query


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64))
def test_values_at_the_end_of_a_bucket_are_those_of_duckdb(peer: Peer, seed: int) -> None:
    rng = random.Random(seed)
    recorded = samples_of(rng, inherited=False)
    peer.fill(recorded)
    asked = [_without_sketches(rng) for _ in range(_CASES)]
    rules = [rule_for(query.text, f"sql {number}") for number, query in enumerate(asked)]
    engine = Engine([*rules, *_keeping()])
    for bucket, end in enumerate(bucket_ends(engine, recorded, rng), 1):
        for query, rule in zip(asked, rules, strict=True):
            assert rule.expression is not None
            assert_agrees(peer, query, recorded, bucket)
            vector = with_classes(rule.expression.value)
            wanted = evaluate(vector, oracle_samples(recorded), end, end_excluded=True)
            assert_same(values_of(engine, rule), wanted, query)


def assert_same(
    found: Mapping[tuple[str, ...], float], wanted: Mapping[tuple[str | None, ...], float], query: Query
) -> None:
    assert found.keys() == wanted.keys(), query.text
    for key, value in found.items():
        assert math.isclose(value, wanted[key], rel_tol=1e-7, abs_tol=1e-7), (value, wanted[key], query.text)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_percentiles_are_within_one_percent_of_a_sample_at_their_rank(seed: int, rank: float) -> None:
    rng = random.Random(seed)
    recorded = samples_of(rng, inherited=False)
    rule = rule_for(
        "SELECT time_bucket('${interval}', timestamp) AS metric_timestamp, "
        "kll_float_sketch_get_quantile(kll_float_sketch_merge(value), RANK) AS metric_value "
        "FROM metrics_sketch_latest_version WHERE metric_name = 'response_latency_ms' "
        "AND timestamp BETWEEN '${start_time}' AND '${end_time}' GROUP BY metric_timestamp".replace("RANK", str(rank))
    )
    engine = Engine([rule])
    for end in bucket_ends(engine, recorded, rng):
        within = sorted(
            sample.latency_ms
            for sample in recorded
            if end - INTERVAL_NS <= sample.time_ns < end and sample.span_class is SpanClass.LLM
        )
        found = values_of(engine, rule)
        assert bool(found) == bool(within)
        if within:
            exact = within[math.floor(rank * (len(within) - 1))]
            assert math.isclose(found[()], exact, rel_tol=0.0101, abs_tol=1e-5)
