"""Recorded sessions of a coding agent as spans: one `chat` per API call, one `execute_tool` per tool call.

A line is what `data/claude_code.jsonl.gz` holds (see `README.md`): a reduction of the transcript the agent
itself wrote. One API call is written as several lines with one id: they are joined, and of each counter the
largest is taken, never the sum. The results of tools are not recorded, so tool spans have no `result_digest`.
"""

from collections.abc import Iterable
from typing import Any

from pipeline.demo.recorder import Event
from pipeline.ingest.access import access_of_command
from schemas.signals import compact_json
from schemas.times import parse_time

TENANT = "claude-code"
Line = dict[str, Any]


ACCESS_OF_TOOL = {
    "Read": "read",
    "Glob": "read",
    "Grep": "read",
    "WebFetch": "read",
    "WebSearch": "read",
    "TaskOutput": "read",
    "Edit": "write",
    "Write": "write",
}


def spans(lines: Iterable[Line], *, shift: int = 0) -> list[Event]:
    """Every finished call in the lines as an event, in the order of event time, all times moved by `shift`.

    The lines may be of several sessions and in any order. A tool call without a result in them has not ended,
    and is left out.
    """
    ordered = sorted(lines, key=lambda line: parse_time(line["timestamp"]))
    events = _model_calls(ordered, shift) + _tool_calls(ordered, shift)
    return sorted(events, key=lambda event: (event["event_time"], event["start_time"], event["span_id"]))


def _common(line: Line) -> Event:
    return {
        "type": "agent_span",
        "tenant": TENANT,
        "trace_id": line["sessionId"],
        "session_id": line["sessionId"],
        "root_session_id": line["sessionId"],
        "agent_id": line["agentId"] or "main",
        "agent_name": "coding agent",
        "task_type": "coding",
    }


def _model_calls(ordered: list[Line], shift: int) -> list[Event]:
    calls: dict[str, Event] = {}
    before: dict[tuple[str, str | None], str] = {}
    for line in ordered:
        if line["type"] != "assistant":
            continue
        usage, moment = line["usage"], parse_time(line["timestamp"]) + shift
        cached = usage["cache_read_input_tokens"]
        read = usage["input_tokens"] + usage["cache_creation_input_tokens"] + cached
        call = calls.get(line["id"])
        if call is None:
            agent = (line["sessionId"], line["agentId"])
            call = calls[line["id"]] = _common(line) | {
                "event_time": moment,
                "start_time": moment,
                "span_id": line["id"],
                "operation": "chat",
                "provider": "anthropic",
                "model": line["model"],
                "input_tokens": 0,
                "cached_input_tokens": 0,
                "output_tokens": 0,
                "status": "ok",
            }
            if agent in before:
                call["parent_span_id"] = before[agent]
            before[agent] = line["id"]
        call["event_time"] = moment
        call["duration_ms"] = (moment - call["start_time"]) // 1000
        call["input_tokens"] = call["context_tokens"] = max(call["input_tokens"], read)
        call["cached_input_tokens"] = max(call["cached_input_tokens"], cached)
        call["output_tokens"] = max(call["output_tokens"], usage["output_tokens"])
    return list(calls.values())


def _tool_calls(ordered: list[Line], shift: int) -> list[Event]:
    asked: dict[str, Event] = {}
    events = []
    for line in ordered:
        moment = parse_time(line["timestamp"]) + shift
        for part in line["content"]:
            if part["type"] == "tool_use":
                asked[part["id"]] = _tool_call(line, part, moment)
            elif part["type"] == "tool_result" and part["tool_use_id"] in asked:
                event = asked.pop(part["tool_use_id"])
                event["event_time"] = moment
                event["duration_ms"] = (moment - event["start_time"]) // 1000
                if part["is_error"]:
                    event |= {"status": "error", "error_type": "tool_error"}
                events.append(event)
    return events


def _tool_call(line: Line, part: dict[str, Any], moment: int) -> Event:
    name, given = part["name"], part["input"]
    access = access_of_command(given.get("command", "")) if name == "Bash" else ACCESS_OF_TOOL.get(name)
    event = _common(line) | {
        "start_time": moment,
        "span_id": part["id"],
        "parent_span_id": line["id"],
        "operation": "handoff" if name == "Task" else "execute_tool",
        "tool_name": name,
        "tool_args": compact_json(given),
        "args_digest": part["input_sha256"],
        "status": "ok",
    }
    return event if access is None else event | {"access": access}
