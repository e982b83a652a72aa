"""OTLP metrics -> rows: sums and gauges as they are, histograms as quantiles of their interval."""

from typing import Any

import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData

from pipeline.ingest.histograms import exponential, quantile
from pipeline.ingest.messages import Mapped, Reader, key_of
from schemas.errors import Reason
from schemas.events import MetricPoint
from schemas.topics import OTLP_METRICS
from tests.builders import at
from tests.otlp import pairs

DELTA, CUMULATIVE = 1, 2
POD = {"k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "k8s.deployment.name": "cart", "k8s.pod.name": "cart-1"}


def message(metric: Metric, resource: dict[str, Any] = POD) -> bytes:
    made = MetricsData()
    found = made.resource_metrics.add()
    found.resource.attributes.extend(pairs(resource))
    found.scope_metrics.add().metrics.append(metric)
    return made.SerializeToString()


def read(reader: Reader, metric: Metric, resource: dict[str, Any] = POD) -> Mapped:
    value = message(metric, resource)
    mapped = reader.read(OTLP_METRICS.name, value)
    for _, row in mapped.events:
        MetricPoint.model_validate(row)
    document = MessageToDict(MetricsData.FromString(value), use_integers_for_enums=True)
    as_json = Reader().read(OTLP_METRICS.name, orjson.dumps(document))
    if metric.WhichOneof("data") in ("gauge", "sum"):
        assert as_json.events == mapped.events
    return mapped


def number(seconds: float, value: float, **fields: Any) -> Metric:
    metric = Metric(name="requests", unit="1")
    data = metric.gauge if fields.get("kind") == "gauge" else metric.sum
    if fields.get("kind") != "gauge":
        metric.sum.aggregation_temporality = fields["temporality"]
        metric.sum.is_monotonic = fields.get("monotonic", True)
    point = data.data_points.add(time_unix_nano=at(seconds) * 1000, attributes=pairs({"path": "/"}))
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = value
    return metric


def histogram(seconds: float, counts: list[int], temporality: int = CUMULATIVE, start: float = 0) -> Metric:
    metric = Metric(name="latency", unit="s")
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.histogram.data_points.add(
        time_unix_nano=at(seconds) * 1000,
        start_time_unix_nano=at(start) * 1000,
        count=sum(counts),
        explicit_bounds=[1.0, 2.0, 4.0],
        bucket_counts=counts,
    )
    return metric


@pytest.mark.parametrize(
    ("metric", "kind", "value"),
    [
        (number(1, 79, kind="gauge"), "gauge", 79.0),
        (number(1, 1.5, temporality=DELTA), "delta", 1.5),
        (number(1, 5, temporality=CUMULATIVE), "cumulative", 5.0),
        (number(1, 5, temporality=CUMULATIVE, monotonic=False), "gauge", 5.0),
        (number(1, 5, temporality=DELTA, monotonic=False), "delta", 5.0),
    ],
)
def test_gauges_and_sums_keep_their_kind(metric: Metric, kind: str, value: float) -> None:
    ((record, row),) = read(Reader(), metric).events
    assert (row["kind"], row["value"], row["metric"], row["unit"]) == (kind, value, "requests", "1")
    assert (row["event_time"], row["resource"]) == (at(1), "eu/shop/deployment/cart")
    assert orjson.loads(row["labels"]) == {"k8s.pod.name": "cart-1", "path": "/"}
    assert key_of(record, row) == "default/eu/shop/deployment/cart"


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        ({"service.name": "cart", "service.namespace": "shop"}, "cluster/shop/service/cart"),
        ({"k8s.node.name": "n1", "k8s.cluster.name": "eu"}, "eu/-/node/n1"),
        ({"host.name": "h1"}, "cluster/-/host/h1"),
        ({}, "cluster/default/service/unknown"),
    ],
)
def test_the_resource_is_the_most_lasting_thing_that_is_named(resource: dict[str, Any], found: str) -> None:
    ((_, row),) = read(Reader(), number(1, 1, kind="gauge"), resource).events
    assert row["resource"] == found


def test_quantiles_of_a_cumulative_histogram_are_those_of_what_came_since_the_point_before() -> None:
    reader = Reader()
    assert [row["metric"] for _, row in read(reader, histogram(10, [100, 0, 0, 0])).events] == ["latency.count"]
    found = {row["metric"]: row["value"] for _, row in read(reader, histogram(20, [100, 0, 10, 0])).events}
    assert found == {"latency.count": 110.0, "latency.p50": 3.0, "latency.p95": 3.9, "latency.p99": 3.98}


def test_a_reset_and_a_point_that_comes_twice_give_no_quantile() -> None:
    reader = Reader()
    read(reader, histogram(10, [100, 0, 0, 0]))
    for metric in (
        histogram(10, [100, 0, 0, 0]),  # twice
        histogram(20, [5, 0, 0, 0], start=15),  # began anew
        histogram(30, [1, 0, 0, 0], start=15),  # fewer than before
    ):
        assert [row["metric"] for _, row in read(reader, metric).events] == ["latency.count"]
    assert len(read(reader, histogram(40, [3, 0, 0, 0], start=15)).events) == 4


def test_a_delta_histogram_stands_for_itself() -> None:
    found = {row["metric"]: row for _, row in read(Reader(), histogram(10, [0, 10, 0, 0], DELTA)).events}
    assert found["latency.p50"]["value"] == 1.5
    assert (found["latency.count"]["kind"], found["latency.p50"]["kind"]) == ("delta", "gauge")


@pytest.mark.parametrize(
    ("share", "counts", "least", "most", "value"),
    [
        (0.5, [0, 10, 0, 0], None, None, 1.5),
        (0.5, [10, 0, 0, 0], None, None, 0.5),
        (0.5, [10, 0, 0, 0], 0.8, None, 0.9),
        (1.0, [0, 0, 0, 4], None, None, 4.0),
        (1.0, [0, 0, 0, 4], None, 9.0, 9.0),
        (0.99, [0, 0, 0, 0], None, None, None),
        (0.5, [1, 1], None, None, None),
        (0.5, [1, -1, 3, 3], None, None, None),
    ],
)
def test_quantiles_lie_evenly_in_their_bucket(
    share: float, counts: list[int], least: float | None, most: float | None, value: float | None
) -> None:
    assert quantile(share, (1.0, 2.0, 4.0), counts, least, most) == value


def test_exponential_buckets_become_bounds() -> None:
    bounds, counts = exponential(0, 2, (0, [3, 4]), (0, [1]))
    assert (bounds, counts) == ((-1.0, 0.0, 2.0, 4.0), (1, 2, 3, 4, 0))
    assert exponential(0, 0, (0, [1] * 2001), (0, [])) == ((), ())
    assert exponential(2**31 - 1, 0, (0, [1]), (0, [])) == ((), ())


def test_not_a_number_and_no_time_are_faults_of_their_point() -> None:
    mapped = read(Reader(), number(1, float("nan"), kind="gauge"))
    assert (mapped.reason, mapped.is_rejected) == (Reason.NOT_FINITE, True)
    metric = number(1, 1, kind="gauge")
    metric.gauge.data_points[0].time_unix_nano = 0
    assert read(Reader(), metric).reason is Reason.TIME_OUT_OF_RANGE
    metric.gauge.data_points[0].flags = 1  # says that there is no value
    assert (read(Reader(), metric).events, read(Reader(), metric).reason) == ([], None)
