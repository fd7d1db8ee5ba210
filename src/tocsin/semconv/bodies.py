"""Attributes that hold what people and models wrote to each other: prompts, answers, documents, arguments of tools.

They are never recorded because a prefix happens to match them. A pattern is a key, a key's beginning with a star after
it, or its end with a star before it.
"""

from typing import Final

__all__ = ["BODIES", "is_body"]

BODIES: Final = (
    # OpenTelemetry's GenAI conventions, present and past
    "gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.input",
    "gen_ai.output", "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.tool.description",
    "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.tool.input", "gen_ai.tool.output",
    "gen_ai.tool.args", "gen_ai.retrieval.documents", "gen_ai.retrieval.query.text", "gen_ai.retrieval.query",
    "gen_ai.evaluation.explanation", "gen_ai.content.*", "gen_ai.prompt.0*", "gen_ai.prompt.1*", "gen_ai.prompt.2*",
    "gen_ai.prompt.3*", "gen_ai.prompt.4*", "gen_ai.prompt.5*", "gen_ai.prompt.6*", "gen_ai.prompt.7*",
    "gen_ai.prompt.8*", "gen_ai.prompt.9*", "gen_ai.completion.*", "gen_ai.event.content", "gen_ai.agent.description",
    "gen_ai.request.functions", "gen_ai.request.tools", "gen_ai.response.text", "gen_ai.response.tool_calls",
    "gen_ai.memory.*", "gen_ai.request.structured_output_schema", "gen_ai.request.0*", "gen_ai.response.0*",
    # OpenInference
    "input.value", "output.value", "llm.input_messages*", "llm.output_messages*", "llm.prompts*", "llm.completions*",
    "llm.choices*", "llm.tools*", "llm.function_call", "llm.prompt_template.template",
    "llm.prompt_template.variables", "retrieval.documents*", "reranker.*", "embedding.embeddings*", "embedding.text",
    "tool.parameters", "tool.json_schema", "tool.description", "document.content", "message.*",
    # Traceloop, Langfuse, LangSmith, Vercel's AI SDK, Logfire and Pydantic AI, LiteLLM, Datadog
    "traceloop.entity.input", "traceloop.entity.output", "traceloop.prompt.template*", "llm.request.functions*",
    "langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input", "langfuse.trace.output",
    "langfuse.observation.status_message", "langsmith.input*", "langsmith.output*", "inputs", "outputs", "ai.prompt*",
    "ai.response.text", "ai.response.object", "ai.response.toolCalls", "ai.response.reasoning", "ai.response.files",
    "ai.result.*", "ai.toolCall.args", "ai.toolCall.result", "ai.value*", "ai.embedding*", "ai.schema*", "prompt",
    "completion", "messages", "response", "request_data", "response_data", "all_messages_events",
    "pydantic_ai.all_messages", "events", "final_result", "tool_arguments", "tool_response",
    "model_request_parameters", "hidden_params", "_ml_obs.meta.input*", "_ml_obs.meta.output*",
    "_ml_obs.meta.metadata", "exception.message", "exception.stacktrace",
    # whatever is called so
    "*.messages", "*.message.content", "*.content", "*.contents", "*.prompt_text", "*.completion_text",
    "*.input.value", "*.output.value",
)  # fmt: skip
"""Patterns of all dialects that `attributes.json` knows."""

_NAMES: Final = frozenset(pattern for pattern in BODIES if "*" not in pattern)
_BEGINNINGS: Final = tuple(pattern[:-1] for pattern in BODIES if pattern.endswith("*"))
_ENDS: Final = tuple(pattern[1:] for pattern in BODIES if pattern.startswith("*"))


def is_body(key: str) -> bool:
    """Return whether an attribute of this name holds what somebody wrote."""
    return key in _NAMES or key.startswith(_BEGINNINGS) or key.endswith(_ENDS)
