"""docs/sql.md: every example compiles, and is what DuckDB says."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sql_peer import Peer
from sql_queries import Query
from test_against_duckdb import assert_agrees, samples_of

from tocsin.rules.sql import SqlConfig, compile_sql
from tocsin.rules.sql.tables import SPAN_CLASSES, SPAN_COLUMNS

TEXT = (Path(__file__).parents[3] / "docs" / "sql.md").read_text()
HOUR_NS = 3_600 * 10**9
TABLES = {
    "metrics": ("metrics_numeric_latest_version", ("metric_name = 'response_latency_ms'",)),
    "sketches": ("metrics_sketch_latest_version", ("metric_name = 'response_latency_ms'",)),
    "spans": ("spans", ()),
}
NOT_IN_DUCKDB = ("last(", '"app.feature"')


def examples(kind: str) -> list[tuple[str, str]]:
    """The (table, example) pairs of the tables that stand below a mark."""
    found = []
    for what, rows in re.findall(rf"<!-- {kind} of (\w+) -->\n((?:\|.*\n)+)", TEXT):
        found += [(what, example) for example in re.findall(r"^\| `(.+?)` \|", rows, re.MULTILINE)]
    return found


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def queries() -> list[Query]:
    values = [Query(value, TABLES[what][0], TABLES[what][1], exact=False) for what, value in examples("values")]
    return values + [Query("COUNT(*)", TABLES[what][0], (condition,)) for what, condition in examples("conditions")]


@pytest.mark.parametrize("query", queries(), ids=lambda query: " ".join((query.value, *query.where)))
def test_an_example_is_what_duckdb_says(peer: Peer, query: Query) -> None:
    compile_sql(query.text, HOUR_NS, SqlConfig())
    if any(word in query.text for word in NOT_IN_DUCKDB):
        return
    for seed in range(3):
        recorded = samples_of(random.Random(seed))
        peer.fill(recorded)
        for bucket in range(1, 8):
            assert_agrees(peer, query, recorded, bucket)


def test_there_are_as_many_examples_as_there_were() -> None:
    assert len(queries()) >= 35


@pytest.mark.parametrize("text", re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL))
def test_a_whole_query_compiles(text: str) -> None:
    compile_sql(text, HOUR_NS, SqlConfig())


def test_every_column_and_class_is_described() -> None:
    for name in (*SPAN_COLUMNS, *SPAN_CLASSES):
        assert re.search(rf"[`\s\"]{re.escape(name)}[`\s\"]", TEXT), name
