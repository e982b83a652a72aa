"""What a real Collector wrote to Kafka (tests/services/test_collector.py recorded it) is read, whatever way it was told.

Collector 0.165: its kafka exporter with every partitioning and both encodings, and deploy/otel-collector.yaml as it is.
"""

import pytest

from pipeline.ingest.messages import decode
from schemas.topics import OTLP, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS
from tests.conformance import collector_input
from tests.conformance.collector_input import DEPLOYED, OTHER_TRACE, SECRET, WAYS, Message
from tests.otlp import TRACE

RECORDED = collector_input.read_record()
BOTH = {TRACE.encode(), OTHER_TRACE.encode()}


def of(way: str, topic: str | None = None) -> list[Message]:
    return [message for message in RECORDED if message.way == way and topic in (None, message.topic)]


@pytest.mark.parametrize("way", [DEPLOYED, *WAYS])
def test_every_way_gives_the_events_of_what_was_sent(way: str) -> None:
    found = [(message.topic, message.value) for message in of(way)]
    assert {topic for topic, _ in found} == {topic.name for topic in OTLP}
    assert collector_input.rows(found) == collector_input.expected()


def test_the_events_are_these() -> None:
    rows = [row for _, row in collector_input.rows([(message.topic, message.value) for message in of(DEPLOYED)])]
    spans = {row["span_id"][-1]: row for row in rows if "span_id" in row}
    assert (spans["2"]["agent_id"], spans["2"]["session_id"], spans["2"]["tenant"]) == (
        "planner",
        "session_1",
        "default",
    )
    assert (spans["2"]["status"], spans["2"]["error_type"], spans["2"]["tool_args"]) == (
        "error",
        "TimeoutError",
        '{"id": 7}',
    )
    assert (spans["9"]["input_tokens"], spans["9"]["finish_reason"], spans["9"]["tenant"]) == (79, "stop", "acme")
    assert {row["metric"]: row["value"] for row in rows if row.get("metric")} == {
        "queue": 79.0,
        "requests": 12.5,
        "latency.count": 4.0,
        "latency.p50": 1.5,
        "latency.p95": 2.0,
        "latency.p99": 2.0,
    }
    assert {(row["event_id"], row["kind"]) for row in rows if row.get("event_id")} == {
        ("e1-94", "kubernetes"),
        ("m1", "maintenance"),
    }


@pytest.mark.parametrize("way", [DEPLOYED, *WAYS])
def test_the_encoding_is_what_the_exporter_was_told(way: str) -> None:
    is_json = {message.value[:1] == b"{" for message in of(way)}
    assert is_json == {WAYS.get(way, {}).get("encoding") == "otlp_json"}


def test_keys_are_what_the_partitioning_says() -> None:
    assert {message.key for message in of("no-key")} == {None}
    assert {message.key for message in of("key-of-request")} == {b"run_1"}
    for way in (DEPLOYED, "by-trace-and-resource", "by-trace-and-resource-json"):
        assert {message.key for message in of(way, OTLP_SPANS.name)} == BOTH
        for topic in (OTLP_METRICS.name, OTLP_LOGS.name):
            assert len({message.key for message in of(way, topic)}) == 2
    for message in of(DEPLOYED, OTLP_SPANS.name):
        traces = {span.trace_id.encode() for span in decode(message.topic, message.value).spans}
        assert traces == {message.key}


def test_what_looks_like_a_credential_does_not_reach_kafka() -> None:
    for way in (DEPLOYED, *WAYS):
        values = b"".join(message.value for message in of(way, OTLP_SPANS.name))
        assert b"authorization: ****" in values
        assert SECRET.encode() not in values
