"""What others call the things we know, as data: attribute names by field, first one wins; kinds of spans.

OpenTelemetry GenAI, newest names first (they still move: v1.26 to v1.41 of the core conventions and the repository
that follows it), then OpenInference, OpenLLMetry (Traceloop), Vercel AI SDK, LangSmith, Google ADK, Logfire. The
constants of the OpenTelemetry packages are deprecated or gone, so the names stand here.
"""

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "aftermath."  # an attribute `aftermath.<field>` says a field of AgentSpan in our own words

# field -> names of the attribute that holds it
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "session": (
        "gen_ai.conversation.id",
        "session.id",
        "langfuse.session.id",
        "traceloop.association.properties.session_id",
        "langsmith.metadata.session_id",
        "langsmith.metadata.thread_id",
        "gcp.vertex.agent.session_id",
        "ai.telemetry.metadata.sessionId",
    ),
    "agent": ("gen_ai.agent.name", "agent.name", "graph.node.id", "agent_name", "langfuse.observation.metadata.agent"),
    "agent_id": ("gen_ai.agent.id",),
    "agent_version": ("gen_ai.agent.version",),
    "task_type": ("gen_ai.workflow.name", "traceloop.workflow.name"),
    "requested_by": ("enduser.id", "user.id", "gen_ai.user", "llm.user", "traceloop.association.properties.user_id"),
    "prompt_version": ("gen_ai.prompt.version", "langfuse.observation.prompt.version"),
    "system_prompt": ("gen_ai.system_instructions", "llm.system_prompt"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"),
    "model": (
        "gen_ai.request.model",
        "llm.request.model_name",
        "llm.model_name",
        "embedding.model_name",
        "ai.model.id",
        "gen_ai.response.model",
        "llm.response.model_name",
        "langsmith.metadata.ls_model_name",
        "langfuse.observation.model.name",
    ),
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        "llm.usage.completion_tokens",
    ),
    "cached_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "llm.token_count.prompt_details.cache_read",
        "llm.token_count.prompt_details.cache_input",
        "ai.usage.cachedInputTokens",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "gen_ai.usage.details.thoughts_tokens",
        "llm.token_count.completion_details.reasoning",
        "llm.usage.reasoning_tokens",
        "ai.usage.reasoningTokens",
    ),
    "usage": (  # all counts in one value: a map, or JSON text
        "gen_ai.usage",
        "llm.usage",
        "usage",
        "langfuse.observation.usage_details",
        "langsmith.metadata.usage_metadata",
        "gen_ai.response.usage",
        "ai.usage",
        "gcp.vertex.agent.llm_response",
    ),
    "finish_reason": (
        "gen_ai.response.finish_reasons",
        "gen_ai.response.finish_reason",
        "llm.finish_reason",
        "llm.response.finish_reason",
        "llm.response.stop_reason",
        "ai.response.finishReason",
        "gen_ai.completion.0.finish_reason",
    ),
    "tool_name": ("gen_ai.tool.name", "tool.name", "ai.toolCall.name"),
    "tool_args": (
        "gen_ai.tool.call.arguments",
        "tool.parameters",
        "ai.toolCall.args",
        "tool_arguments",
        "gcp.vertex.agent.tool_call_args",
        "mcp.request.argument",
        "traceloop.entity.input",
        "input.value",
        "langfuse.observation.input",
    ),
    "result": (
        "gen_ai.tool.call.result",
        "ai.toolCall.result",
        "tool_response",
        "gcp.vertex.agent.tool_response",
        "mcp.response.value",
        "gen_ai.output.messages",
        "traceloop.entity.output",
        "output.value",
        "ai.response.text",
        "langfuse.observation.output",
    ),
    "error_type": ("error.type", "exception.type"),
    "tool_type": ("gen_ai.tool.type",),
    "step": ("langgraph_step", "langfuse.observation.metadata.langgraph_step"),
}

# The first of these that is there and known says what a span is.
KINDS: Final[Mapping[str, Mapping[str, str | None]]] = {
    "gen_ai.operation.name": {
        "chat": "chat",
        "generate_content": "chat",
        "text_completion": "chat",
        "completion": "chat",
        "embeddings": "retrieval",
        "retrieval": "retrieval",
        "search_memory": "retrieval",
        "execute_tool": "execute_tool",
        "create_memory_store": "execute_tool",
        "delete_memory_store": "execute_tool",
        "create_memory": "execute_tool",
        "update_memory": "execute_tool",
        "upsert_memory": "execute_tool",
        "delete_memory": "execute_tool",
        "invoke_agent": "invoke_agent",
        "create_agent": "invoke_agent",  # where a framework says it at all, the span holds the run
        "plan": "decision",
        "invoke_workflow": None,
    },
    "mcp.method.name": {"tools/call": "execute_tool", "resources/read": "retrieval"},
    "openinference.span.kind": {
        "LLM": "chat",
        "TOOL": "execute_tool",
        "AGENT": "invoke_agent",
        "RETRIEVER": "retrieval",
        "EMBEDDING": "retrieval",
        "RERANKER": "retrieval",
        "GUARDRAIL": "decision",
        "EVALUATOR": "decision",
        "DECISION": "decision",
        "CHAIN": None,
        "PROMPT": None,
    },
    "traceloop.span.kind": {"agent": "invoke_agent", "tool": "execute_tool", "workflow": None, "task": None},
    "langsmith.span.kind": {
        "llm": "chat",
        "tool": "execute_tool",
        "retriever": "retrieval",
        "embedding": "retrieval",
        "chain": None,
    },
    "langfuse.observation.type": {
        "generation": "chat",
        "tool": "execute_tool",
        "agent": "invoke_agent",
        "retriever": "retrieval",
        "embedding": "retrieval",
        "guardrail": "decision",
        "evaluator": "decision",
    },
    "ai.operationId": {
        "ai.generateText": "invoke_agent",  # holds its model calls and its tools
        "ai.streamText": "invoke_agent",
        "ai.generateObject": "invoke_agent",
        "ai.streamObject": "invoke_agent",
        "ai.generateText.doGenerate": "chat",
        "ai.streamText.doStream": "chat",
        "ai.generateObject.doGenerate": "chat",
        "ai.streamObject.doStream": "chat",
        "ai.embed.doEmbed": "retrieval",
        "ai.embedMany.doEmbed": "retrieval",
        "ai.toolCall": "execute_tool",
    },
    "llm.request.type": {"chat": "chat", "completion": "chat", "embedding": "retrieval", "rerank": "retrieval"},
}

# Texts of prompts, answers and results: large, personal, and kept as digests at most.
CONTENT: Final = frozenset(
    [
        *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions"),
        *("gen_ai.prompt", "gen_ai.completion", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
        *("input.value", "output.value", "tool.parameters", "llm.prompts", "llm.tools", "llm.system_prompt"),
        *("traceloop.entity.input", "traceloop.entity.output", "mcp.request.argument", "mcp.response.value"),
        *("ai.prompt", "ai.prompt.messages", "ai.prompt.tools", "ai.toolCall.args", "ai.toolCall.result"),
        *("ai.response.text", "ai.response.toolCalls", "ai.response.object", "tool_arguments", "tool_response"),
        *("gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_call_args"),
        *("gcp.vertex.agent.tool_response", "pydantic_ai.all_messages", "all_messages_events", "events"),
        *("final_result", "langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input"),
        *("langfuse.trace.output", "logfire.json_schema", "model_request_parameters", "history", "thought"),
        *("crew_agents", "crew_tasks", "crew_inputs", "gen_ai.tool.description", "tool.description"),
    ]
)
CONTENT_PREFIXES: Final = (
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.tools.",
    "llm.prompts.",
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "gen_ai.event.",
    "retrieval.documents.",
    "embedding.embeddings.",
    "reranker.",
)

# Names of the counts inside a `usage` value, by the field they mean.
USAGE: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": (
        "input_tokens",
        "prompt_tokens",
        "prompt_token_count",
        "promptTokenCount",
        "promptTokens",
        "input",
    ),
    "output_tokens": (
        "output_tokens",
        "completion_tokens",
        "candidates_token_count",
        "candidatesTokenCount",
        "completionTokens",
        "output",
    ),
    "cached_input_tokens": (
        "cache_read_input_tokens",
        "cached_tokens",
        "cache_read",
        "input_cache_read",
        "cached_content_token_count",
        "cachedContentTokenCount",
        "prompt_details.cache_read",
        "cachedInputTokens",
    ),
    "cache_write_tokens": ("cache_creation_input_tokens", "cache_creation", "input_cache_creation"),
    "reasoning_tokens": (
        "reasoning_tokens",
        "reasoning",
        "output_reasoning",
        "thoughts_token_count",
        "thoughtsTokenCount",
        "completion_details.reasoning",
        "reasoningTokens",
    ),
}
USAGE_KEYS: Final = ("usage", "usage_metadata", "usageMetadata", "token_usage", "tokenUsage", "usage_details")
USAGE_DETAILS: Final = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
    "input_token_details",
    "output_token_details",
)
