"""Builders of OTLP messages, as the Collector writes them and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.builders import at

TRACE = "0af7651916cd43dd8448eb211c80319c"
RESOURCE = {"service.name": "shop-agent", "k8s.cluster.name": "prod-eu"}


def any_value(value: Any) -> AnyValue:
    """A value as OTLP has it."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    return AnyValue(string_value=str(value))


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=name, value=any_value(value)) for name, value in attributes.items()]


def otel_span(seconds: float, number: int, parent: int | None = None, **fields: Any) -> dict[str, Any]:
    """A span that ended `seconds` after T0; `attributes` and other fields as given."""
    return {"seconds": seconds, "number": number, "parent": parent, "trace": TRACE, "name": "span"} | fields


def traces(spans: Sequence[Mapping[str, Any]], resource: Mapping[str, Any] = RESOURCE) -> bytes:
    """One message with these spans of one resource."""
    message = TracesData()
    found = message.resource_spans.add()
    found.resource.attributes.extend(pairs(resource))
    scope = found.scope_spans.add()
    scope.scope.name = "test"
    for span in spans:
        made = scope.spans.add(
            trace_id=bytes.fromhex(span["trace"]),
            span_id=span["number"].to_bytes(8, "big"),
            parent_span_id=b"" if span["parent"] is None else span["parent"].to_bytes(8, "big"),
            name=span["name"],
            start_time_unix_nano=(at(span["seconds"]) - 1_000_000) * 1000,
            end_time_unix_nano=at(span["seconds"]) * 1000,
            attributes=pairs(span.get("attributes", {})),
        )
        if "error" in span:
            made.status.code = 2
            made.status.message = span["error"]
        if "exception" in span:
            made.events.add(name="exception", attributes=pairs({"exception.type": span["exception"]}))
    return message.SerializeToString()


def as_json(message: TracesData | MetricsData | LogsData) -> dict[str, Any]:
    """The message as OTLP/JSON: ids in hex, not in base64 as protobuf's own JSON has them."""
    found: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    for resource in found.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span, plain in zip(scope.get("spans", ()), message.resource_spans[0].scope_spans[0].spans, strict=True):
                span |= {"traceId": plain.trace_id.hex(), "spanId": plain.span_id.hex()}
                if plain.parent_span_id:
                    span["parentSpanId"] = plain.parent_span_id.hex()
    return found


def logs(
    *records: tuple[Any, Mapping[str, Any]],
    resource: Mapping[str, Any] = RESOURCE,
    severity: int = 9,
    seconds: float = 5,
) -> bytes:
    """One message with these log records: body and attributes."""
    message = LogsData()
    found = message.resource_logs.add()
    found.resource.attributes.extend(pairs(resource))
    scope = found.scope_logs.add()
    for body, attributes in records:
        scope.log_records.add(
            time_unix_nano=at(seconds) * 1000,
            body=any_value(body),
            attributes=pairs(attributes),
            severity_number=severity,  # type: ignore[arg-type]
        )
    return message.SerializeToString()
