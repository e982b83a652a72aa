"""Export requests that are larger than a Kafka message are parted between spans, and nothing else changes."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.ingest.messages import decode
from pipeline.ingest.pieces import pieces
from pipeline.ingest.telemetry import Telemetry, UnmappableError
from schemas.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS
from tests.otlp import as_json, logs, otel_span, traces
from tests.unit.pipeline.ingest.test_metrics import message, number

SIZES = st.lists(st.integers(0, 400), min_size=1, max_size=12)


def request(sizes: list[int], is_json: bool = False) -> bytes:
    spans = [otel_span(at, at + 1, attributes={"text": "x" * size}) for at, size in enumerate(sizes)]
    both = (traces(spans), traces([otel_span(99, 99)], {"service.name": "other", "place": "y"}))
    return json_of(TracesData, "resourceSpans", *both) if is_json else b"".join(both)


def json_of(kind: Any, name: str, *values: bytes) -> bytes:
    return orjson.dumps({name: [part for value in values for part in as_json(kind.FromString(value))[name]]})


def seen(telemetry: Telemetry) -> list[tuple[str, str, str]]:
    return [(s.span_id, s.attributes.get("text", ""), s.origin.resource["service.name"]) for s in telemetry.spans]


@pytest.mark.parametrize("is_json", [False, True])
@given(sizes=SIZES, largest=st.integers(300, 3_000))
@settings(max_examples=40)
def test_the_parts_hold_what_the_whole_held_in_its_order(is_json: bool, sizes: list[int], largest: int) -> None:
    body = request(sizes, is_json)
    found = pieces(OTLP_SPANS.name, body, largest)
    assert all(len(value) <= largest for value in found.values)
    parted = [span for value in found.values for span in seen(decode(OTLP_SPANS.name, value))]
    whole = seen(decode(OTLP_SPANS.name, body))
    left = iter(whole)
    assert all(span in left for span in parted), "order, and nothing made up"
    assert len(parted) + found.too_large == len(whole)
    assert found.key == b"shop-agent"


def test_what_fits_goes_as_it_came() -> None:
    body = request([1, 2, 3])
    assert pieces(OTLP_SPANS.name, body).values == [body]


def test_what_alone_is_too_large_is_counted_and_the_rest_goes() -> None:
    found = pieces(OTLP_SPANS.name, request([10, 5_000, 10]), 1_000)
    assert found.too_large == 1
    assert [s[0] for value in found.values for s in seen(decode(OTLP_SPANS.name, value))] == [
        f"{number:016x}" for number in (1, 3, 99)
    ]


@pytest.mark.parametrize("is_json", [False, True])
def test_metrics_and_logs_are_parted_too(is_json: bool) -> None:
    points = b"".join(message(number(at, 1, kind="gauge")) for at in range(20))
    lines = logs(*((f"line {at}", {}) for at in range(20)))
    for topic, kind, name, body in (
        (OTLP_METRICS.name, MetricsData, "resourceMetrics", points),
        (OTLP_LOGS.name, LogsData, "resourceLogs", lines),
    ):
        found = pieces(topic, json_of(kind, name, body) if is_json else body, 500)
        assert len(found.values) > 1
        assert sum(decode(topic, value).size for value in found.values) == 20


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_parted_or_refused_with_a_reason(body: bytes) -> None:
    for topic in (OTLP_SPANS.name, OTLP_METRICS.name, OTLP_LOGS.name):
        with suppress(UnmappableError):
            pieces(topic, body, 50)


def test_json_that_is_no_otlp_is_refused() -> None:
    with pytest.raises(UnmappableError, match="nothing of OTLP"):
        pieces(OTLP_SPANS.name, orjson.dumps({"spans": []}))
