"""Ids, times, sampling, labels and evaluations of a canonical batch."""

import math

import numpy as np
import pytest
from written_spans import SECOND, START, Written, evaluations, llm, normalized, texts

from tocsin.model.batch import SpanClass


def test_ids_are_big_endian_halves() -> None:
    trace = bytes(range(1, 17))
    batch = normalized(Written(trace_id=trace, span_id=bytes(range(8, 16)))).batch
    assert int(batch.trace_hi[0]) == int.from_bytes(trace[:8], "big")
    assert int(batch.trace_lo[0]) == int.from_bytes(trace[8:], "big")
    assert int(batch.span_id[0]) == int.from_bytes(bytes(range(8, 16)), "big")
    assert batch.parent_id.tolist() == [0]


def test_latency_is_the_length_of_the_span() -> None:
    batch = normalized(Written(start=START, end=START + 3 * SECOND), Written(start=START, end=START)).batch
    assert batch.latency.tolist() == [3 * SECOND, 0]
    assert batch.start.tolist() == [START, START]
    assert batch.arrival.tolist() == [START, START]


@pytest.mark.parametrize(
    ("trace_state", "count"),
    [
        ("", 1.0),
        ("ot=th:0", 1.0),
        ("ot=th:8", 2.0),
        ("ot=th:c", 4.0),
        ("ot=th:fd70a4", 1 / (1 - 0xFD70A4 / 2**24)),
        ("vendor=x, ot=rv:6e6d1a75832a2f;th:e", 8.0),
        ("ot=th:8;rv:00000000000001,other=y", 2.0),
        ("other=th:8", 1.0),
        ("ot=th:", 1.0),
        ("ot=th:xyz", 1.0),
        ("ot=th:123456789abcdef0", 1.0),
        ("not=th:8", 1.0),
    ],
)
def test_the_sampling_threshold_says_how_many_spans_one_stands_for(trace_state: str, count: float) -> None:
    batch = normalized(Written(trace_state=trace_state), Written()).batch
    np.testing.assert_allclose(batch.adjusted_count, [count, 1.0])


def test_labels_that_every_batch_has() -> None:
    found = normalized(Written({}))
    assert set(found.batch.labels) == {"model", "provider", "service", "response_id", "tool", "agent", "prompt_version"}
    assert texts(found, "model") == [None]


def test_the_trace_is_no_label() -> None:
    assert "trace" not in normalized(Written({}), labels=["trace"]).batch.labels


def test_labels_of_several_spellings_share_one_dictionary() -> None:
    found = normalized(
        Written({"user.id": "a"}),
        Written({"enduser.id": "a"}),
        Written({"ai.telemetry.metadata.userId": "b"}),
        Written({"user.id": "", "enduser.id": "c"}),
        labels=["user"],
    )
    assert texts(found, "user") == ["a", "a", "b", "c"]
    assert sorted(found.batch.labels["user"].values) == ["a", "b", "c"]


def test_any_attribute_is_a_label_on_span_or_resource() -> None:
    found = normalized(
        Written({"app.feature": "chat"}, resource={"app.feature": "default", "k8s.pod.name": "p-1"}),
        Written({}, resource={"app.feature": "default"}),
        labels=["app.feature", "k8s.pod.name"],
    )
    assert texts(found, "app.feature") == ["chat", "default"]
    assert texts(found, "k8s.pod.name") == ["p-1", None]


def test_a_number_is_an_attribute_of_the_span_alone() -> None:
    found = normalized(Written({}, resource={"app.rows": 5}), Written({"app.rows": 7}), numbers=["app.rows"])
    np.testing.assert_array_equal(found.batch.numbers["app.rows"], [math.nan, 7])


def test_an_evaluation_is_judged_by_its_own_name_too() -> None:
    found = evaluations(
        {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.82, "gen_ai.response.id": "r-1"},
        {"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 4},
        {"gen_ai.evaluation.name": "toxicity", "gen_ai.evaluation.score.label": "pass"},
        {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": math.inf},
        numbers=["judge_score", "relevance"],
        labels=["evaluation"],
    )
    batch, nan = found.batch, math.nan
    assert (batch.span_class == SpanClass.EVALUATION).all()
    np.testing.assert_array_equal(batch.numbers["judge_score"], [0.82, 4.0, nan, nan])
    np.testing.assert_array_equal(batch.numbers["relevance"], [0.82, nan, nan, nan])
    assert texts(found, "evaluation") == ["relevance", "groundedness", "toxicity", "relevance"]
    assert texts(found, "response_id") == ["r-1", None, None, None]
    assert batch.trace_lo.tolist() == [0, 0, 0, 0]
    assert batch.latency.tolist() == [0, 0, 0, 0]
    assert batch.end.tolist() == [START] * 4


def test_an_evaluation_written_on_a_span_is_a_score_of_the_span() -> None:
    found = normalized(
        Written({"app.llm.judge.score": 0.5}),
        Written({"evaluations.0.evaluation.score": 0.25}),
        Written({"evaluations.0.evaluation.score": 0.25, "evaluations.1.evaluation.score": 0.75}),
        numbers=["judge_score"],
    )
    np.testing.assert_array_equal(found.batch.numbers["judge_score"], [0.5, 0.25, math.nan])


def test_the_same_columns_give_the_same_batch_again() -> None:
    spans = [Written(llm(input=5) | {"metadata": '{"tenant": "acme"}'}), Written({})]
    first, second = (normalized(*spans, labels=["tenant"]) for _ in range(2))
    assert texts(first, "tenant") == texts(second, "tenant") == ["acme", None]
    np.testing.assert_array_equal(first.batch.input_tokens, second.batch.input_tokens)
