"""One OTLP export request -> the messages it becomes on Kafka: no larger than Kafka takes, keyed by who sent it.

A request that fits goes as it came. A larger one is parted between its spans, points or records, each part with its own
resource and scope. The key is the service, so that what one program sends stays in order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from pipeline.ingest import otlp_json
from pipeline.ingest.messages import decode
from pipeline.ingest.telemetry import Telemetry
from schemas.topics import MAX_MESSAGE_BYTES, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS

LARGEST: Final = MAX_MESSAGE_BYTES - 4_096  # Kafka counts the key and its own header too


@dataclass(slots=True)
class Pieces:
    """key: of all of them. too_large: spans, points or records that alone are more than Kafka takes."""

    key: bytes
    values: list[bytes] = field(default_factory=list)
    too_large: int = 0


def pieces(topic: str, body: bytes, largest: int = LARGEST) -> Pieces:
    """The messages for this topic. Raises UnmappableError where the body is no OTLP; faults inside are ingest's."""
    key = _service(decode(topic, body))
    if len(body) <= largest:
        return Pieces(key, [body])
    found = Pieces(key)
    parts = _json_parts if body.lstrip()[:1] == b"{" else _protobuf_parts
    for make, items in parts(topic, body):
        _cut(found, make, items, largest)
    return found


def _service(telemetry: Telemetry) -> bytes:
    for thing in (*telemetry.spans[:1], *telemetry.metrics[:1], *telemetry.logs[:1]):
        return str(thing.origin.resource.get("service.name", "")).encode(errors="replace")
    return b""


def _cut(found: Pieces, make: Callable[[Sequence[Any]], bytes], items: Sequence[Any], largest: int) -> None:
    """Halve until it fits: nobody needs to know how a length is written."""
    if not items:
        return
    value = make(items)
    if len(value) <= largest:
        found.values.append(value)
    elif len(items) == 1:
        found.too_large += 1
    else:
        middle = len(items) // 2
        _cut(found, make, items[:middle], largest)
        _cut(found, make, items[middle:], largest)


Parts = Iterator[tuple[Callable[[Sequence[Any]], bytes], Sequence[Any]]]
PROTOBUF: Final[Mapping[str, tuple[Any, str, str, str]]] = {
    OTLP_SPANS.name: (trace_pb2.TracesData, "resource_spans", "scope_spans", "spans"),
    OTLP_METRICS.name: (metrics_pb2.MetricsData, "resource_metrics", "scope_metrics", "metrics"),
    OTLP_LOGS.name: (logs_pb2.LogsData, "resource_logs", "scope_logs", "log_records"),
}
JSON: Final[Mapping[str, tuple[str, str, str]]] = {
    OTLP_SPANS.name: ("resourceSpans", "scopeSpans", "spans"),
    OTLP_METRICS.name: ("resourceMetrics", "scopeMetrics", "metrics"),
    OTLP_LOGS.name: ("resourceLogs", "scopeLogs", "logRecords"),
}


def _protobuf_parts(topic: str, body: bytes) -> Parts:
    kind, resources, scopes, things = PROTOBUF[topic]
    for resource in getattr(kind.FromString(body), resources):
        for scope in getattr(resource, scopes):

            def make(items: Sequence[Any], resource: Any = resource, scope: Any = scope) -> bytes:
                message = kind()
                to = getattr(message, resources).add(resource=resource.resource, schema_url=resource.schema_url)
                inner = getattr(to, scopes).add(scope=scope.scope, schema_url=scope.schema_url)
                getattr(inner, things).extend(items)
                return bytes(message.SerializeToString())

            yield make, list(getattr(scope, things))


def _json_parts(topic: str, body: bytes) -> Parts:
    resources, scopes, things = JSON[topic]
    for resource in otlp_json.objects(otlp_json.load(body), resources):
        for scope in otlp_json.objects(resource, scopes):

            def make(items: Sequence[Any], resource: Any = resource, scope: Any = scope) -> bytes:
                inner = {**scope, things: items}
                return orjson.dumps({resources: [{**resource, scopes: [inner]}]})

            yield make, list(otlp_json.objects(scope, things))
