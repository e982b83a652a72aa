"""No bytes make an adapter raise: it maps or rejects with a reason, and what it maps is a valid event."""

from typing import Any

import orjson
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.ingest import otlp_attributes
from pipeline.ingest.messages import Mapped, Reader, key_of
from pipeline.ingest.names import CONTENT, FIELDS, KINDS
from schemas.codecs.single import encode
from schemas.events import EVENTS
from schemas.topics import OTLP, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS
from tests.otlp import otel_span, pairs, traces

TOPICS = [topic.name for topic in OTLP]
NAMES = sorted(
    {name for names in FIELDS.values() for name in names} | set(KINDS) | CONTENT
    | {"aftermath.access", "aftermath.step", "aftermath.tool_args", "aftermath.target", "x"}
)  # fmt: skip
KNOWN = sorted({kind for kinds in KINDS.values() for kind in kinds})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
VALUES = st.sampled_from(KNOWN) | st.text(max_size=30) | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans()
VALUES |= st.lists(st.text(max_size=5) | st.integers(-5, 5), max_size=3) | st.dictionaries(
    st.sampled_from(["usage", "input_tokens", "output_tokens", "command", "namespace", "kind", "name"]),
    st.text(max_size=5) | st.integers(-5, 5),
    max_size=3,
)
VALUES |= st.sampled_from(["2026-13-45 14:00:00 +0000 UTC", "2026-03-02 14:00:00 +0000 UTC"])
VALUES |= st.sampled_from(["{", '{"usage": {"input_tokens": -1}}', "[[]]", '{"a": NaN}', '{"token": 1e400}', "[" * 50])
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
EVENT_FIELDS = [
    "involvedObject",
    "regarding",
    "reason",
    "message",
    "note",
    "type",
    "count",
    "firstTimestamp",
    "lastTimestamp",
    "eventTime",
    "source",
    "series",
    "metadata",
    "auditID",
    "objectRef",
    "user",
    "verb",
    "stage",
    "stageTimestamp",
    "requestObject",
    "responseStatus",
    "flagsChanged",
    "titleVerb",
    "kind",
    "name",
    "date",
    "context",
    "subject",
    "object",
    "items",
]
OBJECTS = st.dictionaries(
    st.sampled_from(EVENT_FIELDS),
    JSON | st.just("2026-03-02T14:00:00Z") | st.just("create") | st.dictionaries(
        st.sampled_from(["kind", "namespace", "name", "uid", "username", "resource", "type", "timestamp", "content"]), JSON
    ),
    max_size=10,
)  # fmt: skip

EVENT_NAMES = [
    "k8s.event.reason",
    "k8s.event.count",
    "k8s.event.uid",
    "k8s.event.start_time",
    "k8s.namespace.name",
    "x",
]


def check(mapped: Mapped) -> None:
    assert mapped.is_rejected == (mapped.reason is not None and not mapped.events)
    assert (mapped.reason is None) == (mapped.detail == "")
    for record, row in mapped.events:
        EVENTS[record].model_validate(row)
        assert encode(record, row)
        assert key_of(record, row).startswith(f"{row['tenant']}/")


@given(st.sampled_from(TOPICS), st.binary(max_size=400))
@example("otlp_spans", b"\n\x02\x12\x00")
def test_any_bytes(topic: str, value: bytes) -> None:
    check(Reader().read(topic, value))


@given(st.sampled_from(TOPICS), st.data())
def test_a_message_with_bytes_that_were_changed(topic: str, data: st.DataObject) -> None:
    value = bytearray(traces([otel_span(1, 1, attributes={"gen_ai.operation.name": "chat", "gen_ai.system": "x"})]))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    check(Reader().read(topic, bytes(value[: data.draw(st.integers(0, len(value)))])))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ATTRIBUTES, max_size=3), st.lists(st.integers(1, 4), min_size=3, max_size=3), ATTRIBUTES)
def test_any_attributes_in_any_family(
    spans: list[dict[str, Any]], parents: list[int], resource: dict[str, Any]
) -> None:
    made = [
        otel_span(number, number, parent=parents[number - 1], attributes=attributes)
        for number, attributes in enumerate(spans, 1)
    ]
    value = traces(made, resource)
    mapped = Reader().read(OTLP_SPANS.name, value)
    if spans:
        check(mapped)
    assert Reader().read(OTLP_SPANS.name, value) == mapped  # read again, the same


@settings(max_examples=300)
@given(st.one_of(JSON, OBJECTS), st.dictionaries(st.sampled_from(EVENT_NAMES), VALUES))
def test_any_body_of_a_log_record(body: Any, attributes: dict[str, Any]) -> None:
    message = LogsData()
    scope = message.resource_logs.add().scope_logs.add()
    try:
        text = orjson.dumps(body).decode()
    except TypeError:  # beyond 64 bits: JSON has it, orjson does not write it
        text = str(body)
    record = scope.log_records.add(time_unix_nano=1_772_000_000 * 10**9, attributes=pairs(attributes))
    record.body.string_value = text
    check(Reader().read(OTLP_LOGS.name, message.SerializeToString()))


@settings(max_examples=200)
@given(
    st.lists(st.floats(), max_size=4), st.lists(st.integers(0, 2**63), max_size=5), st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**64 - 1), st.text(max_size=5),
)  # fmt: skip
def test_any_histogram(bounds: list[float], counts: list[int], scale: int, time: int, name: str) -> None:
    message = MetricsData()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    plain = metrics.add(name=name).histogram
    plain.data_points.add(time_unix_nano=time, explicit_bounds=bounds, bucket_counts=counts)
    steep = metrics.add(name="steep").exponential_histogram.data_points.add(time_unix_nano=time, scale=scale)
    steep.positive.offset = scale
    steep.positive.bucket_counts.extend(counts)
    reader = Reader()
    check(reader.read(OTLP_METRICS.name, message.SerializeToString()))
    check(reader.read(OTLP_METRICS.name, message.SerializeToString()))


OTLP_KEYS = [
    "resourceSpans",
    "scopeSpans",
    "spans",
    "resource",
    "attributes",
    "key",
    "value",
    "stringValue",
    "intValue",
    "arrayValue",
    "values",
    "traceId",
    "spanId",
    "startTimeUnixNano",
    "status",
    "code",
    "events",
    "name",
    "resourceMetrics",
    "scopeMetrics",
    "metrics",
    "gauge",
    "sum",
    "histogram",
    "dataPoints",
    "explicitBounds",
    "bucketCounts",
    "timeUnixNano",
    "asInt",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "body",
    "kvlistValue",
    "flags",
]
TREE = st.recursive(
    st.none() | st.integers(-5, 2**64) | st.text(max_size=6) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(OTLP_KEYS), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300)
@given(st.sampled_from(TOPICS), st.dictionaries(st.sampled_from(OTLP_KEYS), TREE, max_size=4))
def test_any_json_in_the_words_of_otlp(topic: str, document: dict[str, Any]) -> None:
    roots = {OTLP_SPANS.name: "resourceSpans", OTLP_METRICS.name: "resourceMetrics", OTLP_LOGS.name: "resourceLogs"}
    document.setdefault(roots[topic], [document.copy()])
    try:
        value = orjson.dumps(document)
    except TypeError:
        return
    check(Reader().read(topic, value))


def test_the_message_of_another_signal_is_no_message_of_this_one() -> None:
    value = traces([otel_span(1, 1, attributes={"gen_ai.operation.name": "chat"})])
    assert TracesData.FromString(value).resource_spans
    for topic in (OTLP_METRICS.name, OTLP_LOGS.name):
        mapped = Reader().read(topic, value)
        check(mapped)
        assert not mapped.events


PLAIN = (
    st.builds(lambda text: AnyValue(string_value=text), st.text(max_size=140))
    | st.builds(lambda number: AnyValue(int_value=number), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300))
    | st.builds(lambda number: AnyValue(double_value=number), st.floats())
    | st.builds(lambda flag: AnyValue(bool_value=flag), st.booleans())
)


@settings(max_examples=500)
@given(st.text(max_size=140), PLAIN, st.data())
def test_an_attribute_that_is_read_by_hand_is_what_protobuf_reads(
    key: str, value: AnyValue, data: st.DataObject
) -> None:
    whole = KeyValue(key=key, value=value).SerializeToString()
    told = getattr(value, value.WhichOneof("value"))
    assert repr(otlp_attributes.pair_of(whole)) == repr((key, told))  # not a number is none that it equals
    assert repr(otlp_attributes.remembered(whole)) == repr(otlp_attributes.KNOWN.get(whole, (key, told)))
    changed = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)) if whole else ():
        changed[place] = data.draw(st.integers(0, 255))
    raw = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    try:
        told = KeyValue.FromString(raw)
    except DecodeError:
        with pytest.raises(DecodeError):
            otlp_attributes.pair_of(raw)
    else:
        found_key, value = otlp_attributes.pair_of(raw)
        assert found_key == told.key
        assert repr(value) == repr(otlp_attributes.value_of(told.value))
