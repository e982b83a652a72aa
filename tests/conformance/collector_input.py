"""What is sent to a real Collector in every way that its kafka exporter knows, and what has to arrive.

`WAYS` are exporters of one Collector that all get the same: every partitioning, both encodings, every compression, and
deploy/otel-collector.yaml as it is. tests/services/test_collector.py runs it and records what it wrote to Kafka;
test_collector_messages.py reads the record, without a Collector.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from pipeline.ingest.messages import Event, Reader
from schemas.codecs.single import decode, encode
from schemas.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS
from tests.builders import at
from tests.otlp import RESOURCE, logs, otel_span, pairs, traces

RECORD: Final = Path(__file__).with_name("collector") / "messages.json"
WATCHED: Final = RECORD.with_name("watched_file.binpb")  # what it made of a line of a watched file
OTHER_TRACE: Final = "11" * 16
OTHER_RESOURCE: Final = {"service.name": "desk-agent", "k8s.cluster.name": "prod-us", "aftermath.tenant": "acme"}
SECRET: Final = "Bearer " + "abcdef0123456789" * 2
DEPLOYED: Final = "deploy/otel-collector.yaml"
WAY_HEADER: Final = "way"
KEY_HEADER: Final = "x-run"

BY_RESOURCE: Final = {
    "partition_metrics_by_resource_attributes": True,
    "partition_logs_by_resource_attributes": True,
}
# exporter -> its settings beside those of deploy/otel-collector.yaml's name, brokers and topics
WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "no-key": {},
    "no-key-json": {"encoding": "otlp_json", "compression": "gzip"},
    "by-trace-and-resource": {"partition_traces_by_id": True, **BY_RESOURCE, "compression": "lz4"},
    "by-trace-and-resource-json": {
        "partition_traces_by_id": True,
        **BY_RESOURCE,
        "encoding": "otlp_json",
        "record_partitioner": {"sticky_key": {"hasher": "murmur2"}},
    },
    "logs-by-trace": {"partition_logs_by_trace_id": True, "compression": "snappy"},
    "logs-by-trace-json": {"partition_logs_by_trace_id": True, "encoding": "otlp_json", "compression": "zstd"},
    "key-of-request": {"message_key_from_metadata_key": KEY_HEADER},
    "round-robin": {"record_partitioner": {"round_robin": {}}},
    "least-backup-json": {"record_partitioner": {"least_backup": {}}, "encoding": "otlp_json"},
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message on Kafka that the Collector wrote; `way` is the exporter."""

    way: str
    topic: str
    key: bytes | None
    value: bytes


def sent(secret: str = SECRET) -> dict[str, bytes]:
    """The requests by topic: traces of two agents, metrics and logs of two resources."""
    return {OTLP_SPANS.name: _spans(secret), OTLP_METRICS.name: _metrics(), OTLP_LOGS.name: _logs()}


def _spans(secret: str) -> bytes:
    run = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "session.id": "session_1"}
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "ticket.read",
        "gen_ai.tool.call.arguments": '{"id":7}',
        "gen_ai.tool.call.result": "open",
        "asked.with": f"authorization: {secret}",
    }
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "model-1",
        "gen_ai.usage.input_tokens": 79,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.finish_reasons": ["stop"],
        "odd": {"list": [1, True, 0.5], "bytes": b"\x01\xff", "none": None},
    }
    first = [otel_span(1, 2, 1, attributes=tool, error="timeout", exception="TimeoutError")]
    first += [otel_span(2, 3, 1, attributes=chat), otel_span(3, 1, attributes=run)]
    other = [otel_span(1, 9, attributes=chat | {"session.id": "session_2"}, trace=OTHER_TRACE)]
    return traces(first) + traces(other, OTHER_RESOURCE)  # messages of protobuf that are joined are one


def _metrics() -> bytes:
    found = MetricsData()
    for resource in (RESOURCE, OTHER_RESOURCE):
        of_one = found.resource_metrics.add()
        of_one.resource.attributes.extend(pairs(resource))
        scope = of_one.scope_metrics.add()
        gauge = scope.metrics.add(name="queue", unit="1").gauge
        gauge.data_points.add(time_unix_nano=at(1) * 1000, as_int=79)
        summed = scope.metrics.add(name="requests", unit="1").sum
        summed.aggregation_temporality = 2  # type: ignore[assignment]
        summed.is_monotonic = True
        summed.data_points.add(time_unix_nano=at(1) * 1000, as_double=12.5, attributes=pairs({"path": "/"}))
        latency = scope.metrics.add(name="latency", unit="s").histogram
        latency.aggregation_temporality = 1  # type: ignore[assignment]
        latency.data_points.add(
            start_time_unix_nano=at(0) * 1000,
            time_unix_nano=at(1) * 1000,
            count=4,
            sum=6.0,
            bucket_counts=[1, 2, 1],
            explicit_bounds=[1.0, 2.0],
        )
    return found.SerializeToString()


def _logs() -> bytes:
    event = {
        "kind": "Event",
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart-1", "uid": "u1"},
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "type": "Warning",
        "count": 94,
        "lastTimestamp": "2026-03-02T14:20:00Z",
        "metadata": {"uid": "e1"},
    }
    window = {
        "type": "cluster_event",
        "event_time": "2026-03-02T14:00:00Z",
        "event_id": "m1",
        "kind": "maintenance",
        "resource": "prod-us/shop/statefulset/cart-db",
        "valid_until": "2026-03-02T16:00:00Z",
        "source": "calendar",
    }
    watched = logs(({"type": "MODIFIED", "object": event}, {}), ("GET / 200", {}))
    return watched + logs((json.dumps(window), {}), resource=OTHER_RESOURCE)


def rows(found: Sequence[tuple[str, bytes]]) -> list[Event]:
    """The events of messages (topic, value), in an order that does not depend on theirs; nothing may be refused."""
    reader = Reader()
    events: list[Event] = []
    for topic, value in found:
        mapped = reader.read(topic, value)
        assert mapped.reason is None, f"{topic}: {mapped.reason} {mapped.detail}"
        events += [plain(*decode(encode(record, row))) for record, row in mapped.events]
    return sorted(events, key=str)


def plain(record: str, row: Mapping[str, Any]) -> Event:
    """An event whose attributes and labels do not depend on the order that they came in."""
    return record, {name: _unordered(value) for name, value in sorted(row.items())}


def _unordered(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(json.loads(value), sort_keys=True)
    return value


def expected() -> list[Event]:
    """The events of what was sent; the redaction processor has masked the one value that looks like a credential."""
    return rows(list(sent(secret="****").items()))


def write_record(messages: Sequence[Message]) -> None:
    """Keep what the Collector wrote."""
    found = [
        {
            "way": message.way,
            "topic": message.topic,
            "key": None if message.key is None else message.key.hex(),
            "value": base64.b64encode(message.value).decode(),
        }
        for message in messages
    ]
    lines = ",\n".join(json.dumps(one) for one in sorted(found, key=lambda one: list(map(str, one.values()))))
    RECORD.write_text(f"[\n{lines}\n]\n")


def read_record() -> list[Message]:
    """What a Collector wrote to Kafka when it was recorded."""
    return [
        Message(
            one["way"],
            one["topic"],
            None if one["key"] is None else bytes.fromhex(one["key"]),
            base64.b64decode(one["value"]),
        )
        for one in json.loads(RECORD.read_text())
    ]
