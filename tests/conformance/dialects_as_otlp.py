"""The recorded traces of tests/conformance/dialects as a program would have exported them: OTLP, raw attributes only."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from schemas.times import parse_time

FILE = Path(__file__).parent / "dialects" / "framework_traces.json.gz"
Trace = dict[str, Any]


@cache
def traces() -> dict[str, Trace]:
    """Dialect -> its trace, with the publisher's reading of each span beside the attributes."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        found: dict[str, Trace] = json.load(file)
    return found


def any_value(value: Any) -> AnyValue:
    """A value as OTLP has it."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
        case None:
            return AnyValue()
        case dict():
            return AnyValue(string_value=json.dumps(value))
    return AnyValue(string_value=str(value))


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=name, value=any_value(value)) for name, value in attributes.items()]


def span_id(identifier: str) -> str:
    """Sixteen hex digits, also of a UUID."""
    return identifier.replace("-", "")[-16:]


def otlp(trace: Trace) -> bytes:
    """One message with all spans of a trace."""
    message = TracesData()
    for seen in trace["observations"]:
        metadata = json.loads(seen["metadata"])
        resource = message.resource_spans.add()
        resource.resource.attributes.extend(pairs(metadata["resourceAttributes"]))
        scope = resource.scope_spans.add()
        scope.scope.name = metadata["scope"].get("name", "")
        parent = seen["parentObservationId"]
        scope.spans.add(
            trace_id=bytes.fromhex(seen["traceId"]),
            span_id=bytes.fromhex(span_id(seen["id"])),
            parent_span_id=bytes.fromhex(span_id(parent)) if parent else b"",
            name=seen["name"],
            start_time_unix_nano=parse_time(seen["startTime"]) * 1000,
            end_time_unix_nano=parse_time(seen["endTime"]) * 1000,
            attributes=pairs(metadata["attributes"]),
        )
    return message.SerializeToString()
