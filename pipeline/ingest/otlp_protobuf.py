"""OTLP protobuf -> telemetry: TracesData, MetricsData, LogsData, and the export requests, whose bytes are the same.

The cost of OTLP in Python is walking attributes, not parsing. So a span's attributes are read as *bytes* (a field of
messages and one of bytes are the same on the wire, so the classes of opentelemetry-proto are made anew with that one
type changed), and decoded by otlp_attributes.py. A fault in one attribute is then a fault of its span, not of the
message. The spans themselves are bytes, too, until somebody wants them: most are walked together (span_walk.py).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from pipeline.ingest.histograms import exponential, kind_of_sum
from pipeline.ingest.otlp_attributes import KNOWN, remembered, value_of
from pipeline.ingest.telemetry import (
    MOST_ATTRIBUTES,
    NANOS_PER_MICRO,
    Attributes,
    Distribution,
    LogRecord,
    Origin,
    Quantity,
    Span,
    Telemetry,
    UnmappableError,
)
from schemas.errors import Reason

DELTA: Final = 1
NO_VALUE: Final = 1  # flag of a data point that says only that there is none
BYTES: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES


def _with_bytes() -> tuple[Any, Any]:
    """The classes TracesData whose spans are undecoded, and Span whose attributes are."""
    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            for field in message.field:
                if (message.name, field.name) in (("Span", "attributes"), ("ScopeSpans", "spans")):
                    field.type = BYTES
                    field.ClearField("type_name")
        pool.Add(file)
    package = "opentelemetry.proto.trace.v1"
    traces, span = (message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in NAMES)
    return traces, span


NAMES: Final = ("TracesData", "Span")
TracesData, BareSpan = _with_bytes()


def bare_spans(data: bytes) -> list[tuple[Origin, Sequence[bytes]]]:
    """The spans of one message, undecoded. Raises UnmappableError where it is no traces message at all."""
    return [
        (_origin(resource, scope), scope.spans)
        for resource in _parsed(TracesData, data).resource_spans
        for scope in resource.scope_spans
    ]


def spans(data: bytes) -> Telemetry:
    """The spans of one message. Raises UnmappableError where it is no traces message at all."""
    found = Telemetry()
    for origin, bare in bare_spans(data):
        for span in bare:
            keep_span(found, span, origin)
    return found


def keep_span(found: Telemetry, data: bytes, origin: Origin) -> bool:
    """One span, or its fault, and then False. Raises UnmappableError where it is no span: then nor is its message."""
    span = _decoded(BareSpan, data)
    try:
        found.spans.append(_span(span, origin))
    except UnmappableError as error:
        found.faults.append(error)
    except DecodeError:
        found.faults.append(UnmappableError(Reason.MALFORMED, "an attribute is no KeyValue"))
    else:
        return True
    return False


def logs(data: bytes) -> Telemetry:
    """The log records of one message. Raises UnmappableError where it is no logs message at all."""
    found = Telemetry()
    for resource in _parsed(logs_pb2.LogsData, data).resource_logs:
        for scope in resource.scope_logs:
            origin = _origin(resource, scope)
            for record in scope.log_records:
                time = record.time_unix_nano or record.observed_time_unix_nano
                found.logs.append(
                    LogRecord(
                        origin,
                        time // NANOS_PER_MICRO,
                        value_of(record.body),
                        _attributes(record.attributes),
                        record.severity_number,
                        record.event_name,
                        record.trace_id.hex(),
                    )
                )
    return found


def metrics(data: bytes) -> Telemetry:
    """The data points of one message. Raises UnmappableError where it is no metrics message at all."""
    found = Telemetry()
    for resource in _parsed(metrics_pb2.MetricsData, data).resource_metrics:
        for scope in resource.scope_metrics:
            origin = _origin(resource, scope)
            for metric in scope.metrics:
                _keep_points(found, metric, origin)
    return found


def _parsed(kind: Any, data: bytes) -> Any:
    message = _decoded(kind, data)
    if not message.ListFields():
        # random bytes parse as a message of unknown fields: it holds nothing, and nobody sends nothing
        raise UnmappableError(Reason.MALFORMED, "protobuf, but nothing of OTLP in it; check the topic of the exporter")
    return message


def _decoded(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise UnmappableError(
            Reason.MALFORMED, "neither OTLP protobuf nor JSON; set the exporter's encoding to otlp_proto or otlp_json"
        ) from None


def _span(span: Any, origin: Origin) -> Span:
    trace_id, span_id, parent = span.trace_id, span.span_id, span.parent_span_id
    if len(trace_id) != 16 or len(span_id) != 8:
        raise UnmappableError(
            Reason.WRONG_TYPE, f"ids of {len(trace_id)} and {len(span_id)} bytes; a trace has 16, a span 8"
        )
    raw: Sequence[bytes] = span.attributes
    if len(raw) > MOST_ATTRIBUTES:
        raw = raw[:MOST_ATTRIBUTES]
    found = Span(
        origin,
        trace_id.hex(),
        span_id.hex(),
        parent.hex() or None,
        span.name,
        span.start_time_unix_nano // NANOS_PER_MICRO,
        span.end_time_unix_nano // NANOS_PER_MICRO,
        dict([KNOWN.get(pair) or remembered(pair) for pair in raw]),
    )
    if span.HasField("status"):
        found.status, found.message = span.status.code, span.status.message
    if span.events:
        found.exceptions = [_attributes(event.attributes) for event in span.events if event.name == "exception"]
    return found


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return {pair.key: value_of(pair.value) for pair, _ in zip(pairs, range(MOST_ATTRIBUTES), strict=False)}


def _origin(resource: Any, scope: Any) -> Origin:
    return Origin(_attributes(resource.resource.attributes), scope.scope.name, scope.scope.version)


def _keep_points(found: Telemetry, metric: Any, origin: Origin) -> None:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    for point in data.data_points:
        if not point.flags & NO_VALUE:
            found.metrics.append(_point(kind, metric, data, point, origin))


def _point(kind: str, metric: Any, data: Any, point: Any, origin: Origin) -> Quantity | Distribution:
    time, start = point.time_unix_nano // NANOS_PER_MICRO, point.start_time_unix_nano // NANOS_PER_MICRO
    attributes = _attributes(point.attributes)
    if kind in ("gauge", "sum"):
        value = float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
        how = "gauge"
        if kind == "sum":
            is_delta = data.aggregation_temporality == DELTA
            how = kind_of_sum(is_delta, data.is_monotonic)
        return Quantity(origin, metric.name, metric.unit, how, time, start, value, attributes)
    if kind == "summary":
        quantiles = tuple((item.quantile, item.value) for item in point.quantile_values)
        return Distribution(
            origin, metric.name, metric.unit, True, time, start, point.count, point.sum, (), (), attributes, quantiles
        )
    if kind == "histogram":
        bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    else:
        bounds, counts = exponential(
            point.scale,
            point.zero_count,
            (point.positive.offset, list(point.positive.bucket_counts)),
            (point.negative.offset, list(point.negative.bucket_counts)),
        )
    return Distribution(
        origin=origin,
        name=metric.name,
        unit=metric.unit,
        is_cumulative=data.aggregation_temporality != DELTA,
        time=time,
        start=start,
        count=point.count,
        total=point.sum if point.HasField("sum") else None,
        bounds=bounds,
        counts=counts,
        attributes=attributes,
        least=point.min if point.HasField("min") else None,
        most=point.max if point.HasField("max") else None,
    )
