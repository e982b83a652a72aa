"""The same agent, which reads one ticket again and again, in the files that others write: their documents, one a line."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from schemas.times import format_time
from tests.builders import at
from tests.otlp import TRACE, as_json, otel_span, traces

STEP: Final = 4.0  # seconds
ARGUMENTS: Final = {"id": 7}
RESULT: Final = "waiting for customer"
Document = dict[str, Any]


def otlp(steps: int) -> list[Document]:
    """The Collector's file exporter."""
    called = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "ticket.read",
        "gen_ai.tool.call.arguments": ARGUMENTS,
        "gen_ai.tool.call.result": RESULT,
    }
    return [
        as_json(TracesData.FromString(traces([otel_span(STEP * step, step + 1, attributes=called)])))
        for step in range(steps)
    ]


def langfuse(steps: int) -> list[Document]:
    """An export of observations."""
    return [
        {
            "traceId": TRACE,
            "id": f"{step:016x}",
            "type": "TOOL",
            "name": "ticket.read",
            "startTime": format_time(at(STEP * step)),
            "endTime": format_time(at(STEP * step + 1)),
            "input": ARGUMENTS,
            "output": RESULT,
            "metadata": {},
        }
        for step in range(steps)
    ]


def claude_code(steps: int) -> list[Document]:
    """A transcript: the call and its result are two lines."""

    def line(kind: str, seconds: float, message: Document) -> Document:
        return {"type": kind, "sessionId": "session_1", "timestamp": format_time(at(seconds)), "message": message}

    found = []
    for step in range(steps):
        call = {"type": "tool_use", "id": f"t{step}", "name": "mcp__ticket__read", "input": ARGUMENTS}
        result = {"type": "tool_result", "tool_use_id": f"t{step}", "content": RESULT}
        usage = {"input_tokens": 100, "output_tokens": 5}
        found += [
            line("assistant", STEP * step, {"id": f"m{step}", "model": "m", "content": [call], "usage": usage}),
            line("user", STEP * step + 1, {"content": [result]}),
        ]
    return found


REPEATED: Final[Mapping[str, Callable[[int], list[Document]]]] = {
    "otlp": otlp,
    "langfuse": langfuse,
    "claude_code": claude_code,
}
