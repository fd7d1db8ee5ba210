"""One test for each known trap of the dialects, most costly first."""

import json
import math

import numpy as np
import pytest
from recorded_requests import normalized as recorded
from recorded_requests import text
from written_spans import SECOND, START, Written, classes, evaluations, llm, normalized, texts

from tocsin.model.batch import ABSENT, SpanClass


@pytest.mark.parametrize(
    ("scope", "extra", "total"),
    [
        (("openlit.instrumentation.anthropic", ""), {}, 2083),
        (("openlit.instrumentation.openai", ""), {}, 66 + 2017),  # more cached than read: certain
        (("ai", ""), {"gen_ai.provider.name": "anthropic.messages"}, 2083),
        (("opentelemetry.instrumentation.bedrock", "0.62.3"), {}, 2083),
        (("logfire.anthropic", "4.30.0"), {}, 2083),
    ],
)
def test_trap_1_cached_tokens_outside_the_input_are_added(
    scope: tuple[str, str], extra: dict[str, str], total: int
) -> None:
    span = Written(
        llm(input=66, output=5, cache_write=2017) | {"gen_ai.request.model": "claude-x"} | extra, scope=scope
    )
    assert normalized(span).batch.input_tokens.tolist() == [total]


@pytest.mark.parametrize(
    ("scope", "extra", "total"),
    [
        (("openlit.instrumentation.anthropic", ""), {}, 3500),
        (("openlit.instrumentation.openai", ""), {}, 3000),
        (("ai", ""), {"gen_ai.provider.name": "anthropic.messages"}, 3500),
        (("ai", ""), {"gen_ai.provider.name": "amazon-bedrock"}, 3500),
        (("ai", ""), {"gen_ai.provider.name": "amazon-bedrock", "gen_ai.request.model": "openai.gpt-oss-120b"}, 3000),
        (("ai", ""), {"gen_ai.provider.name": "openai.chat"}, 3000),
        (
            ("ai", ""),
            {"gen_ai.provider.name": "anthropic.messages", "ai.usage.inputTokenDetails.noCacheTokens": 1},
            3000,
        ),
        (("gen_ai", ""), {"gen_ai.provider.name": "anthropic"}, 3000),
        (("opentelemetry.instrumentation.bedrock", "0.62.3"), {}, 3500),
        (("opentelemetry.instrumentation.bedrock", "0.63.0"), {}, 3000),
        (("opentelemetry.instrumentation.anthropic", "0.62.4"), {"gen_ai.provider.name": "anthropic"}, 3000),
        (("logfire.anthropic", "4.30.0"), {}, 3500),
        (("logfire.anthropic", "4.31.0"), {}, 3000),
        (("com.anthropic.sdk.python", "2.11.0"), {"gen_ai.provider.name": "anthropic"}, 3000),
    ],
)
def test_trap_1_where_arithmetic_does_not_tell_the_scope_does(
    scope: tuple[str, str], extra: dict[str, str | int], total: int
) -> None:
    usage = llm(input=3000, output=5, cache_read=500) | {"gen_ai.request.model": "some-model"}
    span = Written(usage | extra, scope=scope)
    assert normalized(span).batch.input_tokens.tolist() == [total]


def test_trap_1_langfuse_buckets_overlap_only_in_the_providers_own_shape() -> None:
    shapes = [
        {"prompt_tokens": 3000, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 500}},
        {"input_tokens": 3000, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 500}},
        {"input": 3000, "output": 5, "cache_read_input_tokens": 500},
        {"input": 3000, "output": 5, "input_cached_tokens": 400}
        | {"input_cache_creation_5m": 60, "input_cache_creation_1h": 40},
    ]
    spans = [
        Written(
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "claude-sonnet-4-5",
                "langfuse.observation.usage_details": json.dumps(shape),
            },
            scope=("langfuse-sdk", "5.0.4"),
        )
        for shape in shapes
    ]
    batch = normalized(*spans).batch
    assert batch.input_tokens.tolist() == [3000, 3000, 3500, 3500]
    assert batch.cache_read_tokens.tolist() == [500, 500, 500, 400]
    assert batch.cache_write_tokens.tolist() == [ABSENT, ABSENT, ABSENT, 100]
    assert batch.cache_write_1h_tokens.tolist() == [ABSENT, ABSENT, ABSENT, 40]


def test_trap_2_agents_and_chains_are_no_model_calls_though_they_repeat_usage() -> None:
    usage = llm(input=100, output=10)
    found = normalized(
        Written(usage | {"gen_ai.operation.name": "invoke_agent"}),
        Written(usage | {"gen_ai.operation.name": "agent_step"}),
        Written({"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 100}, scope=("ai", "")),
        Written(usage | {"langsmith.span.kind": "chain"}, scope=("langsmith", "")),
    )
    assert classes(found) == [SpanClass.AGENT, SpanClass.AGENT, SpanClass.AGENT, SpanClass.CHAIN]
    assert found.batch.input_tokens[0] == 100  # a remote agent may be the only span with usage


def test_trap_2_aggregated_usage_is_never_usage() -> None:
    span = Written(
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.aggregated_usage.input_tokens": 4817},
        scope=("pydantic-ai", "2.68.0"),
    )
    assert normalized(span).batch.input_tokens.tolist() == [ABSENT]


def test_trap_3_two_spans_of_one_call_carry_the_same_response_id() -> None:
    found = normalized(
        Written(llm(input=5) | {"gen_ai.response.id": "msg_1"}, scope=("com.anthropic.sdk.python", "2.11.0")),
        Written(
            llm(input=5) | {"gen_ai.response.id": "msg_1"},
            scope=("opentelemetry.instrumentation.anthropic", "0.62.4"),
            trace_id=(2).to_bytes(16, "big"),
        ),
    )
    assert texts(found, "response_id") == ["msg_1", "msg_1"]
    assert classes(found) == [SpanClass.LLM, SpanClass.LLM]


def test_trap_4_four_spellings_of_cache_writes_are_one_number() -> None:
    names = [
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ]
    spans = [Written(llm(input=100) | {name: 40}) for name in names]
    batch = normalized(*spans, Written(llm(input=100) | dict.fromkeys(names, 40))).batch
    assert batch.cache_write_tokens.tolist() == [40] * 5
    assert batch.input_tokens.tolist() == [100] * 5


def test_trap_4_a_cache_write_is_split_by_its_time_to_live() -> None:
    prefix = "anthropic.usage.cache_creation.ephemeral_"
    parts = {f"{prefix}5m_input_tokens": 30, f"{prefix}1h_input_tokens": 10}
    batch = normalized(Written(llm(input=100, cache_write=40) | parts), Written(llm(input=100) | parts)).batch
    assert batch.cache_write_tokens.tolist() == [40, 40]
    assert batch.cache_write_1h_tokens.tolist() == [10, 10]


def test_trap_5_a_logfire_stream_has_its_usage_and_duration_on_a_record() -> None:
    scope = ("logfire.openai", "5.2.0")
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    usage = {"gen_ai.usage.input_tokens": 246, "gen_ai.usage.output_tokens": 93, "duration": 0.067002029}
    found = normalized(
        Written(call | {"logfire.span_type": "span"}, scope=scope),
        Written(call | usage | {"logfire.span_type": "log"}, scope=scope, end=START),
        Written(call | {"logfire.span_type": "log", "duration": 0.07}, scope=scope, end=START),
        Written(call | {"logfire.span_type": "pending_span"}, scope=scope, end=START),
    )
    assert classes(found) == [SpanClass.LLM, SpanClass.USAGE, SpanClass.USAGE, SpanClass.DUPLICATE]
    assert found.batch.latency.tolist() == [SECOND, 67_002_029, 70_000_000, 0]
    assert found.batch.deferred.tolist() == [True, False, False, False]


def test_trap_5_only_a_stream_that_began_leaves_its_usage_to_a_record() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "logfire.span_type": "span"}
    batch = normalized(
        Written(call, scope=("logfire.anthropic", "5.2.0")),
        Written(call, scope=("logfire.openai", "5.2.0"), status=2),
        Written(call | {"gen_ai.usage.input_tokens": 5}, scope=("logfire.openai", "5.2.0")),
        Written(call, scope=("logfire", "5.2.0")),
    ).batch
    assert batch.deferred.tolist() == [True, False, False, False]


def test_trap_6_an_estimate_is_taken_and_zero_usage_of_a_success_is_no_usage() -> None:
    found = recorded("openlit-01.traces.pb")
    assert 313 in found.batch.input_tokens.tolist()  # OpenLIT's guess looks real: nothing on the span tells
    batch = normalized(Written(llm(input=0, output=0)), Written(llm(input=0, output=0), status=2)).batch
    assert batch.input_tokens.tolist() == [ABSENT, 0]
    assert batch.output_tokens.tolist() == [ABSENT, 0]


def test_trap_7_where_the_cache_is_missing_it_is_absent_and_not_zero() -> None:
    batch = normalized(Written(llm(input=100, output=5))).batch
    assert batch.cache_read_tokens.tolist() == [ABSENT]
    assert batch.cache_write_tokens.tolist() == [ABSENT]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (
            "langfuse.observation.usage_details",
            '{"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}',
        ),
        (
            "metadata.usage_object",
            "{'prompt_tokens': 100, 'completion_tokens': 7, 'prompt_tokens_details': {'cached_tokens': 60, 'x': None}}",
        ),
        ("gen_ai.usage.raw", '{"input_tokens":40,"output_tokens":7,"cache_read_input_tokens":60}'),
        (
            "langsmith.metadata.usage_metadata",
            '{"input_tokens": 100, "output_tokens": 7, "input_token_details": {"cache_read": 60}}',
        ),
    ],
)
def test_trap_8_usage_in_strings_is_read(key: str, written: str) -> None:
    batch = normalized(Written({"gen_ai.operation.name": "chat", key: written})).batch
    assert batch.input_tokens.tolist() == [100]
    assert batch.output_tokens.tolist() == [7]
    assert batch.cache_read_tokens.tolist() == [60]


def test_trap_8_provider_metadata_has_the_cache_of_ai_sdk_5() -> None:
    metadata = json.dumps({"anthropic": {"usage": {"cache_read_input_tokens": 2029}, "cacheCreationInputTokens": 11}})
    batch = normalized(Written(llm(input=55) | {"ai.response.providerMetadata": metadata}, scope=("ai", ""))).batch
    assert batch.cache_read_tokens.tolist() == [2029]
    assert batch.cache_write_tokens.tolist() == [11]
    assert batch.input_tokens.tolist() == [55 + 2029 + 11]


def test_trap_9_a_stated_cost_is_a_total_and_zero_states_nothing() -> None:
    litellm = {"gen_ai.cost.total_cost": 0.5, "gen_ai.cost.input_cost": 0.4, "gen_ai.cost.output_cost": 0.1}
    found = normalized(
        Written(llm() | {"gen_ai.usage.cost": 0.25}),
        Written(llm() | {"gen_ai.usage.cost": 0}),
        Written(llm() | litellm),
        Written(llm() | {"litellm.cost.total": 0.0}, status=2),
        Written(llm() | {"app.llm.cost_usd": 0.0}),
        Written(llm() | {"langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5}'}),
        Written(llm() | {"langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5, "total": 0.75}'}),
        Written(llm() | {"gen_ai.usage.cost": -1.0}),
        Written(llm() | {"gen_ai.usage.cost": math.inf}),
        Written({"app.llm.cost_usd": 3.0}, name="a parent that repeats its child's"),
    )
    nan = math.nan
    expected = [0.25, nan, 0.5, nan, 0.0, 0.75, 0.75, nan, nan, nan]
    np.testing.assert_array_equal(found.batch.reported_usd, expected)
    assert found.flawed == {"cost": 2}


def test_trap_10_conversations_have_many_names_and_projects_are_none() -> None:
    found = normalized(
        Written({"session.id": "a"}),
        Written({"traceloop.association.properties.session_id": "b"}),
        Written({"ai.telemetry.metadata.chatId": "c"}),
        Written({"ai.settings.context.sessionId": "d"}),
        Written({"metadata": '{"thread_id": "e"}'}),
        Written({"langsmith.trace.session_name": "project", "langsmith.trace.session_id": "project"}),
        Written({"gen_ai.agent.call.id": "run"}),
        labels=["conversation"],
    )
    assert texts(found, "conversation") == ["a", "b", "c", "d", "e", None, None]


def test_trap_11_markers_are_believed_in_order() -> None:
    model = {"gen_ai.request.model": "gpt-4o"}
    found = normalized(
        Written({"langsmith.span.kind": "retriever", "gen_ai.operation.name": "embeddings"}),
        Written(llm() | {"gen_ai.tool.name": "get_weather"}, scope=("openlit.instrumentation.openai", "")),
        Written({"openinference.span.kind": "LLM"}),
        Written({"gen_ai.operation.name": "execute_task"}),
        Written({"llm.request.type": "chat"} | model),
        Written({"ai.operationId": "ai.streamText.doStream"}),
        Written({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "t"}),
        Written({"gen_ai.tool.name": "t"}, name="running tool"),
        Written(model | {"gen_ai.usage.input_tokens": 1}),
        Written(model | {"gen_ai.request.model": "text-embedding-3-small", "gen_ai.usage.input_tokens": 1}),
        Written(model),
        Written({"http.method": "POST"}),
        labels=["operation"],
    )
    kinds = SpanClass
    assert classes(found) == [
        kinds.RETRIEVAL, kinds.LLM, kinds.LLM, kinds.CHAIN, kinds.LLM, kinds.LLM, kinds.TOOL, kinds.TOOL,
        kinds.LLM, kinds.EMBEDDINGS, kinds.OTHER, kinds.OTHER,
    ]  # fmt: skip
    assert texts(found, "tool")[1] is None  # a chat span that lists the tools it called ran none of them
    assert texts(found, "tool")[6:8] == ["t", "t"]
    assert texts(found, "operation")[:3] == ["retrieval", "chat", "chat"]


def test_trap_11_the_raw_copy_of_litellm_is_a_duplicate_and_counting_tokens_is_free() -> None:
    found = normalized(
        Written({"llm.openai.id": "x", "llm.openai.usage": "{}"}, scope=("litellm", "")),
        Written({}, name="raw_gen_ai_request", scope=("litellm", "")),
        Written(llm() | {"llm.openai.id": "x"}, scope=("litellm", "")),
        Written(llm(), name="anthropic.messages.count_tokens", scope=("com.anthropic.sdk.python", "2.11.0")),
    )
    assert classes(found) == [SpanClass.DUPLICATE, SpanClass.DUPLICATE, SpanClass.LLM, SpanClass.OTHER]


def test_trap_12_a_failed_attempt_that_is_a_span_of_its_own_is_a_call() -> None:
    attempt = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "gpt-4o"}
    found = normalized(Written(attempt, status=2, scope=("ai", "")), Written(attempt, scope=("ai", "")))
    assert classes(found) == [SpanClass.LLM, SpanClass.LLM]
    assert found.batch.failed.tolist() == [True, False]


def test_trap_13_only_status_error_is_a_failure_and_its_type_is_the_last_word() -> None:
    exception = [("exception", START, {"exception.type": "openai.RateLimitError"})]
    found = normalized(
        Written(llm(), status=1),
        Written(llm() | {"error.type": "openai.RateLimitError"}, status=2),
        Written(llm(), status=2, events=exception),
        Written(llm(), status=2),
        Written(llm() | {"http.response.status_code": 200}, status=1),
        Written(llm() | {"http.response.status_code": 529}, status=2),
        labels=["error_type"],
    )
    assert found.batch.failed.tolist() == [False, True, True, True, False, True]
    assert texts(found, "error_type") == [None, "RateLimitError", "RateLimitError", None, None, "529"]


def test_trap_14_time_to_first_token_comes_in_every_unit() -> None:
    event = START + 40_000_000
    found = normalized(
        Written(llm() | {"gen_ai.response.time_to_first_chunk": 0.04}),
        Written(llm() | {"gen_ai.client.operation.time_to_first_chunk": 0.04}),
        Written(llm() | {"ai.response.msToFirstChunk": 40.0}),
        Written(llm(), events=[("First Token Stream Event", event, {}), ("First Token Stream Event", event + 1, {})]),
        Written(llm(), events=[("gen_ai.content.completion.chunk", event, {})]),
        Written(llm() | {"langfuse.observation.completion_start_time": '"2026-09-21T14:13:20.040000Z"'}),
        Written(llm() | {"gen_ai.server.time_to_first_token": 0.04}),
        Written(llm() | {"gen_ai.server.time_to_first_token": 0.04, "gen_ai.request.stream": False}),
        Written(llm() | {"gen_ai.response.time_to_first_chunk": -1.0}),
        Written(llm()),
        numbers=["time_to_first_token"],
    )
    nan = math.nan
    np.testing.assert_allclose(found.batch.ttft_ms, [40.0] * 7 + [nan] * 3)
    np.testing.assert_array_equal(found.batch.numbers["time_to_first_token"], found.batch.ttft_ms)
    assert found.flawed == {"time_to_first_token": 1}


def test_trap_15_models_and_providers_have_many_spellings() -> None:
    def call(**attributes: str) -> Written:
        return Written({key.replace("__", "."): value for key, value in attributes.items()})

    found = normalized(
        call(gen_ai__response__model="gpt-4o-2024-08-06", gen_ai__request__model="gpt-4o", gen_ai__system="OpenAI"),
        call(gen_ai__request__model="gpt-4o", gen_ai__system="openai.chat"),
        call(gen_ai__request__model="gemini-2.5-pro", gen_ai__system="google.generative-ai"),
        call(gen_ai__request__model="claude-x", gen_ai__system="amazon-bedrock"),
        call(gen_ai__request__model="grok-4", gen_ai__system="xai"),
        call(gen_ai__request__model="m", gen_ai__provider__name="azure.ai.openai"),
        call(langfuse__observation__model__name="claude-sonnet-4-5"),
        call(gen_ai__request__model="llama-3", gen_ai__system=""),
        call(gen_ai__request__model="gpt-4o", gen_ai__system="langchain"),
        call(llm__invocation_parameters='{"model": "gpt-4o-mini"}'),
        call(gen_ai__request__model="text-embedding-3-small", litellm__provider__model="azure/text-embedding-3-small"),
    )
    assert texts(found, "model")[:2] == ["gpt-4o-2024-08-06", "gpt-4o"]
    assert texts(found, "model")[9] == "gpt-4o-mini"
    assert texts(found, "provider") == [
        "openai", "openai", "gcp.gemini", "aws.bedrock", "x_ai", "azure.ai.openai", "anthropic", None, "openai",
        "openai", "azure.ai.openai",
    ]  # fmt: skip


def test_trap_16_environment_stands_on_the_resource_or_on_the_span() -> None:
    both = {"deployment.environment": "old", "deployment.environment.name": "production", "service.name": "bot"}
    found = normalized(
        Written({"deployment.environment": "span"}, resource=both),
        Written({"langfuse.environment": "staging"}),
        Written({"app.tenant.id": "span"}, resource={"tenant.id": "resource"}),
        Written({}, resource={"tenant.id": "resource", "service.namespace": "shop"}),
        Written({}, resource={"service.namespace": "shop"}),
        labels=["environment", "service", "tenant"],
    )
    assert texts(found, "environment") == ["production", "staging", None, None, None]
    assert texts(found, "service")[0] == "bot"
    assert texts(found, "tenant") == [None, None, "span", "resource", None]


def test_trap_17_old_and_new_keys_on_one_span_are_one_number() -> None:
    both = {"gen_ai.usage.prompt_tokens": 100, "llm.token_count.prompt": 100, "gen_ai.usage.completion_tokens": 9}
    batch = normalized(Written(llm(input=100, output=9) | both), Written(llm() | both)).batch
    assert batch.input_tokens.tolist() == [100, 100]
    assert batch.output_tokens.tolist() == [9, 9]


def test_trap_17_log_events_bring_no_usage() -> None:
    found = evaluations({"gen_ai.evaluation.name": "x", "gen_ai.usage.input_tokens": 5})
    assert found.batch.input_tokens.tolist() == [ABSENT]


def test_trap_18_types_vary() -> None:
    found = normalized(
        Written(llm() | {"gen_ai.response.finish_reasons": ["tool-calls", "stop"]}),
        Written(llm() | {"gen_ai.response.finish_reasons": '["end_turn"]'}),
        Written(llm() | {"llm.finish_reason": "MAX_TOKENS"}),
        Written(llm() | {"gen_ai.response.finish_reasons": [], "anthropic.message.stop_reason": "tool_use"}),
        Written(llm() | {"gen_ai.usage.input_tokens": "12", "gen_ai.usage.cost": 1, "gen_ai.conversation.id": ""}),
        Written(llm() | {"gen_ai.usage.input_tokens": 12.0, "langfuse.trace.metadata.tenant": '"acme"'}),
        labels=["finish_reason", "conversation", "tenant"],
    )
    assert texts(found, "finish_reason") == ["tool_calls", "stop", "length", "tool_calls", None, None]
    assert found.batch.input_tokens.tolist()[4:] == [12, 12]
    assert found.batch.reported_usd[4] == 1.0
    assert texts(found, "conversation")[4] is None
    assert texts(found, "tenant")[5] == "acme"


def test_xai_leaves_reasoning_outside_the_output_and_arithmetic_shows_it() -> None:
    batch = normalized(
        Written(llm(input=100, output=20, reasoning=300)),
        Written(llm(input=100, output=200, reasoning=150, total=450)),
        Written(llm(input=100, output=200, reasoning=150, total=300)),
    ).batch
    assert batch.output_tokens.tolist() == [320, 350, 200]


def test_a_langfuse_tool_is_called_as_its_span() -> None:
    found = recorded("langfuse-01.traces.pb")
    tools = found.batch.span_class == SpanClass.TOOL
    assert {text(found, "tool", row) for row in np.flatnonzero(tools).tolist()} == {"order_lookup"}
    agents = found.batch.span_class == SpanClass.AGENT
    assert {text(found, "agent", row) for row in np.flatnonzero(agents).tolist()} == {"faq_agent"}


def test_retrieved_documents_are_counted_however_they_are_written() -> None:
    found = recorded("openinference-dual-04.traces.pb")
    retrieval = int(np.flatnonzero(found.batch.span_class == SpanClass.RETRIEVAL)[0])
    assert found.batch.numbers["retrieved_count"][retrieval] == 3
    written = normalized(
        Written({f"retrieval.documents.{n}.document.score": score for n, score in enumerate([0.5, 0.9, 0.7])}),
        Written({"gen_ai.retrieval.documents": '[{"id": "a", "score": 0.25}, {"id": "b"}]'}),
        Written({"gen_ai.retrieval.documents": "[]"}),
        Written({"app.rag.retrieved_count": 4, "app.rag.top_score": 0.91, "app.rag.relevance_score": 0.8}),
        numbers=["retrieved_count", "top_score", "relevance_score"],
    ).batch.numbers
    np.testing.assert_array_equal(written["retrieved_count"], [3, 2, 0, 4])
    np.testing.assert_array_equal(written["top_score"], [0.9, 0.25, math.nan, 0.91])
    np.testing.assert_array_equal(written["relevance_score"], [math.nan, math.nan, math.nan, 0.8])


def test_trap_3_spans_of_frameworks_are_told_from_those_of_providers() -> None:
    scopes = (
        "openinference.instrumentation.langchain",
        "openinference.instrumentation.openai",
        "opentelemetry.instrumentation.langchain.v2",
        "opentelemetry.instrumentation.langchains",
        "",
    )
    batch = normalized(*(Written(llm(input=1), scope=(name, "1.0")) for name in scopes)).batch
    assert batch.wraps.tolist() == [True, False, True, False, False]
    assert len(set(batch.scope.tolist())) == len(scopes)


def test_a_scope_has_one_number_whatever_its_version_and_batch() -> None:
    first = normalized(Written(scope=("a", "1.0")), Written(scope=("a", "2.0")), Written(scope=("b", "1.0"))).batch
    second = normalized(Written(scope=("b", "1.0"))).batch
    assert first.scope[0] == first.scope[1]
    assert first.scope[2] == second.scope[0]
