"""Sessions of Claude Code as spans: one `chat` per API call, one `execute_tool` per tool call.

A line is what `pipeline/demo/data/claude_code.jsonl.gz` holds: a reduction of the transcript the agent itself writes;
`reduced` makes it. One API call is written as several lines with one id: they are joined, and of each counter the
largest is taken, never the sum. Results stand in a whole transcript only; else tool spans have no `result_digest`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.ingest.access import access_of_command
from pipeline.ingest.usage import count
from schemas.events import TEXT_LENGTH
from schemas.signals import compact_json, stable_hash
from schemas.times import parse_time

TENANT = "claude-code"
Line = dict[str, Any]
Event = dict[str, Any]


COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
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


def is_transcript(found: Mapping[str, Any]) -> bool:
    """Whether an object is a line of a transcript as Claude Code writes it."""
    return isinstance(found.get("sessionId"), str) and isinstance(found.get("message"), dict) and "timestamp" in found


def reduced(found: Mapping[str, Any]) -> Line | None:
    """A line of a transcript in the form that `spans` reads; None where it tells of no call. Raises ValueError."""
    message, kind = found["message"], found.get("type")
    if kind not in ("assistant", "user"):
        return None
    parts = message.get("content")
    line: Line = {
        "type": kind,
        "timestamp": found["timestamp"],
        "sessionId": found["sessionId"],
        "agentId": found.get("agentId") if isinstance(found.get("agentId"), str) else None,
        "id": message.get("id"),
        "model": message.get("model"),
        "content": [],
    }
    parse_time(line["timestamp"] if isinstance(line["timestamp"], str) else "")
    if kind == "assistant":
        if not isinstance(line["id"], str):
            return None
        usage = message.get("usage") if isinstance(message.get("usage"), dict) else {}
        line["usage"] = {name: count(usage.get(name)) for name in COUNTS}
    for part in parts if isinstance(parts, list) else []:
        match part:
            case {"type": "tool_use", "id": str(), "name": str(), "input": dict()}:
                line["content"].append(part)
            case {"type": "tool_result", "tool_use_id": str()}:
                known = {"is_error": bool(part.get("is_error")), "result": part.get("content")}
                line["content"].append({"type": "tool_result", "tool_use_id": part["tool_use_id"], **known})
    return line


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
                if "result" in part:
                    event["result_digest"] = stable_hash(part["result"])
                if part["is_error"]:
                    event |= {"status": "error", "error_type": "tool_error"}
                events.append(event)
    return events


def _tool_call(line: Line, part: dict[str, Any], moment: int) -> Event:
    name, given = part["name"], part["input"]
    access = access_of_command(str(given.get("command", ""))) if name == "Bash" else ACCESS_OF_TOOL.get(name)
    text = compact_json(given)
    event = _common(line) | {
        "start_time": moment,
        "span_id": part["id"],
        "parent_span_id": line["id"],
        "operation": "handoff" if name == "Task" else "execute_tool",
        "tool_name": name,
        "tool_args": text if len(text) <= TEXT_LENGTH else None,  # a file that is written stands in there whole
        "args_digest": part.get("input_sha256") or stable_hash(name, given),
        "status": "ok",
    }
    return event if access is None else event | {"access": access}
