"""OTLP spans a second and core: decoded, as rows, as the frame detect works on, as messages of agent.traces.v1.

Spans as GenAI instrumentations write them, about 15 attributes, ids and token counts different in each; five in ten are
model calls, four tool calls, one the run above them. Beside it what the usual reader does: protobuf parsed, and every
attribute put into a dict. CPU time of one process, best of five.
"""

import time
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.app import look_for_cycles_rarely
from pipeline.ingest import otlp_protobuf
from pipeline.ingest.messages import Reader
from schemas.codecs.blocks import frame_of
from schemas.codecs.single import encode_row
from schemas.topics import OTLP_SPANS

BATCHES, SPANS = 50, 200
START = 1_770_000_000 * 10**9
ALL = {
    "gen_ai.system": "openai",
    "server.address": "api.openai.com",
    "server.port": 443,
    "user.id": "user_1",
    "thread.id": 12345,
    "thread.name": "MainThread",
}


def batch(random: Random) -> bytes:
    """One message of the Collector."""
    message = TracesData()
    resource = message.resource_spans.add()
    resource.resource.attributes.extend(
        _pairs({"service.name": "shop-agent", "service.version": "3", "host.name": "h"})
    )
    scope = resource.scope_spans.add()
    scope.scope.name = "bench"
    for _ in range(SPANS // 10):
        trace_id, run, session = random.randbytes(16), random.randbytes(8), str(uuid.UUID(bytes=random.randbytes(16)))
        for number in range(10):
            begin = START + random.randrange(10**12)
            scope.spans.add(
                trace_id=trace_id,
                span_id=run if number == 9 else random.randbytes(8),
                parent_span_id=b"" if number == 9 else run,
                name="a span",
                start_time_unix_nano=begin,
                end_time_unix_nano=begin + random.randrange(10**10),
                attributes=_pairs(ALL | {"gen_ai.conversation.id": session} | _attributes(number, random)),
            )
    return message.SerializeToString()


def _attributes(number: int, random: Random) -> dict[str, Any]:
    unique = f"{random.getrandbits(128):032x}"
    if number == 9:
        return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
    if number % 2:
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search_docs",
            "gen_ai.tool.call.id": unique,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.arguments": f'{{"query":"{unique}","limit":10}}',
            "gen_ai.tool.call.result": f"found {unique}",
        }
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": unique,
        "gen_ai.usage.input_tokens": random.randrange(10_000),
        "gen_ai.usage.output_tokens": random.randrange(1_000),
        "gen_ai.request.temperature": 0.7,
        "gen_ai.response.finish_reasons": "stop",
    }


def _pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    found = []
    for name, value in attributes.items():
        kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
        found.append(KeyValue(key=name, value=AnyValue(**{kind: value})))
    return found


def usual(value: bytes) -> int:
    """What a reader does that only wants all attributes."""
    spans = [
        {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
        for resource in TracesData.FromString(value).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return len(spans)


def main() -> None:
    """Print the table."""
    look_for_cycles_rarely()  # as `aftermath run` does
    random = Random(1)
    values = [batch(random) for _ in range(BATCHES)]
    reader = Reader()

    def rows(value: bytes) -> list[dict[str, Any]]:
        return [row for _, row in reader.read(OTLP_SPANS.name, value).events]

    def frame(value: bytes) -> int:
        found = rows(value)
        return frame_of("agent_span", found, 0, range(len(found)), [0] * len(found)).height

    ways: dict[str, Callable[[bytes], int]] = {
        "parsed, attributes as dicts (the usual way)": usual,
        "decoded": lambda value: len(otlp_protobuf.spans(value).spans),
        "rows": lambda value: len(rows(value)),
        "the frame": frame,
        "messages of agent.traces.v1": lambda value: len([encode_row("agent_span", row) for row in rows(value)]),
    }
    print(f"{len(values[0]) // SPANS} bytes a span, {SPANS} spans a message\n")
    for name, way in ways.items():
        best = 0.0
        for _ in range(5):
            began = time.process_time()
            number = sum(way(value) for value in values)
            best = max(best, number / (time.process_time() - began))
        print(f"{name:45} {best:9,.0f} spans/s")


if __name__ == "__main__":
    main()
