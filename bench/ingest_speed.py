"""OTLP spans a second and core: as rows, as the frame detect works on, as messages of agent.traces.v1.

Spans as GenAI instrumentations write them, about 15 attributes, ids and token counts different in each; five in ten are
model calls, four tool calls, one the run above them. Beside it what the usual reader does: protobuf parsed, and every
attribute put into a dict. CPU time of one process: the ways take turns over the same fetches of five messages, and of
each fetch the best turn counts, so that on a busy machine the last column, the ratio, still says something.
"""

import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.app import look_for_cycles_rarely
from pipeline.ingest import otlp_attributes
from pipeline.ingest.messages import Reader
from pipeline.ingest.otlp_attributes import remembered
from pipeline.ingest.span_table import Columns
from schemas.codecs.blocks import frame_of_columns
from schemas.codecs.single import encode_columns
from schemas.topics import OTLP_SPANS

FETCHES, MESSAGES, SPANS = 12, 5, 200
TURNS = 8
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


def by_protobuf(raw: bytes) -> tuple[str, Any]:
    """One attribute, without reading any by hand."""
    pair = KeyValue.FromString(raw)
    return pair.key, otlp_attributes.value_of(pair.value)


def best(ways: Mapping[str, Callable[[Any], object]], inputs: Sequence[Any], turns: int) -> dict[str, float]:
    """Seconds of CPU of each way over all inputs."""
    least = {name: [math.inf] * len(inputs) for name in ways}
    for _ in range(turns):
        for place, value in enumerate(inputs):
            for name, way in ways.items():
                began = time.thread_time()
                way(value)
                least[name][place] = min(least[name][place], time.thread_time() - began)
    return {name: sum(found) for name, found in least.items()}


def main() -> None:
    """Print the tables."""
    look_for_cycles_rarely()  # as `aftermath run` does
    random = Random(1)
    fetches = [[batch(random) for _ in range(MESSAGES)] for _ in range(FETCHES)]
    reader = Reader()

    def rows(fetch: list[bytes]) -> Columns:
        return reader.read_all(OTLP_SPANS.name, fetch)[1]

    def frame(fetch: list[bytes]) -> int:
        found = rows(fetch)
        size = len(found["tenant"])
        return frame_of_columns("agent_span", found, 0, range(size), [0] * size).height

    ways: dict[str, Callable[[list[bytes]], object]] = {
        "parsed, attributes as dicts (the usual way)": lambda fetch: [usual(value) for value in fetch],
        "rows, read one by one": lambda fetch: [reader.read(OTLP_SPANS.name, value) for value in fetch],
        "rows, read together": rows,
        "the frame": frame,
        "messages of agent.traces.v1": lambda fetch: encode_columns("agent_span", rows(fetch)),
    }
    number = FETCHES * MESSAGES * SPANS
    print(f"{len(fetches[0][0]) // SPANS} bytes a span, {SPANS} spans a message, {MESSAGES} messages a fetch\n")
    seconds = best(ways, fetches, TURNS)
    for name, spent in seconds.items():
        ratio = spent / next(iter(seconds.values()))
        print(f"{name:45} {number / spent:9,.0f} spans/s {spent / number * 1e6:6.1f} µs a span {ratio:5.2f}")

    texts = [KeyValue(key="gen_ai.response.id", value=AnyValue(string_value=f"{n:032x}")) for n in range(1000)]
    numbers = [KeyValue(key="gen_ai.usage.input_tokens", value=AnyValue(int_value=n * 7)) for n in range(1000)]
    print()
    for name, pairs in {"a text": texts, "a number": numbers}.items():
        raw = [pair.SerializeToString() for pair in pairs]
        took = best(
            {
                "protobuf": lambda raw: [by_protobuf(one) for one in raw],
                "by hand": lambda raw: [otlp_attributes.pair_of(one) for one in raw],
                "remembered": lambda raw: [otlp_attributes.KNOWN.get(one) or remembered(one) for one in raw],
            },
            [raw],
            50,
        )
        said = ", ".join(f"{way} {spent * 1e6 / len(raw):.2f} µs" for way, spent in took.items())
        print(f"one attribute, {name}: {said}")


if __name__ == "__main__":
    main()
