"""`attributes:` in the configuration puts a user's own attributes behind the short names."""

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from written_spans import Written, llm, normalized, texts

from tocsin.model.batch import Needs
from tocsin.semconv import AttributesConfig, Normalizer
from tocsin.semconv.table import default_table


def config(**names: object) -> AttributesConfig:
    return AttributesConfig.model_validate(names)


def test_a_list_replaces_the_built_in_attributes() -> None:
    attributes = config(tenant=["acme.tenant"])
    found = normalized(
        Written({"acme.tenant": "a", "app.tenant.id": "b"}),
        Written({"app.tenant.id": "b"}),
        labels=["tenant"],
        attributes=attributes,
    )
    assert texts(found, "tenant") == ["a", None]


def test_added_attributes_stand_in_front() -> None:
    attributes = config(tenant={"add": ["acme.tenant"]})
    found = normalized(
        Written({"acme.tenant": "a", "app.tenant.id": "b"}),
        Written({"app.tenant.id": "b"}),
        labels=["tenant"],
        attributes=attributes,
    )
    assert texts(found, "tenant") == ["a", "b"]


def test_a_value_inside_a_json_text_can_be_named() -> None:
    attributes = config(user=[{"key": "metadata", "json": "customer.id"}])
    found = normalized(Written({"metadata": '{"customer": {"id": "c-1"}}'}), labels=["user"], attributes=attributes)
    assert texts(found, "user") == ["c-1"]


def test_numbers_can_be_given_in_another_unit() -> None:
    attributes = config(
        cost={"add": [{"key": "acme.cents", "factor": 0.01}]},
        time_to_first_token=[{"key": "acme.ttft_s", "factor": 1000}],
        input_tokens=["acme.in"],
        judge_score=["acme.score"],
    )
    span = Written(llm(input=9) | {"acme.cents": 250, "acme.ttft_s": 0.5, "acme.in": 7, "acme.score": 3})
    batch = normalized(span, numbers=["judge_score"], attributes=attributes).batch
    assert batch.reported_usd.tolist() == [2.5]
    assert batch.ttft_ms.tolist() == [500.0]
    assert batch.input_tokens.tolist() == [7]
    np.testing.assert_array_equal(batch.numbers["judge_score"], [3.0])


@pytest.mark.parametrize(
    "names",
    [
        {"tennant": ["x"]},
        {"tenant": "x"},
        {"tenant": {"append": ["x"]}},
        {"tenant": [""]},
        {"tenant": [{"key": "x", "path": "y"}]},
        {"cost": [{"key": "x", "factor": -1}]},
        {"cost": [{"key": "x", "factor": float("nan")}]},
    ],
)
def test_mistakes_are_refused(names: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AttributesConfig.model_validate(names)


def test_the_reference_names_every_field() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "attributes.md").read_text("utf-8")
    names = set(re.findall(r"[a-z0-9_]+", reference))
    assert AttributesConfig.model_fields.keys() <= names
    assert default_table().labels.keys() <= names
    assert {"key", "json", "factor", "add"} <= names


def test_the_projection_has_only_what_is_needed() -> None:
    always = Normalizer(Needs()).projection
    assert "gen_ai.usage.input_tokens" in always.attributes
    assert "gen_ai.response.id" in always.attributes
    assert "app.tenant.id" not in always.attributes
    assert not any(key.startswith("gen_ai.aggregated_usage.") for key in always.attributes)
    assert always.event_attributes == ()
    assert always.indexed == (("evaluations.", ".evaluation.score"),)
    assert always.log_events == ("gen_ai.evaluation.result",)
    needs = Needs(frozenset({"tenant", "error_type", "app.feature"}), frozenset({"top_score", "app.rows"}))
    asked = Normalizer(needs).projection
    assert {"app.tenant.id", "app.feature", "app.rows", "app.rag.top_score"} <= asked.attributes.keys()
    assert asked.event_attributes == (("exception", "exception.type"),)
    assert ("retrieval.documents.", ".document.score") in asked.indexed
    assert asked.attributes["metadata"] == 16 * 1024


def test_no_body_of_a_prompt_or_completion_is_ever_projected() -> None:
    keys = Normalizer(Needs(frozenset({"conversation", "tenant", "user"}))).projection.attributes
    bodies = ("messages", "input.value", "output.value", "request_data", "prompt.0", "completion.0.content")
    projected = {key: cap for key, cap in keys.items() if any(body in key for body in bodies)}
    # LiteLLM's raw copies are known by the presence of such a key; its value is not kept.
    assert set(projected.values()) == {1}
    assert all(key.startswith("llm.") for key in projected)
