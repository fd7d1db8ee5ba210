"""Hostile and broken values are refused and counted; nothing is raised and nothing grows."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_spans import SECOND, START, Written, classes, llm, normalized, texts

from tocsin.model.batch import ABSENT, SpanClass
from tocsin.semconv import Unusable
from tocsin.semconv.table import default_table

KEYS = sorted(
    {alias.key for aliases in default_table().tokens.values() for alias in aliases}
    | {alias.key for aliases in default_table().numbers.values() for alias in aliases}
    | {alias.key for label in default_table().labels.values() for alias in label.aliases}
    | {kind.key for kind in default_table().kinds if kind.key}
)
KEY = st.sampled_from([*KEYS, "some.number", "some.label"])
LABELS = sorted(default_table().labels)
NUMBERS = ["judge_score", "top_score", "retrieved_count", "relevance_score", "some.number"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["chat", "LLM", '{"a": 1}', "{'a': 1}", "[", '["stop"]', "9" * 400, "nan", "inf", "-1", '"x"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.dictionaries(KEY, values, max_size=12), min_size=1, max_size=5),
    st.sampled_from(["litellm", "ai", "logfire.openai", "langfuse-sdk", "x"]),
)  # fmt: skip
def test_any_value_under_any_key_gives_a_sound_batch(spans: list[dict[str, object]], scope: str) -> None:
    found = normalized(
        *(Written(attributes, scope=(scope, "1"), status=2) for attributes in spans),
        labels=[*LABELS, "some.label"],
        numbers=NUMBERS,
    )
    batch = found.batch
    assert len(batch) == len(spans)
    for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"):
        column = getattr(batch, f"{name}_tokens")
        assert column.min() >= ABSENT
        assert column.max() <= 4 * 10**12
    usd = batch.reported_usd
    assert (np.isnan(usd) | ((usd >= 0) & (usd <= 1e6))).all()
    assert (batch.latency >= 0).all()
    for column in batch.numbers.values():
        assert not np.isinf(column).any()
    for label in batch.labels.values():
        assert label.code.max() < len(label.values)
        assert all(label.values)
        assert {type(value) for value in label.values} <= {str}
        assert len(set(label.values)) == len(label.values)


@pytest.mark.parametrize("count", [-1, -(2**63), 2**60, 10**12 + 1, math.nan, math.inf, -math.inf, "-5", "1e300"])
def test_counts_that_are_none_are_absent_and_counted(count: float | str) -> None:
    found = normalized(Written(llm() | {"gen_ai.usage.input_tokens": count, "gen_ai.usage.output_tokens": 7}))
    assert found.batch.input_tokens.tolist() == [ABSENT]
    assert found.batch.output_tokens.tolist() == [7]
    assert found.flawed == {"tokens": 1}


def test_spans_that_cannot_be_used_are_refused_under_one_reason_each() -> None:
    found = normalized(
        Written(llm(input=1)),
        Written(trace_id=b"short"),
        Written(trace_id=bytes(16)),
        Written(span_id=b""),
        Written(start=START + 1, end=START),
        Written(start=0),
        Written(end=0),
        Written(start=1, end=2),
        Written(start=2**64 - 2, end=2**64 - 1),
        Written(start=START, end=2**63 + 5),
        Written(llm(input=2)),
    )
    assert found.rows.tolist() == [0, 10]
    assert found.batch.input_tokens.tolist() == [1, 2]
    assert {reason: rows.tolist() for reason, rows in found.rejected.items()} == {
        Unusable.TRACE_ID: [1, 2],
        Unusable.SPAN_ID: [3],
        Unusable.TIME: [5, 6, 7, 8, 9],
        Unusable.ORDER: [4],
    }


def test_a_far_future_is_left_to_the_clock_of_the_engine() -> None:
    found = normalized(Written(start=START, end=START + 40 * 365 * 86_400 * SECOND))
    assert found.rows.tolist() == [0]


def test_structured_texts_that_are_broken_cut_or_deep_are_counted_and_skipped() -> None:
    key = "langfuse.observation.usage_details"
    written = ["{", "[" * 10_000, '{"input": 5, "x": "' + "y" * 20_000 + '"}', '{"input": "many"}', "[]"]
    spans = [Written({"langfuse.observation.type": "generation", key: text}) for text in written]
    found = normalized(*spans)
    assert found.batch.input_tokens.tolist() == [ABSENT] * 5
    assert found.flawed == {"document": 3}
    assert set(classes(found)) == {SpanClass.LLM}


def test_python_texts_that_attack_a_parser_are_refused_quickly() -> None:
    attacks = [
        "(" * 8000,
        "-" * 8000 + "1",
        "{" * 8000,
        "[1," * 5000,
        "'" + "\\" * 8001,
        "9" * 8000,
        "__import__('os')",
    ]
    spans = [Written(llm() | {"metadata.usage_object": text}) for text in attacks]
    began = time.perf_counter()
    found = normalized(*spans)
    assert time.perf_counter() - began < 5
    assert found.batch.input_tokens.tolist() == [ABSENT] * len(attacks)


def test_lists_of_lists_are_rendered_and_not_followed_forever() -> None:
    nested: object = "x"
    for _ in range(20):
        nested = [nested]
    found = normalized(Written({"some.label": nested}), labels=["some.label"])
    label = texts(found, "some.label")[0]
    assert label == "[" * 20 + '"x"' + "]" * 20


def test_a_value_of_any_kind_can_be_a_label() -> None:
    spans = [{"k": value} for value in (5, 1.0, 0.1, True, False, ["a", "b"], "", {"a": 1}, math.nan)]
    found = normalized(*(Written(attributes) for attributes in spans), labels=["k"])
    assert texts(found, "k") == ["5", "1.0", "0.1", "true", "false", '["a","b"]', None, '{"a":1}', None]
    assert json.loads(texts(found, "k")[5] or "") == ["a", "b"]


def test_numbers_of_any_attribute_are_read_from_texts_and_booleans() -> None:
    spans = [{"k": value} for value in (5, 0.5, "2.5", True, False, "x", math.nan, math.inf, [1])]
    found = normalized(*(Written(attributes) for attributes in spans), numbers=["k"])
    np.testing.assert_array_equal(found.batch.numbers["k"], [5, 0.5, 2.5, 1, 0] + [math.nan] * 4)
    assert found.flawed == {"number": 1}


@pytest.mark.parametrize(
    "time", ["", "soon", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", '"', "1969-12-31T00:00:00Z", "2300-01-01"]
)
def test_times_that_are_none_are_absent(time: str) -> None:
    found = normalized(Written(llm() | {"langfuse.observation.completion_start_time": time}))
    np.testing.assert_array_equal(found.batch.ttft_ms, [math.nan])


def test_a_number_that_becomes_infinite_in_its_unit_is_refused() -> None:
    found = normalized(Written(llm() | {"gen_ai.response.time_to_first_chunk": 1e308}))
    np.testing.assert_array_equal(found.batch.ttft_ms, [math.nan])
    assert found.flawed == {"time_to_first_token": 1}


def test_lists_that_hold_no_scores_have_none() -> None:
    written = ["{}", "[1, 2]", '[{"score": "high"}]', '[{"score": true}]', "null"]
    found = normalized(*(Written({"gen_ai.retrieval.documents": text}) for text in written), numbers=["top_score"])
    assert np.isnan(found.batch.numbers["top_score"]).all()


def test_texts_that_only_begin_like_json_are_taken_as_they_are() -> None:
    found = normalized(
        Written({"langfuse.trace.metadata.tenant": '"acme'}),
        Written({"gen_ai.response.finish_reasons": "[stop"}),
        Written({"langfuse.observation.cost_details": "[0.5]", "langfuse.observation.type": "generation"}),
        Written({"litellm.provider.model": "gpt-4o"}, resource={"error.type": "x"}),
        labels=["tenant", "finish_reason", "error_type"],
    )
    assert texts(found, "tenant")[0] == '"acme'
    assert texts(found, "finish_reason")[1] is None
    assert np.isnan(found.batch.reported_usd).all()
    assert texts(found, "provider") == [None] * 4
    assert texts(found, "error_type") == [None] * 4


def test_an_empty_batch_stays_empty() -> None:
    found = normalized(labels=LABELS, numbers=NUMBERS)
    assert len(found.batch) == 0
    assert found.rows.tolist() == []
