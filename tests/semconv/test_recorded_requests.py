"""Every recorded request becomes what the provider's own log says, as far as its spans tell."""

from typing import Any

import numpy as np
import pytest
from recorded_requests import LOGS, TRACES, calls_of, expected_sum, expected_tokens, normalized, row_of, text

from tocsin.model.batch import ABSENT, SpanBatch, SpanClass

COLUMN_OF_USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
}
CLASS_OF_LIST = {
    "agent_spans": SpanClass.AGENT,
    "tool_spans": SpanClass.TOOL,
    "chain_spans": SpanClass.CHAIN,
    "prompt_spans": SpanClass.CHAIN,
    "retrieval_spans": SpanClass.RETRIEVAL,
    "llm_raw_duplicate_spans": SpanClass.DUPLICATE,
}
CLASS_OF_ROLE = {
    "llm": SpanClass.LLM,
    "embeddings": SpanClass.EMBEDDINGS,
    "agent": SpanClass.AGENT,
    "other": SpanClass.OTHER,
    "chain": SpanClass.CHAIN,
    "llm_raw_duplicate": SpanClass.DUPLICATE,
    "llm_usage_log": SpanClass.USAGE,
}
each_request = pytest.mark.parametrize("entry", TRACES, ids=[entry["file"] for entry in TRACES])


@each_request
def test_no_span_is_refused_and_no_value_is_flawed(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    assert not found.rejected
    assert not found.flawed
    assert len(found.batch) == entry["spans"]


@each_request
def test_token_counts_are_the_providers(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    for call, row in calls_of(entry, found):
        for name, column in COLUMN_OF_USAGE.items():
            count, expected = int(getattr(found.batch, column)[row]), expected_tokens(call, name)
            # A dialect may leave out what is zero.
            assert count == expected or (count == ABSENT and expected == 0), (call["name"], name)


@each_request
def test_model_calls_have_their_class_model_provider_and_outcome(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    for call, row in calls_of(entry, found):
        assert found.batch.span_class[row] == CLASS_OF_ROLE[call["role"]]
        assert text(found, "model", row) in (call["request_model"], call["response_model"])
        assert text(found, "provider", row) == call["provider"]
        assert found.batch.failed[row] == (call["span_status"] == 2)


@each_request
def test_conversation_user_and_tenant_are_read_where_the_span_has_them(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    for call, row in calls_of(entry, found):
        for label, name in (("conversation", "conversation_id"), ("user", "user_id"), ("tenant", "tenant_id")):
            place = call.get(f"{name}_found_on")
            if isinstance(place, dict) and "span" in place:
                assert text(found, label, row) == call[name]


@each_request
def test_costs_times_and_finish_reasons_are_read_where_the_span_has_them(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    for call, row in calls_of(entry, found):
        costs = call.get("cost_in_payload") or {}
        totals = [
            cost
            for key, cost in costs.items()
            if key in ("gen_ai.usage.cost", "operation.cost", "gen_ai.cost.total_cost", "litellm.cost.total")
        ]
        if totals:
            assert found.batch.reported_usd[row] == pytest.approx(totals[0], rel=1e-12)
        for key, value in (call.get("ttft_in_payload") or {}).items():
            # OpenLIT writes the whole duration on calls that are not streamed.
            streamed = key != "gen_ai.server.time_to_first_token" or call["stream"]
            expected = (value if key.startswith("ai.") else value * 1000) if streamed else np.nan
            assert found.batch.ttft_ms[row] == pytest.approx(expected, nan_ok=True)
        if call.get("finish_reasons_in_payload"):
            assert text(found, "finish_reason", row) in {"stop", "tool_calls", "length", "completed"}


@each_request
def test_other_spans_have_their_class(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    for name, expected in CLASS_OF_LIST.items():
        for span in entry["expected"].get(name, ()):
            assert SpanClass(int(found.batch.span_class[row_of(found, span)])) is expected, span["name"]
    for span in entry["expected"]["spans_not_to_bill"]:
        assert SpanClass(int(found.batch.span_class[row_of(found, span)])) is CLASS_OF_ROLE[span["role"]], span["name"]


@each_request
def test_sums_over_model_calls_are_the_totals_once_nested_calls_count_once(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    batch = found.batch
    billed = inner_calls(batch)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"):
        assert int(getattr(batch, name)[billed].clip(0).sum()) == expected_sum(entry, found, name), name


def inner_calls(batch: SpanBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the rows to bill: usage records, and model calls that wrap no other model call.

    One wraps another as its parent, or, where two libraries wrote them without a common trace, in time and with the
    same counts.
    """
    model_call = np.isin(batch.span_class, (SpanClass.LLM, SpanClass.EMBEDDINGS))
    billed = model_call | (batch.span_class == SpanClass.USAGE)
    for outer in np.flatnonzero(model_call):
        child = (batch.parent_id == batch.span_id[outer]) & (batch.trace_lo == batch.trace_lo[outer])
        within = (batch.start >= batch.start[outer]) & (batch.end <= batch.end[outer])
        same = (batch.input_tokens == batch.input_tokens[outer]) & (batch.output_tokens == batch.output_tokens[outer])
        other_trace = batch.trace_lo != batch.trace_lo[outer]
        wrapped = model_call & (child | (within & same & other_trace))
        wrapped[outer] = False
        billed[outer] = not wrapped.any()
    return billed


@pytest.mark.parametrize("entry", LOGS, ids=[entry["file"] for entry in LOGS])
def test_log_records_become_evaluations_and_nothing_else(entry: dict[str, Any]) -> None:
    found = normalized(entry["file"])
    expected = entry["expected"]["evaluations"]
    batch = found.batch
    assert len(batch) == len(expected)
    assert (batch.span_class == SpanClass.EVALUATION).all()
    assert (batch.input_tokens == ABSENT).all()
    for row, record in enumerate(expected):
        assert text(found, "evaluation", row) == record["gen_ai.evaluation.name"]
        assert text(found, "response_id", row) == record.get("gen_ai.response.id")
        assert text(found, "conversation", row) == record.get("gen_ai.conversation.id")
        score = record.get("gen_ai.evaluation.score.value", np.nan)
        np.testing.assert_equal(batch.numbers["judge_score"][row], score)
        relevance = score if record["gen_ai.evaluation.name"] == "relevance" else np.nan
        np.testing.assert_equal(batch.numbers["relevance"][row], relevance)
        trace = int(record["trace_id"] or "0", 16)
        assert (int(batch.trace_hi[row]) << 64) + int(batch.trace_lo[row]) == trace
