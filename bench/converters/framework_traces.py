"""Traces of 20 small agent programs (Langfuse, MIT) as spans, read from the raw span attributes.

What the publisher made of a span (`type`, `model`, `usageDetails`) is the label of the set and is never
looked at. So a span whose attributes and name do not say what it is has no operation, and is left out; and a
program whose attributes hold no token counts has model calls without tokens.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.converters.files import Event, data_set, main, without_nulls
from schemas.signals import compact_json, stable_hash
from schemas.times import parse_time

TENANT = "framework-traces"
OPERATIONS = {
    "chat": "chat",
    "text_completion": "chat",
    "generate_content": "chat",
    "llm": "chat",
    "ai.generateText.doGenerate": "chat",
    "execute_tool": "execute_tool",
    "tool": "execute_tool",
    "ai.toolCall": "execute_tool",
    "invoke_agent": "invoke_agent",
    "agent": "invoke_agent",
    "ai.generateText": "invoke_agent",
    "retriever": "retrieval",
}
NAMES_OF = {
    "operation": ("gen_ai.operation.name", "openinference.span.kind", "langsmith.span.kind", "ai.operationId"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"),
    "model": ("gen_ai.request.model", "llm.model_name", "ai.model.id"),
    "input_tokens": ("gen_ai.usage.input_tokens", "llm.token_count.prompt", "ai.usage.promptTokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "llm.token_count.completion", "ai.usage.completionTokens"),
    "cached_input_tokens": ("llm.token_count.prompt_details.cache_read",),
    "reasoning_tokens": ("llm.token_count.completion_details.reasoning",),
}


def convert(folder: Path) -> Iterator[Event]:
    """The spans of all traces that say what they are, in the order of event time."""
    events: list[Event] = []
    for path in sorted(data_set(folder, "framework_traces").glob("*.trace.json")):
        document = json.loads(path.read_text())
        program = path.name.removesuffix(".trace.json").rsplit("-", 3)[0]
        events += spans(program, document["trace"], document["observations"])
    yield from sorted(events, key=lambda event: (event["event_time"], event["trace_id"], event["span_id"]))


def spans(program: str, trace: Mapping[str, Any], observations: list[dict[str, Any]]) -> list[Event]:
    """The spans of one trace; `program` is the agent where no attribute names one."""
    read = [(observation, _attributes(observation)) for observation in observations]
    conversations = (str(found["gen_ai.conversation.id"]) for _, found in read if found.get("gen_ai.conversation.id"))
    session_id = trace.get("sessionId") or next(conversations, trace["id"])
    events = []
    for observation, attributes in read:
        operation = _operation(observation["name"] or "", attributes)
        if operation is not None:
            events.append(_span(program, session_id, operation, observation, attributes))
    return events


def _attributes(observation: Mapping[str, Any]) -> dict[str, Any]:
    metadata = observation["metadata"]
    metadata = (json.loads(metadata) if isinstance(metadata, str) else metadata) or {}
    found = dict(metadata.get("attributes") or {})
    # LangGraph writes what it knows about a model beside the attributes
    for name, ours in (
        ("ls_provider", "gen_ai.provider.name"),
        ("ls_model_name", "gen_ai.request.model"),
        ("ls_model_type", "gen_ai.operation.name"),
    ):
        if name in metadata:
            found.setdefault(ours, metadata[name])
    return found


def _operation(name: str, attributes: Mapping[str, Any]) -> str | None:
    said = _first(attributes, "operation")
    if said is not None:
        return OPERATIONS.get(said, OPERATIONS.get(said.lower()))
    # the convention of OpenTelemetry: a span is called by its operation and what it is done with
    return OPERATIONS.get(name.split(" ", 1)[0]) if " " in name else None


def _span(
    program: str, session_id: str, operation: str, observation: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Event:
    start, end = parse_time(observation["startTime"]), parse_time(observation["endTime"])
    event: Event = {
        "type": "agent_span",
        "event_time": end,
        "start_time": start,
        "duration_ms": (end - start) // 1000,
        "tenant": TENANT,
        "trace_id": observation["traceId"],
        "span_id": observation["id"],
        "parent_span_id": observation["parentObservationId"],
        "session_id": session_id,
        "root_session_id": session_id,
        "agent_id": attributes.get("gen_ai.agent.name") or program,
        "operation": operation,
        "status": "ok",
    }
    if operation == "chat":  # parents repeat the tokens of their children: only model calls have any
        event |= {"provider": _first(attributes, "provider"), "model": _first(attributes, "model")}
        event |= {
            name: int(_first(attributes, name) or 0)
            for name in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
        }
        event["context_tokens"] = event["input_tokens"] or None
    if operation == "execute_tool":
        name = attributes.get("tool.name") or attributes.get("gen_ai.tool.name") or observation["name"]
        args = _as_json(observation["input"])
        event |= {"tool_name": name, "tool_args": args, "args_digest": stable_hash(name, args)}
        event["result_digest"] = stable_hash(_as_json(observation["output"]))
    return without_nulls(event)


def _as_json(value: Any) -> str:
    if isinstance(value, str):
        with suppress(json.JSONDecodeError):  # plain text stays a JSON string
            value = json.loads(value)
    return compact_json(value)


def _first(attributes: Mapping[str, Any], field: str) -> str | None:
    found = (attributes[name] for name in NAMES_OF[field] if attributes.get(name) not in (None, ""))
    value = next(found, None)
    return None if value is None else str(value)


if __name__ == "__main__":
    main(convert, __doc__ or "")
