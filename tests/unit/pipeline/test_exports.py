"""Files of others: OTLP JSON, Langfuse exports and transcripts of Claude Code, known by their content."""

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.files import BadLine, read_events
from schemas.events import AgentSpan
from tests.builders import span
from tests.conformance.dialects_as_otlp import traces as recorded
from tests.otlp import as_json, otel_span, traces

TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ticket.read"}


def otlp(*numbers: int) -> dict[str, Any]:
    return as_json(TracesData.FromString(traces([otel_span(n, n, attributes=TOOL) for n in numbers])))


def read(path: Path) -> tuple[list[AgentSpan], list[BadLine]]:
    bad: list[BadLine] = []
    events = [found.event for found in read_events([path], bad.append)]
    assert all(isinstance(event, AgentSpan) for event in events)
    return [event for event in events if isinstance(event, AgentSpan)], bad


@pytest.mark.parametrize("indent", [None, 2])
def test_otlp_json_by_line_and_as_one_document(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "spans.json"
    documents = [otlp(1, 2)] if indent else [otlp(1), otlp(2)]
    path.write_text("".join(json.dumps(document, indent=indent) + "\n" for document in documents))
    found, bad = read(path)
    assert [int(event.span_id, 16) for event in found] == [1, 2]
    assert not bad


def test_a_line_that_is_none_and_a_span_that_is_none_are_named(tmp_path: Path) -> None:
    broken = otlp(2)
    broken["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = "x"
    path = tmp_path / "spans.jsonl"
    path.write_text("\n".join([json.dumps(otlp(1)), "{", json.dumps(span(1)), json.dumps(broken), json.dumps(otlp(3))]))
    found, bad = read(path)
    assert [int(event.span_id, 16) for event in found] == [1, 3]
    assert [line.line for line in bad] == [2, 3, 4]


def test_our_own_lines_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(span(1)) + "\n")
    assert [event.span_id for event in read(path)[0]] == ["span-1"]


@pytest.mark.parametrize("shape", ["trace", "observations", "list of traces"])
def test_an_export_of_langfuse_fills_what_the_attributes_do_not_say(tmp_path: Path, shape: str) -> None:
    trace = recorded()["langgraph-python-2025-08-22"]
    document = {"trace": trace, "observations": trace["observations"], "list of traces": [trace]}[shape]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(document, indent=1))
    found, bad = read(path)
    assert not bad
    assert [(event.operation, event.model, event.input_tokens, event.output_tokens) for event in found] == [
        ("chat", "gpt-4o-2024-08-06", 60, 15),
        ("chat", "gpt-4o-2024-08-06", 108, 51),
    ]


def test_tokens_of_an_export_are_those_of_the_innermost_call(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(recorded()["agno-2025-06-11"]))
    found, _ = read(path)
    assert sum(event.input_tokens for event in found) == 663 + 163


def test_a_transcript_of_claude_code(tmp_path: Path) -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7, "output_tokens": 5}
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    common = {"sessionId": "session_1", "uuid": "u", "isSidechain": False}
    rows: list[dict[str, Any]] = [
        {"type": "summary", "summary": "about files", "leafUuid": "u"},
        common | {"type": "user", "timestamp": "2026-03-02T14:00:00Z", "message": {"role": "user", "content": "look"}},
        common
        | {"type": "assistant", "timestamp": "2026-03-02T14:00:01Z"}
        | {"message": {"id": "m1", "model": "model_1", "content": [call], "usage": usage}},
        common
        | {"type": "user", "timestamp": "2026-03-02T14:00:03Z"}
        | {"message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a b", "is_error": True}]}},
    ]
    path = tmp_path / "session.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    found, bad = read(path)
    assert [(line.line, line.detail) for line in bad] == [(5, "no JSON object")]
    chat, tool = found
    assert (chat.operation, chat.input_tokens, chat.cached_input_tokens) == ("chat", 100, 90)
    assert (tool.tool_name, tool.access, tool.status, tool.duration_ms) == ("Bash", "read", "error", 2000)
    assert tool.result_digest


@pytest.mark.parametrize(
    ("given", "access", "is_kept"),
    [({"command": "ls"}, "read", True), ({"command": 5}, "write", True), ({"command": "cat", "x": "y" * 70_000}, "read", False)],
)  # fmt: skip
def test_a_call_of_a_transcript_is_kept_whatever_its_arguments_are(
    tmp_path: Path, given: dict[str, Any], access: str, is_kept: bool
) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": given}
    rows: list[dict[str, Any]] = [
        {"type": [], "sessionId": "session_1", "timestamp": "2026-03-02T14:00:00Z", "message": {}},  # of no known type
        {"sessionId": "session_1", "type": "assistant", "timestamp": "2026-03-02T14:00:01Z"}
        | {"message": {"id": "m1", "model": "model_1", "content": [call], "usage": {}}},
        {"sessionId": "session_1", "type": "user", "timestamp": "2026-03-02T14:00:03Z"}
        | {"message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]}},
    ]
    path = tmp_path / "session.jsonl"
    path.write_text("{ cut\n" + "".join(json.dumps(row) + "\n" for row in rows))
    found, bad = read(path)
    assert [line.line for line in bad] == [1]
    tool = found[-1]
    assert (tool.tool_name, tool.access, tool.tool_args is not None) == ("Bash", access, is_kept)
    assert tool.args_digest
